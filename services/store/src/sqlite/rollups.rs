//! Days recomputed from their hours. Nobody else writes meanwhile, so the account-days picked stay the same ones.

use super::{
    connect::{SqliteStore, added, failed, now},
    leadership::fence,
};
use crate::{Dirty, Leadership, RolledUp, Rollups, StoreError, rows::loaded};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use sqlx::SqliteConnection;

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
