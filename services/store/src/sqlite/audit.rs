//! Corrections of usage, and the audit.

use super::{
    commit::add_usage,
    connect::{SqliteStore, failed, now},
    leadership::fence,
    trail,
    usage::as_of_all,
};
use crate::{
    Audit, AuditEntry, Held, Leadership, Repair, Repaired, StoreError,
    work_rows::{HourlyRow, StoredEntry},
};
use async_trait::async_trait;
use futures::TryStreamExt as _;
use loadline_domain::{
    AccountId, Hour,
    question::Grain,
    usage::{Usage, UsageKey},
};
use sqlx::SqliteConnection;

/// Rows from hour `?1` to `?2` of account `?3`, one more than `?4` at most.
const OF_ONE: &str = "SELECT * FROM usage_hourly WHERE account = ?3 AND hour >= ?1 AND hour < ?2
                      ORDER BY hour, channel, country, currency LIMIT ?4 + 1";
/// The same of all, from one account to the next by index: the primary key begins with the account.
const OF_ALL: &str = "WITH RECURSIVE accounts (account) AS (
                          SELECT min(account) FROM usage_hourly WHERE ?3 IS NULL
                          UNION ALL
                          SELECT (SELECT min(account) FROM usage_hourly WHERE account > accounts.account)
                          FROM accounts WHERE account IS NOT NULL
                      )
                      SELECT held.* FROM accounts CROSS JOIN usage_hourly AS held
                      ON held.account = accounts.account AND hour >= ?1 AND hour < ?2
                      LIMIT ?4 + 1";

#[async_trait]
impl Audit for SqliteStore {
    async fn held(&self, account: Option<&AccountId>, from: Hour, to: Hour, most: u32) -> Result<Option<Held>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let as_of = as_of_all(&mut snapshot, from, to, Grain::Hour, &self.rules).await?;
        let statement = if account.is_some() { OF_ONE } else { OF_ALL };
        let asked = sqlx::query_as(statement).bind(from.index()).bind(to.index()).bind(account.map(AccountId::as_str)).bind(most);
        let mut found = asked.fetch(&mut *snapshot);
        let mut rows: Vec<(UsageKey, Usage)> = Vec::new();
        while let Some(row) = found.try_next().await.map_err(failed)? {
            if rows.len() == most as usize {
                return Ok(None);
            }
            rows.push(HourlyRow::read(row, rows.last().map(|(key, _)| &key.account))?);
        }
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Some(Held { rows, as_of }))
    }

    async fn repair(&self, leadership: &Leadership, repair: &Repair) -> Result<Repaired, StoreError> {
        repair.check()?;
        let (leadership, repair) = (leadership.clone(), repair.clone());
        self.writer.transaction(move |connection| Box::pin(repair_usage(connection, leadership, repair))).await
    }

    async fn audit(&self, after: i64, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let page = sqlx::query_as("SELECT * FROM audit_entry WHERE id > ?1 ORDER BY id LIMIT ?2").bind(after).bind(limit);
        let rows: Vec<StoredEntry> = page.fetch_all(&mut *snapshot).await.map_err(failed)?;
        Ok(rows.into_iter().map(AuditEntry::from).collect())
    }
}

async fn repair_usage(connection: &mut SqliteConnection, leadership: Leadership, repair: Repair) -> Result<Repaired, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let before = rows(&mut *connection, &repair.account, repair.hour).await?;
    if !repair.is_about(&before) {
        return Ok(Repaired::Moved { found: before });
    }
    let now = now();
    add_usage(&mut *connection, &repair.correction(), now).await?;
    sqlx::query(
        "DELETE FROM usage_hourly WHERE account = ?1 AND hour = ?2 AND events = 0 AND messages = 0 AND segments = 0
         AND amount_micros = 0 AND delivered = 0 AND undelivered = 0 AND expired = 0 AND rejected = 0 AND failed = 0
         AND not_final = 0",
    )
    .bind(repair.account.as_str())
    .bind(repair.hour.index())
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    let after = rows(&mut *connection, &repair.account, repair.hour).await?;
    trail::append(connection, repair.note(&before, &after), now).await?;
    Ok(Repaired::Done { before, after })
}

/// The hour's rows, by key.
async fn rows(connection: &mut SqliteConnection, account: &AccountId, hour: Hour) -> Result<Vec<(UsageKey, Usage)>, StoreError> {
    let rows = "SELECT * FROM usage_hourly WHERE account = ?1 AND hour = ?2 ORDER BY channel, country, currency";
    let rows: Vec<HourlyRow> =
        sqlx::query_as(rows).bind(account.as_str()).bind(hour.index()).fetch_all(connection).await.map_err(failed)?;
    rows.into_iter().map(|row| row.read(Some(account))).collect()
}
