//! One batch, one transaction. Sets of rows go in as one JSON text each, walked by `jsonb_each`: one statement, one plan,
//! whatever their number. (`json_each` would write every row out as text again, to be parsed for each of its values.)

use super::{
    connect::{added, failed, now},
    dead_letters, dedup, losses,
    progress::stale,
};
use crate::{
    StoreError,
    rows::{StoredProgress, stored},
};
use loadline_domain::{
    AccountId, Batch, Day, Settled, Timestamp,
    progress::{Lease, Progress, SET_BACK},
};
use serde::Serialize;
use sqlx::SqliteConnection;
use std::collections::BTreeSet;

/// Writes a batch.
pub(super) async fn commit(connection: &mut SqliteConnection, lease: Lease, batch: Batch) -> Result<Progress, StoreError> {
    let now = now();
    fence(&mut *connection, &lease, &batch, now).await?;
    let known = dedup::take(&mut *connection, batch.candidates()).await?;
    let settled = batch.settle(&known);
    if settled.accounted() != batch.len() {
        let (accounted, read) = (settled.accounted(), batch.len());
        return Err(StoreError::Broken(format!("{accounted} of {read} records of {} accounted for", batch.stream())));
    }
    add_usage(&mut *connection, &settled, now).await?;
    dead_letters::record(&mut *connection, batch.stream(), batch.incarnation(), &settled.dead_letters).await?;
    losses::record(&mut *connection, batch.stream(), batch.incarnation(), batch.losses(), now).await?;
    count(connection, &batch, &settled).await
}

/// The first statement: exactly-once check and fence in one.
async fn fence(connection: &mut SqliteConnection, lease: &Lease, batch: &Batch, now: Timestamp) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE stream_progress
         SET applied = ?5, head = max(head, ?5), applied_at = coalesce(?6, applied_at), committed_at = ?7,
             stopped = coalesce(?8, stopped),
             newest_at = CASE
                 WHEN ?9 IS NOT NULL OR ?11 < newest_at - ?13 THEN ?6
                 ELSE coalesce(max(newest_at, ?12), ?12, newest_at) END,
             set_back_to = nullif(min(
                 coalesce(set_back_to, ?14), coalesce(?9, ?14), CASE WHEN ?11 < newest_at - ?13 THEN ?11 ELSE ?14 END), ?14),
             set_back_from = nullif(max(
                 coalesce(set_back_from, -?14), coalesce(?10, -?14),
                 CASE WHEN ?11 < newest_at - ?13 THEN max(newest_at, ?12) ELSE -?14 END), -?14),
             set_back_at = CASE WHEN ?9 IS NOT NULL OR ?11 < newest_at - ?13 THEN ?5 ELSE set_back_at END
         WHERE stream = ?1 AND incarnation = ?2 AND is_current AND epoch = ?3 AND applied = ?4",
    )
    .bind(batch.stream().as_str())
    .bind(batch.incarnation().as_str())
    .bind(stored(lease.epoch)?)
    .bind(stored(batch.from())?)
    .bind(stored(batch.to())?)
    .bind(batch.last_recorded_at().map(Timestamp::micros))
    .bind(now.micros())
    .bind(batch.stops())
    .bind(batch.set_back().map(|(to, _)| to.micros()))
    .bind(batch.set_back().map(|(_, from)| from.micros()))
    .bind(batch.times().map(|(earliest, _)| earliest.micros()))
    .bind(batch.times().map(|(_, latest)| latest.micros()))
    .bind(SET_BACK.as_micros() as i64)
    .bind(i64::MAX)
    .execute(connection)
    .await
    .map_err(failed)?;
    let owned = moved.rows_affected() == 1 && lease.stream == *batch.stream();
    if owned { Ok(()) } else { Err(stale(lease, batch.incarnation())) }
}

async fn count(connection: &mut SqliteConnection, batch: &Batch, settled: &Settled) -> Result<Progress, StoreError> {
    let row: StoredProgress = sqlx::query_as(
        "UPDATE stream_progress
         SET counted = counted + ?3, duplicates = duplicates + ?4, dead_lettered = dead_lettered + ?5, lost = lost + ?6
         WHERE stream = ?1 AND incarnation = ?2 RETURNING *",
    )
    .bind(batch.stream().as_str())
    .bind(batch.incarnation().as_str())
    .bind(stored(settled.counted)?)
    .bind(stored(settled.duplicates)?)
    .bind(stored(settled.dead_letters.len() as u64)?)
    .bind(stored(settled.lost)?)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    row.try_into()
}

/// Adds usage and latency, and marks the days they change.
pub(super) async fn add_usage(connection: &mut SqliteConnection, settled: &Settled, now: Timestamp) -> Result<(), StoreError> {
    if settled.usage.is_empty() {
        return Ok(());
    }
    let usage = settled.usage.iter().map(|(key, usage)| {
        let (account, hour, channel) = (key.account.as_str(), key.hour.index(), key.channel.number());
        let (country, currency) = (key.country.as_str(), key.currency.as_str());
        let [a, b, c, d, e, f, g, h, i, j] = usage.columns();
        (account, hour, channel, country, currency, a, b, c, d, e, f, g, h, i, j)
    });
    let usage = sqlx::query(
        "INSERT INTO usage_hourly
         SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7,
                value->>8, value->>9, value->>10, value->>11, value->>12, value->>13, value->>14
         FROM jsonb_each(?1) WHERE true
         ON CONFLICT (account, hour, channel, country, currency) DO UPDATE SET
         events = events + excluded.events, messages = messages + excluded.messages, segments = segments + excluded.segments,
         amount_micros = amount_micros + excluded.amount_micros, delivered = delivered + excluded.delivered,
         undelivered = undelivered + excluded.undelivered, expired = expired + excluded.expired,
         rejected = rejected + excluded.rejected, failed = failed + excluded.failed, not_final = not_final + excluded.not_final",
    )
    .bind(json(usage)?);
    usage.execute(&mut *connection).await.map_err(added)?;
    let latency = settled.latency.iter().map(|(key, count)| {
        (key.account.as_str(), key.hour.index(), key.channel.number(), key.country.as_str(), key.bucket, count)
    });
    let latency = sqlx::query(
        "INSERT INTO latency_hourly
         SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM jsonb_each(?1) WHERE true
         ON CONFLICT (account, hour, channel, country, bucket) DO UPDATE SET count = count + excluded.count",
    )
    .bind(json(latency)?);
    latency.execute(&mut *connection).await.map_err(failed)?;
    mark_dirty(connection, &settled.dirty_days(), now).await
}

/// Versions start at the time, so that a row deleted and made again does not come by an old one.
pub(super) async fn mark_dirty(
    connection: &mut SqliteConnection,
    days: &BTreeSet<(AccountId, Day)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let dirty = days.iter().map(|(account, day)| (account.as_str(), day.index()));
    let dirty = sqlx::query(
        "INSERT INTO dirty_day (account, day, version) SELECT value->>0, value->>1, ?2 FROM jsonb_each(?1) WHERE true
         ON CONFLICT (account, day) DO UPDATE SET version = max(version + 1, excluded.version)",
    )
    .bind(json(dirty)?)
    .bind(now.micros());
    dirty.execute(connection).await.map(drop).map_err(failed)
}

/// Rows as one JSON array.
pub(super) fn json<T: Serialize>(rows: impl Iterator<Item = T>) -> Result<String, StoreError> {
    serde_json::to_string(&rows.collect::<Vec<_>>()).map_err(|error| StoreError::Broken(error.to_string()))
}
