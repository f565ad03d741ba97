//! Stored rows of jobs of predictions to values, the same for both backends.

use crate::{
    PredictionBacklog, PredictionJob, PredictionState, StoreError, Ticket,
    rows::{damaged, loaded},
};
use loadline_domain::Timestamp;
use sqlx::FromRow;

/// Columns of `prediction_job` that are read.
#[derive(FromRow)]
pub(crate) struct StoredPrediction {
    number: i64,
    id: String,
    model: String,
    version: i64,
    sha256: String,
    submitted_by: String,
    row_count: i64,
    state: String,
    attempts: i64,
    epoch: i64,
    holder: Option<String>,
    leased_until: i64,
    deadline: Option<i64>,
    accepted_at: i64,
    queued_at: Option<i64>,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    reason: Option<String>,
    detail: Option<String>,
}

/// What [`StoredPrediction`] reads.
macro_rules! prediction_columns {
    () => {
        "number, id, model, version, sha256, submitted_by, row_count, state, attempts, epoch, holder, leased_until, deadline, \
         accepted_at, queued_at, started_at, finished_at, reason, detail"
    };
}
pub(crate) use prediction_columns;

impl TryFrom<StoredPrediction> for PredictionJob {
    type Error = StoreError;

    fn try_from(row: StoredPrediction) -> Result<Self, StoreError> {
        Ok(Self {
            number: loaded(row.number)?,
            id: row.id,
            model: row.model,
            version: loaded(row.version)?,
            sha256: row.sha256,
            submitted_by: row.submitted_by,
            rows: loaded(row.row_count)?,
            state: PredictionState::parse(&row.state).ok_or_else(|| damaged("state of a job", &row.state))?,
            attempts: small(row.attempts)?,
            deadline: row.deadline.map(Timestamp::from_micros),
            accepted_at: Timestamp::from_micros(row.accepted_at),
            queued_at: row.queued_at.map(Timestamp::from_micros),
            started_at: row.started_at.map(Timestamp::from_micros),
            finished_at: row.finished_at.map(Timestamp::from_micros),
            holder: row.holder,
            epoch: loaded(row.epoch)?,
            leased_until: Timestamp::from_micros(row.leased_until),
            reason: row.reason,
            detail: row.detail,
        })
    }
}

/// An entry of the outbox, with its job.
#[derive(FromRow)]
pub(crate) struct StoredTicket {
    id: String,
    model: String,
    dispatch: i64,
}

impl TryFrom<StoredTicket> for Ticket {
    type Error = StoreError;

    fn try_from(row: StoredTicket) -> Result<Self, StoreError> {
        Ok(Self { id: row.id, model: row.model, dispatch: small(row.dispatch)? })
    }
}

/// What waits.
#[derive(FromRow)]
pub(crate) struct StoredBacklog {
    outbox: i64,
    oldest_outbox: Option<i64>,
    open: i64,
}

impl TryFrom<StoredBacklog> for PredictionBacklog {
    type Error = StoreError;

    fn try_from(row: StoredBacklog) -> Result<Self, StoreError> {
        let oldest_outbox = row.oldest_outbox.map(Timestamp::from_micros);
        Ok(Self { outbox: loaded(row.outbox)?, oldest_outbox, open: loaded(row.open)? })
    }
}

fn small(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| damaged("count of a job", number))
}
