//! Jobs of predictions. Whatever changes them passes through the one writer, so what a transaction has read stays true in it.

use super::connect::{SqliteStore, failed, now};
use crate::{
    Accepted, Claim, ClaimTerms, Claimed, NewPrediction, PredictionBacklog, PredictionEnd, PredictionFilter, PredictionJob,
    PredictionJobs, PredictionState, StoreError, Ticket,
    prediction_jobs::Verdict,
    prediction_rows::{StoredBacklog, StoredPrediction, StoredTicket, prediction_columns},
    rows::stored,
};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use sqlx::SqliteConnection;
use std::time::Duration;

/// The oldest job that can be claimed.
macro_rules! next {
    () => {
        "SELECT * FROM prediction_job
         WHERE finished_at IS NULL
           AND ((state = 'queued' AND put_off_until <= ?1) OR (state = 'running' AND leased_until <= ?1))
         ORDER BY number LIMIT 1"
    };
}

#[async_trait]
impl PredictionJobs for SqliteStore {
    async fn accept_prediction(&self, new: &NewPrediction) -> Result<Accepted, StoreError> {
        let new = new.clone();
        self.writer.transaction(move |connection| Box::pin(accept(connection, new))).await
    }

    async fn prediction_outbox(&self, limit: u32) -> Result<Vec<Ticket>, StoreError> {
        let oldest =
            "SELECT id, model, dispatch FROM prediction_outbox JOIN prediction_job USING (number) ORDER BY number LIMIT ?1";
        let oldest = sqlx::query_as(oldest).bind(limit);
        let rows: Vec<StoredTicket> = oldest.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.into_iter().map(Ticket::try_from).collect()
    }

    async fn predictions_dispatched(&self, tickets: &[Ticket]) -> Result<(), StoreError> {
        let tickets = tickets.to_vec();
        self.writer.transaction(move |connection| Box::pin(dispatched(connection, tickets))).await
    }

    async fn claim_prediction(&self, id: &str, terms: &ClaimTerms) -> Result<Claimed, StoreError> {
        let (id, terms) = (id.to_owned(), terms.clone());
        self.writer.transaction(move |connection| Box::pin(claim(connection, id, terms))).await
    }

    async fn claim_next_prediction(&self, terms: &ClaimTerms) -> Result<Option<Claim>, StoreError> {
        // A look first, so that nothing to do costs no write lock.
        let waiting = sqlx::query_scalar(concat!("SELECT count(*) FROM (", next!(), ")")).bind(now().micros());
        let waiting: i64 = waiting.fetch_one(&mut *self.reader().await?).await.map_err(failed)?;
        if waiting == 0 {
            return Ok(None);
        }
        let terms = terms.clone();
        self.writer.transaction(move |connection| Box::pin(claim_next(connection, terms))).await
    }

    async fn keep_prediction(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        let claim = claim.clone();
        self.writer.transaction(move |connection| Box::pin(keep(connection, claim, lease))).await
    }

    async fn hand_back_prediction(&self, claim: &Claim, after: Duration) -> Result<(), StoreError> {
        let claim = claim.clone();
        self.writer.transaction(move |connection| Box::pin(hand_back(connection, claim, after))).await
    }

    async fn end_prediction(&self, claim: &Claim, end: &PredictionEnd) -> Result<PredictionJob, StoreError> {
        let (claim, end) = (claim.clone(), end.clone());
        self.writer.transaction(move |connection| Box::pin(finish(connection, claim, end))).await
    }

    async fn cancel_prediction(&self, id: &str) -> Result<Option<PredictionJob>, StoreError> {
        let id = id.to_owned();
        self.writer.transaction(move |connection| Box::pin(cancel(connection, id))).await
    }

    async fn expire_predictions(&self, limit: u32) -> Result<u64, StoreError> {
        self.writer.transaction(move |connection| Box::pin(expire(connection, limit))).await
    }

    async fn redispatch_predictions(&self, idle: Duration, limit: u32) -> Result<u64, StoreError> {
        self.writer.transaction(move |connection| Box::pin(redispatch(connection, idle, limit))).await
    }

    async fn prediction_job(&self, id: &str) -> Result<Option<PredictionJob>, StoreError> {
        by_id(&mut *self.reader().await?, id).await
    }

    async fn prediction_result(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let result = "SELECT result FROM prediction_result JOIN prediction_job USING (number) WHERE id = ?1";
        sqlx::query_scalar(result).bind(id).fetch_optional(&mut *self.reader().await?).await.map_err(failed)
    }

    async fn prediction_jobs(
        &self,
        filter: &PredictionFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<PredictionJob>, StoreError> {
        let page = sqlx::query_as(concat!(
            "SELECT ",
            prediction_columns!(),
            " FROM prediction_job
              WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR model = ?2) AND (?3 IS NULL OR submitted_by = ?3)
                AND (?4 IS NULL OR number < ?4)
              ORDER BY number DESC LIMIT ?5"
        ));
        let page = page.bind(filter.state.map(PredictionState::as_str)).bind(filter.model.as_deref());
        let page = page.bind(filter.submitted_by.as_deref()).bind(before.map(stored).transpose()?).bind(limit);
        let rows: Vec<StoredPrediction> = page.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.into_iter().map(PredictionJob::try_from).collect()
    }

    async fn prediction_backlog(&self) -> Result<PredictionBacklog, StoreError> {
        let backlog = sqlx::query_as(
            "SELECT (SELECT count(*) FROM prediction_outbox) AS outbox,
                    (SELECT min(put_at) FROM prediction_outbox) AS oldest_outbox,
                    (SELECT count(*) FROM prediction_job WHERE finished_at IS NULL) AS open",
        );
        let row: StoredBacklog = backlog.fetch_one(&mut *self.reader().await?).await.map_err(failed)?;
        row.try_into()
    }

    async fn forget_predictions(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.writer.transaction(move |connection| Box::pin(forget(connection, before, limit))).await
    }
}

async fn accept(connection: &mut SqliteConnection, new: NewPrediction) -> Result<Accepted, StoreError> {
    let now = now();
    let accepted = sqlx::query_as(concat!(
        "INSERT INTO prediction_job (id, model, version, sha256, submitted_by, row_count, deadline, accepted_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING RETURNING ",
        prediction_columns!()
    ));
    let accepted = accepted.bind(&new.id).bind(&new.model).bind(stored(new.version)?).bind(&new.sha256);
    let accepted = accepted.bind(&new.submitted_by).bind(stored(new.rows)?);
    let accepted = accepted.bind(new.valid_for.map(|valid_for| now.plus(valid_for).micros())).bind(now.micros());
    let row: Option<StoredPrediction> = accepted.fetch_optional(&mut *connection).await.map_err(failed)?;
    let Some(row) = row else {
        let known = by_id(connection, &new.id).await?;
        let job = known.ok_or_else(|| StoreError::Broken(format!("job {} is there and is not", new.id)))?;
        return Ok(Accepted { job, new: false });
    };
    let job: PredictionJob = row.try_into()?;
    let number = stored(job.number)?;
    let request = sqlx::query("INSERT INTO prediction_request (number, request) VALUES (?1, ?2)").bind(number).bind(new.request);
    request.execute(&mut *connection).await.map_err(failed)?;
    let outbox = sqlx::query("INSERT INTO prediction_outbox (number, put_at) VALUES (?1, ?2)").bind(number).bind(now.micros());
    outbox.execute(connection).await.map_err(failed)?;
    Ok(Accepted { job, new: true })
}

async fn dispatched(connection: &mut SqliteConnection, tickets: Vec<Ticket>) -> Result<(), StoreError> {
    let now = now().micros();
    for ticket in tickets {
        let queued = "UPDATE prediction_job SET state = 'queued', queued_at = ?2 WHERE id = ?1 AND state = 'accepted'";
        sqlx::query(queued).bind(&ticket.id).bind(now).execute(&mut *connection).await.map_err(failed)?;
        let told = "DELETE FROM prediction_outbox
                    WHERE number = (SELECT number FROM prediction_job WHERE id = ?1 AND dispatch = ?2)";
        let told = sqlx::query(told).bind(&ticket.id).bind(ticket.dispatch);
        told.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

async fn claim(connection: &mut SqliteConnection, id: String, terms: ClaimTerms) -> Result<Claimed, StoreError> {
    match by_id(&mut *connection, &id).await? {
        Some(job) => judged(connection, job, &terms).await,
        None => Ok(Claimed::Unknown),
    }
}

async fn claim_next(connection: &mut SqliteConnection, terms: ClaimTerms) -> Result<Option<Claim>, StoreError> {
    loop {
        let next = sqlx::query_as(next!()).bind(now().micros());
        let next: Option<StoredPrediction> = next.fetch_optional(&mut *connection).await.map_err(failed)?;
        let Some(next) = next else { return Ok(None) };
        if let Claimed::Mine(claim) = judged(&mut *connection, next.try_into()?, &terms).await? {
            return Ok(Some(*claim));
        }
    }
}

/// Claims a job, or ends it where it may not be begun any more.
async fn judged(connection: &mut SqliteConnection, job: PredictionJob, terms: &ClaimTerms) -> Result<Claimed, StoreError> {
    let now = now();
    match job.claimed_by(terms, now) {
        Verdict::Ended => Ok(Claimed::Ended),
        Verdict::Held(longer) => Ok(Claimed::Held(longer)),
        Verdict::End(state, why) => {
            end(connection, &job, state, why.as_ref().map(|(reason, detail)| (*reason, detail.as_str()))).await?;
            Ok(Claimed::Ended)
        }
        Verdict::Take => take(connection, &job, terms, now).await.map(|claim| Claimed::Mine(Box::new(claim))),
    }
}

async fn take(
    connection: &mut SqliteConnection,
    job: &PredictionJob,
    terms: &ClaimTerms,
    now: Timestamp,
) -> Result<Claim, StoreError> {
    let taken = sqlx::query_as(concat!(
        "UPDATE prediction_job
         SET state = 'running', epoch = epoch + 1, attempts = attempts + 1, holder = ?2, leased_until = ?3,
             started_at = coalesce(started_at, ?4), queued_at = coalesce(queued_at, ?4)
         WHERE number = ?1 RETURNING ",
        prediction_columns!()
    ));
    let taken = taken.bind(stored(job.number)?).bind(&terms.holder).bind(now.plus(terms.lease).micros()).bind(now.micros());
    let row: StoredPrediction = taken.fetch_one(&mut *connection).await.map_err(failed)?;
    let request = sqlx::query_scalar("SELECT request FROM prediction_request WHERE number = ?1").bind(stored(job.number)?);
    Ok(Claim { job: row.try_into()?, request: request.fetch_one(connection).await.map_err(failed)? })
}

async fn keep(connection: &mut SqliteConnection, claim: Claim, lease: Duration) -> Result<(), StoreError> {
    let kept = "UPDATE prediction_job SET leased_until = ?3 WHERE number = ?1 AND epoch = ?2 AND state = 'running'";
    let kept = sqlx::query(kept).bind(stored(claim.job.number)?).bind(stored(claim.job.epoch)?);
    let kept = kept.bind(now().plus(lease).micros()).execute(connection).await.map_err(failed)?;
    if kept.rows_affected() == 1 { Ok(()) } else { Err(claim.stale()) }
}

async fn hand_back(connection: &mut SqliteConnection, claim: Claim, after: Duration) -> Result<(), StoreError> {
    let back = "UPDATE prediction_job
                SET state = 'queued', attempts = attempts - 1, holder = NULL, leased_until = 0, put_off_until = ?3
                WHERE number = ?1 AND epoch = ?2 AND state = 'running'";
    let back = sqlx::query(back).bind(stored(claim.job.number)?).bind(stored(claim.job.epoch)?);
    let back = back.bind(now().plus(after).micros()).execute(connection).await.map_err(failed)?;
    if back.rows_affected() == 1 { Ok(()) } else { Err(claim.stale()) }
}

async fn finish(connection: &mut SqliteConnection, claim: Claim, wanted: PredictionEnd) -> Result<PredictionJob, StoreError> {
    let job = by_id(&mut *connection, &claim.job.id).await?.ok_or_else(|| claim.stale())?;
    if job.number == claim.job.number && job.ended_as(&claim, &wanted) {
        return Ok(job);
    }
    if (job.number, job.epoch, job.state) != (claim.job.number, claim.job.epoch, PredictionState::Running) {
        return Err(claim.stale());
    }
    if job.deadline.is_some_and(|deadline| deadline <= now()) {
        return end(connection, &job, PredictionState::Expired, None).await;
    }
    if let Some(result) = wanted.result() {
        let kept = sqlx::query("INSERT INTO prediction_result (number, result) VALUES (?1, ?2)");
        kept.bind(stored(job.number)?).bind(result).execute(&mut *connection).await.map_err(failed)?;
    }
    end(connection, &job, wanted.state(), wanted.reason().zip(wanted.detail())).await
}

async fn cancel(connection: &mut SqliteConnection, id: String) -> Result<Option<PredictionJob>, StoreError> {
    match by_id(&mut *connection, &id).await? {
        Some(job) if !job.state.is_final() => end(connection, &job, PredictionState::Cancelled, None).await.map(Some),
        other => Ok(other),
    }
}

/// Ends a job that has not ended; the database writes that down.
async fn end(
    connection: &mut SqliteConnection,
    job: &PredictionJob,
    state: PredictionState,
    why: Option<(&str, &str)>,
) -> Result<PredictionJob, StoreError> {
    let ended = sqlx::query_as(concat!(
        "UPDATE prediction_job SET state = ?2, reason = ?3, detail = ?4, finished_at = ?5 WHERE number = ?1 RETURNING ",
        prediction_columns!()
    ));
    let ended = ended.bind(stored(job.number)?).bind(state.as_str()).bind(why.map(|(reason, _)| reason));
    let ended = ended.bind(why.map(|(_, detail)| detail)).bind(now().micros());
    let row: StoredPrediction = ended.fetch_one(connection).await.map_err(failed)?;
    row.try_into()
}

async fn expire(connection: &mut SqliteConnection, limit: u32) -> Result<u64, StoreError> {
    let expired = "UPDATE prediction_job SET state = 'expired', finished_at = ?1
                   WHERE number IN (SELECT number FROM prediction_job
                                    WHERE finished_at IS NULL AND deadline IS NOT NULL AND deadline <= ?1
                                    ORDER BY deadline LIMIT ?2)";
    let expired = sqlx::query(expired).bind(now().micros()).bind(limit);
    Ok(expired.execute(connection).await.map_err(failed)?.rows_affected())
}

async fn redispatch(connection: &mut SqliteConnection, idle: Duration, limit: u32) -> Result<u64, StoreError> {
    let now = now();
    let lost = "SELECT number FROM prediction_job
                WHERE finished_at IS NULL AND state IN ('queued', 'running')
                  AND max(queued_at, put_off_until, leased_until) <= ?1
                  AND NOT EXISTS (SELECT 1 FROM prediction_outbox AS put WHERE put.number = prediction_job.number)
                ORDER BY number LIMIT ?2";
    let lost = sqlx::query_scalar(lost).bind(now.minus(idle).micros()).bind(limit);
    let lost: Vec<i64> = lost.fetch_all(&mut *connection).await.map_err(failed)?;
    for number in &lost {
        let again = "UPDATE prediction_job SET dispatch = dispatch + 1, queued_at = ?2 WHERE number = ?1";
        sqlx::query(again).bind(number).bind(now.micros()).execute(&mut *connection).await.map_err(failed)?;
        let put = sqlx::query("INSERT INTO prediction_outbox (number, put_at) VALUES (?1, ?2)").bind(number);
        put.bind(now.micros()).execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(lost.len() as u64)
}

async fn forget(connection: &mut SqliteConnection, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let old = "SELECT number FROM prediction_job WHERE finished_at < ?1 ORDER BY finished_at LIMIT ?2";
    let old: Vec<i64> =
        sqlx::query_scalar(old).bind(before.micros()).bind(limit).fetch_all(&mut *connection).await.map_err(failed)?;
    for number in &old {
        for table in [
            "DELETE FROM prediction_job WHERE number = ?1",
            "DELETE FROM prediction_request WHERE number = ?1",
            "DELETE FROM prediction_result WHERE number = ?1",
            "DELETE FROM prediction_end WHERE number = ?1",
        ] {
            sqlx::query(table).bind(number).execute(&mut *connection).await.map_err(failed)?;
        }
    }
    Ok(old.len() as u64)
}

async fn by_id(connection: &mut SqliteConnection, id: &str) -> Result<Option<PredictionJob>, StoreError> {
    let job = sqlx::query_as(concat!("SELECT ", prediction_columns!(), " FROM prediction_job WHERE id = ?1")).bind(id);
    let row: Option<StoredPrediction> = job.fetch_optional(connection).await.map_err(failed)?;
    row.map(PredictionJob::try_from).transpose()
}
