//! The chain of the audit.

use super::connect::{SqliteStore, failed, now};
use crate::{
    AuditEntry, Note, StoreError, Trail,
    trail::{chained, head},
    work_rows::StoredEntry,
};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use sqlx::SqliteConnection;

#[async_trait]
impl Trail for SqliteStore {
    async fn write_down(&self, note: &Note) -> Result<AuditEntry, StoreError> {
        let note = note.clone();
        self.writer.transaction(move |connection| Box::pin(append(connection, note, now()))).await
    }
}

/// Adds an entry in the transaction of what it is about. The file's write lock keeps others from the chain's end.
pub(super) async fn append(connection: &mut SqliteConnection, note: Note, at: Timestamp) -> Result<AuditEntry, StoreError> {
    let last = sqlx::query_scalar("SELECT hash FROM audit_entry ORDER BY id DESC LIMIT 1");
    let previous = head(last.fetch_optional(&mut *connection).await.map_err(failed)?)?;
    let hash = note.hash(&previous, at.micros());
    let written = sqlx::query_as(
        "INSERT INTO audit_entry (at, actor, action, target, reason, before, after, outcome, previous_hash, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING *",
    );
    let written = written.bind(at.micros()).bind(note.actor).bind(note.action).bind(note.target).bind(note.reason);
    let written = written.bind(note.before).bind(note.after).bind(note.outcome).bind(previous.to_vec()).bind(hash.to_vec());
    let row: StoredEntry = written.fetch_one(connection).await.map_err(failed)?;
    Ok(row.into())
}

/// Chains entries from before there was a chain. Once there is one, an entry without a hash is a break and stays one.
pub(super) async fn chain(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let old = "SELECT * FROM audit_entry WHERE NOT EXISTS (SELECT 1 FROM audit_entry WHERE hash IS NOT NULL) ORDER BY id";
    let old: Vec<StoredEntry> = sqlx::query_as(old).fetch_all(&mut *connection).await.map_err(failed)?;
    for (id, previous, hash) in chained(old.into_iter().map(AuditEntry::from).collect()) {
        let link = sqlx::query("UPDATE audit_entry SET previous_hash = ?2, hash = ?3 WHERE id = ?1");
        let link = link.bind(id).bind(previous.to_vec()).bind(hash.to_vec());
        link.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}
