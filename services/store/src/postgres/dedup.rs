//! Keys of what was counted: one table a kind and day. Its rows are never updated, and go with their table.

use super::{
    connect::PostgresStore,
    fault::Fault,
    other_days,
    transact::{End, Reach},
};
use crate::{
    DedupTable, StoreError,
    rows::{damaged, dedup_table, loaded},
};
use async_trait::async_trait;
use loadline_domain::{
    Day,
    fold::Candidate,
    identity::{Fingerprint, Identity, Kind, Partition},
};
use sqlx::{AssertSqlSafe, PgConnection};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};
use uuid::Uuid;

/// Tables up to this size are counted key by key: about 20,000 keys, a few milliseconds.
const COUNTED_BYTES: i64 = 1 << 20;

/// Dedup tables known to exist.
pub(super) type KnownPartitions = Mutex<HashSet<Partition>>;

#[async_trait]
impl DedupTable for PostgresStore {
    async fn known(&self, identities: &[Identity]) -> Result<HashMap<Identity, Fingerprint>, StoreError> {
        let mut identities = identities.to_vec();
        identities.sort_unstable();
        identities.dedup();
        self.read(Reach::Rows, |connection| Box::pin(async { look_up(connection, identities).await.map_err(Fault::or_gone) }))
            .await
    }

    async fn partitions(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.read(Reach::Rows, |connection| Box::pin(async { count(connection).await.map_err(Fault::or_gone) })).await
    }
}

impl PostgresStore {
    /// Makes the tables that these candidates' keys go into, in a transaction of its own, and remembers them.
    pub(super) async fn make_partitions(&self, candidates: &[Candidate]) -> Result<(), StoreError> {
        let mut missing = partitions(candidates);
        {
            let made = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
            missing.retain(|partition| !made.contains(partition));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let make = missing.clone();
        let made = self.write(End::Commit, move |connection| {
            let make = make.clone();
            Box::pin(async move { make_tables(connection, &make).await })
        });
        made.await?;
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).extend(missing);
        Ok(())
    }
}

/// The partitions of these candidates.
pub(super) fn partitions(candidates: &[Candidate]) -> BTreeSet<Partition> {
    candidates.iter().map(|candidate| candidate.identity.partition).collect()
}

/// A table that was purged after it was seen is made anew by the next try, which sees to it itself: forgets all.
pub(super) fn or_purged(fault: Fault, partitions: &KnownPartitions) -> Fault {
    if !fault.is_missing_table() {
        return fault;
    }
    partitions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    Fault::Overtaken
}

/// Makes the tables of candidates that are not known, within the batch's own transaction: they were known when it began.
pub(super) async fn make_forgotten(
    connection: &mut PgConnection,
    candidates: &[Candidate],
    known: &KnownPartitions,
) -> Result<(), Fault> {
    let mut missing = partitions(candidates);
    missing.retain(|partition| !known.lock().unwrap_or_else(PoisonError::into_inner).contains(partition));
    make_tables(connection, &missing).await.map(drop)
}

/// A statement about one partition's table. The only text ever put into SQL: it is made of a kind and a day.
pub(super) fn on(partition: Partition, statement: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement.replace("{table}", &dedup_table(partition)))
}

/// Makes tables that do not exist, and claims those that were to be purged; returns how many. Whoever lists a table first
/// makes it; others wait for the row, not for the table.
pub(super) async fn make_tables(connection: &mut PgConnection, partitions: &BTreeSet<Partition>) -> Result<u64, Fault> {
    let mut made = 0;
    for partition in partitions {
        if is_listed(&mut *connection, *partition).await? {
            continue;
        }
        let list = "INSERT INTO dedup_partition AS p (kind, day, name) VALUES ($1, $2, $3)
                    ON CONFLICT (kind, day) DO UPDATE SET purging = FALSE WHERE p.purging";
        let listed = sqlx::query(list)
            .bind(partition.kind.as_str())
            .bind(partition.day.index())
            .bind(dedup_table(*partition))
            .execute(&mut *connection)
            .await?;
        if listed.rows_affected() == 1 {
            made += 1;
            // Nothing here is ever updated and the table lives for days: sweeping it would only read it all.
            let table = "CREATE TABLE IF NOT EXISTS {table} (key UUID PRIMARY KEY, fingerprint BIGINT NOT NULL)
                         WITH (autovacuum_vacuum_insert_threshold = -1)";
            sqlx::raw_sql(on(*partition, table)).execute(&mut *connection).await?;
        }
    }
    Ok(made)
}

/// Whether a partition's table is there to stay.
async fn is_listed(connection: &mut PgConnection, partition: Partition) -> Result<bool, Fault> {
    let listed = sqlx::query("SELECT FROM dedup_partition WHERE kind = $1 AND day = $2 AND NOT purging");
    let listed = listed.bind(partition.kind.as_str()).bind(partition.day.index());
    Ok(listed.fetch_optional(connection).await?.is_some())
}

/// Writes the keys of candidates, sorted by partition and key, and returns those that were there before, or on another day. A
/// key that another transaction is writing is waited for.
pub(super) async fn take(
    connection: &mut PgConnection,
    candidates: &[Candidate],
) -> Result<HashMap<Identity, Fingerprint>, Fault> {
    let mut known = HashMap::new();
    for run in candidates.chunk_by(|a, b| a.identity.partition == b.identity.partition) {
        let identities: Vec<_> = run.iter().map(|candidate| candidate.identity).collect();
        known.extend(other_days::known(&mut *connection, &identities).await?);
        let late: Vec<_> = run.iter().filter(|candidate| candidate.late && !known.contains_key(&candidate.identity)).collect();
        known.extend(add_permanent(&mut *connection, &late).await?);
        let unknown: Vec<_> = run.iter().filter(|candidate| !known.contains_key(&candidate.identity)).collect();
        let here = add(&mut *connection, &unknown).await?;
        if !late.is_empty() {
            correct_permanent(&mut *connection, &here).await?;
        }
        known.extend(here);
    }
    Ok(known)
}

/// Adds keys to their day's table; returns the known ones.
///
/// They are looked for first and the rest inserted plainly: this takes two thirds of the time and three quarters of the WAL of
/// `ON CONFLICT DO NOTHING RETURNING`. The insert waits for whoever is writing the same key, then fails as overtaken; the
/// transaction's next try finds the key.
async fn add(connection: &mut PgConnection, candidates: &[&Candidate]) -> Result<HashMap<Identity, Fingerprint>, Fault> {
    let Some(first) = candidates.first() else { return Ok(HashMap::new()) };
    let partition = first.identity.partition;
    let keys = candidates.iter().map(|candidate| uuid(&candidate.identity));
    let known = in_partition(&mut *connection, partition, keys).await?;
    let unknown: Vec<_> = candidates.iter().copied().filter(|candidate| !known.contains_key(&candidate.identity)).collect();
    if !unknown.is_empty() {
        let (keys, fingerprints) = columns(&unknown);
        let insert = sqlx::query(on(partition, "INSERT INTO {table} SELECT * FROM unnest($1::uuid[], $2::bigint[])"));
        let inserted = insert.bind(keys).bind(fingerprints).execute(connection).await;
        inserted.map_err(|error| Fault::from(error).or_overtaken())?;
    }
    Ok(known)
}

/// Adds keys to those kept for ever; returns the known ones.
async fn add_permanent(connection: &mut PgConnection, late: &[&Candidate]) -> Result<HashMap<Identity, Fingerprint>, Fault> {
    let Some(first) = late.first() else { return Ok(HashMap::new()) };
    let kind = first.identity.partition.kind;
    let (keys, fingerprints) = columns(late);
    let added: Vec<Uuid> = sqlx::query_scalar(
        "INSERT INTO dedup_permanent SELECT $3, * FROM unnest($1::uuid[], $2::bigint[]) ON CONFLICT DO NOTHING RETURNING key",
    )
    .bind(keys)
    .bind(fingerprints)
    .bind(kind.as_str())
    .fetch_all(&mut *connection)
    .await?;
    let added: HashSet<Uuid> = added.into_iter().collect();
    let known = late.iter().map(|candidate| candidate.identity).filter(|identity| !added.contains(&uuid(identity)));
    in_permanent(connection, kind, &known.collect::<Vec<_>>()).await
}

/// What its day's table knew is what was counted, whatever a later claimant says.
async fn correct_permanent(connection: &mut PgConnection, known: &HashMap<Identity, Fingerprint>) -> Result<(), Fault> {
    let Some(kind) = known.keys().next().map(|identity| identity.partition.kind) else { return Ok(()) };
    sqlx::query(
        "UPDATE dedup_permanent SET fingerprint = given.fingerprint
         FROM unnest($1::uuid[], $2::bigint[]) AS given (key, fingerprint)
         WHERE kind = $3 AND dedup_permanent.key = given.key",
    )
    .bind(known.keys().map(uuid).collect::<Vec<_>>())
    .bind(known.values().copied().collect::<Vec<_>>())
    .bind(kind.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Keys of each table: counted while that reads little, then as the server's statistics estimate them.
async fn count(connection: &mut PgConnection) -> Result<Vec<(String, u64)>, Fault> {
    let listed: Vec<(String, i32, i64, i64)> = sqlx::query_as(
        "SELECT kind, day, pg_relation_size(class.oid), greatest(pg_stat_get_live_tuples(class.oid), class.reltuples::bigint, 0)
         FROM dedup_partition JOIN pg_class AS class ON class.oid = to_regclass(name) ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut counts = Vec::with_capacity(listed.len());
    for (kind, day, bytes, estimate) in listed {
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(|| damaged("kind of keys", kind))?;
        let partition = Partition { kind, day: Day::from_index(day) };
        let keys = match bytes <= COUNTED_BYTES {
            true => sqlx::query_scalar(on(partition, "SELECT count(*) FROM {table}")).fetch_one(&mut *connection).await?,
            false => estimate,
        };
        counts.push((dedup_table(partition), loaded(keys)?));
    }
    Ok(counts)
}

async fn look_up(connection: &mut PgConnection, identities: Vec<Identity>) -> Result<HashMap<Identity, Fingerprint>, Fault> {
    let mut known = HashMap::new();
    for run in identities.chunk_by(|a, b| a.partition.kind == b.partition.kind) {
        known.extend(in_permanent(&mut *connection, run[0].partition.kind, run).await?);
    }
    for run in identities.chunk_by(|a, b| a.partition == b.partition) {
        let partition = run[0].partition;
        if is_listed(&mut *connection, partition).await? {
            known.extend(in_partition(&mut *connection, partition, run.iter().map(uuid)).await?);
        }
        known.extend(other_days::known(&mut *connection, run).await?);
    }
    Ok(known)
}

/// Which of these keys a partition's table holds. Keys made in order of time are mostly greater than all that it holds, or lie
/// in another day's range, and cost nothing more than asking for its bounds.
pub(super) async fn in_partition(
    connection: &mut PgConnection,
    partition: Partition,
    keys: impl Iterator<Item = Uuid>,
) -> Result<HashMap<Identity, Fingerprint>, Fault> {
    let Some((least, greatest)) = bounds(&mut *connection, partition).await? else { return Ok(HashMap::new()) };
    let keys: Vec<_> = keys.filter(|key| (least..=greatest).contains(key)).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    // A subquery a key always follows the index. A join might scan the table, planned when that was empty.
    let statement = "SELECT key, fingerprint
                     FROM (SELECT key, (SELECT fingerprint FROM {table} AS held WHERE held.key = asked.key) AS fingerprint
                           FROM unnest($1::uuid[]) AS asked (key) OFFSET 0) AS looked_for
                     WHERE fingerprint IS NOT NULL";
    let found: Vec<(Uuid, Fingerprint)> = sqlx::query_as(on(partition, statement)).bind(keys).fetch_all(connection).await?;
    Ok(found.into_iter().map(|(key, fingerprint)| (Identity { partition, key: key.into_bytes() }, fingerprint)).collect())
}

/// Least and greatest key of a table; `None` when it is empty.
async fn bounds(connection: &mut PgConnection, partition: Partition) -> Result<Option<(Uuid, Uuid)>, Fault> {
    let statement = "SELECT (SELECT key FROM {table} ORDER BY key LIMIT 1), (SELECT key FROM {table} ORDER BY key DESC LIMIT 1)";
    let (least, greatest): (Option<Uuid>, Option<Uuid>) = sqlx::query_as(on(partition, statement)).fetch_one(connection).await?;
    Ok(least.zip(greatest))
}

/// Which of one kind's identities are kept for ever.
async fn in_permanent(
    connection: &mut PgConnection,
    kind: Kind,
    identities: &[Identity],
) -> Result<HashMap<Identity, Fingerprint>, Fault> {
    if identities.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<(Uuid, Fingerprint)> = sqlx::query_as(
        "SELECT key, fingerprint
         FROM (SELECT key, (SELECT fingerprint FROM dedup_permanent AS held
                            WHERE held.kind = $2 AND held.key = asked.key) AS fingerprint
               FROM unnest($1::uuid[]) AS asked (key) OFFSET 0) AS looked_for
         WHERE fingerprint IS NOT NULL",
    )
    .bind(identities.iter().map(uuid).collect::<Vec<_>>())
    .bind(kind.as_str())
    .fetch_all(connection)
    .await?;
    let found: HashMap<Uuid, Fingerprint> = found.into_iter().collect();
    Ok(identities.iter().filter_map(|identity| Some((*identity, *found.get(&uuid(identity))?))).collect())
}

fn columns(candidates: &[&Candidate]) -> (Vec<Uuid>, Vec<Fingerprint>) {
    candidates.iter().map(|candidate| (uuid(&candidate.identity), candidate.fingerprint)).unzip()
}

pub(super) fn uuid(identity: &Identity) -> Uuid {
    Uuid::from_bytes(identity.key)
}
