//! Stored rows of the work in the background to values, the same for both backends. What does not read back is
//! [`StoreError::Broken`].

use crate::{
    AliasChange, AliasEntry, ArchivedPart, AuditEntry, JobRun, Leadership, NewRun, RunProgress, RunState, StoreError, Trigger,
    rows::{account, channel, code, damaged, loaded, stored},
    trail,
};
use loadline_domain::{
    AccountId, Day, Hour, Timestamp,
    archive::{Part, Totals},
    usage::{Usage, UsageKey},
};
use sqlx::FromRow;
use uuid::Uuid;

/// A small count, such as the number of a part or a try.
pub(crate) fn number(number: i32) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| damaged("number", number))
}

/// A small count as stored.
pub(crate) fn small(number: u32) -> Result<i32, StoreError> {
    i32::try_from(number).map_err(|_| StoreError::Broken(format!("{number} does not fit a stored 32-bit number")))
}

/// Columns of `leader`.
#[derive(FromRow)]
pub(crate) struct StoredLeadership {
    role: String,
    holder: String,
    epoch: i64,
    expires_at: i64,
}

impl TryFrom<StoredLeadership> for Leadership {
    type Error = StoreError;

    fn try_from(row: StoredLeadership) -> Result<Self, StoreError> {
        Ok(Self {
            role: row.role,
            holder: row.holder,
            epoch: loaded(row.epoch)?,
            expires_at: Timestamp::from_micros(row.expires_at),
        })
    }
}

/// Counts and sums of a part; the sums as text, a JSON array of texts for those of usage.
#[derive(FromRow)]
pub(crate) struct Tally {
    hourly_rows: i64,
    hourly: String,
    latency_rows: i64,
    latency: String,
}

impl TryFrom<Tally> for Totals {
    type Error = StoreError;

    fn try_from(tally: Tally) -> Result<Self, StoreError> {
        let sums: Vec<String> = serde_json::from_str(&tally.hourly).map_err(|_| damaged("list of sums", &tally.hourly))?;
        let sums: Vec<i128> = sums.iter().map(|text| sum(text)).collect::<Result<_, _>>()?;
        Ok(Self {
            hourly_rows: loaded(tally.hourly_rows)?,
            hourly: sums.try_into().map_err(|_| damaged("list of ten sums", &tally.hourly))?,
            latency_rows: loaded(tally.latency_rows)?,
            latency: sum(&tally.latency)?,
        })
    }
}

fn sum(text: &str) -> Result<i128, StoreError> {
    text.parse().map_err(|_| damaged("sum", text))
}

/// Sums of usage as a part's row has them.
pub(crate) fn sums_json(totals: &Totals) -> String {
    serde_json::json!(totals.hourly.map(|sum| sum.to_string())).to_string()
}

/// Columns of `archived_part`.
#[derive(FromRow)]
pub(crate) struct StoredPart {
    day: i32,
    number: i32,
    token: String,
    archived_at: i64,
    #[sqlx(flatten)]
    tally: Tally,
}

impl TryFrom<StoredPart> for ArchivedPart {
    type Error = StoreError;

    fn try_from(row: StoredPart) -> Result<Self, StoreError> {
        Ok(Self {
            part: Part { day: Day::from_index(row.day), number: number(row.number)?, token: row.token },
            totals: row.tally.try_into()?,
            archived_at: Timestamp::from_micros(row.archived_at),
        })
    }
}

/// Columns of `job_run`, `role` left out.
#[derive(FromRow)]
pub(crate) struct StoredRun {
    id: Uuid,
    job: String,
    idempotency_key: String,
    state: String,
    triggered_by: String,
    parameters: String,
    requested_by: String,
    attempt: i32,
    scheduled_for: Option<i64>,
    queued_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    holder: Option<String>,
    epoch: Option<i64>,
    done: i64,
    total: Option<i64>,
    note: String,
    cancel_requested: bool,
    result: Option<String>,
    error: Option<String>,
}

/// What [`StoredRun`] reads.
macro_rules! run_columns {
    () => {
        "id, job, idempotency_key, state, triggered_by, parameters, requested_by, attempt, scheduled_for, queued_at, started_at, \
         finished_at, holder, epoch, done, total, note, cancel_requested, result, error"
    };
}
pub(crate) use run_columns;

impl TryFrom<StoredRun> for JobRun {
    type Error = StoreError;

    fn try_from(row: StoredRun) -> Result<Self, StoreError> {
        let trigger = Trigger::parse(&row.triggered_by).ok_or_else(|| damaged("trigger of a run", &row.triggered_by))?;
        let asked = NewRun {
            job: row.job,
            idempotency_key: row.idempotency_key,
            trigger,
            parameters: row.parameters,
            requested_by: row.requested_by,
            scheduled_for: row.scheduled_for.map(Timestamp::from_micros),
            attempt: number(row.attempt)?,
        };
        let total = row.total.map(loaded).transpose()?;
        Ok(Self {
            id: row.id,
            asked,
            state: RunState::parse(&row.state).ok_or_else(|| damaged("state of a run", &row.state))?,
            queued_at: Timestamp::from_micros(row.queued_at),
            started_at: row.started_at.map(Timestamp::from_micros),
            finished_at: row.finished_at.map(Timestamp::from_micros),
            holder: row.holder,
            epoch: row.epoch.map(loaded).transpose()?,
            progress: RunProgress { done: loaded(row.done)?, total, note: row.note },
            cancel_requested: row.cancel_requested,
            result: row.result,
            error: row.error,
        })
    }
}

/// Columns of `audit_entry`.
#[derive(FromRow)]
pub(crate) struct StoredEntry {
    id: i64,
    at: i64,
    actor: String,
    action: String,
    target: String,
    reason: String,
    before: String,
    after: String,
    outcome: String,
    previous_hash: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
}

impl From<StoredEntry> for AuditEntry {
    fn from(row: StoredEntry) -> Self {
        let StoredEntry { id, at, actor, action, target, reason, before, after, outcome, previous_hash, hash } = row;
        let (previous_hash, hash) = (trail::loaded(previous_hash), trail::loaded(hash));
        Self { id, at: Timestamp::from_micros(at), actor, action, target, reason, before, after, outcome, previous_hash, hash }
    }
}

/// Columns of `alias_entry`.
#[derive(FromRow)]
pub(crate) struct StoredAlias {
    model: String,
    alias: String,
    number: i64,
    action: String,
    before: Option<i64>,
    after: Option<i64>,
    actor: String,
    evidence: String,
    reason: String,
    at: i64,
}

impl TryFrom<StoredAlias> for AliasEntry {
    type Error = StoreError;

    fn try_from(row: StoredAlias) -> Result<Self, StoreError> {
        let StoredAlias { model, alias, number, action, before, after, actor, evidence, reason, at } = row;
        let (before, after) = (before.map(loaded).transpose()?, after.map(loaded).transpose()?);
        let change = AliasChange { model, alias, action, before, after, actor, evidence, reason };
        Ok(Self { number: loaded(number)?, change, at: Timestamp::from_micros(at) })
    }
}

/// What an alias named and names, as stored.
pub(crate) fn versions(change: &AliasChange) -> Result<(Option<i64>, Option<i64>), StoreError> {
    Ok((change.before.map(stored).transpose()?, change.after.map(stored).transpose()?))
}

/// A row of hourly usage, whole.
#[derive(FromRow)]
pub(crate) struct HourlyRow {
    account: String,
    hour: i32,
    channel: i16,
    country: String,
    currency: String,
    events: i64,
    messages: i64,
    segments: i64,
    amount_micros: i64,
    delivered: i64,
    undelivered: i64,
    expired: i64,
    rejected: i64,
    failed: i64,
    not_final: i64,
}

impl HourlyRow {
    /// Key and sums. Rows of one account follow each other: `last` lends its name to the next.
    pub(crate) fn read(self, last: Option<&AccountId>) -> Result<(UsageKey, Usage), StoreError> {
        let key = UsageKey {
            account: same_account(&self.account, last)?,
            hour: Hour::from_index(self.hour),
            channel: channel(self.channel)?,
            country: code(&self.country)?,
            currency: code(&self.currency)?,
        };
        let usage = Usage {
            events: self.events,
            messages: self.messages,
            segments: self.segments,
            amount_micros: self.amount_micros,
            delivered: self.delivered,
            undelivered: self.undelivered,
            expired: self.expired,
            rejected: self.rejected,
            failed: self.failed,
            not_final: self.not_final,
        };
        Ok((key, usage))
    }
}

/// The account of this name: that of the row before, when it is the same.
pub(crate) fn same_account(name: &str, last: Option<&AccountId>) -> Result<AccountId, StoreError> {
    match last {
        Some(last) if last.as_str() == name => Ok(last.clone()),
        _ => account(name),
    }
}
