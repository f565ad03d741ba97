//! The history: what days held when they were moved out of the store, in parts, and what is asked of it.
//!
//! ```text
//!                ┌─ parquet     files on disk (`file:`) or in a bucket (`s3:`), a manifest that says which count
//! dyn History ───┤
//!                └─ clickhouse  three tables, a token in every row
//! ```
//!
//! [`History`] is the port; [`PartWriter`] writes one part; [`open`] chooses the backend by URL, once. [`contract`] is their
//! test, one function a behaviour, run on every backend.
//!
//! The nasty invariant: **only parts that the caller names are ever counted**. The store lists the parts that count; an attempt
//! that failed, was repeated or was killed half-way lies beside them, and no answer may change because of it, also not after
//! its rows were merged into larger pieces.

mod answer;
pub mod clickhouse;
pub mod contract;
mod error;
mod faulty;
mod intake;
mod open;
pub mod parquet;
mod piece;

pub use error::HistoryError;
pub use faulty::behind;
pub use open::{Options, open};

use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour, Timestamp,
    archive::{Part, Totals},
    event::Currency,
    question::{LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::{LatencyKey, Usage, UsageKey},
};
use std::collections::HashMap;

/// Days that left the store.
///
/// `parts` are those the store lists, at least all whose day is in the range of the question; others are ignored. A part that
/// the history does not hold is [`HistoryError::Missing`], never an empty answer. Every call ends within the timeout of
/// [`Options`]; those that move data ([`PartWriter`], [`History::compact`]) do so a step.
#[async_trait]
pub trait History: Send + Sync {
    /// Makes the folder or the tables, or checks what is there. Safe to call by several processes at once.
    ///
    /// # Errors
    /// [`HistoryError::WrongSchema`] names what differs; nothing is changed then.
    async fn prepare(&self) -> Result<(), HistoryError>;

    /// Whether it is there and answers now; bounded to two seconds. It says nothing about what the files of a part hold.
    async fn probe(&self) -> Result<(), HistoryError>;

    /// Whether it can be written now, as far as can be told without a part; bounded to two seconds. ClickHouse: whether it answers.
    async fn probe_writing(&self) -> Result<(), HistoryError>;

    /// Says whose history it is: the first store that claims it has it for good, and every other is refused. Called after
    /// [`History::prepare`].
    ///
    /// # Errors
    /// [`HistoryError::Foreign`] when it is another store's.
    async fn claim(&self, store: &str) -> Result<(), HistoryError>;

    /// Starts to write a part. Its token must be new: what an earlier attempt left is not touched.
    async fn begin(&self, part: &Part) -> Result<Box<dyn PartWriter>, HistoryError>;

    /// Totals of a finished part, counted from what is stored, not remembered.
    async fn totals(&self, part: &Part) -> Result<Totals, HistoryError>;

    /// Rows by time, then by the dimensions kept; hours and days without usage have none.
    ///
    /// # Errors
    /// [`HistoryError::OutOfScope`]; [`HistoryError::Refused`] for a question by days whose range cuts a day.
    async fn usage(&self, scope: &AccountScope, parts: &[Part], query: &UsageQuery) -> Result<Vec<UsageRow>, HistoryError>;

    /// Sums over the whole range (`hour` is `None`), with the latency of its deliveries. Receipts have no currency, so
    /// `group_by.currency` and `filter.currencies` are ignored; so is `grain`.
    ///
    /// # Errors
    /// As [`History::usage`]; the range may cut days.
    async fn delivery(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>), HistoryError>;

    /// Sums of every account and currency over the range; receipts are under the unknown currency.
    ///
    /// # Errors
    /// [`HistoryError::NeedsAllAccounts`] for any scope but all.
    async fn account_totals(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
    ) -> Result<HashMap<(AccountId, Currency), Usage>, HistoryError>;

    /// Merges small pieces into larger ones for reading; no answer changes and no reader is disturbed. `parts` are all
    /// listed ones. Returns how many pieces were merged.
    async fn compact(&self, parts: &[Part]) -> Result<u64, HistoryError>;

    /// Removes attempts that are not in `keep`, and pieces that a merge replaced, both from before `older_than`, which must
    /// lie further back than any attempt takes from its beginning to being listed. Returns how many pieces went.
    async fn sweep(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError>;

    /// What this backend cannot promise; shown to operators at start.
    fn caveats(&self) -> Vec<String>;
}

/// Writes one attempt at a part. Dropped before [`PartWriter::finish`], it leaves nothing that any call shows.
#[async_trait]
pub trait PartWriter: Send {
    /// Takes rows, each kind in ascending order of its whole key over all calls; kinds may come in any order among each other.
    /// After an error the attempt is void.
    ///
    /// # Errors
    /// [`HistoryError::Refused`] for rows out of order, twice, or of another day.
    async fn write(&mut self, rows: Rows) -> Result<(), HistoryError>;

    /// Makes the part durable and visible to callers who name it; returns what was sent.
    ///
    /// # Errors
    /// [`HistoryError::Refused`] when the daily rows do not add up to the hourly ones.
    async fn finish(self: Box<Self>) -> Result<Totals, HistoryError>;
}

/// Rows of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Usage of days; the hour is the day's first.
    Daily(Vec<(UsageKey, Usage)>),
    /// Usage of hours.
    Hourly(Vec<(UsageKey, Usage)>),
    /// Deliveries by latency.
    Latency(Vec<(LatencyKey, i64)>),
}
