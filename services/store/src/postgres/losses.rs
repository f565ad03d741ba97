//! The ledger of lost records.

use super::{connect::PostgresStore, fault::Fault};
use crate::{
    Losses, StoreError, StoredLoss,
    rows::{StoredLossRow, stored},
};
use async_trait::async_trait;
use loadline_domain::{Incarnation, Loss, StreamName};
use sqlx::PgConnection;

#[async_trait]
impl Losses for PostgresStore {
    async fn losses(&self, stream: Option<&StreamName>, after: i64, limit: u32) -> Result<Vec<StoredLoss>, StoreError> {
        let losses = sqlx::query_as(
            "SELECT id, stream, incarnation, first_sequence, last_sequence, cause, after_at, before_at, recorded_at
             FROM loss WHERE ($1::text IS NULL OR stream = $1) AND id > $2 ORDER BY id LIMIT $3",
        );
        let losses = losses.bind(stream.map(StreamName::to_string)).bind(after).bind(i64::from(limit));
        let rows: Vec<StoredLossRow> = self.run(|connection| Box::pin(async { Ok(losses.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(StoredLoss::try_from).collect()
    }
}

/// Writes losses, found `now`.
pub(super) async fn insert(
    connection: &mut PgConnection,
    stream: &StreamName,
    incarnation: &Incarnation,
    losses: &[Loss],
    now: i64,
) -> Result<(), Fault> {
    for loss in losses {
        sqlx::query(
            "INSERT INTO loss (stream, incarnation, first_sequence, last_sequence, cause, after_at, before_at, recorded_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(stream.as_str())
        .bind(incarnation.as_str())
        .bind(stored(loss.first)?)
        .bind(stored(loss.last)?)
        .bind(loss.cause.as_str())
        .bind(loss.after.map(|time| time.micros()))
        .bind(loss.before.map(|time| time.micros()))
        .bind(now)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
