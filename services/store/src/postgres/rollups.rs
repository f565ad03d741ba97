//! Days recomputed from their hours: the server adds up, an account-day's rows in one place of the index.

use super::{
    commit::{mark_dirty, now},
    connect::PostgresStore,
    fault::Fault,
    leadership::fence,
    leases::clock,
    trail,
    transact::{End, Reach},
};
use crate::{
    Dirty, Leadership, RolledUp, Rollups, StoreError, WrongDay,
    rows::{self, loaded},
};
use async_trait::async_trait;
use loadline_domain::{AccountId, Day, Timestamp};
use sqlx::PgConnection;
use std::{collections::BTreeSet, sync::Arc};

/// Account-days of day `$1`, of account `$2` or of all, at most `$3`.
const WRONG: &str = "SELECT account, count(*)
     FROM (SELECT account, channel, country, currency, events, messages, segments, amount_micros, delivered, undelivered, expired,
                  rejected, failed, not_final
           FROM usage_daily WHERE day = $1 AND ($2::text IS NULL OR account = $2)) AS rolled
     FULL JOIN (SELECT account, channel, country, currency, sum(events)::bigint AS events, sum(messages)::bigint AS messages,
                       sum(segments)::bigint AS segments, sum(amount_micros)::bigint AS amount_micros,
                       sum(delivered)::bigint AS delivered, sum(undelivered)::bigint AS undelivered,
                       sum(expired)::bigint AS expired, sum(rejected)::bigint AS rejected, sum(failed)::bigint AS failed,
                       sum(not_final)::bigint AS not_final
                FROM usage_hourly
                WHERE hour >= $1 * 24 AND hour < $1 * 24 + 24 AND ($2::text IS NULL OR account = $2)
                GROUP BY 1, 2, 3, 4) AS hours
     USING (account, channel, country, currency)
     WHERE NOT EXISTS (SELECT FROM dirty_day WHERE dirty_day.account = coalesce(rolled.account, hours.account) AND day = $1)
       AND (rolled.events, rolled.messages, rolled.segments, rolled.amount_micros, rolled.delivered, rolled.undelivered,
            rolled.expired, rolled.rejected, rolled.failed, rolled.not_final)
           IS DISTINCT FROM
           (hours.events, hours.messages, hours.segments, hours.amount_micros, hours.delivered, hours.undelivered, hours.expired,
            hours.rejected, hours.failed, hours.not_final)
     GROUP BY account ORDER BY account LIMIT $3";

#[async_trait]
impl Rollups for PostgresStore {
    async fn dirty(&self) -> Result<Dirty, StoreError> {
        let dirty = sqlx::query_as("SELECT count(*), min(since) FROM dirty_day");
        let (account_days, since): (i64, Option<i64>) =
            self.read(Reach::Rows, |connection| Box::pin(async { Ok(dirty.fetch_one(connection).await?) })).await?;
        Ok(Dirty { account_days: loaded(account_days)?, oldest_since: since.map(Timestamp::from_micros) })
    }

    async fn roll_up(&self, leadership: &Leadership, limit: u32) -> Result<RolledUp, StoreError> {
        let mut size = limit;
        loop {
            match self.chunk(leadership, size).await {
                Err(StoreError::Overflow(_)) if size > 1 => size /= 2,
                Err(StoreError::Overflow(why)) => {
                    tracing::warn!(why, "an account-day whose sums do not fit stays dirty, and waits behind the others");
                    return self.write(End::Commit, |connection| Box::pin(postpone(connection))).await;
                }
                done => return done,
            }
        }
    }

    async fn wrong_days(&self, account: Option<&AccountId>, day: Day, most: u32) -> Result<Vec<WrongDay>, StoreError> {
        let account = account.map(AccountId::to_string);
        let reading = self.read(Reach::Table, move |connection| {
            Box::pin(async move {
                let wrong = sqlx::query_as(WRONG).bind(day.index()).bind(account).bind(i64::from(most));
                wrong.fetch_all(connection).await.map_err(|error| Fault::from(error).or_overflow())
            })
        });
        let wrong: Vec<(String, i64)> = reading.await?;
        wrong
            .into_iter()
            .map(|(account, differ)| Ok(WrongDay { account: rows::account(&account)?, day, rows: loaded(differ)? }))
            .collect()
    }

    async fn mark(&self, leadership: &Leadership, wrong: &WrongDay, reason: &str, actor: &str) -> Result<(), StoreError> {
        let given =
            Arc::new((leadership.clone(), BTreeSet::from([(wrong.account.clone(), wrong.day)]), wrong.note(reason, actor)));
        let marking = self.write(End::Commit, move |connection| {
            let given = Arc::clone(&given);
            Box::pin(async move {
                let (leadership, days, note) = &*given;
                fence(&mut *connection, leadership).await?;
                let now = now(&mut *connection).await?;
                mark_dirty(&mut *connection, days, now).await?;
                trail::append(connection, note, now).await.map(drop)
            })
        });
        marking.await
    }
}

impl PostgresStore {
    async fn chunk(&self, leadership: &Leadership, size: u32) -> Result<RolledUp, StoreError> {
        let leadership = Arc::new(leadership.clone());
        let rolling = self.write_at_length(End::Commit, move |connection| {
            let leadership = Arc::clone(&leadership);
            Box::pin(async move { roll_up(connection, &leadership, size).await })
        });
        rolling.await
    }
}

/// Puts the account-day that waits longest behind all others, so that they are not held up by it.
async fn postpone(connection: &mut PgConnection) -> Result<RolledUp, Fault> {
    sqlx::query(concat!(
        "UPDATE dirty_day SET since = ",
        clock!(),
        " WHERE (account, day) = (SELECT account, day FROM dirty_day ORDER BY since, account, day LIMIT 1)"
    ))
    .execute(connection)
    .await?;
    Ok(RolledUp::default())
}

/// Lets no roll-up and no archiving into daily rows that another one is about to write, until this transaction ends.
/// Batches do not care: they write hours, and mark days.
pub(super) async fn alone_with_days(connection: &mut PgConnection) -> Result<(), Fault> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('loadline usage_daily'))").execute(connection).await?;
    Ok(())
}

/// Versions are read first and the hours after, so hours are never older than the version that is taken off the list.
async fn roll_up(connection: &mut PgConnection, leadership: &Leadership, limit: u32) -> Result<RolledUp, Fault> {
    fence(&mut *connection, leadership).await?;
    alone_with_days(&mut *connection).await?;
    let picked = Picked::next(&mut *connection, limit).await?;
    if picked.accounts.is_empty() {
        return Ok(RolledUp::default());
    }
    picked.clear_days(&mut *connection).await?;
    let rows = picked.add_up(&mut *connection).await?;
    picked.take_off(connection).await?;
    let account_days = picked.accounts.len() as u64;
    Ok(RolledUp { account_days, rows, more: account_days == u64::from(limit) })
}

/// Account-days with the versions of their marks, one array a column.
struct Picked {
    accounts: Vec<String>,
    days: Vec<i32>,
    versions: Vec<i64>,
}

impl Picked {
    /// Those that wait longest, in the order of the usage tables.
    async fn next(connection: &mut PgConnection, limit: u32) -> Result<Self, Fault> {
        let mut rows: Vec<(String, i32, i64)> =
            sqlx::query_as("SELECT account, day, version FROM dirty_day ORDER BY since, account, day LIMIT $1")
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
        rows.sort_unstable();
        let mut picked = Self { accounts: Vec::new(), days: Vec::new(), versions: Vec::new() };
        for (account, day, version) in rows {
            picked.accounts.push(account);
            picked.days.push(day);
            picked.versions.push(version);
        }
        Ok(picked)
    }

    async fn clear_days(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        sqlx::query(
            "DELETE FROM usage_daily USING unnest($1::text[], $2::int[]) AS picked (account, day)
             WHERE usage_daily.account = picked.account AND usage_daily.day = picked.day",
        )
        .bind(&self.accounts)
        .bind(&self.days)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// An account-day at a time: its rows lie together in the index, and its few groups are hashed rather than sorted, which
    /// takes a third of the time of grouping all account-days at once.
    async fn add_up(&self, connection: &mut PgConnection) -> Result<u64, Fault> {
        sqlx::raw_sql("SET LOCAL enable_sort = off").execute(&mut *connection).await?;
        let added = sqlx::query(
            "INSERT INTO usage_daily
             SELECT picked.account, picked.day, sums.*, picked.version
             FROM unnest($1::text[], $2::int[], $3::bigint[]) AS picked (account, day, version)
             CROSS JOIN LATERAL
             (SELECT channel, country, currency,
                     sum(events)::bigint, sum(messages)::bigint, sum(segments)::bigint, sum(amount_micros)::bigint,
                     sum(delivered)::bigint, sum(undelivered)::bigint, sum(expired)::bigint, sum(rejected)::bigint,
                     sum(failed)::bigint, sum(not_final)::bigint
              FROM usage_hourly
              WHERE account = picked.account AND hour >= picked.day * 24 AND hour < picked.day * 24 + 24
              GROUP BY channel, country, currency) AS sums",
        );
        let added = added.bind(&self.accounts).bind(&self.days).bind(&self.versions).execute(connection).await;
        Ok(added.map_err(|error| Fault::from(error).or_overflow())?.rows_affected())
    }

    /// What was marked again since has another version: it stays, and waits from the time of this roll-up on. So does what a batch
    /// is marking just now, but as it was: neither waits for the other.
    async fn take_off(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        sqlx::query(
            "WITH held AS MATERIALIZED (
                 SELECT dirty_day.account, dirty_day.day, dirty_day.version = picked.version AS unchanged
                 FROM dirty_day JOIN unnest($1::text[], $2::int[], $3::bigint[]) AS picked (account, day, version)
                 ON dirty_day.account = picked.account AND dirty_day.day = picked.day
                 FOR UPDATE OF dirty_day SKIP LOCKED
             ), gone AS (
                 DELETE FROM dirty_day USING held
                 WHERE dirty_day.account = held.account AND dirty_day.day = held.day AND unchanged
             )
             UPDATE dirty_day SET since = (extract(epoch FROM now()) * 1000000)::bigint FROM held
             WHERE dirty_day.account = held.account AND dirty_day.day = held.day AND NOT unchanged",
        )
        .bind(&self.accounts)
        .bind(&self.days)
        .bind(&self.versions)
        .execute(connection)
        .await?;
        Ok(())
    }
}
