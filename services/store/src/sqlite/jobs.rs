//! Runs of background jobs.

use super::{
    connect::{SqliteStore, failed, now},
    leadership::fence,
};
use crate::{
    Enqueued, JobRun, Jobs, Leadership, NewRun, Outcome, RunFilter, RunProgress, RunState, StoreError,
    rows::stored,
    work_rows::{StoredRun, run_columns},
};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use sqlx::SqliteConnection;
use std::collections::HashMap;
use uuid::Uuid;

#[async_trait]
impl Jobs for SqliteStore {
    async fn enqueue(&self, run: &NewRun) -> Result<Enqueued, StoreError> {
        let run = run.clone();
        self.writer.transaction(move |connection| Box::pin(enqueue(connection, run))).await
    }

    async fn claim(&self, leadership: &Leadership) -> Result<Option<JobRun>, StoreError> {
        let leadership = leadership.clone();
        self.writer.transaction(move |connection| Box::pin(claim(connection, leadership))).await
    }

    async fn report(&self, leadership: &Leadership, id: Uuid, progress: &RunProgress) -> Result<bool, StoreError> {
        let (leadership, progress) = (leadership.clone(), progress.clone());
        self.writer.transaction(move |connection| Box::pin(report(connection, leadership, id, progress))).await
    }

    async fn finish(&self, leadership: &Leadership, id: Uuid, outcome: &Outcome) -> Result<JobRun, StoreError> {
        let (leadership, outcome) = (leadership.clone(), outcome.clone());
        self.writer.transaction(move |connection| Box::pin(finish(connection, leadership, id, outcome))).await
    }

    async fn interrupt_orphans(&self, leadership: &Leadership) -> Result<Vec<JobRun>, StoreError> {
        let leadership = leadership.clone();
        self.writer.transaction(move |connection| Box::pin(interrupt_orphans(connection, leadership))).await
    }

    async fn hand_back(&self, leadership: &Leadership) -> Result<u64, StoreError> {
        let leadership = leadership.clone();
        self.writer.transaction(move |connection| Box::pin(hand_back(connection, leadership))).await
    }

    async fn request_cancel(&self, id: Uuid) -> Result<Option<JobRun>, StoreError> {
        self.writer.transaction(move |connection| Box::pin(request_cancel(connection, id))).await
    }

    async fn job_run(&self, id: Uuid) -> Result<Option<JobRun>, StoreError> {
        by_id(&mut *self.snapshot().await?, id).await
    }

    async fn job_runs(&self, filter: &RunFilter, before: Option<Uuid>, limit: u32) -> Result<Vec<JobRun>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let rows: Vec<StoredRun> = sqlx::query_as(concat!(
            "SELECT ",
            run_columns!(),
            " FROM job_run WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR id < ?3)
              ORDER BY id DESC LIMIT ?4"
        ))
        .bind(filter.job.as_deref())
        .bind(filter.state.map(RunState::as_str))
        .bind(before)
        .bind(limit)
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        rows.into_iter().map(JobRun::try_from).collect()
    }

    async fn last_finished(&self) -> Result<HashMap<String, JobRun>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let rows: Vec<StoredRun> = sqlx::query_as(concat!(
            "SELECT ",
            run_columns!(),
            " FROM (SELECT *, row_number() OVER (PARTITION BY job ORDER BY finished_at DESC, id DESC) AS place
                    FROM job_run WHERE finished_at IS NOT NULL)
              WHERE place = 1"
        ))
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        rows.into_iter().map(|row| JobRun::try_from(row).map(|run| (run.asked.job.clone(), run))).collect()
    }

    async fn last_scheduled(&self, until: Timestamp) -> Result<HashMap<String, Timestamp>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT job, max(scheduled_for) FROM job_run WHERE triggered_by = 'schedule' AND scheduled_for <= ?1 GROUP BY job",
        )
        .bind(until.micros())
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        Ok(rows.into_iter().map(|(job, at)| (job, Timestamp::from_micros(at))).collect())
    }
}

async fn enqueue(connection: &mut SqliteConnection, run: NewRun) -> Result<Enqueued, StoreError> {
    let queued: Option<StoredRun> = sqlx::query_as(concat!(
        "INSERT INTO job_run (id, job, idempotency_key, triggered_by, parameters, requested_by, attempt, scheduled_for, queued_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (job, idempotency_key) DO NOTHING RETURNING ",
        run_columns!()
    ))
    .bind(Uuid::now_v7())
    .bind(&run.job)
    .bind(&run.idempotency_key)
    .bind(run.trigger.as_str())
    .bind(&run.parameters)
    .bind(&run.requested_by)
    .bind(run.attempt)
    .bind(run.scheduled_for.map(Timestamp::micros))
    .bind(now().micros())
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    if let Some(queued) = queued {
        return Ok(Enqueued::New(queued.try_into()?));
    }
    let known = concat!("SELECT ", run_columns!(), " FROM job_run WHERE job = ?1 AND idempotency_key = ?2");
    let known = sqlx::query_as(known).bind(&run.job).bind(&run.idempotency_key);
    let known: StoredRun = known.fetch_one(connection).await.map_err(failed)?;
    Ok(Enqueued::of_known(known.try_into()?, &run))
}

async fn claim(connection: &mut SqliteConnection, leadership: Leadership) -> Result<Option<JobRun>, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let claimed: Option<StoredRun> = sqlx::query_as(concat!(
        "UPDATE job_run SET state = 'running', role = ?1, holder = ?2, epoch = ?3, started_at = ?4
         WHERE id = (SELECT id FROM job_run AS queued
                     WHERE state = 'queued'
                       AND NOT EXISTS (SELECT 1 FROM job_run AS running WHERE running.job = queued.job AND running.state = 'running')
                     ORDER BY id LIMIT 1)
         RETURNING ",
        run_columns!()
    ))
    .bind(&leadership.role)
    .bind(&leadership.holder)
    .bind(stored(leadership.epoch)?)
    .bind(now().micros())
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    claimed.map(JobRun::try_from).transpose()
}

async fn report(
    connection: &mut SqliteConnection,
    leadership: Leadership,
    id: Uuid,
    progress: RunProgress,
) -> Result<bool, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let cancel: Option<bool> = sqlx::query_scalar(
        "UPDATE job_run SET done = ?4, total = ?5, note = ?6
         WHERE id = ?1 AND role = ?2 AND epoch = ?3 AND state = 'running' RETURNING cancel_requested",
    )
    .bind(id)
    .bind(&leadership.role)
    .bind(stored(leadership.epoch)?)
    .bind(stored(progress.done)?)
    .bind(progress.total.map(stored).transpose()?)
    .bind(progress.note)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    cancel.ok_or_else(|| leadership.not_running(id))
}

async fn finish(
    connection: &mut SqliteConnection,
    leadership: Leadership,
    id: Uuid,
    outcome: Outcome,
) -> Result<JobRun, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let finished: Option<StoredRun> = sqlx::query_as(concat!(
        "UPDATE job_run SET state = ?4, result = ?5, error = ?6, finished_at = ?7
         WHERE id = ?1 AND role = ?2 AND epoch = ?3 AND state = 'running' RETURNING ",
        run_columns!()
    ))
    .bind(id)
    .bind(&leadership.role)
    .bind(stored(leadership.epoch)?)
    .bind(outcome.state().as_str())
    .bind(outcome.result())
    .bind(outcome.error())
    .bind(now().micros())
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    if let Some(finished) = finished {
        return finished.try_into();
    }
    let ended = by_id(connection, id).await?.filter(|run| run.ended_as(&leadership, &outcome));
    ended.ok_or_else(|| leadership.not_running(id))
}

async fn interrupt_orphans(connection: &mut SqliteConnection, leadership: Leadership) -> Result<Vec<JobRun>, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let rows: Vec<StoredRun> = sqlx::query_as(concat!(
        "UPDATE job_run SET state = 'interrupted', finished_at = ?3, error = 'its leader was lost'
         WHERE state = 'running' AND role = ?1 AND epoch < ?2 RETURNING ",
        run_columns!()
    ))
    .bind(&leadership.role)
    .bind(stored(leadership.epoch)?)
    .bind(now().micros())
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.into_iter().map(JobRun::try_from).collect()
}

async fn hand_back(connection: &mut SqliteConnection, leadership: Leadership) -> Result<u64, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let back = sqlx::query(
        "UPDATE job_run SET state = 'queued', role = NULL, holder = NULL, epoch = NULL, started_at = NULL
         WHERE state = 'running' AND role = ?1 AND epoch = ?2",
    );
    let back = back.bind(&leadership.role).bind(stored(leadership.epoch)?);
    Ok(back.execute(connection).await.map_err(failed)?.rows_affected())
}

async fn request_cancel(connection: &mut SqliteConnection, id: Uuid) -> Result<Option<JobRun>, StoreError> {
    sqlx::query(
        "UPDATE job_run SET cancel_requested = 1, state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,
             finished_at = CASE state WHEN 'queued' THEN ?2 END
         WHERE id = ?1 AND state IN ('queued', 'running')",
    )
    .bind(id)
    .bind(now().micros())
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    by_id(connection, id).await
}

async fn by_id(connection: &mut SqliteConnection, id: Uuid) -> Result<Option<JobRun>, StoreError> {
    let run = sqlx::query_as(concat!("SELECT ", run_columns!(), " FROM job_run WHERE id = ?1")).bind(id);
    let row: Option<StoredRun> = run.fetch_optional(connection).await.map_err(failed)?;
    row.map(JobRun::try_from).transpose()
}
