//! Who may apply a stream, by the server's clock. A released lease stays as a row without a holder: epochs must never fall.

use super::connect::PostgresStore;
use crate::{
    Leases, StoreError,
    rows::{StoredLease, stored},
};
use async_trait::async_trait;
use loadline_domain::{StreamName, progress::Lease};
use sqlx::{Postgres, query::QueryAs};
use std::time::Duration;

/// Now, in microseconds since the epoch, as the server sees it while it works, not when the transaction began.
macro_rules! clock {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}
pub(super) use clock;

#[async_trait]
impl Leases for PostgresStore {
    async fn acquire(&self, stream: &StreamName, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let acquire = sqlx::query_as(concat!(
            "INSERT INTO stream_lease AS lease (stream, holder, epoch, expires_at) VALUES ($1, $2, 1, ",
            clock!(),
            " + $3)
             ON CONFLICT (stream) DO UPDATE
             SET holder = excluded.holder, epoch = lease.epoch + 1, expires_at = ",
            clock!(),
            " + $3
             WHERE lease.holder = excluded.holder OR lease.expires_at <= ",
            clock!(),
            " RETURNING stream, holder, epoch, expires_at"
        ));
        self.lease(acquire.bind(stream.to_string()).bind(holder.to_owned()).bind(micros(ttl))).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let renew = sqlx::query_as(concat!(
            "UPDATE stream_lease SET expires_at = ",
            clock!(),
            " + $4 WHERE stream = $1 AND holder = $2 AND epoch = $3 RETURNING stream, holder, epoch, expires_at"
        ));
        let renew = renew.bind(lease.stream.to_string()).bind(lease.holder.clone()).bind(stored(lease.epoch)?);
        self.lease(renew.bind(micros(ttl))).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let free = "UPDATE stream_lease SET holder = '', expires_at = 0 WHERE stream = $1 AND holder = $2 AND epoch = $3";
        let free = sqlx::query(free).bind(lease.stream.to_string()).bind(lease.holder.clone()).bind(stored(lease.epoch)?);
        self.run(|connection| Box::pin(async { Ok(free.execute(connection).await.map(drop)?) })).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let held = sqlx::query_as(concat!(
            "SELECT stream, holder, epoch, expires_at FROM stream_lease WHERE expires_at > ",
            clock!(),
            " ORDER BY stream"
        ));
        let rows: Vec<StoredLease> = self.run(|connection| Box::pin(async { Ok(held.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(Lease::try_from).collect()
    }
}

impl PostgresStore {
    async fn lease(
        &self,
        statement: QueryAs<'static, Postgres, StoredLease, sqlx::postgres::PgArguments>,
    ) -> Result<Option<Lease>, StoreError> {
        let row = self.run(|connection| Box::pin(async { Ok(statement.fetch_optional(connection).await?) })).await?;
        row.map(Lease::try_from).transpose()
    }
}

pub(super) fn micros(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX / 2)
}
