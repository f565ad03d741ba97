//! Versions that come and go while they are asked.

use crate::{
    onnx::{golden, plus},
    world::{Answer, MODEL, World, ask, put, row, until},
};
use loadline_models::onnx;
use loadline_proto::{
    inference::{
        ModelInferRequest, ModelReadyRequest, RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
    },
    serving::{ListAliasHistoryRequest, ListModelsRequest, alias_change::Kind},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tonic::Code;

#[tokio::test]
async fn a_version_answers_once_it_is_promoted_and_says_which_it_is() {
    let world = World::new();
    let life = world.start().await;
    let version = life.register(plus(10.0)).await;
    assert_eq!((version.number, version.loaded, version.sha256.len()), (1, false, 64));
    assert_eq!(life.ask([1.0, 2.0]).await.unwrap_err().code(), Code::NotFound, "registered is not promoted");
    let change = life.promote(1, 0).await.unwrap();
    assert_eq!((change.from_version, change.to_version, change.kind()), (0, 1, Kind::Promotion));
    assert_eq!((change.actor.as_str(), change.reason.as_str()), ("local", "version 1 is better"));
    let answer = life.ask([1.0, 2.0]).await.unwrap();
    assert_eq!(answer, Answer { y: vec![13.0; 3], version: 1, sha256: version.sha256, registry_age: None });
    life.end().await;
}

/// The invariant, under load: callers on several connections, and one promotion after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_lost_and_none_comes_from_before_once_a_promotion_is_acknowledged() {
    const SWAPS: u64 = 24;
    let world = World::new();
    let life = world.start().await;
    for version in 1..=SWAPS {
        assert_eq!(life.register(plus(version as f32)).await.number, version);
    }
    life.promote(1, 0).await.unwrap();
    let (ended, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, ended, acknowledged) = (life.inference(), ended.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut asked = 0_u64;
                while !ended.load(SeqCst) {
                    let before = acknowledged.load(SeqCst);
                    let answer = ask(&mut client, [1.0, 2.0]).await.expect("every request is answered");
                    assert!(answer.version >= before, "version {} answered after {before} was acknowledged", answer.version);
                    assert_eq!(
                        answer.y,
                        vec![3.0 + answer.version as f32; 3],
                        "the version that is said is the one that answered"
                    );
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for version in 2..=SWAPS {
        life.promote(version, version - 1).await.unwrap();
        acknowledged.store(version, SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ended.store(true, SeqCst);
    for asked in asking {
        assert!(asked.await.unwrap() > SWAPS, "they went on all the time");
    }
    life.end().await;
}

#[tokio::test]
async fn a_rollback_goes_back_promotion_by_promotion_and_is_one_entry() {
    let world = World::new();
    let life = world.start().await;
    for version in 1..=3 {
        life.register(plus(version as f32)).await;
        life.promote(version, version - 1).await.unwrap();
    }
    for (from, to) in [(3, 2), (2, 1)] {
        let change = life.roll_back(from).await.unwrap();
        assert_eq!((change.from_version, change.to_version, change.kind()), (from, to, Kind::Rollback));
        assert_eq!(life.ask([0.0, 0.0]).await.unwrap().version, to);
    }
    let nothing = life.roll_back(1).await.unwrap_err();
    assert_eq!(nothing.code(), Code::FailedPrecondition, "{nothing}");
    let request = ListAliasHistoryRequest { model: MODEL.to_owned(), ..ListAliasHistoryRequest::default() };
    let changes = life.models().list_alias_history(request).await.unwrap().into_inner().changes;
    let steps: Vec<_> = changes.iter().map(|change| (change.from_version, change.to_version)).collect();
    assert_eq!(steps, [(2, 1), (3, 2), (2, 3), (1, 2), (0, 1)], "the newest first");
    life.end().await;
}

#[tokio::test]
async fn of_two_who_change_an_alias_at_once_one_is_told_so() {
    let world = World::new();
    let life = world.start().await;
    for version in 1..=3 {
        life.register(plus(version as f32)).await;
    }
    life.promote(1, 0).await.unwrap();
    let (second, third) = tokio::join!(life.promote(2, 1), life.promote(3, 1));
    let refused = [second, third].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    let [refused] = &refused[..] else { panic!("one of two is refused: {refused:?}") };
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("look again"), "{refused}");
    let unchanged = life.promote(1, 1).await.unwrap_err();
    assert_eq!(unchanged.code(), Code::Aborted);
    life.end().await;
}

#[tokio::test]
async fn the_champion_before_stays_in_memory_and_the_one_before_that_does_not() {
    let world = World::new();
    let life = world.start().await;
    for version in 1..=3 {
        life.register(plus(version as f32)).await;
        life.promote(version, version - 1).await.unwrap();
    }
    let ready = async |version: &str| {
        let request = ModelReadyRequest { name: MODEL.to_owned(), version: version.to_owned() };
        life.inference().model_ready(request).await.unwrap().into_inner().ready
    };
    assert_eq!([ready("1").await, ready("2").await, ready("3").await, ready("champion").await], [false, true, true, true]);
    let request = ModelInferRequest { model_version: "2".to_owned(), ..row([0.0, 0.0]) };
    let answer = Answer::of(life.inference().model_infer(request).await.unwrap().into_inner());
    assert_eq!((answer.version, answer.y), (2, vec![2.0; 3]), "who asks for a number gets that version");
    life.end().await;
}

#[tokio::test]
async fn the_champion_before_is_in_memory_again_after_a_restart() {
    let world = World::new();
    let life = world.start().await;
    for version in 1..=3 {
        life.register(plus(version as f32)).await;
        life.promote(version, version - 1).await.unwrap();
    }
    life.end().await;
    let life = world.start().await;
    let by_number = ModelInferRequest { model_version: "2".to_owned(), ..row([0.0, 0.0]) };
    let before = async || life.inference().model_infer(by_number.clone()).await.is_ok();
    until("the version before the champion answers", before).await;
    let looked = async || life.ask([0.0, 0.0]).await.unwrap().registry_age.is_none();
    until("the registry was looked at", looked).await;
    assert!(before().await, "and a look at the registry leaves it there");
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap().version, 3);
    life.roll_back(3).await.unwrap();
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap().version, 2);
    life.end().await;
}

#[tokio::test]
async fn a_model_that_does_not_answer_as_its_exporter_did_is_neither_registered_nor_promoted() {
    let world = World::new();
    let life = world.start().await;
    life.register(golden(4.0, 7.0)).await;
    life.promote(1, 0).await.unwrap();
    let refused = life.try_register(MODEL, golden(4.0, 7.5)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("output y, row 0"), "{refused}");
    // Somebody puts it into the registry all the same.
    let version = put(&world, onnx::check(&golden(4.0, 7.5)).unwrap().bytes).await;
    let refused = life.promote(version, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("output y, row 0"), "{refused}");
    assert_eq!(life.ask([1.0, 2.0]).await.unwrap().version, 1);
    let request = ListAliasHistoryRequest { model: MODEL.to_owned(), ..ListAliasHistoryRequest::default() };
    let history = life.models().list_alias_history(request).await.unwrap().into_inner();
    assert_eq!(history.changes.len(), 1, "what was not done is not in the history");
    life.end().await;
}

#[tokio::test]
async fn an_alias_changed_in_the_registry_itself_is_followed_and_shown_as_drift() {
    let world = World::new();
    let life = world.start().await;
    for version in 1..=2 {
        life.register(plus(version as f32)).await;
    }
    life.promote(1, 0).await.unwrap();
    let options = loadline_models::registry::Options::default();
    let registry = loadline_models::registry::open(world.settings.serving.registry.reveal(), options).unwrap();
    registry.set_alias(MODEL, "champion", 2).await.unwrap();
    until("the change is followed", async || life.ask([0.0, 0.0]).await.unwrap().version == 2).await;
    let listed = life.models().list(ListModelsRequest {}).await.unwrap().into_inner();
    let alias = &listed.models[0].aliases[0];
    assert!(alias.drifted && alias.version == 2, "{alias:?}");
    assert_eq!(life.roll_back(2).await.unwrap().to_version, 1, "back to what the history says");
    life.end().await;
}

#[tokio::test]
async fn a_model_that_is_unloaded_stays_away_until_it_is_loaded() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    let unload = RepositoryModelUnloadRequest { model_name: MODEL.to_owned(), ..Default::default() };
    life.inference().repository_model_unload(unload.clone()).await.unwrap();
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(life.inference().repository_model_unload(unload).await.unwrap_err().code(), Code::NotFound);
    // Some looks at the registry do not bring it back.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap_err().code(), Code::NotFound);
    let index = life.inference().repository_index(RepositoryIndexRequest::default()).await.unwrap().into_inner();
    assert!(index.models[0].reason.contains("RepositoryModelLoad"), "{index:?}");
    let load = RepositoryModelLoadRequest { model_name: MODEL.to_owned(), ..Default::default() };
    life.inference().repository_model_load(load).await.unwrap();
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap().version, 1);
    let unknown = RepositoryModelLoadRequest { model_name: "nobody".to_owned(), ..Default::default() };
    assert_eq!(life.inference().repository_model_load(unknown).await.unwrap_err().code(), Code::NotFound);
    life.end().await;
}

#[tokio::test]
async fn the_index_has_what_is_registered_and_what_is_in_memory() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.register(plus(2.0)).await;
    life.promote(2, 0).await.unwrap();
    let index = async |ready| {
        let request = RepositoryIndexRequest { ready, ..RepositoryIndexRequest::default() };
        let models = life.inference().repository_index(request).await.unwrap().into_inner().models;
        models.into_iter().map(|model| (model.version, model.state)).collect::<Vec<_>>()
    };
    let pair = |version: &str, state: &str| (version.to_owned(), state.to_owned());
    until("both are listed", async || index(false).await == [pair("1", "UNAVAILABLE"), pair("2", "READY")]).await;
    assert_eq!(index(true).await, [pair("2", "READY")]);
    life.end().await;
}
