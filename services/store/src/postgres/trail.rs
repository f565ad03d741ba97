//! The chain of the audit.

use super::{commit::now, connect::PostgresStore, fault::Fault, progress::text, transact::End};
use crate::{
    AuditEntry, Note, StoreError, Trail,
    trail::{chained, head},
    work_rows::StoredEntry,
};
use async_trait::async_trait;
use sqlx::{Connection as _, PgConnection};
use std::sync::Arc;

#[async_trait]
impl Trail for PostgresStore {
    async fn write_down(&self, note: &Note) -> Result<AuditEntry, StoreError> {
        let note = Arc::new(note.clone());
        let writing = self.write(End::Commit, move |connection| {
            let note = Arc::clone(&note);
            Box::pin(async move {
                let at = now(&mut *connection).await?;
                append(connection, &note, at).await
            })
        });
        writing.await
    }
}

/// Adds an entry in the transaction of what it is about, as its last statement: others wait for the chain's end until it commits.
pub(super) async fn append(connection: &mut PgConnection, note: &Note, at: i64) -> Result<AuditEntry, Fault> {
    hold_the_end(&mut *connection).await?;
    let last = sqlx::query_scalar("SELECT hash FROM audit_entry ORDER BY id DESC LIMIT 1");
    let previous = head(last.fetch_optional(&mut *connection).await?)?;
    let note = storable(note);
    let hash = note.hash(&previous, at);
    let written = sqlx::query_as(
        "INSERT INTO audit_entry (at, actor, action, target, reason, before, after, outcome, previous_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *",
    );
    let written = written.bind(at).bind(note.actor).bind(note.action).bind(note.target).bind(note.reason);
    let written = written.bind(note.before).bind(note.after).bind(note.outcome).bind(previous.to_vec()).bind(hash.to_vec());
    let row: StoredEntry = written.fetch_one(connection).await?;
    Ok(row.into())
}

/// Chains entries from before there was a chain. Once there is one, an entry without a hash is a break and stays one.
pub(super) async fn chain(connection: &mut PgConnection) -> Result<(), Fault> {
    let mut transaction = connection.begin().await?;
    hold_the_end(&mut transaction).await?;
    let old = "SELECT * FROM audit_entry WHERE NOT EXISTS (SELECT 1 FROM audit_entry WHERE hash IS NOT NULL) ORDER BY id";
    let old: Vec<StoredEntry> = sqlx::query_as(old).fetch_all(&mut *transaction).await?;
    for (id, previous, hash) in chained(old.into_iter().map(AuditEntry::from).collect()) {
        let link = sqlx::query("UPDATE audit_entry SET previous_hash = $2, hash = $3 WHERE id = $1");
        link.bind(id).bind(previous.to_vec()).bind(hash.to_vec()).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

/// One writer at a time, until the end of the transaction.
async fn hold_the_end(connection: &mut PgConnection) -> Result<(), Fault> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('loadline audit_entry'))").execute(connection).await?;
    Ok(())
}

/// What is hashed is what is stored: this server takes no NUL.
fn storable(note: &Note) -> Note {
    Note {
        actor: text(&note.actor),
        action: text(&note.action),
        target: text(&note.target),
        reason: text(&note.reason),
        before: text(&note.before),
        after: text(&note.after),
        outcome: text(&note.outcome),
    }
}
