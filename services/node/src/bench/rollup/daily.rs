//! The roll-up of all days, beside one aggregation of the same rows into a table like the daily one.

use super::{super::open_loop::quantile, Bench};
use anyhow::ensure;
use serde::Serialize;
use sqlx::Executor as _;
use std::time::{Duration, Instant};

/// Account-days of a transaction, as the job has it.
const CHUNK: u32 = 5_000;

const BARE: &str = "\
INSERT INTO bench_daily
SELECT account, hour / 24, channel, country, currency, sum(events), sum(messages), sum(segments), sum(amount_micros), sum(delivered),
       sum(undelivered), sum(expired), sum(rejected), sum(failed), sum(not_final)
FROM usage_hourly GROUP BY account, hour / 24, channel, country, currency";

/// But for the version, which plain SQL has none of.
const DIFFERENT: &str = "\
WITH rolled AS (SELECT (to_jsonb(usage_daily) - 'version')::text FROM usage_daily),
     plain AS (SELECT (to_jsonb(bench_daily) - 'version')::text FROM bench_daily)
SELECT (SELECT count(*) FROM (TABLE rolled EXCEPT TABLE plain) AS more)
     + (SELECT count(*) FROM (TABLE plain EXCEPT TABLE rolled) AS less)";

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub struct Daily {
    pub rounds: u32,
    pub account_days: u64,
    pub daily_rows: i64,
    /// INSERT of one SELECT with GROUP BY, into an empty table of the same columns and key.
    pub bare_aggregation_seconds: f64,
    /// The store's roll-up of the same account-days, all dirty, none rolled up before.
    pub rolled_up_seconds: f64,
    /// rolled up / bare.
    pub ratio_to_bare: f64,
    /// The same when all have daily rows, which are replaced.
    pub replaced_seconds: f64,
    pub ratio_of_replacing_to_bare: f64,
}

/// Takes turns, so that a slow spell of the machine meets both.
///
/// # Errors
/// When the two come to different days.
pub async fn measure(bench: &mut Bench) -> anyhow::Result<Daily> {
    bench.plain.execute("DROP TABLE IF EXISTS bench_daily; CREATE TABLE bench_daily (LIKE usage_daily INCLUDING ALL)").await?;
    let (mut bare, mut rolled, mut replaced, mut account_days) = (vec![], vec![], vec![], 0);
    for _ in 0..bench.args.rounds {
        bench.plain.execute("TRUNCATE bench_daily, usage_daily").await?;
        bare.push(timed(bench.plain.execute(BARE)).await?);
        mark_all(bench).await?;
        rolled.push(roll_up(bench, &mut account_days).await?);
        mark_all(bench).await?;
        replaced.push(roll_up(bench, &mut account_days).await?);
    }
    let different: i64 = sqlx::query_scalar(DIFFERENT).fetch_one(&mut bench.plain).await?;
    ensure!(different == 0, "{different} daily rows differ from plain SQL's");
    let daily_rows = sqlx::query_scalar("SELECT count(*) FROM usage_daily").fetch_one(&mut bench.plain).await?;
    bench.plain.execute("DROP TABLE bench_daily").await?;
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        quantile(&times, 0.5).as_secs_f64()
    };
    let (bare, rolled, replaced) = (median(bare), median(rolled), median(replaced));
    Ok(Daily {
        rounds: bench.args.rounds,
        account_days,
        daily_rows,
        bare_aggregation_seconds: bare,
        rolled_up_seconds: rolled,
        ratio_to_bare: rolled / bare,
        replaced_seconds: replaced,
        ratio_of_replacing_to_bare: replaced / bare,
    })
}

async fn mark_all(bench: &mut Bench) -> anyhow::Result<()> {
    let mark = "INSERT INTO dirty_day (account, day, version) SELECT DISTINCT account, hour / 24, 1 FROM usage_hourly";
    bench.plain.execute(mark).await?;
    // What the other side left to be written is not this side's to pay for.
    bench.plain.execute("CHECKPOINT").await?;
    Ok(())
}

async fn roll_up(bench: &Bench, account_days: &mut u64) -> anyhow::Result<Duration> {
    let started = Instant::now();
    *account_days = 0;
    loop {
        let rolled = bench.store.roll_up(&bench.leadership, CHUNK).await?;
        *account_days += rolled.account_days;
        if !rolled.more {
            return Ok(started.elapsed());
        }
    }
}

async fn timed<T, E: Into<anyhow::Error>>(work: impl Future<Output = Result<T, E>>) -> anyhow::Result<Duration> {
    let started = Instant::now();
    work.await.map_err(Into::into)?;
    Ok(started.elapsed())
}
