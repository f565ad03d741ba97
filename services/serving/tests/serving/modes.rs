//! PR-08: a registry that is silent is seen, contained and mended by its key; and that is proven by its drill.

use crate::{
    onnx::plus,
    world::{Life, World, until},
};
use loadline_proto::health::{
    DrillRun, ExecuteRemedyRequest, ListAuditRequest, ListDrillsRequest, ModeStatus, PlanRemedyRequest, Severity,
    StartDrillRequest, State, WatchRequest, drill_run::Verdict, drill_service_client::DrillServiceClient,
    failure_mode_service_client::FailureModeServiceClient, frame::Body, remedy_run::Outcome,
};
use loadline_runtime::config::HumanDuration;
use std::fs;
use tonic::Code;

const MODE: &str = "PR-08";

/// Drills are on, and nothing is waited for that long.
fn world() -> World {
    let mut world = World::new();
    world.settings.drills.enabled = Some(true);
    world.settings.drills.times_at_most = Some(HumanDuration::secs(1));
    world
}

async fn mode(life: &Life) -> ModeStatus {
    let mut frames = FailureModeServiceClient::new(life.channel()).watch(WatchRequest::default()).await.unwrap().into_inner();
    let Some(Body::Snapshot(snapshot)) = frames.message().await.unwrap().unwrap().body else { panic!("no snapshot") };
    snapshot.modes.into_iter().find(|mode| mode.id == MODE).unwrap()
}

async fn reaches(life: &Life, state: State) -> ModeStatus {
    until(state.as_str_name(), async || mode(life).await.state() == state).await;
    mode(life).await
}

/// Presses C as an operator does; how the run ended.
async fn reconnect(life: &Life) -> Outcome {
    let mut modes = FailureModeServiceClient::new(life.channel());
    let ask = PlanRemedyRequest { failure_mode: MODE.to_owned(), key: "C".to_owned(), ..PlanRemedyRequest::default() };
    let plan = modes.plan_remedy(ask).await.unwrap().into_inner();
    assert_eq!((plan.target.as_str(), plan.confirm.as_str()), ("registry", "y"), "{plan:?}");
    let press = ExecuteRemedyRequest {
        plan_id: plan.id.clone(),
        confirm: "y".to_owned(),
        idempotency_key: plan.id,
        ..Default::default()
    };
    let run = modes.execute_remedy(press.clone()).await.unwrap().into_inner();
    assert!(!run.id.is_empty());
    // The same key is the same run: asking again tells how it stands.
    let outcome = async || modes.clone().execute_remedy(press.clone()).await.unwrap().into_inner().outcome();
    until("the end of the run", async || ![Outcome::Running, Outcome::Verifying].contains(&outcome().await)).await;
    outcome().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_taken_away_opens_pr_08_which_c_does_not_close_before_it_is_back() {
    let world = world();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    reaches(&life, State::Ok).await;
    let away = world.registry().with_extension("away");
    fs::rename(world.registry(), &away).unwrap();
    let open = reaches(&life, State::Open).await;
    assert_eq!(open.severity(), Severity::P2, "{open:?}");
    assert!(open.evidence.as_ref().is_some_and(|evidence| evidence.detail.contains("READY_STALE(")), "{open:?}");
    let answer = life.ask([1.0, 1.0]).await.unwrap();
    assert!(answer.version == 1 && answer.registry_age.is_some(), "{answer:?}");
    assert_eq!(life.promote(1, 1).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(reconnect(&life).await, Outcome::Failed, "a registry that is gone is not mended by asking");
    assert_ne!(mode(&life).await.state(), State::Ok);

    fs::rename(&away, world.registry()).unwrap();
    reaches(&life, State::Ok).await;
    assert_eq!(life.ask([1.0, 1.0]).await.unwrap().registry_age, None);
    let audit = FailureModeServiceClient::new(life.channel()).list_audit(ListAuditRequest::default()).await.unwrap().into_inner();
    assert!(!audit.entries.is_empty(), "what was pressed is written down");
    life.end().await;
}

async fn drilled(life: &Life, control: bool) -> DrillRun {
    let mut drills = DrillServiceClient::new(life.channel());
    drills.start(StartDrillRequest { failure_mode: MODE.to_owned(), control }).await.unwrap();
    let last = async || {
        let listed = drills.clone().list(ListDrillsRequest {}).await.unwrap().into_inner().drills;
        let drill = listed.into_iter().find(|drill| drill.failure_mode == MODE).unwrap();
        if control { drill.last_control } else { drill.last }
    };
    until("the end of the drill", async || last().await.is_some_and(|run| run.verdict() != Verdict::Running)).await;
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
    reaches(&life, State::Ok).await;
    let run = drilled(&life, false).await;
    assert_eq!(run.verdict(), Verdict::Passed, "{run:?}");
    assert!(run.detected_after.is_some() && run.remedied_after.is_some() && run.verified_after.is_some(), "{run:?}");
    assert_eq!(life.ask([1.0, 1.0]).await.unwrap().registry_age, None, "nothing of it is left");
    let control = drilled(&life, true).await;
    assert_eq!((control.verdict(), control.detected_after), (Verdict::Passed, None), "{control:?}");
    life.end().await;
}
