//! What the store holds, read with plain SQL while nothing writes to it.

use crate::{
    journal::Position,
    model::{Numbers, RowKey},
};
use anyhow::{Context, Result, ensure};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _, SqliteConnection, postgres::PgConnectOptions,
};
use std::{collections::BTreeMap, path::Path, str::FromStr as _};

/// One stream's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Last sequence whose effect is in the store.
    pub applied: u64,
    /// Counted records.
    pub counted: u64,
    /// Counted before.
    pub duplicates: u64,
    /// In the dead letters.
    pub dead_lettered: u64,
    /// In the loss ledger.
    pub lost: u64,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where its record stands.
    pub position: Position,
    /// Upper case.
    pub reason: String,
    /// Redriven with success: counted, or found to be a duplicate.
    pub redriven: bool,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A run of the loss ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The first one.
    pub first: Position,
    /// Sequence of the last one.
    pub last: u64,
}

/// A dedup key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `billing` or `receipt`.
    pub kind: String,
    /// Days since 1970 of its partition.
    pub day: i32,
    /// The key.
    pub key: [u8; 16],
}

/// Deliveries of an account, hour, channel and country.
pub type LatencyKey = (String, i32, i32, String);

/// Everything that can be checked.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By stream and incarnation.
    pub counters: BTreeMap<(String, String), Counters>,
    /// Hourly usage.
    pub usage: BTreeMap<RowKey, Numbers>,
    /// Latency counts, added over buckets.
    pub latency: BTreeMap<LatencyKey, i64>,
    /// Of all partitions.
    pub keys: BTreeMap<Key, i64>,
    /// All dead letters.
    pub letters: Vec<Letter>,
    /// The loss ledger.
    pub losses: Vec<Lost>,
}

const COUNTERS: &str = "SELECT stream, incarnation, applied, counted, duplicates, dead_lettered, lost FROM stream_progress";
const USAGE: &str = "SELECT account, CAST(hour AS BIGINT), CAST(channel AS BIGINT), country, currency, events, messages, segments, \
     amount_micros, delivered, undelivered, expired, rejected, failed, not_final FROM usage_hourly";
const LATENCY: &str = "SELECT account, CAST(hour AS BIGINT), CAST(channel AS BIGINT), country, CAST(sum(count) AS BIGINT) \
     FROM latency_hourly GROUP BY 1, 2, 3, 4";
const LETTERS: &str = "SELECT stream, incarnation, sequence, upper(reason), lower(state), payload FROM dead_letter";
const LOSSES: &str = "SELECT stream, incarnation, first_sequence, last_sequence FROM loss";

/// The same reading for both databases: their rows differ in type only.
macro_rules! read {
    ($connection:expr, $tables:literal, $keys:literal) => {{
        let mut snapshot = Snapshot::default();
        for row in sqlx::query(COUNTERS).fetch_all(&mut *$connection).await? {
            let number = |at: usize| anyhow::Ok(row.try_get::<i64, _>(at)? as u64);
            let counters = Counters {
                applied: number(2)?,
                counted: number(3)?,
                duplicates: number(4)?,
                dead_lettered: number(5)?,
                lost: number(6)?,
            };
            snapshot.counters.insert((row.try_get(0)?, row.try_get(1)?), counters);
        }
        for row in sqlx::query(USAGE).fetch_all(&mut *$connection).await? {
            let key = RowKey {
                account: row.try_get(0)?,
                hour: row.try_get::<i64, _>(1)? as i32,
                channel: row.try_get::<i64, _>(2)? as i32,
                country: row.try_get(3)?,
                currency: row.try_get(4)?,
            };
            let mut numbers = Numbers::default();
            for (column, number) in numbers.iter_mut().enumerate() {
                *number = row.try_get(5 + column)?;
            }
            ensure!(snapshot.usage.insert(key.clone(), numbers).is_none(), "two rows of {key:?}");
        }
        for row in sqlx::query(LATENCY).fetch_all(&mut *$connection).await? {
            let (hour, channel) = (row.try_get::<i64, _>(1)? as i32, row.try_get::<i64, _>(2)? as i32);
            snapshot.latency.insert((row.try_get(0)?, hour, channel, row.try_get(3)?), row.try_get(4)?);
        }
        for row in sqlx::query(LETTERS).fetch_all(&mut *$connection).await? {
            snapshot.letters.push(Letter {
                position: Position::new(row.try_get(0)?, row.try_get(1)?, row.try_get::<i64, _>(2)? as u64),
                reason: row.try_get(3)?,
                redriven: ["counted", "duplicate"].contains(&row.try_get::<String, _>(4)?.as_str()),
                payload: row.try_get(5)?,
            });
        }
        for row in sqlx::query(LOSSES).fetch_all(&mut *$connection).await? {
            let first = Position::new(row.try_get(0)?, row.try_get(1)?, row.try_get::<i64, _>(2)? as u64);
            snapshot.losses.push(Lost { first, last: row.try_get::<i64, _>(3)? as u64 });
        }
        let tables: Vec<String> = sqlx::query_scalar($tables).fetch_all(&mut *$connection).await?;
        for (table, kind, day) in tables.iter().filter_map(|table| partition(table)) {
            // Safe: the name comes from the catalogue, and is made of a known prefix and digits.
            let rows = sqlx::query(AssertSqlSafe(format!($keys, table))).fetch_all(&mut *$connection).await?;
            for row in rows {
                let key: Vec<u8> = row.try_get(0)?;
                let key = key.try_into().ok().context("a dedup key of 16 bytes")?;
                snapshot.keys.insert(Key { kind: kind.to_owned(), day, key }, row.try_get(1)?);
            }
        }
        anyhow::Ok(snapshot)
    }};
}

impl Snapshot {
    /// From a SQLite file, or a PostgreSQL URL: what the product's own configuration holds.
    ///
    /// # Errors
    /// When it cannot be read, or is not of this schema.
    pub async fn load(url: &str) -> Result<Self> {
        match url.strip_prefix("sqlite:") {
            Some(path) => Self::of_sqlite(Path::new(path)).await,
            None => Self::of_postgres(url).await,
        }
    }

    async fn of_postgres(url: &str) -> Result<Self> {
        let mut connection: PgConnection = PgConnectOptions::from_str(url)?.connect().await?;
        sqlx::query("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .execute(&mut connection)
            .await?;
        let mut transaction = connection.begin().await?;
        let snapshot = read!(
            transaction,
            "SELECT tablename::text FROM pg_tables WHERE tablename LIKE 'dedup\\_%' AND schemaname = current_schema()",
            "SELECT uuid_send(key), fingerprint FROM {}"
        )?;
        transaction.rollback().await?;
        connection.close().await?;
        Ok(snapshot)
    }

    async fn of_sqlite(path: &Path) -> Result<Self> {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection: SqliteConnection = options.connect().await.with_context(|| format!("{}", path.display()))?;
        let mut transaction = connection.begin().await?;
        let snapshot = read!(
            transaction,
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'dedup\\_%' ESCAPE '\\'",
            "SELECT key, fingerprint FROM {}"
        )?;
        transaction.rollback().await?;
        connection.close().await?;
        Ok(snapshot)
    }
}

/// `dedup_billing_20261121` and its day; other tables are no partitions of a day.
fn partition(table: &str) -> Option<(&str, &str, i32)> {
    let (kind, date) = table.strip_prefix("dedup_")?.split_once('_')?;
    if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let start = format!("{}-{}-{}T00:00:00Z", &date[..4], &date[4..6], &date[6..]);
    let start: loadline_domain::Timestamp = start.parse().ok()?;
    Some((table, kind, start.day().index()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_known_by_its_name() {
        assert_eq!(partition("dedup_billing_19700103"), Some(("dedup_billing_19700103", "billing", 2)));
        assert_eq!(partition("dedup_permanent"), None);
        assert_eq!(partition("dedup_partition"), None);
        assert_eq!(partition("dedup_billing_2026; drop"), None);
    }
}
