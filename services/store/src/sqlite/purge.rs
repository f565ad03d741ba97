//! Dedup tables made ahead, and dropped in slices: dropping a full one at once would hold the file's one writer for long.

use super::{
    connect::{SqliteStore, failed},
    dedup::{make_table, on},
    leadership::fence,
};
use crate::{
    DedupPurge, Leadership, Purgeable, StoreError,
    purge::{days, past},
    rows::{dedup_table, loaded},
};
use async_trait::async_trait;
use loadline_domain::{Day, Rules, Timestamp, identity::Partition};
use sqlx::SqliteConnection;
use std::collections::HashMap;

/// Keys deleted in one transaction: some ten milliseconds.
const SLICE: i64 = 20_000;

/// What is left of a table.
enum Left {
    /// Keys, perhaps.
    Some,
    /// No table.
    Gone,
    /// A table that a late event claimed.
    Claimed,
}

#[async_trait]
impl DedupPurge for SqliteStore {
    async fn prepare_partitions(&self, from: Day, to: Day) -> Result<u64, StoreError> {
        let making = self.writer.transaction(move |connection| {
            Box::pin(async move {
                let mut made = 0;
                for partition in days(from, to) {
                    made += u64::from(make_table(&mut *connection, partition).await?);
                }
                Ok(made)
            })
        });
        making.await
    }

    async fn purgeable(&self, rules: &Rules, counted_through: Timestamp) -> Result<Vec<Purgeable>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        // No stream that is known to be behind is past its last applied record.
        let behind = "SELECT min(coalesce(applied_at, 0)) FROM stream_progress WHERE is_current AND applied < head";
        let behind: Option<i64> = sqlx::query_scalar(behind).fetch_one(&mut *snapshot).await.map_err(failed)?;
        let through = behind.map_or(counted_through, |at| counted_through.min(Timestamp::from_micros(at)));
        let tables: Vec<(String, i32, i64)> = sqlx::query_as("SELECT kind, day, entries FROM dedup_partition ORDER BY day, kind")
            .fetch_all(&mut *snapshot)
            .await
            .map_err(failed)?;
        let entries: HashMap<_, _> = tables.iter().map(|(kind, day, entries)| ((kind.clone(), *day), *entries)).collect();
        let tables = past(tables.into_iter().map(|(kind, day, _)| (kind, day)).collect(), rules, through)?;
        let told = tables.into_iter().map(|partition| {
            let key = (partition.kind.as_str().to_owned(), partition.day.index());
            let rows = loaded(entries.get(&key).copied().unwrap_or_default())?;
            Ok(Purgeable { partition, name: dedup_table(partition), rows })
        });
        told.collect()
    }

    async fn purge(&self, leadership: &Leadership, partition: Partition) -> Result<bool, StoreError> {
        let given = leadership.clone();
        if !self.writer.transaction(move |connection| Box::pin(unlist(connection, given, partition))).await? {
            return Ok(false);
        }
        loop {
            let given = leadership.clone();
            match self.writer.transaction(move |connection| Box::pin(slice(connection, given, partition))).await? {
                Left::Some => {}
                Left::Gone => return Ok(true),
                Left::Claimed => return Ok(false),
            }
        }
    }
}

/// From here on nobody looks into the table. False when it is not listed.
async fn unlist(connection: &mut SqliteConnection, leadership: Leadership, partition: Partition) -> Result<bool, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let unlist = sqlx::query("UPDATE dedup_partition SET purging = 1 WHERE kind = ?1 AND day = ?2");
    let unlist = unlist.bind(partition.kind.as_str()).bind(partition.day.index());
    Ok(unlist.execute(connection).await.map_err(failed)?.rows_affected() == 1)
}

/// Deletes some keys; drops the table when there are none left.
async fn slice(connection: &mut SqliteConnection, leadership: Leadership, partition: Partition) -> Result<Left, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let purging = sqlx::query_scalar("SELECT purging FROM dedup_partition WHERE kind = ?1 AND day = ?2");
    let purging = purging.bind(partition.kind.as_str()).bind(partition.day.index());
    match purging.fetch_optional(&mut *connection).await.map_err(failed)? {
        None => return Ok(Left::Gone),
        Some(false) => return Ok(Left::Claimed),
        Some(true) => {}
    }
    let some = "DELETE FROM {table} WHERE key IN (SELECT key FROM {table} ORDER BY key LIMIT ?1)";
    let deleted = sqlx::query(on(partition, some)).bind(SLICE).execute(&mut *connection).await.map_err(failed)?;
    let deleted = deleted.rows_affected() as i64;
    if deleted == SLICE {
        let fewer = "UPDATE dedup_partition SET entries = max(entries - ?3, 0) WHERE kind = ?1 AND day = ?2";
        let fewer = sqlx::query(fewer).bind(partition.kind.as_str()).bind(partition.day.index()).bind(deleted);
        fewer.execute(connection).await.map_err(failed)?;
        return Ok(Left::Some);
    }
    sqlx::query(on(partition, "DROP TABLE {table}")).execute(&mut *connection).await.map_err(failed)?;
    let gone = sqlx::query("DELETE FROM dedup_partition WHERE kind = ?1 AND day = ?2");
    let gone = gone.bind(partition.kind.as_str()).bind(partition.day.index());
    gone.execute(connection).await.map(|_| Left::Gone).map_err(failed)
}
