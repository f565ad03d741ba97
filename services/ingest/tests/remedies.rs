//! The remedies of ingest, through the gRPC service, on real backends: a fault opens a mode, an operator plans and executes, the
//! mode's own signal verifies it, and the audit has it all.
#![allow(clippy::unwrap_used)] // a test may panic, its helpers too

#[path = "../../ledger/tests/operator/mod.rs"]
mod operator;
#[path = "../../store/tests/postgres_server.rs"]
mod postgres_server;

use bytes::Bytes;
use loadline_domain::{Clock, Rules, StreamName, Timestamp, identity::Kind, time::SystemClock};
use loadline_event_log::{EventLog, NewRecord, Retention, StreamSpec};
use loadline_health::Monitor;
use loadline_ingest::{ACCESS, Ingest, OwnerSettings, Parts};
use loadline_proto::health::{State, remedy_run::Outcome};
use loadline_runtime::errors::reason;
use loadline_store::{
    Options, Store,
    contract::{Payload as _, billing},
};
use operator::{DONE, Operator, UNDONE, until};
use postgres_server::PostgresServer;
use sqlx::Connection as _;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};
use tempfile::TempDir;
use tonic::service::RoutesBuilder;

const STREAM: &str = "BILLING";

/// The machine's clock, and some seconds.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().micros() + self.0.load(SeqCst) * 1_000_000)
    }
}

struct World {
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    clock: Arc<Ahead>,
    monitor: Monitor,
    ingest: Ingest,
    operator: Operator,
    folder: TempDir,
}

fn stream() -> StreamName {
    StreamName::new(STREAM).unwrap()
}

/// The log and the store, before anybody reads.
async fn backends(folder: &TempDir, store: &str) -> (Arc<dyn EventLog>, Arc<dyn Store>) {
    let log = loadline_event_log::open(&format!("sqlite:{}", folder.path().join("log.db").display())).await.unwrap();
    let store = loadline_store::open(store, Options::default()).await.unwrap();
    store.migrate().await.unwrap();
    (log, store)
}

fn sqlite(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("store.db").display())
}

impl World {
    async fn new(retention: Retention) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (log, store) = backends(&folder, &sqlite(&folder)).await;
        Self::start(folder, log, store, retention).await
    }

    async fn start(folder: TempDir, log: Arc<dyn EventLog>, store: Arc<dyn Store>, retention: Retention) -> Self {
        let clock = Arc::new(Ahead::default());
        let monitor = Monitor::new("ingest", "test", Ingest::DETECTS).unwrap();
        // Dead letters are news for a minute.
        monitor.wait_at_most(Duration::from_secs(2));
        let owner = OwnerSettings {
            holder: "test".to_owned(),
            lease_ttl: Duration::from_secs(2),
            batch_records: 100,
            batch_bytes: 1 << 20,
            rules: Rules::default(),
        };
        let spec = StreamSpec { name: stream(), subject: "billing".to_owned(), retention };
        let parts = Parts {
            log: log.clone(),
            store: store.clone(),
            clock: clock.clone(),
            streams: vec![(spec, Kind::Billing)],
            owner,
            lag_limit: Duration::from_secs(300),
            monitor: monitor.clone(),
            remedies: vec![],
            drills: None,
        };
        let ingest = Ingest::start(parts).await.unwrap();
        let mut routes = RoutesBuilder::default();
        ingest.routes(&mut routes);
        let operator = Operator::at(&monitor, ACCESS, routes, store.clone()).await;
        let world = Self { log, store, clock, monitor, ingest, operator, folder };
        until("the stream", async || world.log.bounds(&stream()).await.is_ok()).await;
        world
    }

    async fn append(&self, payloads: Vec<Bytes>) {
        let records = payloads.into_iter().map(|payload| NewRecord { key: "acme".to_owned(), payload, traceparent: None });
        self.log.append(&stream(), records.collect()).await.unwrap();
    }

    async fn garbage(&self, records: usize) {
        self.append(vec![Bytes::from_static(b"\xff\xff\xff"); records]).await;
    }
}

fn days(days: u64) -> Retention {
    Retention { max_age: Some(Duration::from_secs(days * 86_400)), max_bytes: None }
}

/// K and D, both for undecodable events; together, because these are news for a minute.
async fn a_stopped_stream_is_resumed_its_letters_redriven_and_it_is_stopped_again(world: World) {
    let soon = billing("soon", "acme", SystemClock.now().plus(Duration::from_secs(7_200)));
    world.append(vec![soon.payload()]).await;
    world.garbage(250).await;
    until("the breaker", async || world.store.progress(&stream()).await.unwrap().is_some_and(|p| p.stopped.is_some())).await;
    world.operator.sees("AN-03", State::Open).await;
    until("the offer", async || world.operator.plan("AN-03", "K", "").await.is_ok()).await;

    let resume = world.operator.plan("AN-03", "K", "").await.unwrap();
    assert_eq!((resume.target.as_str(), resume.confirm.as_str()), (STREAM, "y"));
    let stopped_at = world.store.progress(&stream()).await.unwrap().unwrap().applied;
    assert_eq!(resume.effects[0].count, 251 - stopped_at);
    world.garbage(1).await;
    let resumed = world.operator.execute(&resume).await.unwrap();
    until("all applied", async || world.store.progress(&stream()).await.unwrap().unwrap().applied >= 251).await;

    // Its time has come.
    world.clock.0.store(3 * 3_600, SeqCst);
    let redrive = world.operator.plan("AN-03", "D", "reason=FUTURE").await.unwrap();
    assert_eq!((redrive.confirm.as_str(), redrive.effects[1].count), ("1", 1));
    let redriven = world.operator.execute(&redrive).await.unwrap();
    let redriven = world.operator.ends(&redriven, Outcome::Verified).await;
    assert!(redriven.actual.iter().any(|effect| effect.text == "counted" && effect.count == 1), "{redriven:?}");
    let resumed = world.operator.ends(&resumed, Outcome::Verified).await;
    assert_eq!(world.monitor.status("AN-03").unwrap().state(), State::Ok);
    let progress = world.store.progress(&stream()).await.unwrap().unwrap();
    assert_eq!((progress.counted, progress.dead_lettered, progress.unaccounted()), (1, 251, 0));
    assert_eq!(world.operator.story("D").await, DONE);
    let refused = world.operator.plan("AN-03", "D", "reason=FUTURE").await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("REMEDY_UNAVAILABLE"));

    world.operator.undo(&resumed).await;
    world.operator.ends(&resumed, Outcome::RolledBack).await;
    // The owner hears of it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let stopped = world.store.progress(&stream()).await.unwrap().unwrap();
    assert!(stopped.stopped.is_some_and(|why| why.contains("undone")));
    world.garbage(1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.store.progress(&stream()).await.unwrap().unwrap().applied, stopped.applied);
    let story = world.operator.story("K").await;
    assert_eq!(story[story.len() - 4..], [DONE[1], DONE[2], UNDONE[0], UNDONE[1]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecodable_events_on_sqlite() {
    let world = World::new(days(7)).await;
    a_stopped_stream_is_resumed_its_letters_redriven_and_it_is_stopped_again(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecodable_events_on_postgres() {
    let server = PostgresServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (log, store) = backends(&folder, &server.url()).await;
    let world = World::start(folder, log, store, days(7)).await;
    a_stopped_stream_is_resumed_its_letters_redriven_and_it_is_stopped_again(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scarce_retention_is_extended_and_not_set_back_over_what_is_unread() {
    let folder = tempfile::tempdir().unwrap();
    let (log, store) = backends(&folder, &sqlite(&folder)).await;
    // Somebody who does not read: what is appended stays unread.
    store.acquire(&stream(), "idle", Duration::from_secs(3_600)).await.unwrap().unwrap();
    let kept = |seconds| Retention { max_age: Some(Duration::from_secs(seconds)), max_bytes: None };
    let world = World::start(folder, log, store, kept(1_000)).await;
    world.garbage(1).await;
    world.clock.0.store(900, SeqCst);
    world.operator.sees("AN-09", State::Open).await;

    let plan = world.operator.plan("AN-09", "E", "").await.unwrap();
    assert_eq!((plan.target.as_str(), plan.effects[0].count), (STREAM, 2_000));
    let run = world.operator.execute(&plan).await.unwrap();
    world.operator.ends(&run, Outcome::Verified).await;
    assert_eq!(world.log.bounds(&stream()).await.unwrap().retention, kept(2_000));
    assert_eq!(world.operator.story("E").await, DONE);

    world.clock.0.store(1_100, SeqCst);
    world.operator.undo(&run).await;
    until("the refusal", async || world.operator.runs().await[0].note.contains("unread")).await;
    assert_eq!(world.log.bounds(&stream()).await.unwrap().retention, kept(2_000));
    world.clock.0.store(0, SeqCst);
    world.operator.undo(&run).await;
    world.operator.ends(&run, Outcome::RolledBack).await;
    assert_eq!(world.log.bounds(&stream()).await.unwrap().retention, kept(1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_behind_is_read_more_widely_by_the_process_that_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (log, store) = backends(&folder, &sqlite(&folder)).await;
    let idle = store.acquire(&stream(), "idle", Duration::from_secs(3_600)).await.unwrap().unwrap();
    let world = World::start(folder, log, store, days(7)).await;
    world.append((0..500).map(|n| billing(&format!("{n}"), "acme", SystemClock.now()).payload()).collect()).await;
    world.clock.0.store(600, SeqCst);
    world.operator.sees("AN-02", State::Open).await;
    let refused = world.operator.plan("AN-02", "W", "").await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("REMEDY_UNAVAILABLE"));

    world.store.release(&idle).await.unwrap();
    until("the lease", async || world.ingest.statuses()[0].seen().lease.is_some()).await;
    let run = world.operator.execute(&world.operator.plan("AN-02", "W", STREAM).await.unwrap()).await.unwrap();
    world.operator.ends(&run, Outcome::Verified).await;
    let status = &world.ingest.statuses()[0];
    assert_eq!(status.batch_records(100), 400);
    assert_eq!(world.operator.story("W").await.last().unwrap(), DONE[2]);
    world.operator.undo(&run).await;
    world.operator.ends(&run, Outcome::RolledBack).await;
    assert_eq!(status.batch_records(100), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_reconnected_once_it_can_write_down_that_it_is() {
    let world = World::new(days(7)).await;
    until("the first reading", async || world.monitor.status("AN-01").unwrap().state() == State::Ok).await;
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(world.folder.path().join("store.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    world.operator.sees("AN-01", State::Open).await;
    let refused = world.operator.plan("AN-01", "C", "").await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("AUDIT_UNAVAILABLE"));
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    drop(other);
    let run = world.operator.execute(&world.operator.plan("AN-01", "C", "").await.unwrap()).await.unwrap();
    let run = world.operator.ends(&run, Outcome::Verified).await;
    assert!(run.actual.iter().any(|effect| effect.text.contains("new connection")), "{run:?}");
    let story = world.operator.story("C").await;
    assert_eq!(story[story.len() - 3..], DONE);
}
