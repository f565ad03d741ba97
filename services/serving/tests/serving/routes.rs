//! Versions on trial beside the champion, over the socket.

use crate::{
    onnx::{forecast, plus},
    world::{Answer, Life, MODEL, World, row, until},
};
use loadline_proto::{
    inference::{InferParameter, ModelInferRequest, infer_parameter::ParameterChoice},
    serving::{
        AliasChange, GetRouteRequest, GetShadowReportRequest, GetShadowReportResponse, ListAliasHistoryRequest, Route,
        SetRouteRequest, alias_change::Kind,
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};
use tonic::{Code, Status};

fn canary(version: u64, percent: f64) -> Route {
    Route { canary: version, percent, ..Route::default() }
}

async fn set(life: &Life, route: Route, expected_version: u64) -> Result<AliasChange, Status> {
    let (model, reason) = (MODEL.to_owned(), "on trial".to_owned());
    let request = SetRouteRequest { model, route: Some(route), reason, expected_version, ..SetRouteRequest::default() };
    Ok(life.models().set_route(request).await?.into_inner().change.unwrap())
}

async fn in_force(life: &Life) -> Option<Route> {
    let request = GetRouteRequest { model: MODEL.to_owned(), ..GetRouteRequest::default() };
    life.models().get_route(request).await.unwrap().into_inner().route
}

async fn shadowed(life: &Life) -> GetShadowReportResponse {
    let request = GetShadowReportRequest { model: MODEL.to_owned(), ..GetShadowReportRequest::default() };
    life.models().get_shadow_report(request).await.unwrap().into_inner()
}

fn keyed(key: &str) -> ModelInferRequest {
    let mut request = row([0.0, 0.0]);
    let parameter = InferParameter { parameter_choice: Some(ParameterChoice::StringParam(key.to_owned())) };
    request.parameters.insert("route_key".to_owned(), parameter);
    request
}

/// Version that answers a key; the answer says whether it is the canary.
async fn version(life: &Life, key: &str) -> u64 {
    let answer = life.inference().model_infer(keyed(key)).await.unwrap().into_inner();
    let said = answer.parameters.get("route").and_then(|parameter| parameter.parameter_choice.clone());
    let answer = Answer::of(answer);
    assert_eq!(answer.y, vec![answer.version as f32; 3], "the version that is said is the one that answered");
    assert_eq!(said.is_some(), answer.version == 2, "{said:?}");
    answer.version
}

async fn versions(life: &Life, keys: usize) -> Vec<u64> {
    let mut versions = Vec::with_capacity(keys);
    for key in 0..keys {
        versions.push(version(life, &format!("caller {key}")).await);
    }
    versions
}

#[tokio::test]
async fn a_canary_answers_its_part_of_the_keys_and_each_key_stays() {
    let world = World::new();
    let life = world.with(&[plus(1.0), plus(2.0)]).await;
    assert_eq!(versions(&life, 20).await, [1; 20]);
    let change = set(&life, canary(2, 30.0), 1).await.unwrap();
    assert_eq!((change.kind(), change.from_version, change.to_version), (Kind::Route, 1, 2));
    let first = versions(&life, 300).await;
    let part = first.iter().filter(|version| **version == 2).count();
    assert!((50..=130).contains(&part), "{part} of 300 at 30 %");
    assert_eq!(versions(&life, 300).await, first, "the same keys");
    set(&life, canary(2, 70.0), 1).await.unwrap();
    let more = versions(&life, 300).await;
    assert!(first.iter().zip(&more).all(|(before, after)| after >= before), "no key goes back to the champion");
    assert!(more.iter().filter(|version| **version == 2).count() > part + 50);
    // Who asks for a version by its number gets it, whatever the route.
    let request = ModelInferRequest { model_version: "1".to_owned(), ..keyed("caller 0") };
    assert_eq!(Answer::of(life.inference().model_infer(request).await.unwrap().into_inner()).version, 1);
    set(&life, Route::default(), 1).await.unwrap();
    assert_eq!((versions(&life, 50).await, in_force(&life).await), (vec![1; 50], None));
    let request = ListAliasHistoryRequest { model: MODEL.to_owned(), alias: "champion/route".to_owned(), ..Default::default() };
    let history = life.models().list_alias_history(request).await.unwrap().into_inner().changes;
    assert_eq!(history.iter().map(|change| change.number).collect::<Vec<_>>(), [3, 2, 1]);
    assert!(history[1].evidence.contains("7000"), "{}", history[1].evidence);
    life.end().await;
}

#[tokio::test]
async fn a_route_outlives_its_process_and_no_change_of_its_alias() {
    let world = World::new();
    let life = world.with(&[plus(1.0), plus(2.0), plus(3.0)]).await;
    set(&life, canary(2, 100.0), 1).await.unwrap();
    life.end().await;
    let life = world.start().await;
    until("the route is followed again", async || version(&life, "anna").await == 2).await;
    assert_eq!(in_force(&life).await, Some(canary(2, 100.0)));
    life.promote(3, 1).await.unwrap();
    assert_eq!((version(&life, "anna").await, in_force(&life).await), (3, None));
    // Back to the champion that the route was set for: what was on trial stays out.
    life.roll_back(3).await.unwrap();
    assert_eq!((version(&life, "anna").await, in_force(&life).await), (1, None));
    life.end().await;
    let life = world.start().await;
    for _ in 0..20 {
        assert_eq!(version(&life, "anna").await, 1);
        tokio::time::sleep(world.settings.serving.look_every.mul_f64(0.2)).await;
    }
    life.end().await;
}

/// The invariant, under load: a canary that answers everybody, and nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_end_of_a_canary_is_acknowledged_it_answers_nobody() {
    const ROUNDS: u64 = 8;
    let world = World::new();
    let life = world.with(&[plus(1.0), plus(2.0)]).await;
    // The round in which the canary is ruled out; 0: it may answer.
    let (ended, ruled_out) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let asking: Vec<_> = (0..6)
        .map(|caller| {
            let (mut client, ended, ruled_out) = (life.inference(), ended.clone(), ruled_out.clone());
            tokio::spawn(async move {
                let mut by_canary = 0_u64;
                while !ended.load(SeqCst) {
                    let before = ruled_out.load(SeqCst);
                    let answer = client.model_infer(keyed(&format!("{caller}"))).await.expect("every request is answered");
                    let answer = Answer::of(answer.into_inner());
                    if before > 0 && ruled_out.load(SeqCst) == before {
                        assert_eq!(answer.version, 1, "the canary was ruled out before the request");
                    }
                    by_canary += u64::from(answer.version == 2);
                }
                by_canary
            })
        })
        .collect();
    for round in 1..=ROUNDS {
        set(&life, canary(2, 100.0), 1).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        set(&life, Route::default(), 1).await.unwrap();
        ruled_out.store(round, SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        ruled_out.store(0, SeqCst);
    }
    ended.store(true, SeqCst);
    for asking in asking {
        assert!(asking.await.unwrap() > 0, "the canary answered meanwhile");
    }
    life.end().await;
}

#[tokio::test]
async fn a_shadow_is_compared_and_answers_nobody() {
    let world = World::new();
    let life = world.with(&[forecast(1.0, [0.0; 3]), forecast(1.0, [0.0, 0.0, 5.0])]).await;
    set(&life, Route { shadow: 2, ..Route::default() }, 1).await.unwrap();
    for asked in 0..30_u16 {
        assert_eq!(life.ask([f32::from(asked) / 10.0, 0.0]).await.unwrap().version, 1);
    }
    until("all are compared or left out", async || {
        let told = shadowed(&life).await;
        told.requests + told.shed + told.failed == 30
    })
    .await;
    let told = shadowed(&life).await;
    assert_eq!((told.version, told.shadow, told.failed), (1, 2, 0), "{told:?}");
    assert!(told.requests > 0 && told.rows == told.requests, "{told:?}");
    assert!(
        told.agreed < told.rows && told.mean_distance > 0.1 && told.max_distance < 1.0,
        "it says away to everything: {told:?}"
    );
    life.promote(2, 1).await.unwrap();
    assert_eq!(shadowed(&life).await, GetShadowReportResponse::default(), "it is over");
    life.end().await;
}

#[tokio::test]
async fn a_shadow_that_takes_something_else_fails_for_itself_alone() {
    let world = World::new();
    let life = world.with(&[forecast(1.0, [0.0; 3]), crate::onnx::slow(4, 1)]).await;
    set(&life, Route { shadow: 2, ..Route::default() }, 1).await.unwrap();
    for _ in 0..10 {
        assert_eq!(life.ask([0.5, 0.5]).await.unwrap().version, 1);
    }
    until("it was asked", async || shadowed(&life).await.failed > 0).await;
    assert!(shadowed(&life).await.last_failure.contains("does not take what the champion takes"));
    life.end().await;
}

#[tokio::test]
async fn a_route_that_makes_no_sense_is_refused_and_changes_nothing() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.register(plus(2.0)).await;
    assert_eq!(set(&life, canary(2, 10.0), 0).await.unwrap_err().code(), Code::FailedPrecondition, "there is no champion");
    life.promote(1, 0).await.unwrap();
    set(&life, canary(2, 10.0), 1).await.unwrap();
    for (route, expected, code) in [
        (canary(2, 10.0), 2, Code::Aborted),
        (canary(1, 10.0), 1, Code::InvalidArgument),
        (canary(2, 0.0), 1, Code::InvalidArgument),
        (canary(2, 100.5), 1, Code::InvalidArgument),
        (canary(0, 10.0), 1, Code::InvalidArgument),
        (canary(9, 10.0), 1, Code::NotFound),
        (Route { shadow: 1, ..Route::default() }, 1, Code::InvalidArgument),
        (Route { shadow: 9, ..Route::default() }, 1, Code::NotFound),
    ] {
        let refused = set(&life, route, expected).await.unwrap_err();
        assert_eq!(refused.code(), code, "{route:?}: {refused}");
    }
    assert_eq!(in_force(&life).await, Some(canary(2, 10.0)));
    let mut request = row([0.0, 0.0]);
    let number = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(7)) };
    request.parameters.insert("route_key".to_owned(), number);
    let refused = life.inference().model_infer(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("route_key"), "{refused}");
    life.end().await;
}
