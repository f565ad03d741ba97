//! What is deleted by policy.

use super::{
    connect::{SqliteStore, failed},
    leadership::fence,
};
use crate::{Expiring, Leadership, Retention, StoreError};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use sqlx::SqliteConnection;

#[async_trait]
impl Retention for SqliteStore {
    async fn expire(&self, leadership: &Leadership, what: Expiring, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let leadership = leadership.clone();
        self.writer.transaction(move |connection| Box::pin(expire(connection, leadership, what, before, limit))).await
    }
}

async fn expire(
    connection: &mut SqliteConnection,
    leadership: Leadership,
    what: Expiring,
    before: Timestamp,
    limit: u32,
) -> Result<u64, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let statement = match what {
        Expiring::ResolvedDeadLetters => {
            "DELETE FROM dead_letter WHERE id IN
                 (SELECT id FROM dead_letter WHERE state <> 'open' AND resolved_at < ?1 ORDER BY id LIMIT ?2)"
        }
        Expiring::FinishedRuns => {
            "DELETE FROM job_run WHERE id IN
                 (SELECT id FROM job_run AS old
                  WHERE finished_at < ?1
                    AND EXISTS (SELECT 1 FROM job_run AS later WHERE later.job = old.job
                                AND (later.finished_at, later.id) > (old.finished_at, old.id))
                    AND (triggered_by <> 'schedule' OR scheduled_for IS NULL
                         OR EXISTS (SELECT 1 FROM job_run AS later WHERE later.job = old.job AND later.triggered_by = 'schedule'
                                    AND later.scheduled_for > old.scheduled_for))
                    AND (state <> 'succeeded'
                         OR EXISTS (SELECT 1 FROM job_run AS later WHERE later.job = old.job AND later.state = 'succeeded'
                                    AND (later.finished_at, later.id) > (old.finished_at, old.id)))
                  ORDER BY id LIMIT ?2)"
        }
        Expiring::Losses => "DELETE FROM loss WHERE id IN (SELECT id FROM loss WHERE recorded_at < ?1 ORDER BY id LIMIT ?2)",
    };
    let expired = sqlx::query(statement).bind(before.micros()).bind(limit).execute(connection).await.map_err(failed)?;
    Ok(expired.rows_affected())
}
