//! The journal of aliases.

use super::{commit::now, connect::PostgresStore, fault::Fault, progress::text, transact::End};
use crate::{
    AliasChange, AliasEntry, AliasJournal, StoreError,
    rows::stored,
    work_rows::{StoredAlias, versions},
};
use async_trait::async_trait;
use sqlx::PgConnection;
use std::sync::Arc;

#[async_trait]
impl AliasJournal for PostgresStore {
    async fn append_alias(&self, change: &AliasChange, expected_last: Option<u64>) -> Result<AliasEntry, StoreError> {
        change.check()?;
        let change = Arc::new(storable(change));
        let writing = self.write(End::Commit, move |connection| {
            let change = Arc::clone(&change);
            Box::pin(async move { append(connection, &change, expected_last).await })
        });
        writing.await
    }

    async fn last_alias(&self, model: &str, alias: &str) -> Result<Option<AliasEntry>, StoreError> {
        let last = "SELECT * FROM alias_entry WHERE model = $1 AND alias = $2 ORDER BY number DESC LIMIT 1";
        let last = sqlx::query_as(last).bind(text(model)).bind(text(alias));
        let row: Option<StoredAlias> =
            self.run(|connection| Box::pin(async { Ok(last.fetch_optional(connection).await?) })).await?;
        row.map(AliasEntry::try_from).transpose()
    }

    async fn alias_history(&self, model: &str, alias: &str, after: u64, limit: u32) -> Result<Vec<AliasEntry>, StoreError> {
        let page = "SELECT * FROM alias_entry WHERE model = $1 AND alias = $2 AND number > $3 ORDER BY number LIMIT $4";
        let page = sqlx::query_as(page).bind(text(model)).bind(text(alias)).bind(stored(after)?).bind(i64::from(limit));
        let rows: Vec<StoredAlias> = self.run(|connection| Box::pin(async { Ok(page.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(AliasEntry::try_from).collect()
    }
}

/// Who comes second waits for the first to commit, and then adds nothing.
async fn append(connection: &mut PgConnection, change: &AliasChange, expected_last: Option<u64>) -> Result<AliasEntry, Fault> {
    let at = now(&mut *connection).await?;
    let (before, after) = versions(change)?;
    let written = sqlx::query_as(
        "INSERT INTO alias_entry (model, alias, number, action, before, after, actor, evidence, reason, at)
         SELECT $1::text, $2::text, $3::bigint + 1, $4::text, $5::bigint, $6::bigint, $7::text, $8::text, $9::text, $10::bigint
         WHERE $3 = (SELECT coalesce(max(number), 0) FROM alias_entry WHERE model = $1 AND alias = $2)
         ON CONFLICT DO NOTHING
         RETURNING *",
    );
    let written = written.bind(&change.model).bind(&change.alias).bind(stored(expected_last.unwrap_or_default())?);
    let written = written.bind(&change.action).bind(before).bind(after).bind(&change.actor).bind(&change.evidence);
    let row: Option<StoredAlias> = written.bind(&change.reason).bind(at).fetch_optional(connection).await?;
    Ok(row.ok_or_else(|| change.stale(expected_last))?.try_into()?)
}

/// This server takes no NUL.
fn storable(change: &AliasChange) -> AliasChange {
    AliasChange {
        model: text(&change.model),
        alias: text(&change.alias),
        action: text(&change.action),
        actor: text(&change.actor),
        evidence: text(&change.evidence),
        reason: text(&change.reason),
        ..*change
    }
}
