//! A champion that is worse than the version before it: found by outcomes, rolled back by B, and promoted again when that is taken back.

use crate::{
    modes::{self, REGRESSION, mode, reaches},
    onnx::forecast,
    world::{Life, MODEL, World, row},
};
use loadline_proto::{
    health::{
        ExecuteRemedyRequest, PlanRemedyRequest, RemedyPlan, RemedyRun, Severity, State, UndoRemedyRequest, drill_run::Verdict,
        failure_mode_service_client::FailureModeServiceClient, remedy_run::Outcome as Ended,
    },
    inference::ModelInferRequest,
    serving::{
        AliasChange, GateHeader, ListAliasHistoryRequest, Outcome, ReportOutcomesRequest, ReportOutcomesResponse, Route,
        SetRouteRequest, alias_change::Kind, outcome::Class,
    },
};
use tonic::{Code, Status};

/// Questions, and what happens to them where `forecast(1.0, [0.0; 3])` is right.
fn questions(name: &str, matches: u32) -> Vec<(String, [f32; 2], u32)> {
    let one = |at: u32| {
        let x = [(at * 7 % 11) as f32 / 5.0 - 1.0, (at * 5 % 13) as f32 / 6.0 - 1.0];
        let class = if x[0].max(x[1]) < 0.0 { 1 } else { 2 * u32::from(x[1] > x[0]) };
        (format!("{name}-{at}"), x, class)
    };
    (0..matches).map(one).collect()
}

fn outcomes(of: &[(String, [f32; 2], u32)]) -> Vec<Outcome> {
    let outcome = |(id, _, class): &(String, [f32; 2], u32)| Outcome {
        id: id.clone(),
        class: Some(Class::Index(*class)),
        group: String::new(),
    };
    of.iter().map(outcome).collect()
}

async fn ask(life: &Life, of: &[(String, [f32; 2], u32)]) {
    for (id, x, _) in of {
        life.inference().model_infer(ModelInferRequest { id: id.clone(), ..row(*x) }).await.unwrap();
    }
}

async fn report(life: &Life, outcomes: Vec<Outcome>) -> Result<ReportOutcomesResponse, Status> {
    let request = ReportOutcomesRequest { model: MODEL.to_owned(), outcomes, ..ReportOutcomesRequest::default() };
    Ok(life.models().report_outcomes(request).await?.into_inner())
}

fn counts(told: &ReportOutcomesResponse) -> [u64; 4] {
    [told.counted, told.again, told.unknown, told.failed]
}

async fn plan(life: &Life, target: &str) -> Result<RemedyPlan, Status> {
    let (failure_mode, key, target) = (REGRESSION.to_owned(), "B".to_owned(), target.to_owned());
    let ask = PlanRemedyRequest { failure_mode, key, target, reason: "Sunday was bad".to_owned() };
    Ok(FailureModeServiceClient::new(life.channel()).plan_remedy(ask).await?.into_inner())
}

async fn execute(life: &Life, plan: &RemedyPlan) -> Result<RemedyRun, Status> {
    let (plan_id, confirm, idempotency_key) = (plan.id.clone(), plan.confirm.clone(), plan.id.clone());
    let press = ExecuteRemedyRequest { plan_id, confirm, idempotency_key, reason: "Sunday was bad".to_owned() };
    modes::ended(life, press).await
}

async fn last_change(life: &Life) -> AliasChange {
    let request = ListAliasHistoryRequest { model: MODEL.to_owned(), ..ListAliasHistoryRequest::default() };
    life.models().list_alias_history(request).await.unwrap().into_inner().changes.remove(0)
}

/// Version 1 knows, 2 says about the opposite, and 2 is the champion.
async fn worse() -> (World, Life) {
    let world = modes::world();
    let life = world.with(&[forecast(1.0, [0.0; 3]), forecast(-1.0, [0.0; 3])]).await;
    life.promote(2, 1).await.unwrap();
    (world, life)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_champion_that_does_harm_opens_pr_07_and_b_rolls_it_back_and_can_be_taken_back() {
    let (_world, life) = worse().await;
    reaches(&life, REGRESSION, State::Ok).await;
    let asked = questions("a", 60);
    ask(&life, &asked).await;
    let few = report(&life, outcomes(&asked[..15])).await.unwrap();
    assert_eq!((counts(&few), few.skill.map(|skill| skill.champion_is_worse)), ([15, 0, 0, 0], Some(false)));
    let refused = plan(&life, "").await.unwrap_err();
    assert!(refused.message().contains("no champion is known to be worse"), "{refused}");
    let told = report(&life, outcomes(&asked)).await.unwrap();
    let skill = told.skill.unwrap();
    assert_eq!(counts(&told), [45, 15, 0, 0], "each counts once");
    assert_eq!((skill.champion_version, skill.previous_version, skill.matches, skill.groups), (2, 1, 60, 60));
    let rps = skill.rps.unwrap();
    assert!(skill.champion_is_worse && rps.high < 0.0 && rps.challenger > rps.champion, "{rps:?}");
    let open = reaches(&life, REGRESSION, State::Open).await;
    assert_eq!(open.severity(), Severity::P2, "{open:?}");
    let detail = open.evidence.unwrap().detail;
    let says = [format!("{MODEL}: champion 2 is worse than 1"), "on 60 matches".to_owned(), format!("{:.4} at least", -rps.high)];
    assert!(says.iter().all(|part| detail.contains(part)), "{detail}");

    let stale = plan(&life, "").await.unwrap();
    assert_eq!((stale.target.as_str(), stale.confirm.as_str(), stale.undo_within.is_some()), (MODEL, "y", true), "{stale:?}");
    assert!(stale.effects[0].text.contains("from version 2 back to version 1"), "{stale:?}");
    // Somebody else is quicker, and wrong.
    life.register(forecast(0.9, [0.0; 3])).await;
    life.promote(3, 2).await.unwrap();
    assert!(execute(&life, &stale).await.unwrap_err().message().contains("moved"));
    life.roll_back(3).await.unwrap();
    // The champion was another in between: what is known of it begins anew.
    let again = questions("b", 60);
    ask(&life, &again).await;
    assert_eq!(counts(&report(&life, outcomes(&again)).await.unwrap()), [60, 0, 0, 0]);
    life.promote(1, 2).await.unwrap();
    life.promote(2, 1).await.unwrap();
    let last = questions("c", 60);
    ask(&life, &last).await;
    assert!(report(&life, outcomes(&last)).await.unwrap().skill.unwrap().champion_is_worse);
    reaches(&life, REGRESSION, State::Open).await;

    let run = execute(&life, &plan(&life, "").await.unwrap()).await.unwrap();
    assert_eq!(run.outcome(), Ended::Verified, "{run:?}");
    assert_eq!(life.ask([0.5, 0.5]).await.unwrap().version, 1);
    let change = last_change(&life).await;
    let said = (change.kind(), change.from_version, change.to_version, change.actor.as_str());
    assert_eq!(said, (Kind::Rollback, 2, 1, "local"));
    assert_eq!(change.reason, "B rolls it back: Sunday was bad");
    assert_eq!(mode(&life, REGRESSION).await.state(), State::Ok);
    let undo = UndoRemedyRequest { run_id: run.id, reason: "it was the weather".to_owned() };
    FailureModeServiceClient::new(life.channel()).undo_remedy(undo).await.unwrap();
    crate::world::until("version 2 again", async || life.ask([0.5, 0.5]).await.unwrap().version == 2).await;
    let change = last_change(&life).await;
    assert_eq!((change.kind(), change.reason.as_str()), (Kind::Promotion, "B is taken back: it was the weather"));
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_nothing_that_is_kept_is_counted_and_no_error() {
    let (_world, life) = worse().await;
    let asked = questions("a", 30);
    let unknown = report(&life, outcomes(&asked)).await.unwrap();
    assert_eq!((counts(&unknown), unknown.skill), ([0, 0, 30, 0], None));
    // Without an id, of several rows, or of a number instead of the champion: nothing is kept of these.
    life.ask([0.1, 0.2]).await.unwrap();
    let by_number = ModelInferRequest { id: asked[0].0.clone(), model_version: "2".to_owned(), ..row([0.1, 0.2]) };
    life.inference().model_infer(by_number).await.unwrap();
    let contents = loadline_proto::inference::InferTensorContents { fp32_contents: vec![0.1; 4], ..Default::default() };
    let two = ModelInferRequest { id: asked[1].0.clone(), ..crate::world::rows("FP32", &[2, 2], contents) };
    life.inference().model_infer(two).await.unwrap();
    assert_eq!(counts(&report(&life, outcomes(&asked)).await.unwrap()), [0, 0, 30, 0]);
    // A class that the forecast does not have.
    ask(&life, &asked[..1]).await;
    let strange = vec![Outcome { class: Some(Class::Index(7)), ..outcomes(&asked).remove(0) }];
    let told = report(&life, strange).await.unwrap();
    assert_eq!(counts(&told), [0, 0, 0, 1]);
    assert!(told.last_failure.contains("outcome 7 is no class"), "{told:?}");
    // With the next champion its answers count, and those of the one before no more.
    ask(&life, &asked[1..]).await;
    life.promote(1, 2).await.unwrap();
    assert_eq!(counts(&report(&life, outcomes(&asked)).await.unwrap()), [0, 0, 30, 0]);

    let many = vec![outcomes(&asked).remove(0); 1_001];
    let named = |class| vec![Outcome { id: "a".to_owned(), class, group: String::new() }];
    for (wrong, says) in [
        (many, "at most 1000"),
        (named(Some(Class::Label("home".to_owned()))), "give their index"),
        (named(None), "say which class happened"),
    ] {
        let refused = report(&life, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(says), "{says}: {refused}");
    }
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_on_trial_that_the_gate_rejects_opens_pr_07_as_p4_until_its_trial_is_over() {
    let world = modes::world();
    let life = world.with(&[forecast(1.0, [0.0; 3]), forecast(-1.0, [0.0; 3])]).await;
    let header = GateHeader { model: MODEL.to_owned(), version: 2, ..GateHeader::default() };
    let found = crate::gate::evaluate(&life, header, &crate::gate::season(600)).await.unwrap();
    assert_eq!(found.verdict(), loadline_proto::serving::gate_evaluation::Verdict::Reject, "{found:?}");
    reaches(&life, REGRESSION, State::Ok).await;
    let route = |route: Option<Route>| SetRouteRequest {
        model: MODEL.to_owned(),
        route,
        reason: "tried".to_owned(),
        expected_version: 1,
        ..SetRouteRequest::default()
    };
    life.models().set_route(route(Some(Route { canary: 2, percent: 10.0, ..Route::default() }))).await.unwrap();
    let open = reaches(&life, REGRESSION, State::Open).await;
    assert_eq!(open.severity(), Severity::P4, "{open:?}");
    let detail = open.evidence.unwrap().detail;
    assert!(detail.contains("version 2 is on trial beside champion 1") && detail.contains("REJECT (evaluation 1"), "{detail}");
    let refused = plan(&life, "").await.unwrap_err();
    assert!(refused.message().contains("ends with its route"), "{refused}");
    life.models().set_route(route(None)).await.unwrap();
    reaches(&life, REGRESSION, State::Ok).await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_of_a_worse_champion_passes_again_and_again_and_its_control_opens_nothing() {
    let world = modes::world();
    let life = world.start().await;
    reaches(&life, REGRESSION, State::Ok).await;
    for control in [true, false, false, true] {
        let run = modes::drilled(&life, REGRESSION, control).await;
        assert_eq!((run.verdict(), run.detected_after.is_some()), (Verdict::Passed, !control), "{run:?}");
    }
    life.end().await;
}
