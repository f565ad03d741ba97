//! Batches committed one after another, without and with a large dedup table going away beside them.

use super::{
    super::{
        baseline,
        events::{Events, Ids},
        open_loop::quantile,
    },
    Bench,
    rows::first_day,
};
use anyhow::{Context as _, ensure};
use loadline_domain::{
    Batch, Clock as _, Incarnation, Record, Rules, Sequence, StreamName,
    identity::{Kind, Partition},
    progress::Lease,
    time::SystemClock,
};
use serde::Serialize;
use std::time::{Duration, Instant};

const RECORDS: usize = 5_000;
/// Batches committed before anything is measured.
const WARM_UP: u32 = 30;
const LEASE: Duration = Duration::from_secs(3_600);

/// Times of batches of 5,000 events.
#[derive(Debug, Serialize)]
pub struct Purge {
    pub dedup_rows: u64,
    pub batches: u32,
    pub before_p50_ms: f64,
    pub before_p99_ms: f64,
    /// As many batches from the beginning of the drop on.
    pub beside_p50_ms: f64,
    pub beside_p99_ms: f64,
    /// beside / before, of the 99th percentile.
    pub p99_ratio: f64,
    /// From asking for the drop to its end.
    pub dropped_in_seconds: f64,
    /// Committed during that time.
    pub batches_meanwhile: usize,
}

/// Commits, drops and commits.
///
/// # Errors
/// When the table does not go before the last batch is committed, or a batch fails.
pub async fn measure(bench: &mut Bench) -> anyhow::Result<Purge> {
    let partition = Partition { kind: Kind::Billing, day: first_day(30) };
    baseline::preload(&bench.args.store, partition.day, bench.args.dedup_rows, Ids::V7).await?;
    list(bench, partition).await?;
    let mut ingest = Ingest::start(bench).await?;
    ingest.commit(bench, WARM_UP, None).await?;
    let before = ingest.commit(bench, bench.args.batches, None).await?;
    let (store, leadership) = (bench.store.clone(), bench.leadership.clone());
    let dropping = async move {
        let started = Instant::now();
        ensure!(store.purge(&leadership, partition).await?, "there was no table to drop");
        anyhow::Ok(started.elapsed())
    };
    let mut beside = ingest.commit(bench, bench.args.batches, Some(Box::pin(dropping))).await?;
    let (dropped_in, batches_meanwhile) = beside.dropped.take().context("the table was still there after the last batch")?;
    let ms = |times: &Times, q| quantile(&times.sorted, q).as_secs_f64() * 1_000.0;
    Ok(Purge {
        dedup_rows: bench.args.dedup_rows,
        batches: bench.args.batches,
        before_p50_ms: ms(&before, 0.50),
        before_p99_ms: ms(&before, 0.99),
        beside_p50_ms: ms(&beside, 0.50),
        beside_p99_ms: ms(&beside, 0.99),
        p99_ratio: ms(&beside, 0.99) / ms(&before, 0.99),
        dropped_in_seconds: dropped_in.as_secs_f64(),
        batches_meanwhile,
    })
}

/// Puts the table on the store's list, where a batch would have put it.
async fn list(bench: &mut Bench, partition: Partition) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO dedup_partition (kind, day, name) VALUES ($1, $2, $3) ON CONFLICT (kind, day) DO NOTHING")
        .bind(partition.kind.as_str())
        .bind(partition.day.index())
        .bind(format!("dedup_{}_{}", partition.kind.as_str(), partition.day.to_string().replace('-', "")))
        .execute(&mut bench.plain)
        .await?;
    sqlx::query("CHECKPOINT").execute(&mut bench.plain).await?;
    Ok(())
}

type Dropping = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<Duration>> + Send>>;

/// Commits of a phase.
struct Times {
    sorted: Vec<Duration>,
    /// How long the drop took, and batches committed until then.
    dropped: Option<(Duration, usize)>,
}

/// An owner that commits as fast as the store takes it.
struct Ingest {
    stream: StreamName,
    incarnation: Incarnation,
    lease: Lease,
    events: Events,
    applied: Sequence,
}

impl Ingest {
    async fn start(bench: &Bench) -> anyhow::Result<Self> {
        let stream = StreamName::new(&format!("BENCH-{}", uuid::Uuid::now_v7().simple()))?;
        let incarnation = Incarnation::new("bench");
        let lease = bench.store.acquire(&stream, "bench", LEASE).await?.context("nobody else has this stream")?;
        bench.store.open_stream(&lease, &incarnation, &[]).await?;
        Ok(Self { stream, incarnation, lease, events: Events::new(Ids::V7, 200), applied: 0 })
    }

    /// Commits batches that are made beforehand, while something else goes on.
    async fn commit(&mut self, bench: &Bench, batches: u32, beside: Option<Dropping>) -> anyhow::Result<Times> {
        let batches: Vec<_> = (0..batches).map(|_| self.batch()).collect();
        let beside = beside.map(tokio::spawn);
        let (mut sorted, mut meanwhile) = (Vec::with_capacity(batches.len()), 0);
        for batch in &batches {
            let started = Instant::now();
            bench.store.commit(&self.lease, batch).await?;
            sorted.push(started.elapsed());
            meanwhile += usize::from(beside.as_ref().is_some_and(|beside| !beside.is_finished()));
        }
        sorted.sort_unstable();
        let dropped = match beside {
            Some(beside) if beside.is_finished() => Some((beside.await??, meanwhile)),
            Some(_) | None => None,
        };
        Ok(Times { sorted, dropped })
    }

    fn batch(&mut self) -> Batch {
        let (now, rules) = (SystemClock.now(), Rules::default());
        let mut batch = Batch::new(self.stream.clone(), self.incarnation.clone(), self.applied);
        for record in self.events.records(RECORDS) {
            self.applied += 1;
            let record = Record { sequence: self.applied, recorded_at: now, payload: record.payload };
            batch.push(record, now, &rules);
        }
        batch.seal()
    }
}
