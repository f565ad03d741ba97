//! Jobs and their leader over an embedded store and history, on a clock that stands still.
#![allow(clippy::unwrap_used, dead_code)] // a module of several test programs, each of which uses its part

pub mod watched;

use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Clock, Day, Rules, StreamName, Timestamp,
    question::{Grain, GroupBy, UsageFilter, UsageQuery, UsageRow},
};
use loadline_event_log::embedded::Embedded;
use loadline_history::History;
use loadline_rollup::{
    Parts,
    job::{Job, JobError, Running},
    jobs,
    leader::{Leader, Scheduled},
};
use loadline_settings::RollupSettings;
use loadline_store::{
    JobRun, NewRun, Options, Store, Trigger,
    contract::{Owner, billing},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub const DAY: Duration = Duration::from_secs(86_400);
pub const TTL: Duration = Duration::from_secs(2);

/// Time that moves only when told to.
pub struct StillClock(pub AtomicI64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

pub fn noon() -> Timestamp {
    "2026-03-10T12:00:00Z".parse().unwrap()
}

pub struct World {
    pub clock: Arc<StillClock>,
    pub store: Arc<dyn Store>,
    pub parts: Parts,
    _folder: TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::over(|history| history).await
    }

    /// With something between the archive and history.
    pub async fn over(wrap: impl FnOnce(Arc<dyn History>) -> Arc<dyn History>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = |scheme: &str, name: &str| format!("{scheme}:{}", folder.path().join(name).display());
        let clock = Arc::new(StillClock(AtomicI64::new(noon().micros())));
        let store = loadline_store::open(&url("sqlite", "store.db"), Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        let history = loadline_history::open(&url("file", "history"), loadline_history::Options::default()).unwrap();
        history.prepare().await.unwrap();
        let log = Embedded::open_with(folder.path().join("log.db"), clock.clone()).await.unwrap();
        let parts = Parts {
            store: store.clone(),
            history: wrap(history),
            log: Arc::new(log),
            streams: vec![StreamName::new("BILLING").unwrap()],
            rules: Rules::default(),
            clock: clock.clone(),
            settings: RollupSettings { hot_days: 3, ..RollupSettings::default() },
        };
        Self { clock, store, parts, _folder: folder }
    }

    pub fn leader(&self, holder: &str, jobs: Vec<Scheduled>) -> Leader {
        Leader { jobs, store: self.store.clone(), clock: self.clock.clone(), holder: holder.to_owned(), ttl: TTL }
    }

    /// Every job, on request only.
    pub fn jobs(&self) -> Vec<Scheduled> {
        jobs::all(&self.parts).into_iter().map(|job| Scheduled { job, schedule: None }).collect()
    }

    pub async fn enqueue(&self, job: &str, key: &str) -> JobRun {
        let run = NewRun {
            job: job.to_owned(),
            idempotency_key: key.to_owned(),
            trigger: Trigger::Request,
            parameters: "{}".to_owned(),
            requested_by: "test".to_owned(),
            scheduled_for: None,
            attempt: 1,
        };
        self.store.enqueue(&run).await.unwrap().run().clone()
    }

    /// Waits until a run has ended.
    pub async fn ended(&self, run: &JobRun) -> JobRun {
        let ending = async {
            loop {
                let now = self.store.job_run(run.id).await.unwrap().unwrap();
                if now.state.is_final() {
                    return now;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(30), ending).await.expect("the run ends")
    }

    /// Events of an account over all days, hot and archived.
    pub async fn events(&self, account: &str) -> (i64, i64) {
        let query = UsageQuery {
            account: AccountId::new(account).unwrap(),
            from: Day::from_index(noon().day().index() - 30).first_hour(),
            to: noon().hour().next(),
            filter: UsageFilter::default(),
            group_by: GroupBy::default(),
            grain: Grain::Hour,
        };
        let (hot, as_of) = self.store.usage(&AccountScope::All, &query).await.unwrap();
        let parts = &as_of.sources.parts;
        let old = if parts.is_empty() {
            Vec::new()
        } else {
            self.parts.history.usage(&AccountScope::All, parts, &query).await.unwrap()
        };
        let sum = |rows: &[UsageRow]| rows.iter().map(|row| row.usage.events).sum();
        (sum(&hot), sum(&old))
    }
}

/// Runs a leader until dropped.
pub struct Leading(CancellationToken, tokio::task::JoinHandle<()>);

impl Leading {
    pub fn start(leader: Leader) -> Self {
        let end = CancellationToken::new();
        Self(end.clone(), tokio::spawn(leader.run(end)))
    }

    pub async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }

    /// As a process dies: nothing is given up.
    pub fn die(self) {
        self.1.abort();
    }
}

/// Ten events a day for ten days, counted as they happened.
pub async fn ten_days(world: &World) {
    let mut owner = Owner::of(&world.store, "BILLING").await;
    for day in (0..10).rev() {
        let at = noon().minus(DAY * day);
        owner.count_at(at, &(0..10).map(|number| billing(&format!("{day}-{number}"), "acme", at)).collect::<Vec<_>>()).await;
    }
}

/// Steps until it is told to end.
pub struct Endless;

#[async_trait]
impl Job for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn description(&self) -> &'static str {
        "Never ends by itself."
    }

    fn check(&self, _: &Value) -> Result<(), String> {
        Ok(())
    }

    async fn run(&self, run: &Running) -> Result<Value, JobError> {
        for done in 0.. {
            run.step(done, None, "on and on").await?;
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Value::Null)
    }
}

/// Of the same name, and ends at once.
pub struct Brief;

#[async_trait]
impl Job for Brief {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn description(&self) -> &'static str {
        "Ends at once."
    }

    fn check(&self, _: &Value) -> Result<(), String> {
        Ok(())
    }

    async fn run(&self, _: &Running) -> Result<Value, JobError> {
        Ok(json!({}))
    }
}
