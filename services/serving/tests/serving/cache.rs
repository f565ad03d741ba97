//! Answers that were given before, as callers see them; PR-11 and PR-12 and their drills.

use crate::{
    modes::drilled,
    onnx::plus,
    world::{Life, World},
};
use loadline_proto::{
    health::{DrillRun, ListDrillsRequest, drill_run::Verdict, drill_service_client::DrillServiceClient},
    inference::{InferStatistics, ModelStatisticsRequest},
};
use loadline_runtime::config::{ByteSize, HumanDuration};

fn world() -> World {
    let mut world = World::new();
    world.settings.serving.cache.memory = ByteSize::mib(1);
    world.settings.drills.enabled = Some(true);
    world.settings.drills.times_at_most = Some(HumanDuration::secs(1));
    world
}

async fn told(life: &Life) -> (u64, InferStatistics) {
    let statistics = life.inference().model_statistics(ModelStatisticsRequest::default()).await.unwrap().into_inner();
    let of = statistics.model_stats.into_iter().last().unwrap();
    (of.inference_count, of.inference_stats.unwrap())
}

#[tokio::test]
async fn the_same_question_is_answered_by_the_model_once_and_a_promotion_changes_the_answer_at_once() {
    let world = world();
    let life = world.with(&[plus(1.0), plus(2.0)]).await;
    for _ in 0..5 {
        let answer = life.ask([1.0, 1.0]).await.unwrap();
        assert_eq!((answer.version, &answer.y[..]), (1, &[3.0; 3][..]));
    }
    assert_eq!(life.ask([1.0, 2.0]).await.unwrap().y, [4.0; 3], "another question");
    let (asked, sums) = told(&life).await;
    assert_eq!((asked, sums.cache_hit.unwrap().count, sums.cache_miss.unwrap().count), (2, 4, 2));
    life.promote(2, 1).await.unwrap();
    for _ in 0..2 {
        let answer = life.ask([1.0, 1.0]).await.unwrap();
        assert_eq!((answer.version, &answer.y[..]), (2, &[4.0; 3][..]), "the answer of the version before is nobody's");
    }
    life.roll_back(2).await.unwrap();
    let answer = life.ask([1.0, 1.0]).await.unwrap();
    assert_eq!((answer.version, &answer.y[..]), (1, &[3.0; 3][..]));
    let statistics = life.inference().model_statistics(ModelStatisticsRequest::default()).await.unwrap().into_inner();
    let hits = statistics.model_stats.iter().find(|of| of.version == "1").unwrap().inference_stats.as_ref().unwrap().cache_hit;
    assert_eq!(hits.unwrap().count, 5, "a rollback finds its cache warm");
    life.end().await;
}

async fn passes(life: &Life, mode: &str) -> DrillRun {
    let run = drilled(life, mode, false).await;
    assert_eq!(run.verdict(), Verdict::Passed, "{run:?}");
    assert!(run.contained_after.is_some() && run.remedied_after.is_some() && run.verified_after.is_some(), "{run:?}");
    let control = drilled(life, mode, true).await;
    assert_eq!((control.verdict(), control.detected_after), (Verdict::Passed, None), "{control:?}");
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_of_a_cache_that_is_down_passes_and_its_control_opens_nothing() {
    let world = world();
    let life = world.start().await;
    passes(&life, "PR-11").await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_of_an_answer_of_another_artifact_passes_and_its_control_opens_nothing() {
    let world = world();
    let life = world.start().await;
    passes(&life, "PR-12").await;
    life.end().await;
}

#[tokio::test]
async fn without_a_cache_no_answer_of_one_is_drilled() {
    let mut world = world();
    world.settings.serving.cache.memory = ByteSize(0);
    let life = world.start().await;
    let listed = DrillServiceClient::new(life.channel()).list(ListDrillsRequest {}).await.unwrap().into_inner().drills;
    let drill = listed.into_iter().find(|drill| drill.failure_mode == "PR-12").unwrap();
    assert!(drill.unavailable.contains("serving.cache.memory"), "{drill:?}");
    life.end().await;
}
