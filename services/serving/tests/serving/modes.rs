//! Failure modes: a registry or a queue that is silent is seen, contained and mended by its key; and that is proven by drills.

use crate::{
    onnx::plus,
    world::{Life, World, until},
};
use loadline_proto::health::{
    DrillRun, ExecuteRemedyRequest, ListAuditRequest, ListDrillsRequest, ModeStatus, PlanRemedyRequest, RemedyRun, Severity,
    StartDrillRequest, State, WatchRequest, drill_run::Verdict, drill_service_client::DrillServiceClient,
    failure_mode_service_client::FailureModeServiceClient, frame::Body, remedy_run::Outcome,
};
use loadline_proto::serving::{
    ListPredictionsRequest, prediction_job, prediction_job_service_client::PredictionJobServiceClient,
};
use loadline_runtime::config::HumanDuration;
use std::fs;
use tonic::{Code, Status};

const REGISTRY: &str = "PR-08";
pub const QUEUE: &str = "PR-10";
pub const REGRESSION: &str = "PR-07";

/// Drills are on, and nothing is waited for that long.
pub fn world() -> World {
    let mut world = World::new();
    world.settings.drills.enabled = Some(true);
    world.settings.drills.times_at_most = Some(HumanDuration::secs(1));
    world
}

pub async fn mode(life: &Life, id: &str) -> ModeStatus {
    let mut frames = FailureModeServiceClient::new(life.channel()).watch(WatchRequest::default()).await.unwrap().into_inner();
    let Some(Body::Snapshot(snapshot)) = frames.message().await.unwrap().unwrap().body else { panic!("no snapshot") };
    snapshot.modes.into_iter().find(|mode| mode.id == id).unwrap()
}

pub async fn reaches(life: &Life, id: &str, state: State) -> ModeStatus {
    until(state.as_str_name(), async || mode(life, id).await.state() == state).await;
    mode(life, id).await
}

/// Presses C as an operator does; how the run ended.
async fn reconnect(life: &Life) -> Outcome {
    let mut modes = FailureModeServiceClient::new(life.channel());
    let ask = PlanRemedyRequest { failure_mode: REGISTRY.to_owned(), key: "C".to_owned(), ..PlanRemedyRequest::default() };
    let plan = modes.plan_remedy(ask).await.unwrap().into_inner();
    assert_eq!((plan.target.as_str(), plan.confirm.as_str()), ("registry", "y"), "{plan:?}");
    let press = ExecuteRemedyRequest {
        plan_id: plan.id.clone(),
        confirm: "y".to_owned(),
        idempotency_key: plan.id,
        ..Default::default()
    };
    ended(life, press).await.unwrap().outcome()
}

/// Presses, and waits for the end of the run.
pub async fn ended(life: &Life, press: ExecuteRemedyRequest) -> Result<RemedyRun, Status> {
    let modes = FailureModeServiceClient::new(life.channel());
    let run = modes.clone().execute_remedy(press.clone()).await?.into_inner();
    assert!(!run.id.is_empty());
    // The same key is the same run: asking again tells how it stands.
    let look = async || modes.clone().execute_remedy(press.clone()).await.unwrap().into_inner();
    until("the end of the run", async || ![Outcome::Running, Outcome::Verifying].contains(&look().await.outcome())).await;
    Ok(look().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_taken_away_opens_pr_08_which_c_does_not_close_before_it_is_back() {
    let world = world();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    reaches(&life, REGISTRY, State::Ok).await;
    let away = world.registry().with_extension("away");
    fs::rename(world.registry(), &away).unwrap();
    let open = reaches(&life, REGISTRY, State::Open).await;
    assert_eq!(open.severity(), Severity::P2, "{open:?}");
    assert!(open.evidence.as_ref().is_some_and(|evidence| evidence.detail.contains("READY_STALE(")), "{open:?}");
    let answer = life.ask([1.0, 1.0]).await.unwrap();
    assert!(answer.version == 1 && answer.registry_age.is_some(), "{answer:?}");
    assert_eq!(life.promote(1, 1).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(reconnect(&life).await, Outcome::Failed, "a registry that is gone is not mended by asking");
    assert_ne!(mode(&life, REGISTRY).await.state(), State::Ok);

    fs::rename(&away, world.registry()).unwrap();
    reaches(&life, REGISTRY, State::Ok).await;
    assert_eq!(life.ask([1.0, 1.0]).await.unwrap().registry_age, None);
    let audit = FailureModeServiceClient::new(life.channel()).list_audit(ListAuditRequest::default()).await.unwrap().into_inner();
    assert!(!audit.entries.is_empty(), "what was pressed is written down");
    life.end().await;
}

pub async fn drilled(life: &Life, id: &str, control: bool) -> DrillRun {
    let mut drills = DrillServiceClient::new(life.channel());
    let begun = drills.start(StartDrillRequest { failure_mode: id.to_owned(), control }).await.unwrap().into_inner();
    let last = async || {
        let listed = drills.clone().list(ListDrillsRequest {}).await.unwrap().into_inner().drills;
        let drill = listed.into_iter().find(|drill| drill.failure_mode == id).unwrap();
        if control { drill.last_control } else { drill.last }
    };
    until("the end of the drill", async || {
        last().await.is_some_and(|run| run.id == begun.id && run.verdict() != Verdict::Running)
    })
    .await;
    last().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_of_a_silent_registry_passes_and_its_control_opens_nothing() {
    let mut world = world();
    // Looked at so seldom, only the probe sees it in time.
    world.settings.serving.look_every = HumanDuration::secs(60);
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    reaches(&life, REGISTRY, State::Ok).await;
    let run = drilled(&life, REGISTRY, false).await;
    assert_eq!(run.verdict(), Verdict::Passed, "{run:?}");
    assert!(run.detected_after.is_some() && run.remedied_after.is_some() && run.verified_after.is_some(), "{run:?}");
    assert_eq!(life.ask([1.0, 1.0]).await.unwrap().registry_age, None, "nothing of it is left");
    let control = drilled(&life, REGISTRY, true).await;
    assert_eq!((control.verdict(), control.detected_after), (Verdict::Passed, None), "{control:?}");
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_of_a_silent_queue_passes_leaves_no_job_behind_and_its_control_opens_nothing() {
    let world = world();
    let life = world.start().await;
    reaches(&life, QUEUE, State::Ok).await;
    // Also after one that was there before, whose champion is its own.
    for _ in 0..2 {
        let run = drilled(&life, QUEUE, false).await;
        assert_eq!(run.verdict(), Verdict::Passed, "{run:?}");
        assert!(run.contained_after.is_some() && run.remedied_after.is_some() && run.verified_after.is_some(), "{run:?}");
    }
    let control = drilled(&life, QUEUE, true).await;
    assert_eq!((control.verdict(), control.detected_after), (Verdict::Passed, None), "{control:?}");
    let jobs = PredictionJobServiceClient::new(life.channel()).list(ListPredictionsRequest::default()).await.unwrap();
    let states: Vec<_> = jobs.into_inner().jobs.into_iter().map(|job| (job.state(), job.attempts)).collect();
    assert_eq!(states, [(prediction_job::State::Succeeded, 1); 2], "one of each drill, and none of the control");
    life.end().await;
}

#[tokio::test]
async fn a_queue_is_not_drilled_where_nobody_works_on_jobs() {
    let mut world = world();
    world.settings.serving.jobs.workers = 0;
    let life = world.start().await;
    let listed = DrillServiceClient::new(life.channel()).list(ListDrillsRequest {}).await.unwrap().into_inner().drills;
    let drill = listed.into_iter().find(|drill| drill.failure_mode == QUEUE).unwrap();
    assert!(drill.unavailable.contains("serving.jobs.workers"), "{drill:?}");
    life.end().await;
}
