//! Who runs background work, by the server's clock. A role given up stays as a row without a holder: epochs must never fall.

use super::{
    connect::PostgresStore,
    fault::Fault,
    leases::{clock, micros},
};
use crate::{Leaders, Leadership, StoreError, rows::stored, work_rows::StoredLeadership};
use async_trait::async_trait;
use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::QueryAs};
use std::time::Duration;

#[async_trait]
impl Leaders for PostgresStore {
    async fn lead(&self, role: &str, holder: &str, ttl: Duration) -> Result<Option<Leadership>, StoreError> {
        // The row first: of two that insert a new role at once, one might meet the other in either unique index.
        let role_made =
            sqlx::query("INSERT INTO leader (role, holder, epoch, expires_at) VALUES ($1, '', 0, 0) ON CONFLICT DO NOTHING");
        let role_made = role_made.bind(role.to_owned());
        self.run(|connection| Box::pin(async { Ok(role_made.execute(connection).await.map(drop)?) })).await?;
        let lead = sqlx::query_as(concat!(
            "UPDATE leader SET holder = $2, epoch = epoch + 1, expires_at = ",
            clock!(),
            " + $3 WHERE role = $1 AND (holder = $2 OR expires_at <= ",
            clock!(),
            ") RETURNING role, holder, epoch, expires_at"
        ));
        self.leadership(lead.bind(role.to_owned()).bind(holder.to_owned()).bind(micros(ttl))).await
    }

    async fn keep_leading(&self, leadership: &Leadership, ttl: Duration) -> Result<Option<Leadership>, StoreError> {
        let keep = sqlx::query_as(concat!(
            "UPDATE leader SET expires_at = ",
            clock!(),
            " + $4 WHERE role = $1 AND holder = $2 AND epoch = $3 RETURNING role, holder, epoch, expires_at"
        ));
        let keep = keep.bind(leadership.role.clone()).bind(leadership.holder.clone()).bind(stored(leadership.epoch)?);
        self.leadership(keep.bind(micros(ttl))).await
    }

    async fn step_down(&self, leadership: &Leadership) -> Result<(), StoreError> {
        let free = "UPDATE leader SET holder = '', expires_at = 0 WHERE role = $1 AND holder = $2 AND epoch = $3";
        let free = sqlx::query(free).bind(leadership.role.clone()).bind(leadership.holder.clone());
        let free = free.bind(stored(leadership.epoch)?);
        self.run(|connection| Box::pin(async { Ok(free.execute(connection).await.map(drop)?) })).await
    }

    async fn leaders(&self) -> Result<Vec<Leadership>, StoreError> {
        let leaders = sqlx::query_as(concat!(
            "SELECT role, holder, epoch, expires_at FROM leader WHERE expires_at > ",
            clock!(),
            " ORDER BY role"
        ));
        let rows: Vec<StoredLeadership> =
            self.run(|connection| Box::pin(async { Ok(leaders.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(Leadership::try_from).collect()
    }
}

impl PostgresStore {
    async fn leadership(
        &self,
        statement: QueryAs<'static, Postgres, StoredLeadership, PgArguments>,
    ) -> Result<Option<Leadership>, StoreError> {
        let row = self.run(|connection| Box::pin(async { Ok(statement.fetch_optional(connection).await?) })).await?;
        row.map(Leadership::try_from).transpose()
    }
}

/// Whether it still leads; if so, nobody takes over before this transaction ends. The lock lets the leader be renewed.
pub(super) async fn fence(connection: &mut PgConnection, leadership: &Leadership) -> Result<(), Fault> {
    let held = "SELECT TRUE FROM leader WHERE role = $1 AND holder = $2 AND epoch = $3 FOR KEY SHARE";
    let held = sqlx::query_scalar(held).bind(&leadership.role).bind(&leadership.holder).bind(stored(leadership.epoch)?);
    match held.fetch_optional(connection).await? {
        Some(true) => Ok(()),
        _ => Err(leadership.stale().into()),
    }
}
