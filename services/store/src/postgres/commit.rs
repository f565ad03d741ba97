//! One batch, one transaction. Sets of rows go in as one array a column: one statement a table, whatever their number.

use super::{
    connect::PostgresStore,
    dead_letters,
    dedup::{self, KnownPartitions},
    fault::Fault,
    hot_days::{self, KnownDays},
    leases::clock,
    losses,
    progress::{columns, stale, text},
    transact::End,
};
use crate::{
    StoreError,
    rows::{StoredProgress, stored},
};
use loadline_domain::{
    AccountId, Batch, Day, Settled, Timestamp,
    progress::{Lease, Progress, SET_BACK},
    usage::{LatencyKey, Usage, UsageKey},
};
use sqlx::PgConnection;
use std::{collections::BTreeSet, sync::Arc};

/// Writes a batch.
pub(super) async fn commit(store: &PostgresStore, lease: &Lease, batch: &Batch) -> Result<Progress, StoreError> {
    if batch.is_empty() {
        return Err(StoreError::Broken(format!("an empty batch of {} was to be committed", batch.stream())));
    }
    store.make_partitions(batch.candidates()).await?;
    let given = Arc::new((Arc::clone(&store.partitions), Arc::clone(&store.days), lease.clone(), batch.clone()));
    let write = store.write(End::Commit, move |connection| {
        let given = Arc::clone(&given);
        Box::pin(async move {
            let (partitions, days, lease, batch) = &*given;
            let applied = apply(connection, lease, batch, partitions, days).await;
            applied.map_err(|fault| hot_days::or_dropped(dedup::or_purged(fault, partitions), days))
        })
    });
    write.await
}

async fn apply(
    connection: &mut PgConnection,
    lease: &Lease,
    batch: &Batch,
    partitions: &KnownPartitions,
    days: &KnownDays,
) -> Result<Progress, Fault> {
    let now = fence(&mut *connection, lease, batch).await?;
    dedup::make_forgotten(&mut *connection, batch.candidates(), partitions).await?;
    let known = dedup::take(&mut *connection, batch.candidates()).await?;
    let settled = batch.settle(&known);
    if settled.accounted() != batch.len() {
        let (accounted, read) = (settled.accounted(), batch.len());
        let broken = format!("{accounted} of {read} records of {} accounted for", batch.stream());
        return Err(StoreError::Broken(broken).into());
    }
    add_usage(&mut *connection, &settled, now, days).await?;
    dead_letters::insert(&mut *connection, batch.stream(), batch.incarnation(), &settled.dead_letters).await?;
    losses::insert(&mut *connection, batch.stream(), batch.incarnation(), batch.losses(), now).await?;
    count(connection, batch, &settled).await
}

/// The first statement: exactly-once check and fence in one. Returns the server's time.
async fn fence(connection: &mut PgConnection, lease: &Lease, batch: &Batch) -> Result<i64, Fault> {
    let moved = sqlx::query_scalar(concat!(
        "UPDATE stream_progress
         SET applied = $5, head = greatest(head, $5), applied_at = coalesce($6, applied_at),
             newest_at = CASE WHEN $8 IS NOT NULL OR $10 < newest_at - $12 THEN $6 ELSE greatest(newest_at, $11) END,
             set_back_to = least(set_back_to, $8, CASE WHEN $10 < newest_at - $12 THEN $10 END),
             set_back_from = greatest(set_back_from, $9, CASE WHEN $10 < newest_at - $12 THEN greatest(newest_at, $11) END),
             set_back_at = CASE WHEN $8 IS NOT NULL OR $10 < newest_at - $12 THEN $5 ELSE set_back_at END,
             stopped = coalesce($7, stopped), committed_at = ",
        clock!(),
        " WHERE stream = $1 AND incarnation = $2 AND is_current AND epoch = $3 AND applied = $4 RETURNING committed_at"
    ))
    .bind(batch.stream().as_str())
    .bind(batch.incarnation().as_str())
    .bind(stored(lease.epoch)?)
    .bind(stored(batch.from())?)
    .bind(stored(batch.to())?)
    .bind(batch.last_recorded_at().map(Timestamp::micros))
    .bind(batch.stops().map(text))
    .bind(batch.set_back().map(|(to, _)| to.micros()))
    .bind(batch.set_back().map(|(_, from)| from.micros()))
    .bind(batch.times().map(|(earliest, _)| earliest.micros()))
    .bind(batch.times().map(|(_, latest)| latest.micros()))
    .bind(SET_BACK.as_micros() as i64)
    .fetch_optional(connection)
    .await?;
    match moved {
        Some(now) if lease.stream == *batch.stream() => Ok(now),
        _ => Err(stale(lease, batch.incarnation()).into()),
    }
}

async fn count(connection: &mut PgConnection, batch: &Batch, settled: &Settled) -> Result<Progress, Fault> {
    let row: StoredProgress = sqlx::query_as(concat!(
        "UPDATE stream_progress
         SET counted = counted + $3, duplicates = duplicates + $4, dead_lettered = dead_lettered + $5, lost = lost + $6
         WHERE stream = $1 AND incarnation = $2 RETURNING ",
        columns!()
    ))
    .bind(batch.stream().as_str())
    .bind(batch.incarnation().as_str())
    .bind(stored(settled.counted)?)
    .bind(stored(settled.duplicates)?)
    .bind(stored(settled.dead_letters.len() as u64)?)
    .bind(stored(settled.lost)?)
    .fetch_one(connection)
    .await?;
    Ok(row.try_into()?)
}

/// The server's time.
pub(super) async fn now(connection: &mut PgConnection) -> Result<i64, Fault> {
    Ok(sqlx::query_scalar(concat!("SELECT ", clock!())).fetch_one(connection).await?)
}

/// Adds usage and latency, and marks the days they change.
pub(super) async fn add_usage(connection: &mut PgConnection, settled: &Settled, now: i64, days: &KnownDays) -> Result<(), Fault> {
    let dirty = settled.dirty_days();
    hot_days::make(&mut *connection, dirty.iter().map(|(_, day)| *day), days).await?;
    if !settled.usage.is_empty() {
        upsert_usage(&mut *connection, &settled.usage).await?;
    }
    if !settled.latency.is_empty() {
        upsert_latency(&mut *connection, &settled.latency).await?;
    }
    if dirty.is_empty() { Ok(()) } else { mark_dirty(connection, &dirty, now).await }
}

async fn upsert_usage(connection: &mut PgConnection, rows: &[(UsageKey, Usage)]) -> Result<(), Fault> {
    let sums = |column: usize| rows.iter().map(|(_, usage)| usage.columns()[column]).collect::<Vec<_>>();
    let mut upsert = sqlx::query(
        "INSERT INTO usage_hourly AS u
         SELECT * FROM unnest($1::text[], $2::int[], $3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
             $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])
         ON CONFLICT (account, hour, channel, country, currency) DO UPDATE SET
             events = u.events + excluded.events, messages = u.messages + excluded.messages,
             segments = u.segments + excluded.segments, amount_micros = u.amount_micros + excluded.amount_micros,
             delivered = u.delivered + excluded.delivered, undelivered = u.undelivered + excluded.undelivered,
             expired = u.expired + excluded.expired, rejected = u.rejected + excluded.rejected,
             failed = u.failed + excluded.failed, not_final = u.not_final + excluded.not_final",
    )
    .bind(rows.iter().map(|(key, _)| key.account.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.hour.index()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.channel.number() as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.country.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.currency.as_str()).collect::<Vec<_>>());
    for column in 0..10 {
        upsert = upsert.bind(sums(column));
    }
    upsert.execute(connection).await.map(drop).map_err(|error| Fault::from(error).or_overflow())
}

async fn upsert_latency(connection: &mut PgConnection, rows: &[(LatencyKey, i64)]) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO latency_hourly AS l
         SELECT * FROM unnest($1::text[], $2::int[], $3::smallint[], $4::text[], $5::smallint[], $6::bigint[])
         ON CONFLICT (account, hour, channel, country, bucket) DO UPDATE SET count = l.count + excluded.count",
    )
    .bind(rows.iter().map(|(key, _)| key.account.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.hour.index()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.channel.number() as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.country.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.bucket).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, count)| *count).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Versions start at the time, so that a row deleted and made again does not come by an old one.
pub(super) async fn mark_dirty(connection: &mut PgConnection, days: &BTreeSet<(AccountId, Day)>, now: i64) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO dirty_day AS d SELECT account, day, $3 FROM unnest($1::text[], $2::int[]) AS given (account, day)
         ON CONFLICT (account, day) DO UPDATE SET version = greatest(d.version + 1, excluded.version)",
    )
    .bind(days.iter().map(|(account, _)| account.as_str()).collect::<Vec<_>>())
    .bind(days.iter().map(|(_, day)| day.index()).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
