//! Who may apply a stream. A released lease stays as a row without a holder: epochs must never fall.

use super::connect::{SqliteStore, failed, now};
use crate::{
    Leases, StoreError,
    rows::{StoredLease, stored},
};
use async_trait::async_trait;
use loadline_domain::{StreamName, progress::Lease};
use sqlx::SqliteConnection;
use std::time::Duration;

#[async_trait]
impl Leases for SqliteStore {
    async fn acquire(&self, stream: &StreamName, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let (stream, holder) = (stream.clone(), holder.to_owned());
        self.writer.transaction(move |connection| Box::pin(acquire(connection, stream, holder, ttl))).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let lease = lease.clone();
        self.writer.transaction(move |connection| Box::pin(renew(connection, lease, ttl))).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.transaction(move |connection| Box::pin(release(connection, lease))).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let rows: Vec<StoredLease> =
            sqlx::query_as("SELECT stream, holder, epoch, expires_at FROM stream_lease WHERE expires_at > ?1 ORDER BY stream")
                .bind(now().micros())
                .fetch_all(&mut *snapshot)
                .await
                .map_err(failed)?;
        rows.into_iter().map(Lease::try_from).collect()
    }
}

async fn acquire(
    connection: &mut SqliteConnection,
    stream: StreamName,
    holder: String,
    ttl: Duration,
) -> Result<Option<Lease>, StoreError> {
    let now = now();
    let row: Option<StoredLease> = sqlx::query_as(
        "INSERT INTO stream_lease (stream, holder, epoch, expires_at) VALUES (?1, ?2, 1, ?3)
         ON CONFLICT (stream) DO UPDATE
         SET holder = excluded.holder, epoch = epoch + 1, expires_at = excluded.expires_at
         WHERE holder = excluded.holder OR expires_at <= ?4
         RETURNING stream, holder, epoch, expires_at",
    )
    .bind(stream.as_str())
    .bind(holder)
    .bind(now.plus(ttl).micros())
    .bind(now.micros())
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.map(Lease::try_from).transpose()
}

async fn renew(connection: &mut SqliteConnection, lease: Lease, ttl: Duration) -> Result<Option<Lease>, StoreError> {
    let row: Option<StoredLease> = sqlx::query_as(
        "UPDATE stream_lease SET expires_at = ?4 WHERE stream = ?1 AND holder = ?2 AND epoch = ?3
         RETURNING stream, holder, epoch, expires_at",
    )
    .bind(lease.stream.as_str())
    .bind(lease.holder)
    .bind(stored(lease.epoch)?)
    .bind(now().plus(ttl).micros())
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.map(Lease::try_from).transpose()
}

async fn release(connection: &mut SqliteConnection, lease: Lease) -> Result<(), StoreError> {
    sqlx::query("UPDATE stream_lease SET holder = '', expires_at = 0 WHERE stream = ?1 AND holder = ?2 AND epoch = ?3")
        .bind(lease.stream.as_str())
        .bind(lease.holder)
        .bind(stored(lease.epoch)?)
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}
