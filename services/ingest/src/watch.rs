//! Lag, headroom and throughput of every configured stream, read once a second, whoever owns it.

use crate::pace::CommitPace;
use loadline_domain::{
    Batch, Clock, Incarnation, Sequence, Timestamp,
    progress::{Headroom, Lease, Progress},
};
use loadline_event_log::{Bounds, EventLog, LogError, StreamSpec};
use loadline_store::Store;
use opentelemetry::{KeyValue, global};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(1);
/// What is appended and vanishes within it is not known to be lost while the store is away.
const HEADS_PERIOD: Duration = Duration::from_millis(250);
/// A stream that was widened is read in batches so many times as large.
pub const WIDER: usize = 4;
/// Commits after which a batch may be larger again.
const GROWS_AFTER: u64 = 100;

/// What this process knows of a stream.
pub struct StreamStatus {
    pub spec: StreamSpec,
    seen: Mutex<Seen>,
    /// Last sequence seen in the log, by incarnation, also while the store is away: what it needs to tell what a stream that was
    /// made again has lost.
    heads: Mutex<BTreeMap<Incarnation, Sequence>>,
    commits: AtomicU64,
    dead: AtomicU64,
    applied: AtomicU64,
    /// How long commits take.
    pub pace: CommitPace,
    /// Batches are read 2^-n as large as configured, because the store did not manage larger ones in time.
    halvings: AtomicU32,
    /// Read in larger batches until then.
    wide_until: Mutex<Option<tokio::time::Instant>>,
    /// Lag that a drill takes for too much, until then.
    drilled_lag: Mutex<Option<(Duration, tokio::time::Instant)>>,
    /// Headroom that a drill takes for too little, until then.
    drilled_headroom: Mutex<Option<(f64, tokio::time::Instant)>>,
}

/// The latest readings.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// From the store.
    pub progress: Option<Progress>,
    /// From the log; `None` while it cannot be asked.
    pub backlog: Option<Backlog>,
    /// Held by this process.
    pub lease: Option<Lease>,
    /// Records lost of late.
    pub lost: u64,
}

/// What the log holds, against what is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Backlog {
    /// The log's bounds.
    pub bounds: Bounds,
    /// Records not yet applied.
    pub records: u64,
    /// Age of the oldest of them; zero when there is none.
    pub lag: Duration,
    /// What retention leaves it.
    pub headroom: Headroom,
}

impl StreamStatus {
    pub fn new(spec: StreamSpec) -> Self {
        Self {
            spec,
            seen: Mutex::default(),
            heads: Mutex::default(),
            commits: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            pace: CommitPace::default(),
            halvings: AtomicU32::new(0),
            wide_until: Mutex::default(),
            drilled_lag: Mutex::default(),
            drilled_headroom: Mutex::default(),
        }
    }

    /// The latest readings.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// Batches committed by this process.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Records applied by this process.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Records that this process found dead, conflicts apart.
    pub fn dead(&self) -> u64 {
        self.dead.load(Ordering::Relaxed)
    }

    /// Read half as much from now on.
    pub fn read_less(&self) {
        self.halvings.fetch_add(1, Ordering::Relaxed);
    }

    /// Read more at once until then; `None`: as usual.
    pub fn widen(&self, until: Option<tokio::time::Instant>) {
        *self.wide_until.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = until;
    }

    /// Whether it is read in larger batches.
    pub fn is_wide(&self, now: tokio::time::Instant) -> bool {
        self.wide_until.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some_and(|until| now < until)
    }

    /// More lag than `limit` is too much, until then.
    pub fn expect_lag_below(&self, limit: Duration, until: tokio::time::Instant) {
        *self.drilled_lag.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some((limit, until));
    }

    /// Lag that is no longer traffic in flight: `usual`, or what a drill says.
    pub fn lag_limit(&self, usual: Duration, now: tokio::time::Instant) -> Duration {
        let drilled = *self.drilled_lag.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        drilled.filter(|(_, until)| now < *until).map_or(usual, |(limit, _)| limit.min(usual))
    }

    /// Headroom down to `limit` is too little, until then.
    pub fn expect_headroom_above(&self, limit: f64, until: tokio::time::Instant) {
        *self.drilled_headroom.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some((limit, until));
    }

    /// Headroom that is too little: `usual`, or what a drill says.
    pub fn headroom_limit(&self, usual: f64, now: tokio::time::Instant) -> f64 {
        let drilled = *self.drilled_headroom.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        drilled.filter(|(_, until)| now < *until).map_or(usual, |(limit, _)| limit.max(usual))
    }

    /// How much to read, of what is configured.
    pub fn batch_records(&self, configured: usize) -> usize {
        let wider = if self.is_wide(tokio::time::Instant::now()) { WIDER } else { 1 };
        (configured.saturating_mul(wider) >> self.halvings.load(Ordering::Relaxed).min(usize::BITS - 1)).max(1)
    }

    /// The log has, or had, records up to `last`.
    pub fn saw(&self, incarnation: &Incarnation, last: Sequence) {
        let mut heads = self.lock_heads();
        let head = heads.entry(incarnation.clone()).or_default();
        *head = last.max(*head);
    }

    /// Every incarnation that was seen to have records, with the last.
    pub fn heads(&self) -> Vec<(Incarnation, Sequence)> {
        self.lock_heads().iter().filter(|(_, head)| **head > 0).map(|(incarnation, head)| (incarnation.clone(), *head)).collect()
    }

    /// The store knows of all but this one.
    pub fn opened(&self, incarnation: &Incarnation, told: &[(Incarnation, Sequence)]) {
        let told = |other: &Incarnation| other != incarnation && told.iter().any(|(told, _)| told == other);
        self.lock_heads().retain(|other, _| !told(other));
    }

    pub fn owned(&self, lease: Option<Lease>) {
        self.lock().lease = lease;
    }

    pub fn progressed(&self, progress: &Progress) {
        self.lock().progress = Some(progress.clone());
    }

    /// A batch is in the store.
    pub fn committed(&self, progress: &Progress, batch: &Batch) {
        self.dead.fetch_add(batch.dead().len() as u64, Ordering::Relaxed);
        self.applied.fetch_add(batch.len(), Ordering::Relaxed);
        if self.commits.fetch_add(1, Ordering::Relaxed) % GROWS_AFTER == GROWS_AFTER - 1 {
            let _ = self.halvings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |halvings| halvings.checked_sub(1));
        }
        self.progressed(progress);
        let stream = [KeyValue::new("stream", self.spec.name.to_string())];
        let meter = global::meter("loadline.ingest");
        meter.u64_counter("loadline_ingest_applied").build().add(batch.len(), &stream);
        meter.u64_histogram("loadline_ingest_batch_records").build().record(batch.len(), &stream);
    }

    /// What the ledger has of late.
    pub fn lost(&self, records: u64) {
        self.lock().lost = records;
    }

    /// Records lost of late, if any.
    pub fn recent_loss(&self) -> Option<u64> {
        Some(self.lock().lost).filter(|lost| *lost > 0)
    }

    fn observed(&self, progress: Option<Progress>, backlog: Option<Backlog>) {
        let mut seen = self.lock();
        seen.backlog = backlog;
        if progress.is_some() {
            seen.progress = progress;
        }
    }

    fn lock_heads(&self) -> std::sync::MutexGuard<'_, BTreeMap<Incarnation, Sequence>> {
        self.heads.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Reads what the log holds beyond `progress`.
pub async fn backlog(
    log: &dyn EventLog,
    spec: &StreamSpec,
    progress: Option<&Progress>,
    now: Timestamp,
) -> Result<Backlog, LogError> {
    let bounds = log.bounds(&spec.name).await?;
    let applied = progress.filter(|progress| progress.incarnation == bounds.incarnation).map_or(0, |progress| progress.applied);
    let records = bounds.last.saturating_sub(applied);
    let oldest = if records == 0 { None } else { log.peek(&spec.name, applied + 1).await? };
    let Some((sequence, recorded_at)) = oldest else {
        return Ok(Backlog { bounds, records, lag: Duration::ZERO, headroom: Headroom::FULL });
    };
    let kept = (bounds.last + 1).saturating_sub(bounds.first).max(1);
    let share = (bounds.last + 1 - sequence) as f64 / kept as f64;
    let bytes = (bounds.bytes as f64 * share) as u64;
    let headroom = Headroom::of(now, recorded_at, bounds.retention.max_age, bytes, bounds.retention.max_bytes);
    Ok(Backlog { lag: now.since(recorded_at), records, headroom, bounds })
}

/// Keeps the statuses fresh until shutdown. The owner's head is noted, so that a stream that vanishes is known to its end.
pub async fn run(
    statuses: Vec<Arc<StreamStatus>>,
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !shutdown.is_cancelled() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let readings = statuses.iter().map(|status| look(status, &*log, &*store, &*clock));
        futures::future::join_all(readings).await;
    }
}

/// Keeps the heads fresh until shutdown, apart from [`run`], which waits for a store that is away.
pub async fn follow_heads(statuses: Vec<Arc<StreamStatus>>, log: Arc<dyn EventLog>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(HEADS_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let looks = statuses.iter().map(|status| async {
            if let Ok(bounds) = log.bounds(&status.spec.name).await {
                status.saw(&bounds.incarnation, bounds.last);
            }
        });
        futures::future::join_all(looks).await;
    }
}

async fn look(status: &StreamStatus, log: &dyn EventLog, store: &dyn Store, clock: &dyn Clock) {
    let progress = store.progress(&status.spec.name).await.ok().flatten();
    let known = progress.clone().or_else(|| status.seen().progress);
    let backlog = backlog(log, &status.spec, known.as_ref(), clock.now()).await.ok();
    // What is seen is told first: noting it waits for whoever holds up the stream's row.
    status.observed(progress.clone(), backlog.clone());
    export(status);
    if let (Some(backlog), Some(progress), Some(lease)) = (backlog, progress, status.seen().lease) {
        let head = backlog.bounds.last;
        if backlog.bounds.incarnation == progress.incarnation && head > progress.head.max(progress.applied) {
            let _ = store.note_head(&lease, &progress.incarnation, head).await; // tried again in a second
        }
    }
}

fn export(status: &StreamStatus) {
    let (seen, stream) = (status.seen(), [KeyValue::new("stream", status.spec.name.to_string())]);
    let meter = global::meter("loadline.ingest");
    if let Some(backlog) = seen.backlog {
        meter.u64_gauge("loadline_stream_backlog_records").build().record(backlog.records, &stream);
        meter.f64_gauge("loadline_stream_lag_seconds").build().record(backlog.lag.as_secs_f64(), &stream);
        meter.f64_gauge("loadline_stream_headroom_ratio").build().record(backlog.headroom.ratio, &stream);
        if let Some(time) = backlog.headroom.time {
            meter.f64_gauge("loadline_stream_headroom_seconds").build().record(time.as_secs_f64(), &stream);
        }
    }
    if let Some(progress) = seen.progress {
        let counters = [
            ("applied", progress.applied),
            ("counted", progress.counted),
            ("duplicates", progress.duplicates),
            ("dead_lettered", progress.dead_lettered),
            ("lost", progress.lost),
        ];
        let gauge = meter.u64_gauge("loadline_stream_records").build();
        for (kind, records) in counters {
            gauge.record(records, &[stream[0].clone(), KeyValue::new("kind", kind)]);
        }
        meter.i64_gauge("loadline_stream_unaccounted_records").build().record(progress.unaccounted(), &stream);
    }
}
