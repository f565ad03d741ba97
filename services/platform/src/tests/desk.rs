//! N at a desk: who may press it, what it refuses, and what is in force after it.

use super::*;
use futures::StreamExt as _;
use loadline_health::{
    Desk,
    audit::{self, AuditError, AuditLog, Entry, GENESIS, Record},
    desk::{Parts, Refusal},
    remedy::{Conservation, LeaseError, Leases},
};
use loadline_proto::health::{
    ExecuteRemedyRequest, Frame, PlanRemedyRequest, RemedyPlan, RemedyRun, State, UndoRemedyRequest, WatchRequest,
    failure_mode_service_server::FailureModeService as _, frame::Body, remedy_run::Outcome,
};
use loadline_runtime::identity::{Identity, Role};
use std::{path::PathBuf, sync::Mutex};

/// Everything in memory, nobody else there.
#[derive(Default)]
struct Alone(Mutex<Vec<Entry>>);

#[async_trait::async_trait]
impl AuditLog for Alone {
    async fn append(&self, record: Record) -> Result<Entry, AuditError> {
        let mut entries = self.0.lock().unwrap();
        let previous_hash = entries.last().map_or(GENESIS, |last| last.hash);
        let (id, at) = (entries.len() as u64 + 1, SystemTime::now());
        let hash = audit::hash(&previous_hash, at, &record);
        entries.push(Entry { id, at, hash, record, previous_hash });
        Ok(entries.last().unwrap().clone())
    }

    async fn entries(&self, _: u64, _: u32) -> Result<Vec<Entry>, AuditError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

impl Alone {
    /// What came of each entry, the oldest first.
    fn outcomes(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|entry| entry.record.outcome.clone()).collect()
    }
}

#[async_trait::async_trait]
impl Leases for Alone {
    async fn hold(&self, _: &str, _: &str, _: Duration) -> Result<bool, LeaseError> {
        Ok(true)
    }

    async fn release(&self, _: &str, _: &str) -> Result<(), LeaseError> {
        Ok(())
    }

    async fn names(&self) -> Result<Vec<String>, LeaseError> {
        Ok(vec![])
    }
}

#[async_trait::async_trait]
impl Conservation for Alone {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A process with a configuration file, and the current life of its one service.
struct World {
    platform: Platform,
    process: Shutdown,
    alone: Arc<Alone>,
    file: PathBuf,
    _folder: TempDir,
}

struct Lived {
    monitor: Monitor,
    desk: Desk,
    shutdown: Shutdown,
    _watching: tokio_util::task::AbortOnDropHandle<()>,
}

impl World {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("loadline.toml");
        fs::write(&file, text).unwrap();
        let settings = Settings::read(Some(&file), vec![]).unwrap().config;
        let telemetry = loadline_runtime::telemetry::init(&settings.telemetry, "test", "0").unwrap();
        let platform = Platform::new(Kept::new(settings, Some(file.clone()), vec![]), telemetry);
        Self { platform, process: Shutdown::new(), alone: Arc::default(), file, _folder: folder }
    }

    fn write(&self, text: &str) {
        fs::write(&self.file, text).unwrap();
    }

    fn batch(&self) -> usize {
        self.platform.settings().ingest.batch_records
    }

    async fn life(&self, left: Option<String>) -> Lived {
        let shutdown = self.process.life(loadline_runtime::lifecycle::Restarts::Process, left);
        let monitor = self.platform.monitor("ingest", "test", &[]).unwrap();
        let readiness = Readiness::default();
        let watch = self.platform.watched(Life { monitor: &monitor, readiness: &readiness, shutdown: &shutdown, faults: None });
        let alone = self.alone.clone();
        let parts = Parts { remedies: watch.remedies(), audit: alone.clone(), leases: alone.clone(), conservation: alone };
        let desk = Desk::install(&monitor, parts).unwrap();
        shutdown.left().into_iter().for_each(|left| desk.take_over(left));
        let watched = monitor.clone();
        let _watching = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move { watch.run(&watched).await }));
        until(&monitor, SECRETS, State::Ok).await;
        Lived { monitor, desk, shutdown, _watching }
    }
}

fn person(role: Role) -> Identity {
    Identity { name: "alice".to_owned(), role, accounts: vec![] }
}

impl Lived {
    async fn plan_as(&self, role: Role) -> Result<RemedyPlan, Refusal> {
        let (failure_mode, key) = (CONFIGURATION.to_owned(), "N".to_owned());
        let ask = PlanRemedyRequest { failure_mode, key, target: String::new(), reason: "mended".to_owned() };
        self.desk.plan(&person(role), ask).await
    }

    async fn confirm(&self, plan: &RemedyPlan, confirm: &str) -> Result<RemedyRun, Refusal> {
        let (plan_id, confirm, idempotency_key) = (plan.id.clone(), confirm.to_owned(), plan.id.clone());
        let ask = ExecuteRemedyRequest { plan_id, confirm, idempotency_key, reason: String::new() };
        self.desk.execute(&person(Role::Operator), ask).await
    }

    async fn refused(&self) -> String {
        let refusal = self.plan_as(Role::Operator).await.unwrap_err();
        assert_eq!(refusal.reason(), "REMEDY_UNAVAILABLE");
        refusal.to_string()
    }

    /// What a watcher is told first.
    async fn first_frame(&self) -> Frame {
        let service = loadline_health::failure_modes::service(self.monitor.clone());
        let mut frames = service.watch(tonic::Request::new(WatchRequest::default())).await.unwrap().into_inner();
        frames.next().await.unwrap().unwrap()
    }

    /// The runs that its desk shows to whoever watches.
    async fn shown(&self) -> Vec<RemedyRun> {
        match self.first_frame().await.body {
            Some(Body::Snapshot(shown)) => shown.runs,
            other => panic!("no snapshot: {other:?}"),
        }
    }

    async fn runs(&self) -> usize {
        self.shown().await.len()
    }

    /// The run once it has ended.
    async fn ended(&self, id: &str) -> RemedyRun {
        for _ in 0..600 {
            if let Some(run) = self.shown().await.into_iter().find(|run| run.id == id && run.finished_at.is_some()) {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the run does not end");
    }
}

#[tokio::test]
async fn what_is_read_again_is_in_force_in_the_next_life_and_is_taken_back() {
    let world = World::new("[ingest]\nbatch_records = 700\n");
    let life = world.life(None).await;
    world.write("[ingest]\nbatch_records = 900\n");
    let plan = life.plan_as(Role::Operator).await.unwrap();
    assert!(plan.effects[0].text.contains("ingest.batch_records") && plan.undo_within.is_some(), "{plan:?}");
    let run = life.confirm(&plan, "y").await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), life.shutdown.cancelled()).await.unwrap();
    assert_eq!((world.batch(), world.process.is_begun()), (900, false), "the process lives on");
    let next = world.life(life.shutdown.successor()).await;
    let ended = next.ended(&run.id).await;
    assert_eq!(ended.outcome(), Outcome::Verified, "{ended:?}");
    let undo = UndoRemedyRequest { run_id: run.id.clone(), reason: "worse".to_owned() };
    next.desk.undo(&person(Role::Operator), undo).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), next.shutdown.cancelled()).await.unwrap();
    assert_eq!(world.batch(), 700);
}

#[tokio::test]
async fn watchers_are_told_of_which_installation_a_process_is_and_that_its_times_are_shortened() {
    let world = World::new("[installation]\nname = \"prod-eu1\"\n[drills]\ntimes_at_most = \"20s\"\n");
    let frame = world.life(None).await.first_frame().await;
    assert_eq!((frame.installation.as_str(), frame.times_at_most.map(|longest| longest.seconds)), ("prod-eu1", Some(20)));
    let frame = World::new("").life(None).await.first_frame().await;
    assert_eq!((frame.installation.as_str(), frame.times_at_most), ("", None));
}

#[test]
fn an_installation_has_a_name_that_fits_on_a_line() {
    for (name, is_good) in
        [("prod-eu1", true), ("", false), ("prod eu1", false), ("prod\u{202e}", false), (&"x".repeat(25), false)]
    {
        let read = Settings::read(None, vec![("installation.name".to_owned(), name.to_owned())]);
        assert_eq!(read.is_ok(), is_good, "{name}: {read:?}");
    }
}

#[tokio::test]
async fn what_is_not_good_is_refused_with_all_that_is_wrong_and_what_is_in_force_stays() {
    let world = World::new("[ingest]\nbatch_records = 700\n");
    let life = world.life(None).await;
    world.write("[ingest]\nbatch_records = 0\nbatch_bites = 3\n[store]\nurl = \"secret:/nowhere/at/all\"\n");
    let refused = life.refused().await;
    for part in ["ingest.batch_records", "ingest.batch_bites", "store.url", "stays in force"] {
        assert!(refused.contains(part), "{part} is not in: {refused}");
    }
    world.write("[telemetry]\nlog = \"debug\"\n[ingest]\nbatch_records = 900\n");
    let refused = life.refused().await;
    assert!(refused.contains("only a start of the process applies telemetry.log"), "{refused}");
    assert_eq!((world.batch(), life.shutdown.is_begun()), (700, false));
}

#[tokio::test]
async fn what_is_there_again_as_it_was_needs_no_other_life() {
    let world = World::new("[ingest]\nbatch_records = 700\n");
    let life = world.life(None).await;
    let plan = life.plan_as(Role::Operator).await.unwrap();
    assert_eq!(plan.undo_within, None, "there is nothing to take back: {plan:?}");
    let run = life.confirm(&plan, "y").await.unwrap();
    assert_eq!(life.ended(&run.id).await.outcome(), Outcome::Verified);
    assert!(!life.shutdown.is_begun());
}

#[tokio::test]
async fn it_needs_an_operator_its_text_and_the_world_that_was_planned() {
    let world = World::new("[ingest]\nbatch_records = 700\n");
    let life = world.life(None).await;
    world.write("[ingest]\nbatch_records = 900\n");
    assert_eq!(life.plan_as(Role::Service).await.unwrap_err().reason(), "ACCESS_DENIED");
    let plan = life.plan_as(Role::Operator).await.unwrap();
    assert_eq!(life.confirm(&plan, "1").await.unwrap_err().reason(), "WRONG_CONFIRM");
    world.write("[ingest]\nbatch_records = 901\n");
    assert_eq!(life.confirm(&plan, "y").await.unwrap_err().reason(), "WORLD_MOVED");
    assert_eq!((world.batch(), life.shutdown.is_begun()), (700, false));
}

#[tokio::test]
async fn an_expired_plan_is_refused_with_nothing_done_and_a_new_one_is_executed() {
    let world = World::new("[ingest]\nbatch_records = 700\n");
    let life = world.life(None).await;
    world.write("[ingest]\nbatch_records = 900\n");
    let plan = life.plan_as(Role::Operator).await.unwrap();
    let expires = SystemTime::try_from(plan.expires_at.unwrap()).unwrap();
    let left = expires.duration_since(SystemTime::now()).unwrap();
    tokio::time::pause();
    tokio::time::advance(left + Duration::from_secs(1)).await;
    tokio::time::resume();
    assert_eq!(life.confirm(&plan, "y").await.unwrap_err().reason(), "PLAN_EXPIRED");
    assert_eq!((world.batch(), life.shutdown.is_begun(), life.runs().await), (700, false, 0));
    let story = world.alone.outcomes();
    assert!(story.last().is_some_and(|last| last.contains("PLAN_EXPIRED")), "the refusal is in the audit: {story:?}");

    until(&life.monitor, CONFIGURATION, State::Ok).await;
    let again = life.plan_as(Role::Operator).await.unwrap();
    life.confirm(&again, "y").await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), life.shutdown.cancelled()).await.unwrap();
    assert_eq!(world.batch(), 900);
}

#[tokio::test]
async fn a_configuration_that_no_service_starts_with_is_taken_back_and_told() {
    let world = World::new("[ingest]\nbatch_records = 700\n");
    world.write("[ingest]\nbatch_records = 900\n");
    let (kept, life) = (&world.platform.kept, || world.process.life(loadline_runtime::lifecycle::Restarts::Life, None));
    kept.put(kept.read().unwrap());
    let first = life();
    let failing = async { Err(anyhow::anyhow!("the port is taken")) };
    assert!(world.platform.live(first.clone(), failing).await.is_ok() && first.successor().is_some(), "it lives again");
    assert_eq!(world.batch(), 700);
    let reading = kept.look();
    assert!(reading.bad && reading.detail.contains("the port is taken"), "{reading:?}");
    world.write("[ingest]\nbatch_records = 901\n");
    assert!(!kept.look().bad, "nobody has tried that one");

    // One that a service was ready with is not to blame for a later end.
    kept.put(kept.read().unwrap());
    kept.is_tried();
    let failing = async { Err(anyhow::anyhow!("the disk is full")) };
    assert!(world.platform.live(life(), failing).await.is_err());
    assert_eq!(world.batch(), 901);
}
