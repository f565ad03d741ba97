//! Corrections of usage, and the audit.

use super::{
    commit::{add_usage, now},
    connect::PostgresStore,
    fault::Fault,
    hot_days::{self, KnownDays},
    leadership::fence,
    trail,
    transact::{End, Reach},
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
use sqlx::PgConnection;
use std::sync::Arc;

/// Rows from hour `$1` to `$2` of account `$3`, one more than `$4` at most.
const OF_ONE: &str = "SELECT * FROM usage_hourly WHERE account = $3 AND hour >= $1 AND hour < $2
                      ORDER BY hour, channel, country, currency LIMIT $4 + 1";
/// The same of all, from one account to the next by index: the primary key begins with the account.
const OF_ALL: &str = "WITH RECURSIVE accounts (account) AS (
                          (SELECT account FROM usage_hourly WHERE $3::text IS NULL AND hour >= $1 AND hour < $2
                           ORDER BY account LIMIT 1)
                          UNION ALL
                          SELECT (SELECT account FROM usage_hourly AS held
                                  WHERE held.account > accounts.account AND hour >= $1 AND hour < $2
                                  ORDER BY account LIMIT 1)
                          FROM accounts WHERE account IS NOT NULL
                      )
                      SELECT hours.* FROM accounts CROSS JOIN LATERAL
                          (SELECT * FROM usage_hourly AS held
                           WHERE held.account = accounts.account AND hour >= $1 AND hour < $2 OFFSET 0) AS hours
                      LIMIT $4 + 1";

#[async_trait]
impl Audit for PostgresStore {
    async fn held(&self, account: Option<&AccountId>, from: Hour, to: Hour, most: u32) -> Result<Option<Held>, StoreError> {
        let (account, rules) = (account.cloned(), self.options.rules);
        let reading = self.read(Reach::Table, move |connection| {
            Box::pin(async move {
                let as_of = as_of_all(&mut *connection, from, to, Grain::Hour, &rules).await?;
                let rows = held_rows(connection, account.as_ref(), from, to, most).await?;
                Ok(rows.map(|rows| Held { rows, as_of }))
            })
        });
        reading.await
    }

    async fn repair(&self, leadership: &Leadership, repair: &Repair) -> Result<Repaired, StoreError> {
        repair.check()?;
        let given = Arc::new((leadership.clone(), repair.clone(), Arc::clone(&self.days)));
        let repairing = self.write(End::Commit, move |connection| {
            let given = Arc::clone(&given);
            Box::pin(async move {
                let (leadership, repair, days) = &*given;
                repair_usage(connection, leadership, repair, days).await.map_err(|fault| hot_days::or_dropped(fault, days))
            })
        });
        repairing.await
    }

    async fn audit(&self, after: i64, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let page =
            sqlx::query_as("SELECT * FROM audit_entry WHERE id > $1 ORDER BY id LIMIT $2").bind(after).bind(i64::from(limit));
        let rows: Vec<StoredEntry> = self.run(|connection| Box::pin(async { Ok(page.fetch_all(connection).await?) })).await?;
        Ok(rows.into_iter().map(AuditEntry::from).collect())
    }
}

/// `None` when there are more than `most`.
async fn held_rows(
    connection: &mut PgConnection,
    account: Option<&AccountId>,
    from: Hour,
    to: Hour,
    most: u32,
) -> Result<Option<Vec<(UsageKey, Usage)>>, Fault> {
    let statement = if account.is_some() { OF_ONE } else { OF_ALL };
    let asked = sqlx::query_as(statement).bind(from.index()).bind(to.index()).bind(account.map(AccountId::as_str));
    let mut found = asked.bind(i64::from(most)).fetch(connection);
    let mut rows: Vec<(UsageKey, Usage)> = Vec::new();
    while let Some(row) = found.try_next().await? {
        if rows.len() == most as usize {
            return Ok(None);
        }
        rows.push(HourlyRow::read(row, rows.last().map(|(key, _)| &key.account))?);
    }
    rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Some(rows))
}

async fn repair_usage(
    connection: &mut PgConnection,
    leadership: &Leadership,
    repair: &Repair,
    days: &KnownDays,
) -> Result<Repaired, Fault> {
    fence(&mut *connection, leadership).await?;
    let before = lock_rows(&mut *connection, &repair.account, repair.hour).await?;
    if !repair.is_about(&before) {
        return Ok(Repaired::Moved { found: before });
    }
    let now = now(&mut *connection).await?;
    add_usage(&mut *connection, &repair.correction(), now, days).await?;
    // A batch may add to the hour in the meantime, and what it adds is kept: only rows of nothing go.
    sqlx::query(
        "DELETE FROM usage_hourly WHERE account = $1 AND hour = $2 AND events = 0 AND messages = 0 AND segments = 0
         AND amount_micros = 0 AND delivered = 0 AND undelivered = 0 AND expired = 0 AND rejected = 0 AND failed = 0
         AND not_final = 0",
    )
    .bind(repair.account.as_str())
    .bind(repair.hour.index())
    .execute(&mut *connection)
    .await?;
    let after = lock_rows(&mut *connection, &repair.account, repair.hour).await?;
    trail::append(connection, &repair.note(&before, &after), now).await?;
    Ok(Repaired::Done { before, after })
}

/// The hour's rows, by key, which nobody else changes before this transaction ends.
async fn lock_rows(connection: &mut PgConnection, account: &AccountId, hour: Hour) -> Result<Vec<(UsageKey, Usage)>, Fault> {
    let rows =
        "SELECT * FROM usage_hourly WHERE account = $1 AND hour = $2 ORDER BY channel, country, currency FOR NO KEY UPDATE";
    let rows: Vec<HourlyRow> = sqlx::query_as(rows).bind(account.as_str()).bind(hour.index()).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| row.read(Some(account))).collect::<Result<_, _>>()?)
}
