//! Stored rows to values of the domain, the same for both backends. A row that does not read back is
//! [`StoreError::Broken`]: a bug, or a damaged store.

use crate::{AccountTotals, AsOf, DeadLetterState, Sources, StoreError, StoredDeadLetter, StoredLoss};
use loadline_domain::question::{LatencyRow, UsageRow};
use loadline_domain::{
    AccountId, DeadLetter, DeadLetterReason, Hour, Incarnation, Loss, LossCause, StreamName, Timestamp,
    dead_letter::Refusal,
    event::{Channel, Code},
    identity::Partition,
    latency::Bucket,
    progress::{Lease, Progress, SetBack},
    usage::Usage,
};
use serde::Deserialize;
use sqlx::FromRow;

/// A count or position as stored: 64 bits, signed.
pub(crate) fn stored(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Broken(format!("{number} does not fit a stored 64-bit number")))
}

/// A count or position as read back.
pub(crate) fn loaded(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| damaged("count", number))
}

/// A stored value that means nothing.
pub(crate) fn damaged(what: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Broken(format!("`{value}` is no {what}; the store is damaged, or was written by another build"))
}

pub(crate) fn stream(text: &str) -> Result<StreamName, StoreError> {
    StreamName::new(text).map_err(|_| damaged("stream name", text))
}

pub(crate) fn account(text: &str) -> Result<AccountId, StoreError> {
    AccountId::new(text).map_err(|_| damaged("account", text))
}

pub(crate) fn channel(number: i16) -> Result<Channel, StoreError> {
    Channel::from_number(i32::from(number)).ok_or_else(|| damaged("channel", number))
}

pub(crate) fn code<const N: usize>(text: &str) -> Result<Code<N>, StoreError> {
    Code::parse(text).ok_or_else(|| damaged("country or currency", text))
}

pub(crate) fn reason(text: &str) -> Result<DeadLetterReason, StoreError> {
    DeadLetterReason::parse(text).ok_or_else(|| damaged("reason of a dead letter", text))
}

/// The table of a partition, such as `dedup_billing_20261121`: made of nothing but a kind and a day.
pub(crate) fn dedup_table(partition: Partition) -> String {
    format!("dedup_{}_{}", partition.kind.as_str(), partition.day.to_string().replace('-', ""))
}

/// Columns of `stream_lease`.
#[derive(FromRow)]
pub(crate) struct StoredLease {
    stream: String,
    holder: String,
    epoch: i64,
    expires_at: i64,
}

impl TryFrom<StoredLease> for Lease {
    type Error = StoreError;

    fn try_from(row: StoredLease) -> Result<Self, StoreError> {
        Ok(Self {
            stream: stream(&row.stream)?,
            holder: row.holder,
            epoch: loaded(row.epoch)?,
            expires_at: Timestamp::from_micros(row.expires_at),
        })
    }
}

/// Columns of `stream_progress`, `is_current` left out.
#[derive(FromRow, Deserialize)]
pub(crate) struct StoredProgress {
    stream: String,
    incarnation: String,
    applied: i64,
    counted: i64,
    duplicates: i64,
    dead_lettered: i64,
    lost: i64,
    applied_at: Option<i64>,
    set_back_to: Option<i64>,
    set_back_from: Option<i64>,
    set_back_at: Option<i64>,
    committed_at: Option<i64>,
    head: i64,
    stopped: Option<String>,
    resume_through: i64,
    epoch: i64,
}

impl TryFrom<StoredProgress> for Progress {
    type Error = StoreError;

    fn try_from(row: StoredProgress) -> Result<Self, StoreError> {
        let set_back = match (row.set_back_to, row.set_back_from, row.set_back_at) {
            (Some(to), Some(from), Some(at)) => {
                Some(SetBack { to: Timestamp::from_micros(to), from: Timestamp::from_micros(from), applied: loaded(at)? })
            }
            _ => None,
        };
        Ok(Self {
            stream: stream(&row.stream)?,
            incarnation: Incarnation::new(row.incarnation),
            applied: loaded(row.applied)?,
            counted: loaded(row.counted)?,
            duplicates: loaded(row.duplicates)?,
            dead_lettered: loaded(row.dead_lettered)?,
            lost: loaded(row.lost)?,
            applied_at: row.applied_at.map(Timestamp::from_micros),
            set_back,
            committed_at: row.committed_at.map(Timestamp::from_micros),
            head: loaded(row.head)?,
            stopped: row.stopped,
            resume_through: loaded(row.resume_through)?,
            epoch: loaded(row.epoch)?,
        })
    }
}

/// What an answer rests on, from its columns; the progress of streams as a JSON array of their rows.
pub(crate) fn as_of(dead_letters: i64, lost: i64, progress: &str, sources: Sources) -> Result<AsOf, StoreError> {
    let progress: Vec<StoredProgress> = serde_json::from_str(progress).map_err(|error| damaged("progress", error))?;
    let progress = progress.into_iter().map(Progress::try_from).collect::<Result<_, _>>()?;
    Ok(AsOf { progress, dead_letters: loaded(dead_letters)?, lost: loaded(lost)?, sources })
}

impl DeadLetterState {
    /// Stable name, as stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Counted => "counted",
            Self::Duplicate => "duplicate",
            Self::Discarded => "discarded",
        }
    }

    /// From the stored name.
    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        let states = [Self::Open, Self::Counted, Self::Duplicate, Self::Discarded];
        states.into_iter().find(|state| state.as_str() == text).ok_or_else(|| damaged("state of a dead letter", text))
    }
}

/// Columns of `dead_letter`, `note` left out.
#[derive(FromRow)]
pub(crate) struct StoredLetter {
    id: i64,
    stream: String,
    incarnation: String,
    sequence: i64,
    reason: String,
    field: String,
    detail: String,
    account: Option<String>,
    event_time: Option<i64>,
    recorded_at: i64,
    payload: Vec<u8>,
    state: String,
    resolved_at: Option<i64>,
}

impl TryFrom<StoredLetter> for StoredDeadLetter {
    type Error = StoreError;

    fn try_from(row: StoredLetter) -> Result<Self, StoreError> {
        let (field, detail) = field(&row.field, row.detail);
        let refusal = Refusal {
            reason: reason(&row.reason)?,
            field,
            detail,
            account: row.account.as_deref().map(account).transpose()?,
            event_time: row.event_time.map(Timestamp::from_micros),
        };
        Ok(Self {
            id: row.id,
            stream: stream(&row.stream)?,
            incarnation: Incarnation::new(row.incarnation),
            letter: DeadLetter {
                sequence: loaded(row.sequence)?,
                recorded_at: Timestamp::from_micros(row.recorded_at),
                refusal,
                payload: row.payload.into(),
            },
            state: DeadLetterState::parse(&row.state)?,
            resolved_at: row.resolved_at.map(Timestamp::from_micros),
        })
    }
}

/// Every field a refusal can name.
const FIELDS: [&str; 17] = [
    "",
    "billing.account",
    "billing.amount_micros",
    "billing.channel",
    "billing.country",
    "billing.currency",
    "billing.event_id",
    "billing.messages",
    "billing.occurred_at",
    "billing.segments",
    "receipt.account",
    "receipt.channel",
    "receipt.country",
    "receipt.message_id",
    "receipt.reported_at",
    "receipt.status",
    "receipt.submitted_at",
];

/// The field as the domain names it. One that this build does not know is kept in words: it reads the same.
fn field(text: &str, detail: String) -> (&'static str, String) {
    match FIELDS.into_iter().find(|known| *known == text) {
        Some(known) => (known, detail),
        None => ("", format!("{text} {detail}")),
    }
}

/// Columns of `loss`.
#[derive(FromRow)]
pub(crate) struct StoredLossRow {
    id: i64,
    stream: String,
    incarnation: String,
    first_sequence: i64,
    last_sequence: i64,
    cause: String,
    after_at: Option<i64>,
    before_at: Option<i64>,
    recorded_at: i64,
}

impl TryFrom<StoredLossRow> for StoredLoss {
    type Error = StoreError;

    fn try_from(row: StoredLossRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            stream: stream(&row.stream)?,
            incarnation: Incarnation::new(row.incarnation),
            loss: Loss {
                first: loaded(row.first_sequence)?,
                last: loaded(row.last_sequence)?,
                cause: LossCause::parse(&row.cause).ok_or_else(|| damaged("cause of a loss", &row.cause))?,
                after: row.after_at.map(Timestamp::from_micros),
                before: row.before_at.map(Timestamp::from_micros),
            },
            recorded_at: Timestamp::from_micros(row.recorded_at),
        })
    }
}

/// The ten sums, by their column names in `usage_hourly`.
#[derive(FromRow)]
pub(crate) struct Sums {
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

impl From<Sums> for Usage {
    fn from(sums: Sums) -> Self {
        Self {
            events: sums.events,
            messages: sums.messages,
            segments: sums.segments,
            amount_micros: sums.amount_micros,
            delivered: sums.delivered,
            undelivered: sums.undelivered,
            expired: sums.expired,
            rejected: sums.rejected,
            failed: sums.failed,
            not_final: sums.not_final,
        }
    }
}

/// One group of usage: `hour, channel, country, currency` (NULL when not grouped by) and the sums.
#[derive(FromRow)]
pub(crate) struct UsageGroup {
    hour: Option<i32>,
    channel: Option<i16>,
    country: Option<String>,
    currency: Option<String>,
    #[sqlx(flatten)]
    sums: Sums,
}

impl TryFrom<UsageGroup> for UsageRow {
    type Error = StoreError;

    fn try_from(row: UsageGroup) -> Result<Self, StoreError> {
        Ok(Self {
            hour: row.hour.map(Hour::from_index),
            channel: row.channel.map(channel).transpose()?,
            country: row.country.as_deref().map(code).transpose()?,
            currency: row.currency.as_deref().map(code).transpose()?,
            usage: row.sums.into(),
        })
    }
}

/// One bucket of one group of deliveries, ordered by `channel, country, bucket`.
#[derive(FromRow)]
pub(crate) struct LatencyBucket {
    channel: Option<i16>,
    country: Option<String>,
    bucket: Bucket,
    count: i64,
}

/// Buckets of a group, gathered.
pub(crate) fn latency(buckets: Vec<LatencyBucket>) -> Result<Vec<LatencyRow>, StoreError> {
    let mut rows: Vec<LatencyRow> = Vec::new();
    for bucket in buckets {
        let channel = bucket.channel.map(channel).transpose()?;
        let country = bucket.country.as_deref().map(code).transpose()?;
        let count = (bucket.bucket, loaded(bucket.count)?);
        match rows.last_mut() {
            Some(row) if row.channel == channel && row.country == country => row.counts.push(count),
            _ => rows.push(LatencyRow { channel, country, counts: vec![count] }),
        }
    }
    Ok(rows)
}

/// One currency of one of the top accounts, ordered by rank, then currency.
#[derive(FromRow)]
pub(crate) struct AccountCurrency {
    account: String,
    currency: String,
    #[sqlx(flatten)]
    sums: Sums,
}

/// Currencies of an account, gathered.
pub(crate) fn top_accounts(rows: Vec<AccountCurrency>) -> Result<loadline_domain::question::TopAccounts, StoreError> {
    let mut accounts: loadline_domain::question::TopAccounts = Vec::new();
    for row in rows {
        let sum = (code(&row.currency)?, row.sums.into());
        match accounts.last_mut() {
            Some((account, sums)) if account.as_str() == row.account => sums.push(sum),
            _ => accounts.push((account(&row.account)?, vec![sum])),
        }
    }
    Ok(accounts)
}

/// Sums of accounts per currency, gathered.
pub(crate) fn account_totals(rows: Vec<AccountCurrency>) -> Result<AccountTotals, StoreError> {
    rows.into_iter().map(|row| Ok(((account(&row.account)?, code(&row.currency)?), row.sums.into()))).collect()
}
