//! The ledger of what was lost.

use super::connect::{SqliteStore, failed};
use crate::{
    Losses, StoreError, StoredLoss,
    rows::{StoredLossRow, stored},
};
use async_trait::async_trait;
use loadline_domain::{Incarnation, Loss, StreamName, Timestamp};
use sqlx::SqliteConnection;

#[async_trait]
impl Losses for SqliteStore {
    async fn losses(&self, stream: Option<&StreamName>, after: i64, limit: u32) -> Result<Vec<StoredLoss>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let rows: Vec<StoredLossRow> = sqlx::query_as(
            "SELECT id, stream, incarnation, first_sequence, last_sequence, cause, after_at, before_at, recorded_at
             FROM loss WHERE id > ?1 AND (?2 IS NULL OR stream = ?2) ORDER BY id LIMIT ?3",
        )
        .bind(after)
        .bind(stream.map(StreamName::as_str))
        .bind(limit)
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        rows.into_iter().map(StoredLoss::try_from).collect()
    }
}

/// Writes losses of one stream. They are few: a run of any length is one row.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    incarnation: &Incarnation,
    losses: &[Loss],
    recorded_at: Timestamp,
) -> Result<(), StoreError> {
    for loss in losses {
        sqlx::query(
            "INSERT INTO loss (stream, incarnation, first_sequence, last_sequence, cause, after_at, before_at, recorded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .bind(stream.as_str())
        .bind(incarnation.as_str())
        .bind(stored(loss.first)?)
        .bind(stored(loss.last)?)
        .bind(loss.cause.as_str())
        .bind(loss.after.map(Timestamp::micros))
        .bind(loss.before.map(Timestamp::micros))
        .bind(recorded_at.micros())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}
