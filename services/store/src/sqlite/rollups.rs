//! Days recomputed from their hours. Nobody else writes meanwhile, so the account-days picked stay the same ones.

use super::{
    commit::mark_dirty,
    connect::{SqliteStore, added, failed, now},
    leadership::fence,
    trail,
};
use crate::{
    Dirty, Leadership, Note, RolledUp, Rollups, StoreError, WrongDay,
    rows::{self, loaded},
};
use async_trait::async_trait;
use loadline_domain::{AccountId, Day, Timestamp};
use sqlx::SqliteConnection;
use std::collections::BTreeSet;

/// Begins a statement with `accounts`: account `?2`, or all that have hours, from one to the next by index. The last of all is NULL.
macro_rules! with_accounts {
    ($($part:expr),+) => {
        concat!(
            "WITH RECURSIVE accounts (account) AS (
                 SELECT CASE WHEN ?2 IS NULL THEN (SELECT min(account) FROM usage_hourly) ELSE ?2 END
                 UNION ALL
                 SELECT (SELECT min(account) FROM usage_hourly WHERE account > accounts.account)
                 FROM accounts WHERE ?2 IS NULL AND account IS NOT NULL
             ) ",
            $($part),+
        )
    };
}
pub(super) use with_accounts;

/// Account-days of day `?1`, of account `?2` or of all, at most `?3`.
const WRONG: &str = with_accounts!(
    "SELECT account, count(*)
     FROM (SELECT account, channel, country, currency, events, messages, segments, amount_micros, delivered, undelivered, expired,
                  rejected, failed, not_final
           FROM usage_daily WHERE day = ?1 AND (?2 IS NULL OR account = ?2)) AS rolled
     FULL JOIN (SELECT held.account, channel, country, currency, sum(events) AS events, sum(messages) AS messages,
                       sum(segments) AS segments, sum(amount_micros) AS amount_micros, sum(delivered) AS delivered,
                       sum(undelivered) AS undelivered, sum(expired) AS expired, sum(rejected) AS rejected, sum(failed) AS failed,
                       sum(not_final) AS not_final
                FROM accounts CROSS JOIN usage_hourly AS held
                ON held.account = accounts.account AND hour >= ?1 * 24 AND hour < ?1 * 24 + 24
                GROUP BY 1, 2, 3, 4) AS hours
     USING (account, channel, country, currency)
     WHERE (account, ?1) NOT IN (SELECT account, day FROM dirty_day)
       AND (rolled.events, rolled.messages, rolled.segments, rolled.amount_micros, rolled.delivered, rolled.undelivered,
            rolled.expired, rolled.rejected, rolled.failed, rolled.not_final)
           IS NOT
           (hours.events, hours.messages, hours.segments, hours.amount_micros, hours.delivered, hours.undelivered, hours.expired,
            hours.rejected, hours.failed, hours.not_final)
     GROUP BY account ORDER BY account LIMIT ?3"
);

/// The account-days of a chunk: those that wait longest, `?1` of them.
macro_rules! picked {
    ($columns:literal) => {
        concat!("(SELECT ", $columns, " FROM dirty_day ORDER BY since, account, day LIMIT ?1)")
    };
}

#[async_trait]
impl Rollups for SqliteStore {
    async fn dirty(&self) -> Result<Dirty, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let dirty = sqlx::query_as("SELECT count(*), min(since) FROM dirty_day");
        let (account_days, since): (i64, Option<i64>) = dirty.fetch_one(&mut *snapshot).await.map_err(failed)?;
        Ok(Dirty { account_days: loaded(account_days)?, oldest_since: since.map(Timestamp::from_micros) })
    }

    async fn roll_up(&self, leadership: &Leadership, limit: u32) -> Result<RolledUp, StoreError> {
        let mut size = limit;
        loop {
            let given = leadership.clone();
            match self.writer.transaction(move |connection| Box::pin(roll_up(connection, given, size))).await {
                Err(StoreError::Overflow(_)) if size > 1 => size /= 2,
                Err(StoreError::Overflow(why)) => {
                    tracing::warn!(why, "an account-day whose sums do not fit stays dirty, and waits behind the others");
                    return self.writer.transaction(|connection| Box::pin(postpone(connection))).await;
                }
                done => return done,
            }
        }
    }

    async fn wrong_days(&self, account: Option<&AccountId>, day: Day, most: u32) -> Result<Vec<WrongDay>, StoreError> {
        let wrong = sqlx::query_as(WRONG).bind(day.index()).bind(account.map(AccountId::as_str)).bind(most);
        let wrong: Vec<(String, i64)> = wrong.fetch_all(&mut *self.snapshot().await?).await.map_err(added)?;
        wrong
            .into_iter()
            .map(|(account, differ)| Ok(WrongDay { account: rows::account(&account)?, day, rows: loaded(differ)? }))
            .collect()
    }

    async fn mark(&self, leadership: &Leadership, wrong: &WrongDay, reason: &str, actor: &str) -> Result<(), StoreError> {
        let days = BTreeSet::from([(wrong.account.clone(), wrong.day)]);
        let (leadership, note) = (leadership.clone(), wrong.note(reason, actor));
        self.writer.transaction(move |connection| Box::pin(mark(connection, leadership, days, note))).await
    }
}

async fn mark(
    connection: &mut SqliteConnection,
    leadership: Leadership,
    days: BTreeSet<(AccountId, Day)>,
    note: Note,
) -> Result<(), StoreError> {
    fence(&mut *connection, &leadership).await?;
    let now = now();
    mark_dirty(&mut *connection, &days, now).await?;
    trail::append(connection, note, now).await.map(drop)
}

/// Puts the account-day that waits longest behind all others, so that they are not held up by it.
async fn postpone(connection: &mut SqliteConnection) -> Result<RolledUp, StoreError> {
    sqlx::query(
        "UPDATE dirty_day SET since = ?1
         WHERE (account, day) = (SELECT account, day FROM dirty_day ORDER BY since, account, day LIMIT 1)",
    )
    .bind(now().micros())
    .execute(connection)
    .await
    .map(|_| RolledUp::default())
    .map_err(failed)
}

async fn roll_up(connection: &mut SqliteConnection, leadership: Leadership, limit: u32) -> Result<RolledUp, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let cleared = concat!("DELETE FROM usage_daily WHERE (account, day) IN ", picked!("account, day"));
    sqlx::query(cleared).bind(limit).execute(&mut *connection).await.map_err(failed)?;
    let added_up = concat!(
        "INSERT INTO usage_daily
         SELECT picked.account, picked.day, channel, country, currency, sum(events), sum(messages), sum(segments),
                sum(amount_micros), sum(delivered), sum(undelivered), sum(expired), sum(rejected), sum(failed), sum(not_final), picked.version
         FROM ",
        picked!("account, day, version"),
        " AS picked CROSS JOIN usage_hourly AS hours
         ON hours.account = picked.account AND hours.hour >= picked.day * 24 AND hours.hour < picked.day * 24 + 24
         GROUP BY 1, 2, 3, 4, 5"
    );
    let rows = sqlx::query(added_up).bind(limit).execute(&mut *connection).await.map_err(added)?.rows_affected();
    let taken_off = concat!("DELETE FROM dirty_day WHERE (account, day) IN ", picked!("account, day"));
    let taken_off = sqlx::query(taken_off).bind(limit).execute(connection).await.map_err(failed)?;
    let account_days = taken_off.rows_affected();
    Ok(RolledUp { account_days, rows, more: account_days > 0 && account_days == u64::from(limit) })
}
