//! Who runs background work. A role given up stays as a row without a holder: epochs must never fall.

use super::connect::{SqliteStore, failed, now};
use crate::{Leaders, Leadership, StoreError, rows::stored, work_rows::StoredLeadership};
use async_trait::async_trait;
use sqlx::{Sqlite, SqliteConnection, query::QueryAs, sqlite::SqliteArguments};
use std::time::Duration;

#[async_trait]
impl Leaders for SqliteStore {
    async fn lead(&self, role: &str, holder: &str, ttl: Duration) -> Result<Option<Leadership>, StoreError> {
        let now = now();
        let lead = sqlx::query_as(
            "INSERT INTO leader (role, holder, epoch, expires_at) VALUES (?1, ?2, 1, ?3)
             ON CONFLICT (role) DO UPDATE
             SET holder = excluded.holder, epoch = epoch + 1, expires_at = excluded.expires_at
             WHERE holder = excluded.holder OR expires_at <= ?4
             RETURNING role, holder, epoch, expires_at",
        );
        let lead = lead.bind(role.to_owned()).bind(holder.to_owned()).bind(now.plus(ttl).micros()).bind(now.micros());
        self.leadership(lead).await
    }

    async fn keep_leading(&self, leadership: &Leadership, ttl: Duration) -> Result<Option<Leadership>, StoreError> {
        let keep = sqlx::query_as(
            "UPDATE leader SET expires_at = ?4 WHERE role = ?1 AND holder = ?2 AND epoch = ?3
             RETURNING role, holder, epoch, expires_at",
        );
        let keep = keep.bind(leadership.role.clone()).bind(leadership.holder.clone()).bind(stored(leadership.epoch)?);
        self.leadership(keep.bind(now().plus(ttl).micros())).await
    }

    async fn step_down(&self, leadership: &Leadership) -> Result<(), StoreError> {
        let free = "UPDATE leader SET holder = '', expires_at = 0 WHERE role = ?1 AND holder = ?2 AND epoch = ?3";
        let free = sqlx::query(free).bind(leadership.role.clone()).bind(leadership.holder.clone());
        let free = free.bind(stored(leadership.epoch)?);
        self.writer.transaction(|connection| Box::pin(async { free.execute(connection).await.map(drop).map_err(failed) })).await
    }

    async fn leaders(&self) -> Result<Vec<Leadership>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let rows: Vec<StoredLeadership> =
            sqlx::query_as("SELECT role, holder, epoch, expires_at FROM leader WHERE expires_at > ?1 ORDER BY role")
                .bind(now().micros())
                .fetch_all(&mut *snapshot)
                .await
                .map_err(failed)?;
        rows.into_iter().map(Leadership::try_from).collect()
    }
}

impl SqliteStore {
    async fn leadership(
        &self,
        statement: QueryAs<'static, Sqlite, StoredLeadership, SqliteArguments>,
    ) -> Result<Option<Leadership>, StoreError> {
        let taking =
            self.writer.transaction(|connection| Box::pin(async { statement.fetch_optional(connection).await.map_err(failed) }));
        taking.await?.map(Leadership::try_from).transpose()
    }
}

/// Whether it still leads; nobody can take over before this transaction ends.
pub(super) async fn fence(connection: &mut SqliteConnection, leadership: &Leadership) -> Result<(), StoreError> {
    let held = "SELECT count(*) FROM leader WHERE role = ?1 AND holder = ?2 AND epoch = ?3";
    let held = sqlx::query_scalar(held).bind(&leadership.role).bind(&leadership.holder).bind(stored(leadership.epoch)?);
    let held: i64 = held.fetch_one(connection).await.map_err(failed)?;
    if held == 1 { Ok(()) } else { Err(leadership.stale()) }
}
