//! The journal of aliases.

use super::connect::{SqliteStore, failed, now};
use crate::{
    AliasChange, AliasEntry, AliasJournal, StoreError,
    rows::stored,
    work_rows::{StoredAlias, versions},
};
use async_trait::async_trait;
use sqlx::SqliteConnection;

#[async_trait]
impl AliasJournal for SqliteStore {
    async fn append_alias(&self, change: &AliasChange, expected_last: Option<u64>) -> Result<AliasEntry, StoreError> {
        change.check()?;
        let change = change.clone();
        self.writer.transaction(move |connection| Box::pin(append(connection, change, expected_last))).await
    }

    async fn last_alias(&self, model: &str, alias: &str) -> Result<Option<AliasEntry>, StoreError> {
        let last = "SELECT * FROM alias_entry WHERE model = ?1 AND alias = ?2 ORDER BY number DESC LIMIT 1";
        let last = sqlx::query_as(last).bind(model).bind(alias);
        let row: Option<StoredAlias> = last.fetch_optional(&mut *self.reader().await?).await.map_err(failed)?;
        row.map(AliasEntry::try_from).transpose()
    }

    async fn alias_history(&self, model: &str, alias: &str, after: u64, limit: u32) -> Result<Vec<AliasEntry>, StoreError> {
        let page = "SELECT * FROM alias_entry WHERE model = ?1 AND alias = ?2 AND number > ?3 ORDER BY number LIMIT ?4";
        let page = sqlx::query_as(page).bind(model).bind(alias).bind(stored(after)?).bind(limit);
        let rows: Vec<StoredAlias> = page.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.into_iter().map(AliasEntry::try_from).collect()
    }
}

async fn append(
    connection: &mut SqliteConnection,
    change: AliasChange,
    expected_last: Option<u64>,
) -> Result<AliasEntry, StoreError> {
    let stale = change.stale(expected_last);
    let (before, after) = versions(&change)?;
    let written = sqlx::query_as(
        "INSERT INTO alias_entry (model, alias, number, action, before, after, actor, evidence, reason, at)
         SELECT ?1, ?2, ?3 + 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10
         WHERE ?3 = (SELECT coalesce(max(number), 0) FROM alias_entry WHERE model = ?1 AND alias = ?2)
         RETURNING *",
    );
    let written = written.bind(change.model).bind(change.alias).bind(stored(expected_last.unwrap_or_default())?);
    let written = written.bind(change.action).bind(before).bind(after).bind(change.actor).bind(change.evidence);
    let written = written.bind(change.reason).bind(now().micros());
    let row: Option<StoredAlias> = written.fetch_optional(connection).await.map_err(failed)?;
    row.ok_or(stale)?.try_into()
}
