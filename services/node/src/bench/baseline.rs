//! What the bench compares with, in plain SQL on PostgreSQL: the same usage without dedup rows, and rows that were there before.

use super::events::Ids;
use anyhow::Context as _;
use loadline_domain::{Day, Settled};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use std::time::{Duration, Instant};

const PROGRESS: &str = "CREATE TEMPORARY TABLE bench_progress (applied BIGINT NOT NULL)";

const USAGE: &str = "\
INSERT INTO usage_hourly AS u (account, hour, channel, country, currency,
    events, messages, segments, amount_micros, delivered, undelivered, expired, rejected, failed, not_final)
SELECT *, 0, 0, 0, 0, 0, 0
FROM unnest($1::text[], $2::int[], $3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
ON CONFLICT (account, hour, channel, country, currency) DO UPDATE SET
    events = u.events + excluded.events, messages = u.messages + excluded.messages,
    segments = u.segments + excluded.segments, amount_micros = u.amount_micros + excluded.amount_micros";

/// Writes batches as the store does, progress (moved, then counted), usage and dirty days, but no keys.
pub async fn without_dedup(url: &str, batches: &[Settled]) -> anyhow::Result<Duration> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(PROGRESS).await?;
    connection.execute("INSERT INTO bench_progress VALUES (0)").await?;
    let started = Instant::now();
    for settled in batches {
        let mut transaction = connection.begin().await?;
        sqlx::query("UPDATE bench_progress SET applied = applied + $1")
            .bind(settled.accounted() as i64)
            .execute(&mut *transaction)
            .await?;
        write_usage(&mut transaction, settled).await?;
        mark_dirty(&mut transaction, settled).await?;
        sqlx::query("UPDATE bench_progress SET applied = applied + 0").execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(started.elapsed())
}

async fn write_usage(connection: &mut PgConnection, settled: &Settled) -> anyhow::Result<()> {
    let rows = &settled.usage;
    let text = |of: fn(&loadline_domain::usage::UsageKey) -> String| rows.iter().map(|(key, _)| of(key)).collect::<Vec<_>>();
    let number = |at: usize| rows.iter().map(|(_, usage)| usage.columns()[at]).collect::<Vec<_>>();
    sqlx::query(USAGE)
        .bind(text(|key| key.account.to_string()))
        .bind(rows.iter().map(|(key, _)| key.hour.index()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(key, _)| key.channel.number() as i16).collect::<Vec<_>>())
        .bind(text(|key| key.country.as_str().to_owned()))
        .bind(text(|key| key.currency.as_str().to_owned()))
        .bind(number(0))
        .bind(number(1))
        .bind(number(2))
        .bind(number(3))
        .execute(connection)
        .await?;
    Ok(())
}

async fn mark_dirty(connection: &mut PgConnection, settled: &Settled) -> anyhow::Result<()> {
    let days = settled.dirty_days();
    sqlx::query(
        "INSERT INTO dirty_day AS d SELECT account, day, 1 FROM unnest($1::text[], $2::int[]) AS given (account, day)
         ON CONFLICT (account, day) DO UPDATE SET version = greatest(d.version + 1, excluded.version)",
    )
    .bind(days.iter().map(|(account, _)| account.to_string()).collect::<Vec<_>>())
    .bind(days.iter().map(|(_, day)| day.index()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts rows into a day's billing partition, in the order its kind of ids would have come.
pub async fn preload(url: &str, day: Day, rows: u64, ids: Ids) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let table = format!("dedup_billing_{}", day.to_string().replace('-', ""));
    // Version 7 ids of today begin with today's milliseconds: rows from the day's start on keep them in order.
    let key = match ids {
        Ids::V4 => "gen_random_uuid()".to_owned(),
        Ids::V7 => format!(
            "(lpad(to_hex({} + n / 1000), 12, '0') || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid",
            day.start().micros() / 1_000
        ),
    };
    let insert = format!(
        "INSERT INTO {table} (key, fingerprint) SELECT {key}, n FROM generate_series(1, $1::bigint) n ON CONFLICT DO NOTHING"
    );
    let exists = format!("CREATE TABLE IF NOT EXISTS {table} (key UUID PRIMARY KEY, fingerprint BIGINT NOT NULL)");
    connection.execute(AssertSqlSafe(exists)).await?;
    sqlx::query(AssertSqlSafe(insert)).bind(rows as i64).execute(&mut connection).await.context("preloading dedup rows")?;
    connection.execute(AssertSqlSafe(format!("ANALYZE {table}"))).await?;
    Ok(())
}

/// What the server does by itself within a minute, table by table, once rows have come in masses: each time, all connections plan anew.
pub async fn vacuum(url: &str) -> anyhow::Result<()> {
    PgConnection::connect(url).await?.execute("VACUUM ANALYZE").await.context("vacuuming")?;
    Ok(())
}
