//! How far each stream is counted. Writing a batch is in [`super::commit`].

use super::{
    commit,
    connect::{SqliteStore, failed, now},
    losses,
};
use crate::{
    Conservation, ProgressLedger, StoreError,
    rows::{StoredProgress, stored},
};
use async_trait::async_trait;
use loadline_domain::{
    Batch, Incarnation, Loss, LossCause, Sequence, StreamName,
    progress::{Lease, Progress},
};
use sqlx::SqliteConnection;

/// A row as a JSON object, as [`StoredProgress`] reads it.
macro_rules! row {
    () => {
        "json_object('stream', stream, 'incarnation', incarnation, 'applied', applied, 'counted', counted, 'duplicates', duplicates, \
         'dead_lettered', dead_lettered, 'lost', lost, 'applied_at', applied_at, \
         'set_back_to', set_back_to, 'set_back_from', set_back_from, 'set_back_at', set_back_at, \
         'committed_at', committed_at, 'head', head, \
         'stopped', stopped, 'resume_through', resume_through, 'epoch', epoch)"
    };
}
pub(super) use row;

#[async_trait]
impl ProgressLedger for SqliteStore {
    async fn open_stream(
        &self,
        lease: &Lease,
        incarnation: &Incarnation,
        seen: &[(Incarnation, Sequence)],
    ) -> Result<Progress, StoreError> {
        let (lease, incarnation, seen) = (lease.clone(), incarnation.clone(), seen.to_vec());
        self.writer.transaction(move |connection| Box::pin(open_stream(connection, lease, incarnation, seen))).await
    }

    async fn commit(&self, lease: &Lease, batch: &Batch) -> Result<Progress, StoreError> {
        if batch.is_empty() {
            return Err(StoreError::Broken(format!("an empty batch of {} was to be committed", batch.stream())));
        }
        let (lease, batch) = (lease.clone(), batch.clone());
        self.writer.transaction(move |connection| Box::pin(commit::commit(connection, lease, batch))).await
    }

    async fn note_head(&self, lease: &Lease, incarnation: &Incarnation, head: Sequence) -> Result<(), StoreError> {
        let (lease, incarnation) = (lease.clone(), incarnation.clone());
        self.writer.transaction(move |connection| Box::pin(note_head(connection, lease, incarnation, head))).await
    }

    async fn stop(&self, lease: &Lease, incarnation: &Incarnation, why: &str) -> Result<(), StoreError> {
        let (lease, incarnation, why) = (lease.clone(), incarnation.clone(), why.to_owned());
        self.writer.transaction(move |connection| Box::pin(stop(connection, lease, incarnation, why))).await
    }

    async fn resume(&self, stream: &StreamName, through: Sequence) -> Result<bool, StoreError> {
        let stream = stream.clone();
        self.writer.transaction(move |connection| Box::pin(resume(connection, stream, through))).await
    }

    async fn progress(&self, stream: &StreamName) -> Result<Option<Progress>, StoreError> {
        current(&mut *self.snapshot().await?, stream).await
    }

    async fn all_progress(&self) -> Result<Vec<Progress>, StoreError> {
        all(&mut *self.snapshot().await?).await
    }

    async fn past_progress(&self) -> Result<Vec<Progress>, StoreError> {
        let past = "SELECT * FROM stream_progress WHERE NOT is_current AND counted > 0 ORDER BY stream, incarnation";
        let rows: Vec<StoredProgress> = sqlx::query_as(past).fetch_all(&mut *self.snapshot().await?).await.map_err(failed)?;
        rows.into_iter().map(Progress::try_from).collect()
    }

    async fn conservation(&self) -> Result<Conservation, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let sums: (i64, i64, i64) = sqlx::query_as(
            "SELECT coalesce(sum(counted), 0), coalesce(sum(applied - (counted + duplicates + dead_lettered + lost)), 0),
                    (SELECT coalesce(sum(events), 0) FROM usage_hourly)
                    + (SELECT coalesce(sum(CAST(hourly->>0 AS INTEGER)), 0) FROM archived_part)
             FROM stream_progress",
        )
        .fetch_one(&mut *snapshot)
        .await
        .map_err(failed)?;
        let (counted, unaccounted, usage_events) = sums;
        Ok(Conservation { counted, usage_events, unaccounted })
    }
}

/// Current incarnation's progress of every stream, by name.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Progress>, StoreError> {
    let rows: Vec<StoredProgress> = sqlx::query_as("SELECT * FROM stream_progress WHERE is_current ORDER BY stream")
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.into_iter().map(Progress::try_from).collect()
}

async fn current(connection: &mut SqliteConnection, stream: &StreamName) -> Result<Option<Progress>, StoreError> {
    let row: Option<StoredProgress> = sqlx::query_as("SELECT * FROM stream_progress WHERE stream = ?1 AND is_current")
        .bind(stream.as_str())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.map(Progress::try_from).transpose()
}

async fn open_stream(
    connection: &mut SqliteConnection,
    lease: Lease,
    incarnation: Incarnation,
    seen: Vec<(Incarnation, Sequence)>,
) -> Result<Progress, StoreError> {
    let held = "SELECT count(*) FROM stream_lease WHERE stream = ?1 AND holder = ?2 AND epoch = ?3";
    let held = sqlx::query_scalar(held).bind(lease.stream.as_str()).bind(&lease.holder).bind(stored(lease.epoch)?);
    let held: i64 = held.fetch_one(&mut *connection).await.map_err(failed)?;
    if held == 0 {
        return Err(StoreError::Stale(format!("epoch {} of the lease of {} was taken over", lease.epoch, lease.stream)));
    }
    raise_heads(&mut *connection, &lease, &seen).await?;
    for past in past(&mut *connection, &lease.stream, &incarnation).await? {
        close(&mut *connection, &past).await?;
    }
    let row: StoredProgress = sqlx::query_as(
        "INSERT INTO stream_progress (stream, incarnation, is_current, epoch) VALUES (?1, ?2, 1, ?3)
         ON CONFLICT (stream, incarnation) DO UPDATE SET is_current = 1, epoch = excluded.epoch
         RETURNING *",
    )
    .bind(lease.stream.as_str())
    .bind(incarnation.as_str())
    .bind(stored(lease.epoch)?)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    row.try_into()
}

/// Notes what was seen in the log, also of incarnations that nobody ever opened.
async fn raise_heads(
    connection: &mut SqliteConnection,
    lease: &Lease,
    seen: &[(Incarnation, Sequence)],
) -> Result<(), StoreError> {
    for (incarnation, head) in seen {
        sqlx::query(
            "INSERT INTO stream_progress (stream, incarnation, is_current, epoch, head) VALUES (?1, ?2, 0, ?3, ?4)
             ON CONFLICT (stream, incarnation) DO UPDATE SET head = max(head, excluded.head)",
        )
        .bind(lease.stream.as_str())
        .bind(incarnation.as_str())
        .bind(stored(lease.epoch)?)
        .bind(stored(*head)?)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// Incarnations other than this one that are not closed.
async fn past(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    incarnation: &Incarnation,
) -> Result<Vec<Progress>, StoreError> {
    let rows: Vec<StoredProgress> = sqlx::query_as(
        "SELECT * FROM stream_progress WHERE stream = ?1 AND incarnation <> ?2 AND (is_current OR head > applied)",
    )
    .bind(stream.as_str())
    .bind(incarnation.as_str())
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.into_iter().map(Progress::try_from).collect()
}

/// Ends an incarnation that the log no longer has: what was not applied of it is lost.
async fn close(connection: &mut SqliteConnection, progress: &Progress) -> Result<(), StoreError> {
    let now = now();
    let first = progress.applied + 1;
    if first <= progress.head {
        let (after, before) = (progress.applied_at, Some(now));
        let loss = Loss { first, last: progress.head, cause: LossCause::Recreated, after, before };
        losses::record(&mut *connection, &progress.stream, &progress.incarnation, &[loss], now).await?;
    }
    sqlx::query(
        "UPDATE stream_progress
         SET is_current = 0, lost = lost + max(head - applied, 0), applied = max(head, applied), committed_at = ?3
         WHERE stream = ?1 AND incarnation = ?2",
    )
    .bind(progress.stream.as_str())
    .bind(progress.incarnation.as_str())
    .bind(now.micros())
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed)
}

async fn note_head(
    connection: &mut SqliteConnection,
    lease: Lease,
    incarnation: Incarnation,
    head: Sequence,
) -> Result<(), StoreError> {
    let known = "SELECT head FROM stream_progress WHERE stream = ?1 AND incarnation = ?2 AND is_current AND epoch = ?3";
    let known = sqlx::query_scalar(known).bind(lease.stream.as_str()).bind(incarnation.as_str()).bind(stored(lease.epoch)?);
    let known: Option<i64> = known.fetch_optional(&mut *connection).await.map_err(failed)?;
    let head = stored(head)?;
    match known {
        None => Err(stale(&lease, &incarnation)),
        Some(known) if known >= head => Ok(()),
        Some(_) => sqlx::query("UPDATE stream_progress SET head = ?3 WHERE stream = ?1 AND incarnation = ?2")
            .bind(lease.stream.as_str())
            .bind(incarnation.as_str())
            .bind(head)
            .execute(connection)
            .await
            .map(drop)
            .map_err(failed),
    }
}

async fn stop(connection: &mut SqliteConnection, lease: Lease, incarnation: Incarnation, why: String) -> Result<(), StoreError> {
    let stopped = sqlx::query(
        "UPDATE stream_progress SET stopped = ?4 WHERE stream = ?1 AND incarnation = ?2 AND is_current AND epoch = ?3",
    )
    .bind(lease.stream.as_str())
    .bind(incarnation.as_str())
    .bind(stored(lease.epoch)?)
    .bind(why)
    .execute(connection)
    .await
    .map_err(failed)?;
    if stopped.rows_affected() == 1 { Ok(()) } else { Err(stale(&lease, &incarnation)) }
}

async fn resume(connection: &mut SqliteConnection, stream: StreamName, through: Sequence) -> Result<bool, StoreError> {
    let resumed = sqlx::query(
        "UPDATE stream_progress SET stopped = NULL, resume_through = ?2 WHERE stream = ?1 AND is_current AND stopped IS NOT NULL",
    )
    .bind(stream.as_str())
    .bind(stored(through)?)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(resumed.rows_affected() == 1)
}

/// Somebody else owns the stream, or it was made again.
pub(super) fn stale(lease: &Lease, incarnation: &Incarnation) -> StoreError {
    StoreError::Stale(format!("epoch {} no longer owns incarnation {incarnation} of {}", lease.epoch, lease.stream))
}
