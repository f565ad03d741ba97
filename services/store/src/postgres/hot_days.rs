//! Tables of hours, one a day: made before the day's first row, dropped when the day moved to history. (Migration 0008.)

use super::{
    connect::PostgresStore,
    fault::Fault,
    transact::{End, unless_in_use},
};
use crate::StoreError;
use loadline_domain::Day;
use sqlx::{AssertSqlSafe, PgConnection};
use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Days dropped under one lock, which batches and answers wait for: some 15 ms. All have one commit.
const DROPPED_AT_ONCE: usize = 8;

/// Days whose tables are known to exist.
pub(super) type KnownDays = Mutex<HashSet<Day>>;

/// The name of a day's table, such as `usage_hourly_20261127`.
pub(super) fn table(whole: &str, day: Day) -> String {
    format!("{whole}_{}", day.to_string().replace('-', ""))
}

/// A statement about a day's tables, `{usage}` and `{latency}`. What is put into it is made of nothing but a day.
pub(super) fn on(day: Day, statement: &'static str) -> AssertSqlSafe<String> {
    let statement = statement.replace("{usage}", &table("usage_hourly", day));
    AssertSqlSafe(statement.replace("{latency}", &table("latency_hourly", day)))
}

/// Makes the tables of days that are not known, within the transaction. If that fails they are not there, and [`or_dropped`] says so to
/// whoever comes next.
pub(super) async fn make(
    connection: &mut PgConnection,
    days: impl IntoIterator<Item = Day>,
    known: &KnownDays,
) -> Result<(), Fault> {
    let mut missing: BTreeSet<Day> = days.into_iter().collect();
    missing.retain(|day| !known.lock().unwrap_or_else(PoisonError::into_inner).contains(day));
    for day in missing {
        // It waits for whoever makes the same day, but may go on believing its first look, from before that.
        let made = sqlx::query("SELECT loadline_make_day($1)").bind(day.index()).execute(&mut *connection).await;
        made.map_err(|error| Fault::from(error).or_made_meanwhile())?;
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
    }
    Ok(())
}

/// A table that was dropped after it was seen is made anew by the next try: forgets all.
pub(super) fn or_dropped(fault: Fault, known: &KnownDays) -> Fault {
    if !fault.is_missing_day() {
        return fault;
    }
    known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    Fault::Overtaken
}

impl PostgresStore {
    /// Makes the tables of a day, in a transaction of its own.
    pub(super) async fn make_day(&self, day: Day) -> Result<(), StoreError> {
        let making = self
            .write(End::Commit, move |connection| Box::pin(async move { make(connection, [day], &KnownDays::default()).await }));
        making.await
    }

    /// Drops the tables of days before `before` that have no rows, as far as nobody uses them at that moment; returns how many days.
    pub(super) async fn drop_empty(&self, before: Day) -> Result<u64, StoreError> {
        let mut dropped = 0;
        for days in self.days_before(before).await?.chunks(DROPPED_AT_ONCE) {
            let given: Arc<[Day]> = days.into();
            let dropping = self.write(End::Commit, move |connection| {
                let days = Arc::clone(&given);
                Box::pin(async move { drop_if_empty(connection, &days).await })
            });
            match dropping.await? {
                Some(gone) => dropped += gone,
                None => tracing::debug!(?days, "tables are in use; those that are empty stay"),
            }
        }
        Ok(dropped)
    }

    /// Days that have tables.
    async fn days_before(&self, before: Day) -> Result<Vec<Day>, StoreError> {
        let days: Vec<i32> = self
            .run(move |connection| {
                let days = sqlx::query_scalar(
                    "SELECT day FROM (
                         SELECT CASE WHEN relname ~ '_[0-9]{8}$'
                                THEN to_date(right(relname, 8), 'YYYYMMDD') - date '1970-01-01' END AS day
                         FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                         WHERE inhparent = to_regclass('usage_hourly')) AS days
                     WHERE day < $1 ORDER BY day",
                );
                Box::pin(async move { Ok(days.bind(before.index()).fetch_all(connection).await?) })
            })
            .await?;
        Ok(days.into_iter().map(Day::from_index).collect())
    }
}

/// How many it did; `None` while somebody uses the tables. Whoever waits for this holds up every batch and answer behind it.
async fn drop_if_empty(connection: &mut PgConnection, days: &[Day]) -> Result<Option<u64>, Fault> {
    let days = empty_ones(&mut *connection, days).await?;
    if days.is_empty() {
        return Ok(Some(0));
    }
    unless_in_use(connection, |connection| Box::pin(drop_empty(connection, days))).await
}

async fn drop_empty(connection: &mut PgConnection, days: Vec<Day>) -> Result<u64, Fault> {
    let lock = "LOCK TABLE ONLY usage_hourly, ONLY latency_hourly IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut *connection).await?;
    let days = empty_ones(&mut *connection, &days).await?;
    for day in &days {
        sqlx::raw_sql(on(*day, "DROP TABLE {usage}, {latency}")).execute(&mut *connection).await?;
    }
    Ok(days.len() as u64)
}

async fn empty_ones(connection: &mut PgConnection, days: &[Day]) -> Result<Vec<Day>, Fault> {
    let mut empty = Vec::with_capacity(days.len());
    for day in days {
        if is_empty(&mut *connection, *day).await? {
            empty.push(*day);
        }
    }
    Ok(empty)
}

async fn is_empty(connection: &mut PgConnection, day: Day) -> Result<bool, Fault> {
    let asked = on(day, "SELECT NOT EXISTS (SELECT FROM {usage}) AND NOT EXISTS (SELECT FROM {latency})");
    Ok(sqlx::query_scalar(asked).fetch_one(connection).await?)
}

#[cfg(test)]
mod tests;
