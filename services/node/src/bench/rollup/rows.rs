//! Usage made in the database: what months of ingest would have left.

use super::Bench;
use anyhow::ensure;
use loadline_domain::{Clock as _, Day, time::SystemClock};
use serde::Serialize;
use sqlx::Executor as _;

/// What the database holds before anything is measured.
#[derive(Debug, Serialize)]
pub struct Rows {
    pub accounts: u32,
    pub days: u32,
    pub hourly: i64,
    pub latency: i64,
    /// Of the account that is asked for.
    pub largest_account_hourly: i64,
}

/// Four rows an hour: two markets of messages, and their receipts, which have no currency. The first account has sixteen.
const HOURLY: &str = "\
INSERT INTO usage_hourly
SELECT 'bench-' || lpad(account::text, 4, '0'), $1 * 24 + hour, channel, country, currency,
    n, CASE WHEN currency = '' THEN 0 ELSE n END, CASE WHEN currency = '' THEN 0 ELSE 2 * n END,
    CASE WHEN currency = '' THEN 0 ELSE 72000 * n END, CASE WHEN currency = '' THEN n ELSE 0 END, 0, 0, 0, 0, 0
FROM generate_series(1, $2) AS account
CROSS JOIN generate_series(0, $3 * 24 - 1) AS hour
CROSS JOIN LATERAL (SELECT 1 + (account * 7919 + hour * 104729) % 997 AS n) AS counts
CROSS JOIN generate_series(1, CASE WHEN account = 1 THEN 4 ELSE 1 END) AS channel
CROSS JOIN (VALUES ('DE', 'EUR'), ('US', 'USD'), ('DE', ''), ('US', '')) AS market (country, currency)";

const LATENCY: &str = "\
INSERT INTO latency_hourly
SELECT account, hour, channel, country, bucket, delivered
FROM usage_hourly CROSS JOIN generate_series(3, 4) AS bucket WHERE currency = ''";

/// Replaces what an earlier bench left.
///
/// # Errors
/// When the database has usage that is not a bench's.
pub async fn fill(bench: &mut Bench) -> anyhow::Result<Rows> {
    let foreign: Option<String> = sqlx::query_scalar("SELECT account FROM usage_hourly WHERE account NOT LIKE 'bench-%' LIMIT 1")
        .fetch_optional(&mut bench.plain)
        .await?;
    ensure!(foreign.is_none(), "the store holds usage of {}; give the bench a database of its own", foreign.unwrap_or_default());
    let (accounts, days) = (bench.args.accounts, bench.args.days);
    bench.plain.execute("TRUNCATE usage_hourly, latency_hourly, usage_daily, dirty_day, archived_part").await?;
    let made = "SELECT loadline_make_day($1 + ahead) FROM generate_series(0, $2 - 1) AS ahead";
    sqlx::query(made).bind(first_day(days).index()).bind(days as i32).execute(&mut bench.plain).await?;
    sqlx::query(HOURLY)
        .bind(first_day(days).index())
        .bind(i64::from(accounts))
        .bind(days as i32)
        .execute(&mut bench.plain)
        .await?;
    bench.plain.execute(LATENCY).await?;
    bench.plain.execute("VACUUM (ANALYZE) usage_hourly, latency_hourly").await?;
    let (hourly, latency, largest_account_hourly) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM usage_hourly), (SELECT count(*) FROM latency_hourly),
                (SELECT count(*) FROM usage_hourly WHERE account = 'bench-0001')",
    )
    .fetch_one(&mut bench.plain)
    .await?;
    Ok(Rows { accounts, days, hourly, latency, largest_account_hourly })
}

/// The last of the days is yesterday.
pub fn first_day(days: u32) -> Day {
    Day::from_index(SystemClock.now().day().index() - days as i32)
}
