//! How far each stream is counted. Writing a batch is in [`super::commit`].

use super::{
    commit,
    connect::PostgresStore,
    fault::Fault,
    leases::clock,
    losses,
    transact::{End, Reach},
};
use crate::{
    Conservation, ProgressLedger, StoreError,
    rows::{StoredProgress, stored},
};
use async_trait::async_trait;
use loadline_domain::{
    Batch, Incarnation, Loss, LossCause, Sequence, StreamName, Timestamp,
    progress::{Lease, Progress},
};
use sqlx::PgConnection;

/// What [`StoredProgress`] reads. Named, not `*`: a later column must not upset the plans of an older process.
macro_rules! columns {
    () => {
        "stream, incarnation, applied, counted, duplicates, dead_lettered, lost, applied_at, set_back_to, set_back_from, set_back_at, \
         committed_at, head, stopped, \
         resume_through, epoch"
    };
}
pub(super) use columns;

#[async_trait]
impl ProgressLedger for PostgresStore {
    async fn open_stream(
        &self,
        lease: &Lease,
        incarnation: &Incarnation,
        seen: &[(Incarnation, Sequence)],
    ) -> Result<Progress, StoreError> {
        let (lease, incarnation, seen) = (lease.clone(), incarnation.clone(), seen.to_vec());
        let opened = self.write(End::Commit, move |connection| {
            let (lease, incarnation, seen) = (lease.clone(), incarnation.clone(), seen.clone());
            Box::pin(open_stream(connection, lease, incarnation, seen))
        });
        opened.await
    }

    async fn commit(&self, lease: &Lease, batch: &Batch) -> Result<Progress, StoreError> {
        commit::commit(self, lease, batch).await
    }

    async fn note_head(&self, lease: &Lease, incarnation: &Incarnation, head: Sequence) -> Result<(), StoreError> {
        let note = sqlx::query(
            "UPDATE stream_progress SET head = greatest(head, $4)
             WHERE stream = $1 AND incarnation = $2 AND is_current AND epoch = $3",
        );
        let note =
            note.bind(lease.stream.to_string()).bind(incarnation.to_string()).bind(stored(lease.epoch)?).bind(stored(head)?);
        let noted = self.run(|connection| Box::pin(async { Ok(note.execute(connection).await?) })).await?;
        if noted.rows_affected() == 1 { Ok(()) } else { Err(stale(lease, incarnation)) }
    }

    async fn stop(&self, lease: &Lease, incarnation: &Incarnation, why: &str) -> Result<(), StoreError> {
        let stop = sqlx::query(
            "UPDATE stream_progress SET stopped = $4 WHERE stream = $1 AND incarnation = $2 AND is_current AND epoch = $3",
        );
        let stop = stop.bind(lease.stream.to_string()).bind(incarnation.to_string()).bind(stored(lease.epoch)?).bind(text(why));
        let stopped = self.run(|connection| Box::pin(async { Ok(stop.execute(connection).await?) })).await?;
        if stopped.rows_affected() == 1 { Ok(()) } else { Err(stale(lease, incarnation)) }
    }

    async fn resume(&self, stream: &StreamName, through: Sequence) -> Result<bool, StoreError> {
        let resume = sqlx::query(
            "UPDATE stream_progress SET stopped = NULL, resume_through = $2
             WHERE stream = $1 AND is_current AND stopped IS NOT NULL",
        );
        let resume = resume.bind(stream.to_string()).bind(stored(through)?);
        let resumed = self.run(|connection| Box::pin(async { Ok(resume.execute(connection).await?) })).await?;
        Ok(resumed.rows_affected() == 1)
    }

    async fn progress(&self, stream: &StreamName) -> Result<Option<Progress>, StoreError> {
        let current = sqlx::query_as(concat!("SELECT ", columns!(), " FROM stream_progress WHERE stream = $1 AND is_current"));
        let current = current.bind(stream.to_string());
        let row = self.run(|connection| Box::pin(async { Ok(current.fetch_optional(connection).await?) })).await?;
        row.map(|row: StoredProgress| row.try_into()).transpose()
    }

    async fn all_progress(&self) -> Result<Vec<Progress>, StoreError> {
        self.run(|connection| Box::pin(all(connection))).await
    }

    async fn past_progress(&self) -> Result<Vec<Progress>, StoreError> {
        let past = sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM stream_progress WHERE NOT is_current AND counted > 0 ORDER BY stream, incarnation"
        ));
        let rows: Vec<StoredProgress> = self.run(|connection| Box::pin(async { Ok(past.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(Progress::try_from).collect()
    }

    async fn conservation(&self) -> Result<Conservation, StoreError> {
        let sums = sqlx::query_as(
            "SELECT coalesce(sum(counted), 0)::bigint,
                    coalesce(sum(applied - (counted + duplicates + dead_lettered + lost)), 0)::bigint,
                    ((SELECT coalesce(sum(events), 0) FROM usage_hourly)
                     + (SELECT coalesce(sum((hourly::json->>0)::numeric), 0) FROM archived_part))::bigint
             FROM stream_progress",
        );
        let read = self.read(Reach::Table, |connection| Box::pin(async { Ok(sums.fetch_one(connection).await?) }));
        let (counted, unaccounted, usage_events) = read.await?;
        Ok(Conservation { counted, usage_events, unaccounted })
    }
}

/// Current incarnation's progress of every stream, by name.
pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Progress>, Fault> {
    let rows: Vec<StoredProgress> =
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM stream_progress WHERE is_current ORDER BY stream"))
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(Progress::try_from).collect::<Result<_, _>>()?)
}

/// Notes what was seen in the log, also of incarnations that nobody ever opened.
async fn raise_heads(connection: &mut PgConnection, lease: &Lease, seen: &[(Incarnation, Sequence)]) -> Result<(), Fault> {
    for (incarnation, head) in seen {
        sqlx::query(
            "INSERT INTO stream_progress AS p (stream, incarnation, is_current, epoch, head) VALUES ($1, $2, FALSE, $3, $4)
             ON CONFLICT (stream, incarnation) DO UPDATE SET head = greatest(p.head, excluded.head)",
        )
        .bind(lease.stream.as_str())
        .bind(incarnation.as_str())
        .bind(stored(lease.epoch)?)
        .bind(stored(*head)?)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Incarnations other than this one that are not closed; locked.
async fn past(connection: &mut PgConnection, stream: &StreamName, incarnation: &Incarnation) -> Result<Vec<Progress>, Fault> {
    let rows: Vec<StoredProgress> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM stream_progress WHERE stream = $1 AND incarnation <> $2 AND (is_current OR head > applied)
         ORDER BY incarnation FOR UPDATE"
    ))
    .bind(stream.as_str())
    .bind(incarnation.as_str())
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Progress::try_from).collect::<Result<_, _>>()?)
}

async fn open_stream(
    connection: &mut PgConnection,
    lease: Lease,
    incarnation: Incarnation,
    seen: Vec<(Incarnation, Sequence)>,
) -> Result<Progress, Fault> {
    // Locked, so that nobody takes the lease over between the look and the new epoch.
    let held = "SELECT TRUE FROM stream_lease WHERE stream = $1 AND holder = $2 AND epoch = $3 FOR UPDATE";
    let held = sqlx::query_scalar(held).bind(lease.stream.as_str()).bind(&lease.holder).bind(stored(lease.epoch)?);
    if held.fetch_optional(&mut *connection).await? != Some(true) {
        let taken = format!("epoch {} of the lease of {} was taken over", lease.epoch, lease.stream);
        return Err(StoreError::Stale(taken).into());
    }
    raise_heads(&mut *connection, &lease, &seen).await?;
    for past in past(&mut *connection, &lease.stream, &incarnation).await? {
        close(&mut *connection, &past).await?;
    }
    let row: StoredProgress = sqlx::query_as(concat!(
        "INSERT INTO stream_progress (stream, incarnation, is_current, epoch) VALUES ($1, $2, TRUE, $3)
         ON CONFLICT (stream, incarnation) DO UPDATE SET is_current = TRUE, epoch = excluded.epoch RETURNING ",
        columns!()
    ))
    .bind(lease.stream.as_str())
    .bind(incarnation.as_str())
    .bind(stored(lease.epoch)?)
    .fetch_one(connection)
    .await?;
    Ok(row.try_into()?)
}

/// Ends an incarnation that the log no longer has: what was not applied of it is lost.
async fn close(connection: &mut PgConnection, progress: &Progress) -> Result<(), Fault> {
    let now: i64 = sqlx::query_scalar(concat!(
        "UPDATE stream_progress
         SET is_current = FALSE, lost = lost + greatest(head - applied, 0), applied = greatest(head, applied), committed_at = ",
        clock!(),
        " WHERE stream = $1 AND incarnation = $2 RETURNING committed_at"
    ))
    .bind(progress.stream.as_str())
    .bind(progress.incarnation.as_str())
    .fetch_one(&mut *connection)
    .await?;
    let first = progress.applied + 1;
    if first > progress.head {
        return Ok(());
    }
    let (after, before) = (progress.applied_at, Some(Timestamp::from_micros(now)));
    let loss = Loss { first, last: progress.head, cause: LossCause::Recreated, after, before };
    losses::insert(connection, &progress.stream, &progress.incarnation, &[loss], now).await
}

/// Somebody else owns the stream, or it was made again.
pub(super) fn stale(lease: &Lease, incarnation: &Incarnation) -> StoreError {
    StoreError::Stale(format!("epoch {} no longer owns incarnation {incarnation} of {}", lease.epoch, lease.stream))
}

/// A text as PostgreSQL takes it: everything but NUL.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
