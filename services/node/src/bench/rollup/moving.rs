//! Days written to Parquet, and archived whole, beside COPY of the same rows to the client.

use super::{super::baseline, Bench, rows::first_day};
use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use loadline_domain::{Day, Rules, archive::Part, time::SystemClock};
use loadline_history::{History, Options};
use loadline_rollup::{
    Parts,
    job::Running,
    jobs::{self, ARCHIVE, TIDY_HISTORY},
};
use loadline_settings::RollupSettings;
use loadline_store::{Enqueued, NewRun, Outcome, Trigger};
use serde::Serialize;
use sqlx::postgres::PgPoolCopyExt as _;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Days that stay.
const KEEP: u32 = 32;

/// Rows are those of hourly usage and of latencies together.
#[derive(Debug, Serialize)]
pub struct Moved {
    pub days: u32,
    pub rows: u64,
    /// COPY TO STDOUT of all of them at once, in no order, read and dropped; the faster of two.
    pub copy_rows_per_second: f64,
    /// Read from the store day by day in order, as many days at once as the job has, written to Parquet with their daily sums, durable.
    pub exported_rows_per_second: f64,
    /// exported / COPY.
    pub export_ratio_to_copy: f64,
    /// The job: the same, then counted again in history, and counted again and deleted in the store.
    pub archived_rows_per_second: f64,
    /// archived / COPY.
    pub archive_ratio_to_copy: f64,
    /// The job after it: small files merged.
    pub tidied_rows_per_second: f64,
}

/// Copies, exports and archives the same days.
///
/// # Errors
/// When a way to the rows found another number of them.
pub async fn measure(bench: &mut Bench) -> anyhow::Result<Moved> {
    let days = bench.args.days - KEEP;
    let first = first_day(bench.args.days);
    let before = Day::from_index(first.index() + days as i32);
    let scratch = tempfile::tempdir().context("a folder for scratch files")?;
    let folder = |name: &str| format!("file:{}", scratch.path().join(name).display());
    // What the measurements before this one left to be written and cleaned up is not done beside it.
    baseline::vacuum(&bench.args.store).await?;
    sqlx::query("CHECKPOINT").execute(&mut bench.plain).await?;
    let (rows, once) = copy(bench, before).await?;
    let (_, again) = copy(bench, before).await?;
    let exported = export(bench, &folder("exported"), first, before, rows).await?;
    let (archived, tidied) = archive(bench, &folder("archived"), days, rows).await?;
    let rate = |took: Duration| rows as f64 / took.as_secs_f64();
    let copied = rate(once.min(again));
    Ok(Moved {
        days,
        rows,
        copy_rows_per_second: copied,
        exported_rows_per_second: rate(exported),
        export_ratio_to_copy: rate(exported) / copied,
        archived_rows_per_second: rate(archived),
        archive_ratio_to_copy: rate(archived) / copied,
        tidied_rows_per_second: rate(tidied),
    })
}

async fn copy(bench: &mut Bench, before: Day) -> anyhow::Result<(u64, Duration)> {
    let pool = sqlx::PgPool::connect(&bench.args.store).await?;
    let (mut rows, started) = (0, Instant::now());
    for table in ["usage_hourly", "latency_hourly"] {
        let hour = before.first_hour().index();
        let copy = format!("COPY (SELECT * FROM {table} WHERE hour < {hour}) TO STDOUT");
        let mut lines = pool.copy_out_raw(&copy).await?;
        while let Some(line) = lines.try_next().await? {
            rows += line.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }
    Ok((rows, started.elapsed()))
}

async fn export(bench: &Bench, url: &str, first: Day, before: Day, rows: u64) -> anyhow::Result<Duration> {
    let history = &*open(url).await?;
    let (mut exported, started) = (0, Instant::now());
    let exporting = (first.index()..before.index()).map(Day::from_index).map(|day| async move {
        let part = Part { day, number: 0, token: uuid::Uuid::now_v7().to_string() };
        jobs::export(&*bench.store, history, &part).await
    });
    let mut exporting = stream::iter(exporting).buffer_unordered(jobs::DAYS_ARCHIVED_AT_ONCE);
    while let Some(totals) = exporting.try_next().await? {
        exported += totals.hourly_rows + totals.latency_rows;
    }
    let took = started.elapsed();
    ensure!(exported == rows, "{exported} rows were exported, and {rows} copied");
    Ok(took)
}

async fn archive(bench: &mut Bench, url: &str, days: u32, rows: u64) -> anyhow::Result<(Duration, Duration)> {
    let scratch = tempfile::tempdir()?;
    let parts = Parts {
        store: bench.store.clone(),
        history: open(url).await?,
        log: loadline_event_log::open(&format!("sqlite:{}", scratch.path().join("log.db").display())).await?,
        streams: vec![],
        rules: Rules::default(),
        clock: Arc::new(SystemClock),
        settings: RollupSettings { hot_days: KEEP, ..RollupSettings::default() },
    };
    let (result, archived) = run(bench, &parts, ARCHIVE).await?;
    let (_, tidied) = run(bench, &parts, TIDY_HISTORY).await?;
    ensure!(result["days"] == days, "not every day was archived: {result}");
    let (hourly, latency): (i64, i64) =
        sqlx::query_as("SELECT sum(hourly_rows)::bigint, sum(latency_rows)::bigint FROM archived_part")
            .fetch_one(&mut bench.plain)
            .await?;
    ensure!((hourly + latency) as u64 == rows, "{} rows were archived, and {rows} copied", hourly + latency);
    Ok((archived, tidied))
}

/// What a job did, and how long it took.
async fn run(bench: &Bench, parts: &Parts, name: &str) -> anyhow::Result<(serde_json::Value, Duration)> {
    let job = jobs::all(parts).into_iter().find(|job| job.name() == name).context("a job of that name")?;
    let running = claim(bench, name).await?;
    let started = Instant::now();
    let result = job.run(&running).await?;
    let took = started.elapsed();
    bench.store.finish(&bench.leadership, running.run.id, &Outcome::Succeeded(result.to_string())).await?;
    Ok((result, took))
}

/// A run of a job, as its leader would have it.
async fn claim(bench: &Bench, job: &str) -> anyhow::Result<Running> {
    let run = NewRun {
        job: job.to_owned(),
        idempotency_key: uuid::Uuid::now_v7().to_string(),
        trigger: Trigger::Request,
        parameters: "{}".to_owned(),
        requested_by: "bench".to_owned(),
        scheduled_for: None,
        attempt: 1,
    };
    let Enqueued::New(queued) = bench.store.enqueue(&run).await? else { bail!("a new key was known") };
    let run = bench.store.claim(&bench.leadership).await?.context("the run was claimed by another process")?;
    ensure!(run.id == queued.id, "another run of {} was waiting; cancel it", run.asked.job);
    Ok(Running { run, leadership: bench.leadership.clone(), store: bench.store.clone() })
}

async fn open(url: &str) -> anyhow::Result<Arc<dyn History>> {
    let history = loadline_history::open(url, Options { timeout: Duration::from_secs(600), ..Options::default() })?;
    history.prepare().await?;
    Ok(history)
}
