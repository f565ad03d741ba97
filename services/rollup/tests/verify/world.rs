//! A log that reaches back, a store that counted it, and the job between them, at a time that stands still.
#![allow(dead_code, clippy::unwrap_used)] // a module of several test programs, each of which uses its part

use crate::postgres_server::PostgresServer;
use async_trait::async_trait;
use futures::future::BoxFuture;
use loadline_domain::{
    Batch, Clock, Hour, Incarnation, Rules, Sequence, StreamName, Timestamp,
    usage::{Usage, UsageKey},
};
use loadline_event_log::{Bounds, Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec, embedded::Embedded};
use loadline_proto::event::DeliveryStatus;
use loadline_rollup::{
    Parts, jobs,
    leader::{Leader, Scheduled},
};
use loadline_settings::RollupSettings;
use loadline_store::{
    AuditEntry, JobRun, NewRun, Options, RunState, Store, StoreError, Trigger,
    contract::{Payload, billing, receipt},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);
const TTL: Duration = Duration::from_secs(2);

/// The night in which a day is verified.
pub fn night() -> Timestamp {
    "2026-11-21T04:10:00Z".parse().unwrap()
}

/// An hour of the day before.
pub fn at(hour: u32) -> Timestamp {
    night().day().start().minus(DAY).plus(HOUR * hour)
}

/// An hour as it is asked for.
pub fn asked(hour: u32) -> String {
    at(hour).to_string()
}

pub fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// Time that moves only when told to.
pub struct StillClock(AtomicI64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl StillClock {
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.micros(), Ordering::SeqCst);
    }
}

/// What happens between the snapshot and the reading of the log.
pub type Meddle = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// A log in front of which something may happen, once, when a stream is sought in for the so many-th time.
pub struct Meddled {
    log: Arc<Embedded>,
    waiting: Mutex<Option<(u32, Meddle)>>,
}

impl Meddled {
    /// Before the `nth` window that is compared, counted from 0.
    pub fn before_window(&self, nth: u32, meddle: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static) {
        *self.waiting.lock().unwrap() = Some((nth, Box::new(meddle)));
    }

    fn due(&self, stream: &StreamName) -> Option<Meddle> {
        let mut waiting = self.waiting.lock().unwrap();
        if stream.as_str() != "BILLING" {
            return None;
        }
        match waiting.take()? {
            (0, meddle) => Some(meddle),
            (left, meddle) => {
                *waiting = Some((left - 1, meddle));
                None
            }
        }
    }
}

#[async_trait]
impl EventLog for Meddled {
    async fn ensure(&self, spec: &StreamSpec) -> Result<(), LogError> {
        self.log.ensure(spec).await
    }

    async fn append(&self, stream: &StreamName, records: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError> {
        self.log.append(stream, records).await
    }

    async fn read(
        &self,
        stream: &StreamName,
        incarnation: &Incarnation,
        from: Sequence,
        limit: ReadLimit,
        wait: Duration,
    ) -> Result<Vec<Entry>, LogError> {
        self.log.read(stream, incarnation, from, limit, wait).await
    }

    async fn bounds(&self, stream: &StreamName) -> Result<Bounds, LogError> {
        self.log.bounds(stream).await
    }

    async fn peek(&self, stream: &StreamName, sequence: Sequence) -> Result<Option<(Sequence, Timestamp)>, LogError> {
        self.log.peek(stream, sequence).await
    }

    async fn seek(&self, stream: &StreamName, time: Timestamp) -> Result<Sequence, LogError> {
        if let Some(meddle) = self.due(stream) {
            meddle().await;
        }
        self.log.seek(stream, time).await
    }

    async fn set_retention(&self, stream: &StreamName, retention: Retention) -> Result<(), LogError> {
        self.log.set_retention(stream, retention).await
    }

    async fn caveats(&self) -> Result<Vec<String>, LogError> {
        self.log.caveats().await
    }

    async fn probe(&self) -> Result<(), LogError> {
        self.log.probe().await
    }
}

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// What ingest and hands are given: cheap to clone into what meddles.
#[derive(Clone)]
pub struct Counting {
    pub clock: Arc<StillClock>,
    pub log: Arc<Embedded>,
    pub store: Arc<dyn Store>,
    url: String,
}

pub struct World {
    pub counting: Counting,
    pub meddled: Arc<Meddled>,
    pub parts: Parts,
    _server: Option<PostgresServer>,
    _folder: TempDir,
}

impl World {
    /// Streams that reach back two days before the night, with nothing of the day before it.
    pub async fn new(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let server = if backend == Backend::Postgres { Some(PostgresServer::start().await) } else { None };
        let url = server.as_ref().map_or_else(|| format!("sqlite:{}", file("store.db")), PostgresServer::url);
        let clock = Arc::new(StillClock(AtomicI64::new(night().minus(DAY * 2).micros())));
        let store = loadline_store::open(&url, Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        let history = loadline_history::open(&format!("file:{}", file("history")), loadline_history::Options::default()).unwrap();
        history.prepare().await.unwrap();
        let log = Arc::new(Embedded::open_with(file("log.db"), clock.clone()).await.unwrap());
        let meddled = Arc::new(Meddled { log: log.clone(), waiting: Mutex::new(None) });
        let counting = Counting { clock: clock.clone(), log, store: store.clone(), url };
        for name in ["BILLING", "DLR"] {
            counting.ensure(name).await;
        }
        let long_ago = clock.now();
        counting.count("BILLING", &[billing("long ago", "acme", long_ago)]).await;
        counting.count("DLR", &[receipt("long ago", "acme", long_ago, DeliveryStatus::Delivered)]).await;
        let parts = Parts {
            store,
            history,
            log: meddled.clone(),
            streams: vec![stream("BILLING"), stream("DLR")],
            rules: Rules::default(),
            clock: clock.clone(),
            settings: RollupSettings { hot_days: 3, ..RollupSettings::default() },
        };
        clock.set(night());
        Self { counting, meddled, parts, _server: server, _folder: folder }
    }

    /// The day before the night: three accounts from eight to eleven o'clock, with duplicates, conflicts, receipts, refused
    /// and late records among theirs.
    pub async fn busy(backend: Backend) -> Self {
        let world = Self::new(backend).await;
        for hour in 8..12 {
            world.counting.hour(hour).await;
        }
        world.counting.clock.set(at(20));
        // Of the hour of eight, taken in the evening; one is known, with other content.
        world.counting.count("BILLING", &[billing("8-late", "acme", at(8)), billing("8-1", "bolt", at(8))]).await;
        world.counting.clock.set(night());
        world
    }

    pub fn leader(&self, holder: &str) -> Leader {
        let jobs = jobs::all(&self.parts).into_iter().map(|job| Scheduled { job, schedule: None }).collect();
        let (store, clock) = (self.parts.store.clone(), self.parts.clock.clone());
        Leader { jobs, store, clock, holder: holder.to_owned(), ttl: TTL }
    }

    pub fn lead(&self, holder: &str) -> Leading {
        let end = CancellationToken::new();
        Leading(end.clone(), tokio::spawn(self.leader(holder).run(end)))
    }

    pub async fn enqueue(&self, parameters: &Value) -> JobRun {
        self.enqueue_job("verify", parameters).await
    }

    pub async fn enqueue_job(&self, job: &str, parameters: &Value) -> JobRun {
        let run = NewRun {
            job: job.to_owned(),
            idempotency_key: uuid::Uuid::now_v7().to_string(),
            trigger: Trigger::Request,
            parameters: parameters.to_string(),
            requested_by: "operator".to_owned(),
            scheduled_for: None,
            attempt: 1,
        };
        self.parts.store.enqueue(&run).await.unwrap().run().clone()
    }

    /// Waits until a run has ended.
    pub async fn ended(&self, run: &JobRun) -> JobRun {
        let ending = async {
            loop {
                let now = self.parts.store.job_run(run.id).await.unwrap().unwrap();
                if now.state.is_final() {
                    return now;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(60), ending).await.expect("the run ends")
    }

    /// Runs it to its good end, under a leader of its own; what it tells.
    pub async fn verify(&self, parameters: Value) -> Value {
        let leading = self.lead("one");
        let run = self.enqueue(&parameters).await;
        let ended = self.ended(&run).await;
        leading.stop().await;
        assert_eq!(ended.state, RunState::Succeeded, "{ended:?}");
        serde_json::from_str(ended.result.as_deref().unwrap()).unwrap()
    }

    pub async fn audit(&self) -> Vec<AuditEntry> {
        self.parts.store.audit(0, 100).await.unwrap()
    }

    /// Every row of the two days before the night.
    pub async fn rows(&self) -> BTreeMap<UsageKey, Usage> {
        let (from, to) = (night().minus(DAY * 3).hour(), night().hour().next());
        self.parts.store.held(None, from, to, 10_000).await.unwrap().unwrap().rows.into_iter().collect()
    }
}

impl Counting {
    pub async fn ensure(&self, name: &str) {
        let (name, subject) = (stream(name), name.to_ascii_lowercase());
        self.log.ensure(&StreamSpec { name, subject, retention: Retention { max_age: None, max_bytes: None } }).await.unwrap();
    }

    /// An hour's traffic, half an hour into it.
    async fn hour(&self, hour: u32) {
        let begin = at(hour);
        self.clock.set(begin.plus(MINUTE * 30));
        let mut bills = Vec::new();
        for (account, events) in [("acme", 10), ("bolt", 5), ("core", 1)] {
            bills.extend((0..events).map(|n| billing(&format!("{hour}-{n}"), account, begin.plus(MINUTE * n))));
        }
        bills.push(billing(&format!("{hour}-0"), "acme", begin));
        bills.push(billing(&format!("{hour}-1"), "acme", begin));
        bills.push(billing("long ago", "acme", begin));
        let mut broken = billing(&format!("{hour}-broken"), "acme", begin);
        broken.amount_micros = -1;
        bills.push(broken);
        bills.push(billing(&format!("{hour}-late"), "bolt", begin.minus(DAY * 3)));
        self.count("BILLING", &bills).await;
        let receipts: Vec<_> = (0..6)
            .map(|n| receipt(&format!("{hour}-{}", n % 5), "acme", begin.plus(MINUTE * (n % 5)), DeliveryStatus::Delivered))
            .collect();
        self.count("DLR", &receipts).await;
    }

    /// Appends to a stream now, and counts all that is in it.
    pub async fn count<P: Payload>(&self, name: &str, events: &[P]) {
        self.append(name, events).await;
        self.apply(name).await;
    }

    pub async fn append<P: Payload>(&self, name: &str, events: &[P]) {
        let record = |event: &P| NewRecord { key: "key".to_owned(), payload: event.payload(), traceparent: None };
        self.log.append(&stream(name), events.iter().map(record).collect()).await.unwrap();
    }

    /// Counts what is in a stream, as ingest would.
    pub async fn apply(&self, name: &str) {
        let stream = stream(name);
        let lease = self.store.acquire(&stream, "ingest", MINUTE).await.unwrap().unwrap();
        let bounds = self.log.bounds(&stream).await.unwrap();
        let progress = self.store.open_stream(&lease, &bounds.incarnation, &[]).await.unwrap();
        let mut batch = Batch::new(stream.clone(), bounds.incarnation.clone(), progress.applied);
        while batch.to() < bounds.last {
            let limit = ReadLimit { records: 1_000, bytes: 1 << 20 };
            for entry in self.log.read(&stream, &bounds.incarnation, batch.to() + 1, limit, Duration::ZERO).await.unwrap() {
                match entry {
                    Entry::Record(record) => {
                        let recorded_at = record.recorded_at;
                        batch.push(record, recorded_at, &Rules::default());
                    }
                    Entry::Lost(loss) => batch.push_loss(loss),
                }
            }
        }
        let mut waiting = if batch.is_empty() { vec![] } else { vec![batch.seal()] };
        while let Some(batch) = waiting.pop() {
            match (self.store.commit(&lease, &batch).await, batch.halves(&Rules::default())) {
                (Err(StoreError::Overflow(_)), Some([first, second])) => waiting.extend([second, first]),
                (Err(StoreError::Overflow(_)), None) => waiting.push(batch.refused_as_too_much().unwrap()),
                (committed, _) => drop(committed.unwrap()),
            }
        }
        self.store.release(&lease).await.unwrap();
    }

    /// Lets both streams keep what was taken from `time` on, and no more.
    pub async fn forget_before(&self, time: Timestamp) {
        let retention = Retention { max_age: Some(self.clock.now().since(time)), max_bytes: None };
        for name in ["BILLING", "DLR"] {
            self.log.set_retention(&stream(name), retention).await.unwrap();
        }
    }

    /// Changes the store behind everybody's back, in so many rows.
    pub async fn tamper(&self, sql: impl Into<String>, rows: u64) {
        let sql = AssertSqlSafe(sql.into());
        let changed = match self.url.strip_prefix("sqlite:") {
            Some(path) => {
                let file = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(MINUTE);
                let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
            }
            None => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
            }
        };
        assert_eq!(changed, rows, "rows tampered with");
    }
}

/// Runs a leader until stopped.
pub struct Leading(CancellationToken, JoinHandle<()>);

impl Leading {
    pub async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }

    /// As a process dies: nothing is given up.
    pub async fn die(self) {
        self.1.abort();
        let _ = self.1.await;
    }
}

/// A condition on an account's hour of the day before the night, for SQL.
pub fn of(account: &str, hour: u32) -> String {
    format!("account = '{account}' AND hour = {}", hour_of(hour).index())
}

pub fn hour_of(hour: u32) -> Hour {
    at(hour).hour()
}
