//! Keys of what was counted: one table a kind and day. Keys travel as one packed blob, fingerprints as one JSON array;
//! `json_each` numbers them.

use super::{
    commit::json,
    connect::{SqliteStore, failed},
    other_days,
};
use crate::{
    DedupTable, StoreError,
    rows::{dedup_table, loaded, stored},
};
use async_trait::async_trait;
use loadline_domain::{
    fold::Candidate,
    identity::{Fingerprint, Identity, Key, Partition},
};
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::collections::HashMap;

#[async_trait]
impl DedupTable for SqliteStore {
    async fn known(&self, identities: &[Identity]) -> Result<HashMap<Identity, Fingerprint>, StoreError> {
        let mut identities = identities.to_vec();
        identities.sort_unstable();
        identities.dedup();
        let mut snapshot = self.snapshot().await?;
        let mut known = HashMap::new();
        for run in identities.chunk_by(|a, b| a.partition == b.partition) {
            known.extend(in_permanent(&mut snapshot, run).await?);
            if exists(&mut snapshot, run[0].partition).await? {
                known.extend(in_partition(&mut snapshot, run[0].partition, run.iter().map(|asked| asked.key)).await?);
            }
            known.extend(other_days::known(&mut snapshot, run).await?);
        }
        Ok(known)
    }

    async fn partitions(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT name, entries FROM dedup_partition ORDER BY name")
            .fetch_all(&mut *snapshot)
            .await
            .map_err(failed)?;
        rows.into_iter().map(|(name, entries)| Ok((name, loaded(entries)?))).collect()
    }
}

/// A statement about one partition's table. The only text ever put into SQL: it is made of a kind and a day.
pub(super) fn on(partition: Partition, statement: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement.replace("{table}", &dedup_table(partition)))
}

/// Makes a partition's table if it does not exist, and claims one that was to be purged; whether it did. It is part of the
/// batch's own transaction: nobody else writes meanwhile.
pub(super) async fn make_table(connection: &mut SqliteConnection, partition: Partition) -> Result<bool, StoreError> {
    if exists(&mut *connection, partition).await? {
        return Ok(false);
    }
    let table = "CREATE TABLE IF NOT EXISTS {table} (key BLOB NOT NULL PRIMARY KEY, fingerprint INTEGER NOT NULL)
                 STRICT, WITHOUT ROWID";
    sqlx::query(on(partition, table)).execute(&mut *connection).await.map_err(failed)?;
    sqlx::query("INSERT INTO dedup_partition (kind, day, name) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET purging = 0")
        .bind(partition.kind.as_str())
        .bind(partition.day.index())
        .bind(dedup_table(partition))
        .execute(connection)
        .await
        .map(|_| true)
        .map_err(failed)
}

/// Writes the keys of candidates, sorted by partition, and returns those that were there before, or on another day.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    candidates: &[Candidate],
) -> Result<HashMap<Identity, Fingerprint>, StoreError> {
    let mut known = HashMap::new();
    for run in candidates.chunk_by(|a, b| a.identity.partition == b.identity.partition) {
        let identities: Vec<_> = run.iter().map(|candidate| candidate.identity).collect();
        known.extend(other_days::known(&mut *connection, &identities).await?);
        let run: Vec<_> = run.iter().filter(|candidate| !known.contains_key(&candidate.identity)).collect();
        let Some(partition) = run.first().map(|candidate| candidate.identity.partition) else { continue };
        make_table(&mut *connection, partition).await?;
        let here = in_partition(&mut *connection, partition, run.iter().map(|candidate| candidate.identity.key)).await?;
        let late: Vec<_> = run.iter().copied().filter(|candidate| candidate.late).collect();
        let late_identities: Vec<_> = late.iter().map(|candidate| candidate.identity).collect();
        known.extend(in_permanent(&mut *connection, &late_identities).await?);
        let first = |candidate: &Candidate| {
            let before = here.get(&candidate.identity).or_else(|| known.get(&candidate.identity));
            (candidate.identity.key, before.copied().unwrap_or(candidate.fingerprint))
        };
        let absent: Vec<_> = run.into_iter().filter(|candidate| !here.contains_key(&candidate.identity)).map(first).collect();
        add(&mut *connection, partition, &absent).await?;
        let late: Vec<_> = late.into_iter().map(first).collect();
        add_permanent(&mut *connection, partition, &late).await?;
        known.extend(here);
    }
    Ok(known)
}

async fn exists(connection: &mut SqliteConnection, partition: Partition) -> Result<bool, StoreError> {
    let listed = sqlx::query_scalar("SELECT count(*) FROM dedup_partition WHERE kind = ?1 AND day = ?2 AND NOT purging");
    let listed = listed.bind(partition.kind.as_str()).bind(partition.day.index());
    let listed: i64 = listed.fetch_one(connection).await.map_err(failed)?;
    Ok(listed == 1)
}

/// Which of one partition's identities its table holds. Keys made in order of time are mostly greater than all that it holds,
/// or lie in another day's range, and cost nothing more than asking for its bounds.
pub(super) async fn in_partition(
    connection: &mut SqliteConnection,
    partition: Partition,
    keys: impl Iterator<Item = Key>,
) -> Result<HashMap<Identity, Fingerprint>, StoreError> {
    let Some((least, greatest)) = bounds(&mut *connection, partition).await? else { return Ok(HashMap::new()) };
    let keys: Vec<Key> = keys.filter(|key| (&least[..]..=&greatest[..]).contains(&&key[..])).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = on(
        partition,
        "SELECT asked.key, held.fingerprint FROM json_each(?2) AS asked
         CROSS JOIN {table} AS held ON held.key = substr(?1, 1 + 16 * asked.key, 16)",
    );
    let found: Vec<(i64, i64)> = sqlx::query_as(statement)
        .bind(packed(keys.iter()))
        .bind(json(keys.iter().map(|_| 0))?)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    Ok(found.into_iter().map(|(at, fingerprint)| (Identity { partition, key: keys[at as usize] }, fingerprint)).collect())
}

/// Least and greatest key of a table; `None` when it is empty.
async fn bounds(connection: &mut SqliteConnection, partition: Partition) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
    let statement = on(partition, "SELECT (SELECT min(key) FROM {table}), (SELECT max(key) FROM {table})");
    let (least, greatest): (Option<Vec<u8>>, Option<Vec<u8>>) =
        sqlx::query_as(statement).fetch_one(connection).await.map_err(failed)?;
    Ok(least.zip(greatest))
}

/// Which of one kind's identities are kept for ever.
async fn in_permanent(
    connection: &mut SqliteConnection,
    identities: &[Identity],
) -> Result<HashMap<Identity, Fingerprint>, StoreError> {
    let Some(first) = identities.first() else { return Ok(HashMap::new()) };
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT asked.key, held.fingerprint FROM json_each(?2) AS asked
         CROSS JOIN dedup_permanent AS held ON held.kind = ?3 AND held.key = substr(?1, 1 + 16 * asked.key, 16)",
    )
    .bind(packed(identities.iter().map(|identity| &identity.key)))
    .bind(json(identities.iter().map(|_| 0))?)
    .bind(first.partition.kind.as_str())
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    Ok(found.into_iter().map(|(at, fingerprint)| (identities[at as usize], fingerprint)).collect())
}

/// Adds keys that the table does not hold.
async fn add(connection: &mut SqliteConnection, partition: Partition, keys: &[(Key, Fingerprint)]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let statement = "INSERT INTO {table} SELECT substr(?1, 1 + 16 * key, 16), value FROM json_each(?2)";
    sqlx::query(on(partition, statement))
        .bind(packed(keys.iter().map(|(key, _)| key)))
        .bind(json(keys.iter().map(|(_, fingerprint)| fingerprint))?)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    sqlx::query("UPDATE dedup_partition SET entries = entries + ?3 WHERE kind = ?1 AND day = ?2")
        .bind(partition.kind.as_str())
        .bind(partition.day.index())
        .bind(stored(keys.len() as u64)?)
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Adds keys to those kept for ever, if they are not there.
async fn add_permanent(
    connection: &mut SqliteConnection,
    partition: Partition,
    keys: &[(Key, Fingerprint)],
) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO dedup_permanent SELECT ?3, substr(?1, 1 + 16 * key, 16), value FROM json_each(?2) WHERE true
         ON CONFLICT DO NOTHING",
    )
    .bind(packed(keys.iter().map(|(key, _)| key)))
    .bind(json(keys.iter().map(|(_, fingerprint)| fingerprint))?)
    .bind(partition.kind.as_str())
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed)
}

fn packed<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<u8> {
    keys.flatten().copied().collect()
}
