//! `loadline bench ingest`: a backlog through the real service, and what the design costs against two others.

use super::{
    baseline,
    events::{Events, Ids},
    health, memory, questions,
    report::{Report, Run},
};
use anyhow::{Context as _, bail, ensure};
use loadline_domain::{Batch, Clock, Incarnation, StreamName, fold::Rules, identity::Kind, progress::Lease, time::SystemClock};
use loadline_event_log::{Entry, EventLog, ReadLimit, Retention, StreamSpec};
use loadline_health::Monitor;
use loadline_ingest::{Ingest, OwnerSettings, Parts};
use loadline_runtime::config::SecretUrl;
use loadline_store::{Options, Store};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Appends in flight while the backlog is made.
const APPENDS: usize = 4;
const CHUNK: usize = 2_000;
const LEASE: Duration = Duration::from_secs(300);
/// Longest a phase may take.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, clap::Args)]
pub struct IngestArgs {
    /// Event log; a scratch SQLite file when absent
    #[arg(long)]
    log: Option<String>,
    /// Store, empty or of an earlier bench; a scratch SQLite file when absent
    #[arg(long)]
    store: Option<String>,
    /// Events applied end to end
    #[arg(long, default_value_t = 500_000)]
    events: u64,
    /// Events applied one transaction each
    #[arg(long, default_value_t = 3_000)]
    one_by_one: u64,
    /// Records of a batch
    #[arg(long, default_value_t = 5_000)]
    batch: usize,
    /// Accounts, Zipf-distributed
    #[arg(long, default_value_t = 200)]
    accounts: u32,
    /// Dedup rows put into the events' partition beforehand (PostgreSQL only)
    #[arg(long, default_value_t = 0)]
    preload: u64,
    /// Kinds of ids
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Ids::V7, Ids::V4])]
    ids: Vec<Ids>,
    /// Rounds of applying with and without the health machinery; 0 compares nothing
    #[arg(long, default_value_t = 4)]
    health_rounds: usize,
    /// Questions a second for a month of hours; 0 asks none
    #[arg(long, default_value_t = 500)]
    questions: u32,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Whether an ingest under test tells of its health.
pub enum Watching {
    /// To this monitor.
    By(Monitor),
    /// To nobody.
    Off,
}

/// The backends under test.
pub struct Bench {
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn Store>,
    pub store_url: String,
    args: IngestArgs,
    rules: Rules,
}

/// Runs every phase and returns the figures.
pub async fn run(args: IngestArgs) -> anyhow::Result<Report> {
    let scratch = tempfile::tempdir().context("a folder for scratch files")?;
    let file = |name: &str| format!("sqlite:{}", scratch.path().join(name).display());
    let log_url = args.log.clone().unwrap_or_else(|| file("log.db"));
    let store_url = args.store.clone().unwrap_or_else(|| file("store.db"));
    let log = loadline_event_log::open(&log_url).await?;
    let store = loadline_store::open(&store_url, Options::default()).await?;
    store.migrate().await?;
    refuse_production(&*store).await?;
    let caveats = [log.caveats().await?, store.caveats()].concat();
    let bench = Bench { log, store, store_url: store_url.clone(), rules: Rules::default(), args };
    // First: an answer tells how far each stream is counted, and every phase makes streams that a real installation has not.
    let query = match bench.args.questions {
        0 => None,
        rate => Some(questions::ask(&bench, rate).await?),
    };
    let mut runs = Vec::new();
    for ids in bench.args.ids.clone() {
        eprintln!("measuring with {ids:?} ids …");
        runs.push(bench.measure(ids).await?);
    }
    let health = match (bench.args.health_rounds, bench.args.ids.first()) {
        (0, _) | (_, None) => None,
        (rounds, Some(ids)) => Some(health::compare(&bench, *ids, bench.args.events, rounds).await?),
    };
    let (log, store) = (SecretUrl::new(log_url).to_string(), SecretUrl::new(store_url).to_string());
    Ok(Report { log, store, caveats, batch_records: bench.args.batch, runs, health, query, peak_memory_mib: memory::peak_mib() })
}

/// A bench writes usage of accounts that do not exist.
pub async fn refuse_production(store: &dyn Store) -> anyhow::Result<()> {
    let foreign = store.all_progress().await?.into_iter().find(|progress| !progress.stream.as_str().starts_with("BENCH-"));
    match foreign {
        Some(progress) => bail!("the store counts the stream {}; give the bench a database of its own", progress.stream),
        None => Ok(()),
    }
}

impl Bench {
    async fn measure(&self, ids: Ids) -> anyhow::Result<Run> {
        let events = self.args.events;
        let mut source = Events::new(ids, self.args.accounts);
        let spec = self.stream().await?;
        let append_per_second = self.append(&spec.name, &mut source, events).await?;
        let preloaded = self.preload(ids).await?;
        let monitor = Monitor::new("bench", crate::build(), Ingest::DETECTS)?;
        let applied_per_second = self.apply(&spec, events, Watching::By(monitor)).await?;

        let spec = self.stream().await?;
        self.append(&spec.name, &mut source, events).await?;
        let committed_per_second = self.commit(&spec.name, self.args.batch, events).await?;

        let spec = self.stream().await?;
        self.append(&spec.name, &mut source, events).await?;
        let without = self.commit_without_dedup(&spec.name).await?;

        let spec = self.stream().await?;
        self.append(&spec.name, &mut source, self.args.one_by_one).await?;
        let one_by_one_per_second = self.commit(&spec.name, 1, self.args.one_by_one).await?;

        Ok(Run {
            ids,
            events,
            preloaded,
            append_per_second,
            applied_per_second,
            committed_per_second,
            committed_without_dedup_per_second: without,
            one_by_one_per_second,
            ratio_to_one_by_one: applied_per_second / one_by_one_per_second,
            ratio_to_without_dedup: without.map(|without| committed_per_second / without),
        })
    }

    pub fn accounts(&self) -> u32 {
        self.args.accounts
    }

    /// A stream that nobody used before.
    pub async fn stream(&self) -> anyhow::Result<StreamSpec> {
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let name = StreamName::new(&format!("BENCH-{unique}"))?;
        let retention = Retention { max_age: None, max_bytes: None };
        let spec = StreamSpec { subject: name.as_str().to_ascii_lowercase(), name, retention };
        self.log.ensure(&spec).await?;
        Ok(spec)
    }

    /// Appends a backlog; events a second.
    pub async fn append(&self, stream: &StreamName, source: &mut Events, events: u64) -> anyhow::Result<f64> {
        let (mut left, mut spent) = (events as usize, Duration::ZERO);
        while left > 0 {
            let chunks: Vec<_> = (0..APPENDS)
                .map_while(|_| {
                    let count = left.min(CHUNK);
                    left -= count;
                    (count > 0).then(|| source.records(count))
                })
                .collect();
            let started = Instant::now();
            futures::future::try_join_all(chunks.into_iter().map(|records| self.log.append(stream, records))).await?;
            spent += started.elapsed();
        }
        Ok(events as f64 / spent.as_secs_f64())
    }

    /// The ingest service on the backlog, from its start to the last event applied; events a second.
    pub async fn apply(&self, spec: &StreamSpec, events: u64, watching: Watching) -> anyhow::Result<f64> {
        let owner = OwnerSettings {
            holder: format!("bench-{}", std::process::id()),
            lease_ttl: Duration::from_secs(10),
            batch_records: self.args.batch,
            batch_bytes: 4 << 20,
            rules: self.rules,
        };
        let idle = self.stream().await?;
        let (monitor, watched) = match watching {
            Watching::By(monitor) => (monitor, true),
            Watching::Off => (Monitor::new("bench", crate::build(), &[])?, false),
        };
        let parts = Parts {
            log: self.log.clone(),
            store: self.store.clone(),
            clock: Arc::new(SystemClock) as Arc<dyn Clock>,
            streams: vec![(spec.clone(), Kind::Billing), (idle, Kind::Receipt)],
            owner,
            lag_limit: PATIENCE,
            monitor,
            remedies: vec![],
            drills: None,
        };
        let started = Instant::now();
        let ingest = if watched { Ingest::start(parts).await? } else { Ingest::unwatched(&parts).await? };
        let status = ingest.statuses()[0].clone();
        while status.seen().progress.is_none_or(|progress| progress.applied < events) {
            ensure!(started.elapsed() < PATIENCE, "not applied within {} s", PATIENCE.as_secs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let elapsed = started.elapsed();
        ingest.stop().await;
        let progress = self.store.progress(&spec.name).await?.context("the stream was applied")?;
        ensure!(progress.counted == events && progress.unaccounted() == 0, "not every event was counted: {progress:?}");
        Ok(events as f64 / elapsed.as_secs_f64())
    }

    /// Reads the whole backlog and folds it.
    pub async fn batches(&self, stream: &StreamName, records: usize, rules: &Rules) -> anyhow::Result<Vec<Batch>> {
        let bounds = self.log.bounds(stream).await?;
        let (mut batches, mut applied) = (Vec::new(), 0);
        while applied < bounds.last {
            let limit = ReadLimit { records, bytes: 16 << 20 };
            let entries = self.log.read(stream, &bounds.incarnation, applied + 1, limit, Duration::from_secs(5)).await?;
            ensure!(!entries.is_empty(), "the log stopped at {applied} of {}", bounds.last);
            let mut batch = Batch::new(stream.clone(), bounds.incarnation.clone(), applied);
            for entry in entries {
                match entry {
                    Entry::Record(record) => {
                        let recorded_at = record.recorded_at;
                        batch.push(record, recorded_at, rules);
                    }
                    Entry::Lost(loss) => bail!("the log lost {loss:?}"),
                }
            }
            applied = batch.to();
            batches.push(batch.seal());
        }
        Ok(batches)
    }

    pub async fn lease(&self, stream: &StreamName, incarnation: &Incarnation) -> anyhow::Result<Lease> {
        let lease = self.store.acquire(stream, "bench", LEASE).await?.context("the stream has another owner")?;
        self.store.open_stream(&lease, incarnation, &[]).await?;
        Ok(lease)
    }

    /// Commits the backlog in batches of `records`, one after another, folded beforehand; events a second.
    async fn commit(&self, stream: &StreamName, records: usize, events: u64) -> anyhow::Result<f64> {
        let batches = self.batches(stream, records, &self.rules).await?;
        let lease = self.lease(stream, batches.first().context("no events")?.incarnation()).await?;
        let started = Instant::now();
        for batch in &batches {
            self.store.commit(&lease, batch).await?;
        }
        Ok(events as f64 / started.elapsed().as_secs_f64())
    }

    async fn commit_without_dedup(&self, stream: &StreamName) -> anyhow::Result<Option<f64>> {
        if !self.store_url.starts_with("postgres") {
            return Ok(None);
        }
        let batches = self.batches(stream, self.args.batch, &self.rules).await?;
        let settled: Vec<_> = batches.iter().map(|batch| batch.settle(&HashMap::new())).collect();
        let elapsed = baseline::without_dedup(&self.store_url, &settled).await?;
        Ok(Some(self.args.events as f64 / elapsed.as_secs_f64()))
    }

    async fn preload(&self, ids: Ids) -> anyhow::Result<u64> {
        if self.args.preload == 0 {
            return Ok(0);
        }
        ensure!(self.store_url.starts_with("postgres"), "--preload needs a PostgreSQL store");
        let today = SystemClock.now().day();
        baseline::preload(&self.store_url, today, self.args.preload, ids).await?;
        Ok(self.args.preload)
    }
}
