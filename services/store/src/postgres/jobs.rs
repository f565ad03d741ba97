//! Runs of background jobs.

use super::{connect::PostgresStore, fault::Fault, leadership::fence, leases::clock, progress::text, transact::End};
use crate::{
    Enqueued, JobRun, Jobs, Leadership, NewRun, Outcome, RunFilter, RunProgress, RunState, StoreError,
    rows::stored,
    work_rows::{StoredRun, run_columns, small},
};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use sqlx::PgConnection;
use std::{collections::HashMap, sync::Arc};
use uuid::Uuid;

#[async_trait]
impl Jobs for PostgresStore {
    async fn enqueue(&self, run: &NewRun) -> Result<Enqueued, StoreError> {
        let given = Arc::new((Uuid::now_v7(), run.clone()));
        let queueing = self.write(End::Commit, move |connection| {
            let given = Arc::clone(&given);
            Box::pin(async move { enqueue(connection, given.0, &given.1).await })
        });
        queueing.await
    }

    async fn claim(&self, leadership: &Leadership) -> Result<Option<JobRun>, StoreError> {
        let leadership = Arc::new(leadership.clone());
        let claiming = self.write(End::Commit, move |connection| {
            let leadership = Arc::clone(&leadership);
            Box::pin(async move { claim(connection, &leadership).await })
        });
        claiming.await
    }

    async fn report(&self, leadership: &Leadership, id: Uuid, progress: &RunProgress) -> Result<bool, StoreError> {
        let given = Arc::new((leadership.clone(), progress.clone()));
        let reporting = self.write(End::Commit, move |connection| {
            let given = Arc::clone(&given);
            Box::pin(async move { report(connection, &given.0, id, &given.1).await })
        });
        reporting.await
    }

    async fn finish(&self, leadership: &Leadership, id: Uuid, outcome: &Outcome) -> Result<JobRun, StoreError> {
        let given = Arc::new((leadership.clone(), outcome.clone()));
        let finishing = self.write(End::Commit, move |connection| {
            let given = Arc::clone(&given);
            Box::pin(async move { finish(connection, &given.0, id, &given.1).await })
        });
        finishing.await
    }

    async fn interrupt_orphans(&self, leadership: &Leadership) -> Result<Vec<JobRun>, StoreError> {
        let leadership = Arc::new(leadership.clone());
        let interrupting = self.write(End::Commit, move |connection| {
            let leadership = Arc::clone(&leadership);
            Box::pin(async move { interrupt_orphans(connection, &leadership).await })
        });
        interrupting.await
    }

    async fn hand_back(&self, leadership: &Leadership) -> Result<u64, StoreError> {
        let leadership = Arc::new(leadership.clone());
        let handing = self.write(End::Commit, move |connection| {
            let leadership = Arc::clone(&leadership);
            Box::pin(async move { hand_back(connection, &leadership).await })
        });
        handing.await
    }

    async fn request_cancel(&self, id: Uuid) -> Result<Option<JobRun>, StoreError> {
        let cancel = sqlx::query(concat!(
            "UPDATE job_run SET cancel_requested = TRUE, state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,
                 finished_at = CASE state WHEN 'queued' THEN ",
            clock!(),
            " END WHERE id = $1 AND state IN ('queued', 'running')"
        ));
        let cancel = cancel.bind(id);
        self.run(|connection| Box::pin(async { Ok(cancel.execute(connection).await.map(drop)?) })).await?;
        self.job_run(id).await
    }

    async fn job_run(&self, id: Uuid) -> Result<Option<JobRun>, StoreError> {
        self.run(move |connection| Box::pin(by_id(connection, id))).await
    }

    async fn job_runs(&self, filter: &RunFilter, before: Option<Uuid>, limit: u32) -> Result<Vec<JobRun>, StoreError> {
        let page = sqlx::query_as(concat!(
            "SELECT ",
            run_columns!(),
            " FROM job_run WHERE ($1::text IS NULL OR job = $1) AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR id < $3)
              ORDER BY id DESC LIMIT $4"
        ));
        let page = page.bind(filter.job.clone()).bind(filter.state.map(RunState::as_str)).bind(before).bind(i64::from(limit));
        let rows: Vec<StoredRun> = self.run(|connection| Box::pin(async { Ok(page.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(JobRun::try_from).collect()
    }

    async fn last_finished(&self) -> Result<HashMap<String, JobRun>, StoreError> {
        let last = sqlx::query_as(concat!(
            "SELECT DISTINCT ON (job) ",
            run_columns!(),
            " FROM job_run WHERE finished_at IS NOT NULL ORDER BY job, finished_at DESC, id DESC"
        ));
        let rows: Vec<StoredRun> = self.run(|connection| Box::pin(async { Ok(last.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(|row| JobRun::try_from(row).map(|run| (run.asked.job.clone(), run))).collect()
    }

    async fn last_scheduled(&self, until: Timestamp) -> Result<HashMap<String, Timestamp>, StoreError> {
        let last = sqlx::query_as(
            "SELECT job, max(scheduled_for) FROM job_run WHERE triggered_by = 'schedule' AND scheduled_for <= $1 GROUP BY job",
        );
        let last = last.bind(until.micros());
        let rows: Vec<(String, i64)> = self.run(|connection| Box::pin(async { Ok(last.fetch_all(connection).await?) })).await?;
        Ok(rows.into_iter().map(|(job, at)| (job, Timestamp::from_micros(at))).collect())
    }
}

async fn enqueue(connection: &mut PgConnection, id: Uuid, run: &NewRun) -> Result<Enqueued, Fault> {
    let queued: Option<StoredRun> = sqlx::query_as(concat!(
        "INSERT INTO job_run (id, job, idempotency_key, triggered_by, parameters, requested_by, attempt, scheduled_for, queued_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ",
        clock!(),
        ") ON CONFLICT (job, idempotency_key) DO NOTHING RETURNING ",
        run_columns!()
    ))
    .bind(id)
    .bind(text(&run.job))
    .bind(text(&run.idempotency_key))
    .bind(run.trigger.as_str())
    .bind(text(&run.parameters))
    .bind(text(&run.requested_by))
    .bind(small(run.attempt)?)
    .bind(run.scheduled_for.map(Timestamp::micros))
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(queued) = queued {
        return Ok(Enqueued::New(queued.try_into()?));
    }
    let known = concat!("SELECT ", run_columns!(), " FROM job_run WHERE job = $1 AND idempotency_key = $2");
    let known: StoredRun =
        sqlx::query_as(known).bind(text(&run.job)).bind(text(&run.idempotency_key)).fetch_one(connection).await?;
    let known = JobRun::try_from(known)?;
    // A retry after a lost reply finds the run it made itself.
    Ok(if known.id == id { Enqueued::New(known) } else { Enqueued::of_known(known, run) })
}

/// One claim at a time: of two at once, the one that passes over the other's run would find a younger one of the same job.
async fn claim(connection: &mut PgConnection, leadership: &Leadership) -> Result<Option<JobRun>, Fault> {
    fence(&mut *connection, leadership).await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('loadline job_run'))").execute(&mut *connection).await?;
    let claimed: Option<StoredRun> = sqlx::query_as(concat!(
        "UPDATE job_run SET state = 'running', role = $1, holder = $2, epoch = $3, started_at = ",
        clock!(),
        " WHERE id = (SELECT id FROM job_run AS queued
                      WHERE state = 'queued'
                        AND NOT EXISTS (SELECT FROM job_run AS running WHERE running.job = queued.job AND running.state = 'running')
                      ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
          RETURNING ",
        run_columns!()
    ))
    .bind(&leadership.role)
    .bind(&leadership.holder)
    .bind(stored(leadership.epoch)?)
    .fetch_optional(connection)
    .await
    .map_err(|error| Fault::from(error).or_overtaken())?;
    Ok(claimed.map(JobRun::try_from).transpose()?)
}

async fn report(connection: &mut PgConnection, leadership: &Leadership, id: Uuid, progress: &RunProgress) -> Result<bool, Fault> {
    fence(&mut *connection, leadership).await?;
    let cancel: Option<bool> = sqlx::query_scalar(
        "UPDATE job_run SET done = $4, total = $5, note = $6
         WHERE id = $1 AND role = $2 AND epoch = $3 AND state = 'running' RETURNING cancel_requested",
    )
    .bind(id)
    .bind(&leadership.role)
    .bind(stored(leadership.epoch)?)
    .bind(stored(progress.done)?)
    .bind(progress.total.map(stored).transpose()?)
    .bind(text(&progress.note))
    .fetch_optional(connection)
    .await?;
    Ok(cancel.ok_or_else(|| leadership.not_running(id))?)
}

async fn finish(connection: &mut PgConnection, leadership: &Leadership, id: Uuid, outcome: &Outcome) -> Result<JobRun, Fault> {
    fence(&mut *connection, leadership).await?;
    let finished: Option<StoredRun> = sqlx::query_as(concat!(
        "UPDATE job_run SET state = $4, result = $5, error = $6, finished_at = ",
        clock!(),
        " WHERE id = $1 AND role = $2 AND epoch = $3 AND state = 'running' RETURNING ",
        run_columns!()
    ))
    .bind(id)
    .bind(&leadership.role)
    .bind(stored(leadership.epoch)?)
    .bind(outcome.state().as_str())
    .bind(outcome.result().map(text))
    .bind(outcome.error().map(text))
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(finished) = finished {
        return Ok(finished.try_into()?);
    }
    let ended = by_id(connection, id).await?.filter(|run| run.ended_as(leadership, outcome));
    Ok(ended.ok_or_else(|| leadership.not_running(id))?)
}

async fn interrupt_orphans(connection: &mut PgConnection, leadership: &Leadership) -> Result<Vec<JobRun>, Fault> {
    fence(&mut *connection, leadership).await?;
    let rows: Vec<StoredRun> = sqlx::query_as(concat!(
        "UPDATE job_run SET state = 'interrupted', finished_at = ",
        clock!(),
        ", error = 'its leader was lost' WHERE state = 'running' AND role = $1 AND epoch < $2 RETURNING ",
        run_columns!()
    ))
    .bind(&leadership.role)
    .bind(stored(leadership.epoch)?)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(JobRun::try_from).collect::<Result<_, _>>()?)
}

async fn hand_back(connection: &mut PgConnection, leadership: &Leadership) -> Result<u64, Fault> {
    fence(&mut *connection, leadership).await?;
    let back = sqlx::query(
        "UPDATE job_run SET state = 'queued', role = NULL, holder = NULL, epoch = NULL, started_at = NULL
         WHERE state = 'running' AND role = $1 AND epoch = $2",
    );
    let back = back.bind(&leadership.role).bind(stored(leadership.epoch)?);
    Ok(back.execute(connection).await?.rows_affected())
}

async fn by_id(connection: &mut PgConnection, id: Uuid) -> Result<Option<JobRun>, Fault> {
    let run = sqlx::query_as(concat!("SELECT ", run_columns!(), " FROM job_run WHERE id = $1")).bind(id);
    let row: Option<StoredRun> = run.fetch_optional(connection).await?;
    Ok(row.map(JobRun::try_from).transpose()?)
}
