//! Everything that is written, except records.

use super::{batch::Batch, read, retention, state::StreamState, writer::insert};
use crate::{LogError, Retention, StreamSpec};
use loadline_domain::{Sequence, StreamName, time::Clock};
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

/// One change, in a transaction of its own.
pub(super) enum Change {
    Ensure(StreamSpec),
    SetRetention(StreamName, Retention),
    /// Discards a chunk of what is due.
    Discard(StreamName),
    DeleteRecord(StreamName, Sequence),
    DeleteStream(StreamName),
}

impl Change {
    pub async fn apply(self, connection: &mut SqliteConnection, clock: &dyn Clock) -> Result<(), LogError> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        match self {
            Self::Ensure(spec) => ensure(&mut transaction, &spec).await?,
            Self::SetRetention(stream, kept) => {
                set_retention(&mut transaction, &stream, kept).await?;
                discard(&mut transaction, &stream, clock).await?;
            }
            Self::Discard(stream) => discard(&mut transaction, &stream, clock).await?,
            Self::DeleteRecord(stream, sequence) => delete_record(&mut transaction, &stream, sequence).await?,
            Self::DeleteStream(stream) => delete_stream(&mut transaction, &stream).await?,
        }
        Ok(transaction.commit().await?)
    }
}

async fn ensure(connection: &mut SqliteConnection, spec: &StreamSpec) -> Result<(), LogError> {
    sqlx::query(
        "INSERT INTO streams (name, incarnation, max_age_micros, max_bytes) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(spec.name.as_str())
    .bind(Uuid::now_v7().to_string())
    .bind(max_age_micros(spec.retention))
    .bind(max_bytes(spec.retention))
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_retention(connection: &mut SqliteConnection, stream: &StreamName, kept: Retention) -> Result<(), LogError> {
    sqlx::query("UPDATE streams SET max_age_micros = ?2, max_bytes = ?3 WHERE name = ?1")
        .bind(stream.as_str())
        .bind(max_age_micros(kept))
        .bind(max_bytes(kept))
        .execute(connection)
        .await?;
    Ok(())
}

async fn discard(connection: &mut SqliteConnection, stream: &StreamName, clock: &dyn Clock) -> Result<(), LogError> {
    let state = existing(connection, stream).await?;
    Ok(retention::discard(connection, &state, clock.now()).await?)
}

async fn delete_record(connection: &mut SqliteConnection, stream: &StreamName, sequence: Sequence) -> Result<(), LogError> {
    let state = existing(connection, stream).await?;
    let batch = read::batch_at(&mut *connection, &state.incarnation, sequence).await?;
    let Some(batch) = batch.filter(|batch| batch.first.max(state.first) <= sequence) else { return Ok(()) };
    sqlx::query("DELETE FROM batches WHERE stream = ?1 AND last_sequence = ?2")
        .bind(state.id)
        .bind(batch.last as i64)
        .execute(&mut *connection)
        .await?;
    for part in batch.without(sequence) {
        insert(connection, state.id, &part).await?;
    }
    let size = |batch: &Batch| batch.payloads.len() as u64;
    let freed = size(&batch) - batch.without(sequence).iter().map(size).sum::<u64>();
    sqlx::query("UPDATE streams SET bytes = bytes - ?2 WHERE id = ?1")
        .bind(state.id)
        .bind(freed as i64)
        .execute(connection)
        .await?;
    Ok(())
}

async fn delete_stream(connection: &mut SqliteConnection, stream: &StreamName) -> Result<(), LogError> {
    let state = existing(connection, stream).await?;
    sqlx::query("DELETE FROM batches WHERE stream = ?1").bind(state.id).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM streams WHERE id = ?1").bind(state.id).execute(connection).await?;
    Ok(())
}

async fn existing(connection: &mut SqliteConnection, stream: &StreamName) -> Result<StreamState, LogError> {
    StreamState::read(connection, stream).await?.ok_or_else(|| LogError::StreamNotFound(stream.clone()))
}

fn max_age_micros(retention: Retention) -> Option<i64> {
    retention.max_age.map(|max_age| i64::try_from(max_age.as_micros()).unwrap_or(i64::MAX))
}

fn max_bytes(retention: Retention) -> Option<i64> {
    retention.max_bytes.map(|max_bytes| i64::try_from(max_bytes).unwrap_or(i64::MAX))
}
