//! Jobs of predictions. Whoever changes one locks its row first, and then what belongs to it.

use super::{commit::now, connect::PostgresStore, fault::Fault, progress::text, transact::End};
use crate::{
    Accepted, Claim, ClaimTerms, Claimed, NewPrediction, PredictionBacklog, PredictionEnd, PredictionFilter, PredictionJob,
    PredictionJobs, PredictionState, StoreError, Ticket,
    prediction_jobs::Verdict,
    prediction_rows::{StoredBacklog, StoredPrediction, StoredTicket, prediction_columns},
    rows::stored,
};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use sqlx::PgConnection;
use std::{sync::Arc, time::Duration};

/// A write whose work needs what it is given, perhaps more than once.
macro_rules! transaction {
    ($store:expr, $given:expr, |$connection:ident, $shared:ident| $work:expr) => {{
        let given = Arc::new($given);
        let writing = $store.write(End::Commit, move |$connection| {
            let $shared = Arc::clone(&given);
            Box::pin(async move { $work.await })
        });
        writing.await
    }};
}

#[async_trait]
impl PredictionJobs for PostgresStore {
    async fn accept_prediction(&self, new: &NewPrediction) -> Result<Accepted, StoreError> {
        transaction!(self, new.clone(), |connection, new| accept(connection, &new))
    }

    async fn prediction_outbox(&self, limit: u32) -> Result<Vec<Ticket>, StoreError> {
        let oldest =
            "SELECT id, model, dispatch FROM prediction_outbox JOIN prediction_job USING (number) ORDER BY number LIMIT $1";
        let oldest = sqlx::query_as(oldest).bind(i64::from(limit));
        let rows: Vec<StoredTicket> = self.run(|connection| Box::pin(async { Ok(oldest.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(Ticket::try_from).collect()
    }

    async fn predictions_dispatched(&self, tickets: &[Ticket]) -> Result<(), StoreError> {
        transaction!(self, tickets.to_vec(), |connection, tickets| dispatched(connection, &tickets))
    }

    async fn claim_prediction(&self, id: &str, terms: &ClaimTerms) -> Result<Claimed, StoreError> {
        transaction!(self, (id.to_owned(), terms.clone()), |connection, given| claim(connection, &given.0, &given.1))
    }

    async fn claim_next_prediction(&self, terms: &ClaimTerms) -> Result<Option<Claim>, StoreError> {
        transaction!(self, terms.clone(), |connection, terms| claim_next(connection, &terms))
    }

    async fn keep_prediction(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        transaction!(self, claim.clone(), |connection, claim| keep(connection, &claim, lease))
    }

    async fn hand_back_prediction(&self, claim: &Claim, after: Duration) -> Result<(), StoreError> {
        transaction!(self, claim.clone(), |connection, claim| hand_back(connection, &claim, after))
    }

    async fn end_prediction(&self, claim: &Claim, end: &PredictionEnd) -> Result<PredictionJob, StoreError> {
        transaction!(self, (claim.clone(), end.clone()), |connection, given| finish(connection, &given.0, &given.1))
    }

    async fn cancel_prediction(&self, id: &str) -> Result<Option<PredictionJob>, StoreError> {
        transaction!(self, id.to_owned(), |connection, id| cancel(connection, &id))
    }

    async fn expire_predictions(&self, limit: u32) -> Result<u64, StoreError> {
        self.write(End::Commit, move |connection| Box::pin(expire(connection, limit))).await
    }

    async fn redispatch_predictions(&self, idle: Duration, limit: u32) -> Result<u64, StoreError> {
        self.write(End::Commit, move |connection| Box::pin(redispatch(connection, idle, limit))).await
    }

    async fn prediction_job(&self, id: &str) -> Result<Option<PredictionJob>, StoreError> {
        let job = sqlx::query_as(concat!("SELECT ", prediction_columns!(), " FROM prediction_job WHERE id = $1")).bind(text(id));
        let row: Option<StoredPrediction> =
            self.run(|connection| Box::pin(async { Ok(job.fetch_optional(connection).await?) })).await?;
        row.map(PredictionJob::try_from).transpose()
    }

    async fn prediction_result(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let result = "SELECT result FROM prediction_result JOIN prediction_job USING (number) WHERE id = $1";
        let result = sqlx::query_scalar(result).bind(text(id));
        self.run(|connection| Box::pin(async { Ok(result.fetch_optional(connection).await?) })).await
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
              WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR model = $2)
                AND ($3::text IS NULL OR submitted_by = $3) AND ($4::bigint IS NULL OR number < $4)
              ORDER BY number DESC LIMIT $5"
        ));
        let page = page.bind(filter.state.map(PredictionState::as_str)).bind(filter.model.as_deref().map(text));
        let page = page.bind(filter.submitted_by.as_deref().map(text)).bind(before.map(stored).transpose()?);
        let page = page.bind(i64::from(limit));
        let rows: Vec<StoredPrediction> =
            self.run(|connection| Box::pin(async { Ok(page.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(PredictionJob::try_from).collect()
    }

    async fn prediction_backlog(&self) -> Result<PredictionBacklog, StoreError> {
        let backlog = sqlx::query_as(
            "SELECT (SELECT count(*) FROM prediction_outbox) AS outbox,
                    (SELECT min(put_at) FROM prediction_outbox) AS oldest_outbox,
                    (SELECT count(*) FROM prediction_job WHERE finished_at IS NULL) AS open",
        );
        let row: StoredBacklog = self.run(|connection| Box::pin(async { Ok(backlog.fetch_one(connection).await?) })).await?;
        row.try_into()
    }

    async fn forget_predictions(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(End::Commit, move |connection| Box::pin(forget(connection, before, limit))).await
    }
}

/// Of two who submit one id at once, one waits here for the other to commit, and then finds its job.
async fn accept(connection: &mut PgConnection, new: &NewPrediction) -> Result<Accepted, Fault> {
    let now = now(&mut *connection).await?;
    let accepted = sqlx::query_as(concat!(
        "INSERT INTO prediction_job (id, model, version, sha256, submitted_by, row_count, deadline, accepted_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING RETURNING ",
        prediction_columns!()
    ));
    let accepted = accepted.bind(text(&new.id)).bind(text(&new.model)).bind(stored(new.version)?).bind(text(&new.sha256));
    let accepted = accepted.bind(text(&new.submitted_by)).bind(stored(new.rows)?);
    let accepted = accepted.bind(new.valid_for.map(|valid_for| Timestamp::from_micros(now).plus(valid_for).micros())).bind(now);
    let row: Option<StoredPrediction> = accepted.fetch_optional(&mut *connection).await?;
    let Some(row) = row else {
        // Retention may have taken it meanwhile: then it is accepted by another try.
        let job = locked(connection, &new.id).await?.ok_or(Fault::Overtaken)?;
        return Ok(Accepted { job, new: false });
    };
    let job: PredictionJob = row.try_into()?;
    let number = stored(job.number)?;
    let request = sqlx::query("INSERT INTO prediction_request (number, request) VALUES ($1, $2)").bind(number);
    request.bind(&new.request).execute(&mut *connection).await?;
    let outbox = sqlx::query("INSERT INTO prediction_outbox (number, put_at) VALUES ($1, $2)").bind(number).bind(now);
    outbox.execute(connection).await?;
    Ok(Accepted { job, new: true })
}

async fn dispatched(connection: &mut PgConnection, tickets: &[Ticket]) -> Result<(), Fault> {
    let ids: Vec<String> = tickets.iter().map(|ticket| text(&ticket.id)).collect();
    let dispatches: Vec<i64> = tickets.iter().map(|ticket| i64::from(ticket.dispatch)).collect();
    let lock = sqlx::query("SELECT number FROM prediction_job WHERE id = ANY($1) ORDER BY number FOR UPDATE");
    lock.bind(&ids).execute(&mut *connection).await?;
    let now = now(&mut *connection).await?;
    let queued = "UPDATE prediction_job SET state = 'queued', queued_at = $2 WHERE id = ANY($1) AND state = 'accepted'";
    sqlx::query(queued).bind(&ids).bind(now).execute(&mut *connection).await?;
    let told = "DELETE FROM prediction_outbox AS put USING prediction_job AS job, unnest($1::text[], $2::bigint[]) AS told (id, dispatch)
                WHERE put.number = job.number AND job.id = told.id AND job.dispatch = told.dispatch";
    sqlx::query(told).bind(&ids).bind(&dispatches).execute(connection).await?;
    Ok(())
}

async fn claim(connection: &mut PgConnection, id: &str, terms: &ClaimTerms) -> Result<Claimed, Fault> {
    match locked(&mut *connection, id).await? {
        Some(job) => judged(connection, job, terms).await,
        None => Ok(Claimed::Unknown),
    }
}

async fn claim_next(connection: &mut PgConnection, terms: &ClaimTerms) -> Result<Option<Claim>, Fault> {
    loop {
        let now = now(&mut *connection).await?;
        let next = sqlx::query_as(concat!(
            "SELECT ",
            prediction_columns!(),
            " FROM prediction_job
              WHERE finished_at IS NULL
                AND ((state = 'queued' AND put_off_until <= $1) OR (state = 'running' AND leased_until <= $1))
              ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED"
        ));
        let next: Option<StoredPrediction> = next.bind(now).fetch_optional(&mut *connection).await?;
        let Some(next) = next else { return Ok(None) };
        if let Claimed::Mine(claim) = judged(&mut *connection, next.try_into()?, terms).await? {
            return Ok(Some(*claim));
        }
    }
}

/// Claims a locked job, or ends it where it may not be begun any more.
async fn judged(connection: &mut PgConnection, job: PredictionJob, terms: &ClaimTerms) -> Result<Claimed, Fault> {
    let now = Timestamp::from_micros(now(&mut *connection).await?);
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

async fn take(connection: &mut PgConnection, job: &PredictionJob, terms: &ClaimTerms, now: Timestamp) -> Result<Claim, Fault> {
    let taken = sqlx::query_as(concat!(
        "UPDATE prediction_job
         SET state = 'running', epoch = epoch + 1, attempts = attempts + 1, holder = $2, leased_until = $3,
             started_at = coalesce(started_at, $4), queued_at = coalesce(queued_at, $4)
         WHERE number = $1 RETURNING ",
        prediction_columns!()
    ));
    let taken = taken.bind(stored(job.number)?).bind(text(&terms.holder));
    let taken = taken.bind(now.plus(terms.lease).micros()).bind(now.micros());
    let row: StoredPrediction = taken.fetch_one(&mut *connection).await?;
    let request = sqlx::query_scalar("SELECT request FROM prediction_request WHERE number = $1").bind(stored(job.number)?);
    Ok(Claim { job: row.try_into()?, request: request.fetch_one(connection).await? })
}

async fn keep(connection: &mut PgConnection, claim: &Claim, lease: Duration) -> Result<(), Fault> {
    let until = Timestamp::from_micros(now(&mut *connection).await?).plus(lease);
    let kept = "UPDATE prediction_job SET leased_until = $3 WHERE number = $1 AND epoch = $2 AND state = 'running'";
    let kept = sqlx::query(kept).bind(stored(claim.job.number)?).bind(stored(claim.job.epoch)?);
    let kept = kept.bind(until.micros()).execute(connection).await?;
    if kept.rows_affected() == 1 { Ok(()) } else { Err(claim.stale().into()) }
}

async fn hand_back(connection: &mut PgConnection, claim: &Claim, after: Duration) -> Result<(), Fault> {
    let until = Timestamp::from_micros(now(&mut *connection).await?).plus(after);
    let back = "UPDATE prediction_job
                SET state = 'queued', attempts = attempts - 1, holder = NULL, leased_until = 0, put_off_until = $3
                WHERE number = $1 AND epoch = $2 AND state = 'running'";
    let back = sqlx::query(back).bind(stored(claim.job.number)?).bind(stored(claim.job.epoch)?);
    let back = back.bind(until.micros()).execute(connection).await?;
    if back.rows_affected() == 1 { Ok(()) } else { Err(claim.stale().into()) }
}

async fn finish(connection: &mut PgConnection, claim: &Claim, wanted: &PredictionEnd) -> Result<PredictionJob, Fault> {
    let job = locked(&mut *connection, &claim.job.id).await?.ok_or_else(|| claim.stale())?;
    if job.number == claim.job.number && job.ended_as(claim, wanted) {
        return Ok(job);
    }
    if (job.number, job.epoch, job.state) != (claim.job.number, claim.job.epoch, PredictionState::Running) {
        return Err(claim.stale().into());
    }
    let now = Timestamp::from_micros(now(&mut *connection).await?);
    if job.deadline.is_some_and(|deadline| deadline <= now) {
        return end(connection, &job, PredictionState::Expired, None).await;
    }
    if let Some(result) = wanted.result() {
        let kept = sqlx::query("INSERT INTO prediction_result (number, result) VALUES ($1, $2)");
        kept.bind(stored(job.number)?).bind(result).execute(&mut *connection).await?;
    }
    end(connection, &job, wanted.state(), wanted.reason().zip(wanted.detail())).await
}

async fn cancel(connection: &mut PgConnection, id: &str) -> Result<Option<PredictionJob>, Fault> {
    match locked(&mut *connection, id).await? {
        Some(job) if !job.state.is_final() => end(connection, &job, PredictionState::Cancelled, None).await.map(Some),
        other => Ok(other),
    }
}

/// Ends a locked job that has not ended; the database writes that down.
async fn end(
    connection: &mut PgConnection,
    job: &PredictionJob,
    state: PredictionState,
    why: Option<(&str, &str)>,
) -> Result<PredictionJob, Fault> {
    let now = now(&mut *connection).await?;
    let ended = sqlx::query_as(concat!(
        "UPDATE prediction_job SET state = $2, reason = $3, detail = $4, finished_at = $5 WHERE number = $1 RETURNING ",
        prediction_columns!()
    ));
    let ended = ended.bind(stored(job.number)?).bind(state.as_str()).bind(why.map(|(reason, _)| text(reason)));
    let ended = ended.bind(why.map(|(_, detail)| text(detail))).bind(now);
    let row: StoredPrediction = ended.fetch_one(connection).await?;
    Ok(row.try_into()?)
}

async fn expire(connection: &mut PgConnection, limit: u32) -> Result<u64, Fault> {
    let now = now(&mut *connection).await?;
    let expired = "UPDATE prediction_job SET state = 'expired', finished_at = $1
                   WHERE number IN (SELECT number FROM prediction_job
                                    WHERE finished_at IS NULL AND deadline IS NOT NULL AND deadline <= $1
                                    ORDER BY deadline LIMIT $2 FOR UPDATE SKIP LOCKED)";
    Ok(sqlx::query(expired).bind(now).bind(i64::from(limit)).execute(connection).await?.rows_affected())
}

async fn redispatch(connection: &mut PgConnection, idle: Duration, limit: u32) -> Result<u64, Fault> {
    let now = Timestamp::from_micros(now(&mut *connection).await?);
    let lost = "SELECT number FROM prediction_job
                WHERE finished_at IS NULL AND state IN ('queued', 'running')
                  AND greatest(queued_at, put_off_until, leased_until) <= $1
                  AND NOT EXISTS (SELECT 1 FROM prediction_outbox AS put WHERE put.number = prediction_job.number)
                ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED";
    let lost = sqlx::query_scalar(lost).bind(now.minus(idle).micros()).bind(i64::from(limit));
    let lost: Vec<i64> = lost.fetch_all(&mut *connection).await?;
    let again = "UPDATE prediction_job SET dispatch = dispatch + 1, queued_at = $2 WHERE number = ANY($1)";
    sqlx::query(again).bind(&lost).bind(now.micros()).execute(&mut *connection).await?;
    // Another process may have put it there between the look and the lock: its entry stands for both.
    let put = "INSERT INTO prediction_outbox (number, put_at) SELECT number, $2 FROM unnest($1::bigint[]) AS lost (number)
               ON CONFLICT DO NOTHING";
    sqlx::query(put).bind(&lost).bind(now.micros()).execute(connection).await?;
    Ok(lost.len() as u64)
}

async fn forget(connection: &mut PgConnection, before: Timestamp, limit: u32) -> Result<u64, Fault> {
    let old = "SELECT number FROM prediction_job WHERE finished_at < $1 ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED";
    let old = sqlx::query_scalar(old).bind(before.micros()).bind(i64::from(limit));
    let old: Vec<i64> = old.fetch_all(&mut *connection).await?;
    for delete in [
        "DELETE FROM prediction_job WHERE number = ANY($1)",
        "DELETE FROM prediction_request WHERE number = ANY($1)",
        "DELETE FROM prediction_result WHERE number = ANY($1)",
        "DELETE FROM prediction_end WHERE number = ANY($1)",
    ] {
        sqlx::query(delete).bind(&old).execute(&mut *connection).await?;
    }
    Ok(old.len() as u64)
}

/// A job, as nobody else changes it until the transaction ends.
async fn locked(connection: &mut PgConnection, id: &str) -> Result<Option<PredictionJob>, Fault> {
    let job = sqlx::query_as(concat!("SELECT ", prediction_columns!(), " FROM prediction_job WHERE id = $1 FOR UPDATE"));
    let row: Option<StoredPrediction> = job.bind(text(id)).fetch_optional(connection).await?;
    Ok(row.map(PredictionJob::try_from).transpose()?)
}
