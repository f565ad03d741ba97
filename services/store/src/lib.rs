//! The store: how far each stream is counted, and what was counted.
//!
//! ```text
//!              ┌─ sqlite     one file, one machine; account scope relies on the query alone
//! dyn Store ───┤
//!              └─ postgres   the real engine
//! ```
//!
//! One trait a concern, in a file of the same name in both backends: [`Leases`], [`ProgressLedger`], [`DeadLetters`],
//! [`Losses`], [`UsageTable`], [`DedupTable`]; and for the work in the background [`Leaders`], [`Rollups`], [`Archive`],
//! [`DedupPurge`], [`Retention`], [`Jobs`], [`Audit`], [`Trail`], [`AliasJournal`],
//! [`PredictionJobs`], [`Statistics`]. [`Store`] is all of them; [`open`] chooses the backend by URL, once.
//! [`contract`] is their test, one function a behaviour, run on every backend.
//!
//! The nasty invariant: **progress, dedup keys, usage, dirty days, dead letters and losses of a batch are one transaction**,
//! and its first statement is both the exactly-once check and the fence against an old owner.

mod aliases;
mod archive;
mod audit;
pub mod contract;
mod error;
mod faulty;
mod jobs;
mod leadership;
mod lines;
mod open;
pub mod postgres;
mod prediction_jobs;
mod prediction_rows;
mod purge;
mod redrive;
mod retention;
mod rollups;
mod rows;
mod settled;
mod sources;
pub mod sqlite;
mod statistics;
mod trail;
mod work_rows;

pub use aliases::{AliasChange, AliasEntry, AliasJournal, LONGEST_EVIDENCE};
pub use archive::{Archivable, Archive, Archived, ArchivedPart, Export, Exported};
pub use audit::{Audit, AuditEntry, Held, Repair, Repaired};
pub use error::StoreError;
pub use faulty::behind;
pub use jobs::{Enqueued, JobRun, Jobs, NewRun, Outcome, RunFilter, RunProgress, RunState, Trigger};
pub use leadership::{Leaders, Leadership};
pub use open::{Options, open};
pub use prediction_jobs::{
    Accepted, Claim, ClaimTerms, Claimed, LONGEST_DETAIL, NewPrediction, PredictionBacklog, PredictionEnd, PredictionFilter,
    PredictionJob, PredictionJobs, PredictionState, Ticket,
};
pub use purge::{DedupPurge, Purgeable};
pub use retention::{Expiring, Retention};
pub use rollups::{Dirty, RolledUp, Rollups, WrongDay};
pub use statistics::{AnsweringTable, Believed, Statistics};
pub use trail::{GENESIS, Hash, Note, Trail, first_break};

use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Batch, Day, DeadLetterReason, Hour, Incarnation, Loss, Sequence, StreamName, Timestamp,
    archive::Part,
    event::Currency,
    fold::Rules,
    identity::{Fingerprint, Identity},
    progress::{Lease, Progress},
    question::{Grain, LatencyRow, RankBy, TopAccounts, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use std::{collections::HashMap, time::Duration};

/// Everything a store does.
#[async_trait]
pub trait Store:
    Leases
    + ProgressLedger
    + DeadLetters
    + Losses
    + UsageTable
    + DedupTable
    + Leaders
    + Rollups
    + Archive
    + DedupPurge
    + Retention
    + Jobs
    + Audit
    + Trail
    + AliasJournal
    + PredictionJobs
    + Statistics
    + Send
    + Sync
{
    /// Brings the schema up to this build. Safe to call by several processes at once.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer build has been here; nothing is changed then.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Whether the store can read and write now; bounded to a second.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Drops every pooled connection, so that the next call resolves and connects anew.
    async fn reconnect(&self);

    /// The store's clock: what leases are measured by.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// What this backend cannot promise; shown to operators at start.
    fn caveats(&self) -> Vec<String>;
}

/// Who may apply a stream. Times are the store's, so that the clocks of processes do not matter.
#[async_trait]
pub trait Leases {
    /// Takes the lease if it is free, expired, or already held by `holder`. Every taking raises the epoch, also by the same
    /// holder: whatever an earlier life of it still has in flight is fenced off. `None`: somebody else holds it.
    async fn acquire(&self, stream: &StreamName, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError>;

    /// Extends it; `None` when it was taken over. An expired lease that nobody took can still be renewed.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>, StoreError>;

    /// Gives it up, so that the next owner need not wait; it cannot be renewed any more. Does nothing when it was taken over.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// All leases that have not expired.
    async fn leases(&self) -> Result<Vec<Lease>, StoreError>;
}

/// How far each stream is counted.
#[async_trait]
pub trait ProgressLedger {
    /// Opens a stream for its new owner: sets the epoch, so that nobody with an older one can commit any more, and returns
    /// where to go on. Creates the row, at 0, for an incarnation never seen.
    ///
    /// When the store knows the stream under another incarnation, that one is closed in the same transaction: what it had
    /// unapplied up to its last known head goes to the loss ledger as `Recreated` (appended after its last applied record and
    /// before now), and to its counters. `seen` are incarnations with the last sequence the caller saw in the log, perhaps while
    /// the store was away: they raise the heads, and those that came and went unknown to the store are lost whole. An
    /// incarnation that comes back goes on after what was declared lost.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the lease was taken over.
    async fn open_stream(
        &self,
        lease: &Lease,
        incarnation: &Incarnation,
        seen: &[(Incarnation, Sequence)],
    ) -> Result<Progress, StoreError>;

    /// Writes a batch: in one transaction and in this order, progress (where `applied = from`, the incarnation and the
    /// epoch are as given; [`Batch::stops`] stops the stream), dedup keys, usage and latency, dirty account-days, dead letters, losses. Runs to its end even
    /// when the caller is cancelled. Returns the new progress. An empty batch changes nothing and is refused as
    /// [`StoreError::Broken`].
    ///
    /// # Errors
    /// [`StoreError::Stale`]: somebody else owns the stream or has applied this; nothing happened, open it again.
    /// [`StoreError::Unknown`]: it may or may not have happened; [`ProgressLedger::progress`] tells.
    /// [`StoreError::Unavailable`]: it did not happen.
    /// [`StoreError::Overflow`]: some record of it takes a sum past 64 bits; nothing happened.
    async fn commit(&self, lease: &Lease, batch: &Batch) -> Result<Progress, StoreError>;

    /// Remembers the last sequence seen in the log; never goes back. What is lost when the stream vanishes is known by it.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the lease was taken over, or the incarnation is not the current one.
    async fn note_head(&self, lease: &Lease, incarnation: &Incarnation, head: Sequence) -> Result<(), StoreError>;

    /// Stops the stream: nobody applies it until it is resumed, also after restarts.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the lease was taken over.
    async fn stop(&self, lease: &Lease, incarnation: &Incarnation, why: &str) -> Result<(), StoreError>;

    /// Lets a stopped stream go on; its breaker sleeps up to `through`. False when it was not stopped.
    async fn resume(&self, stream: &StreamName, through: Sequence) -> Result<bool, StoreError>;

    /// Current incarnation's progress of one stream; `None` when it was never opened.
    async fn progress(&self, stream: &StreamName) -> Result<Option<Progress>, StoreError>;

    /// Current incarnation's progress of all streams, by name.
    async fn all_progress(&self) -> Result<Vec<Progress>, StoreError>;

    /// Incarnations that are not current any more and of which something was counted, by stream: what the store holds of
    /// them, the log has no more.
    async fn past_progress(&self) -> Result<Vec<Progress>, StoreError>;

    /// Counted records over all incarnations, and events in hourly usage and in archived parts, from one snapshot: they are
    /// equal, or there is a bug. Reads the whole usage table.
    async fn conservation(&self) -> Result<Conservation, StoreError>;
}

/// Two ways to the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conservation {
    /// Sum of `counted` over all streams and incarnations.
    pub counted: i64,
    /// Sum of `events` over hourly usage and archived parts.
    pub usage_events: i64,
    /// Sum over all streams and incarnations of `applied - (counted + duplicates + dead_lettered + lost)`.
    pub unaccounted: i64,
}

/// What can be asked of dead letters. All that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this stream.
    pub stream: Option<StreamName>,
    /// For this reason.
    pub reason: Option<DeadLetterReason>,
    /// Of this account.
    pub account: Option<AccountId>,
    /// Appended at or after.
    pub from: Option<Timestamp>,
    /// Appended before.
    pub to: Option<Timestamp>,
    /// Among these; empty does not restrict.
    pub ids: Vec<i64>,
}

/// Where a dead letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadLetterState {
    /// Waits for a decision.
    Open,
    /// Redriven and counted.
    Counted,
    /// Redriven and found counted before.
    Duplicate,
    /// Given up.
    Discarded,
}

/// A dead letter as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// Rises with the time of writing.
    pub id: i64,
    /// Where it came from.
    pub stream: StreamName,
    /// Which making of it.
    pub incarnation: Incarnation,
    /// The letter: position, reason, detail, payload.
    pub letter: loadline_domain::DeadLetter,
    /// Where it stands.
    pub state: DeadLetterState,
    /// Since when, unless open.
    pub resolved_at: Option<Timestamp>,
}

/// What a redrive did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Open letters looked at.
    pub matched: u64,
    /// Counted now.
    pub counted: u64,
    /// Counted before.
    pub duplicates: u64,
    /// Still dead, by the reason they have now.
    pub dead_again: HashMap<DeadLetterReason, u64>,
}

/// Records that could not be counted.
#[async_trait]
pub trait DeadLetters {
    /// Letters in a state, by id, after `after`, at most `limit`.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        state: DeadLetterState,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredDeadLetter>, StoreError>;

    /// One letter; `None` when there is no such id.
    async fn dead_letter(&self, id: i64) -> Result<Option<StoredDeadLetter>, StoreError>;

    /// Open letters that match, by reason.
    async fn open_dead_letters(&self, filter: &DeadLetterFilter) -> Result<HashMap<DeadLetterReason, u64>, StoreError>;

    /// Judges up to `limit` open letters again, as of `now`, through the same fold as the log's records: in one transaction
    /// a chunk, the keys, usage, dirty days, the letters' new state and the streams' counters (out of `dead_lettered`, into
    /// `counted` or `duplicates`). A letter that stays dead keeps its place with its new reason and detail.
    ///
    /// With `rules.accept_late`, an event past its horizon writes its key into its day's partition **and** into the
    /// permanent table, and is looked up in both: accepting it twice counts it once. A `CONFLICT` past its horizon stays
    /// dead: what it conflicted with may have been purged.
    ///
    /// With `dry_run` the same is computed and rolled back.
    async fn redrive(
        &self,
        filter: &DeadLetterFilter,
        rules: &Rules,
        now: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<Redriven, StoreError>;

    /// Gives up open letters that match; they stay listed and counted as dead-lettered. Returns how many.
    async fn discard(&self, filter: &DeadLetterFilter, note: &str, dry_run: bool) -> Result<u64, StoreError>;
}

/// A loss as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLoss {
    /// Rises with the time of writing.
    pub id: i64,
    /// Where it was.
    pub stream: StreamName,
    /// Which making of it.
    pub incarnation: Incarnation,
    /// What is lost.
    pub loss: Loss,
    /// When it was found.
    pub recorded_at: Timestamp,
}

/// The ledger of what retention discarded unread. It is never deleted from.
#[async_trait]
pub trait Losses {
    /// Losses by id, after `after`, at most `limit`; of one stream or of all.
    async fn losses(&self, stream: Option<&StreamName>, after: i64, limit: u32) -> Result<Vec<StoredLoss>, StoreError>;
}

/// What an answer rests on, read in the same snapshot as its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf {
    /// Every stream's progress.
    pub progress: Vec<Progress>,
    /// Open dead letters of the account, or of nobody known, whose event time is in the range or unknown.
    pub dead_letters: u64,
    /// Records in the loss ledger that may have held events of the range: appended, as far as bounds are known, when the
    /// rules of [`Options`] let such events be counted.
    pub lost: u64,
    /// What the rows were taken from, and what history has to add.
    pub sources: Sources,
}

/// Where an answer's rows are. Hot rows and `parts` together are all there is, whatever was archived when: hot rows of an
/// archived day are additions to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Days with hot rows in the range that were answered by their daily rows.
    pub daily_days: u64,
    /// Days with hot rows in the range that were answered, for some account at least, by hours because their roll-up is out
    /// of date, in order. There are none of either in answers by hours, and those about all accounts are about days, not
    /// account-days.
    pub dirty_days: Vec<Day>,
    /// Archived parts of the days that the range touches, to be asked of history.
    pub parts: Vec<Part>,
}

/// Sums of accounts, per currency; receipts are under the unknown one.
pub type AccountTotals = HashMap<(AccountId, Currency), Usage>;

/// Hourly and daily usage. Questions by [`Grain::Day`] read daily rows of the days that are not dirty, and the hours of those
/// that are, in one snapshot; their range must begin and end with a day, or they are [`StoreError::Broken`].
#[async_trait]
pub trait UsageTable {
    /// Rows by hour or day, then by the dimensions kept; hours and days without usage have none.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] when the account is outside the scope.
    async fn usage(&self, scope: &AccountScope, query: &UsageQuery) -> Result<(Vec<UsageRow>, AsOf), StoreError>;

    /// Sums over the whole range (`hour` is `None`), with the latency of its deliveries. Receipts have no currency, so
    /// `group_by.currency` and `filter.currencies` are ignored.
    ///
    /// # Errors
    /// As [`UsageTable::usage`].
    async fn delivery(
        &self,
        scope: &AccountScope,
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>, AsOf), StoreError>;

    /// Accounts with most usage, each with its sums per currency, in rank order; ties are by name. Ranked by an amount, only
    /// accounts with usage in its currency are listed. Reads all accounts: `scope` must be all. A range of whole days is read
    /// by days.
    ///
    /// # Errors
    /// [`StoreError::NeedsAllAccounts`] for any other scope.
    async fn top_accounts(
        &self,
        scope: &AccountScope,
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
        rank_by: RankBy,
        limit: u32,
    ) -> Result<(TopAccounts, AsOf), StoreError>;

    /// Sums of every account over the range, per currency: what a ranking over hot rows and history is made of. Reads all
    /// accounts: `scope` must be all.
    ///
    /// # Errors
    /// [`StoreError::NeedsAllAccounts`] for any other scope.
    async fn account_totals(
        &self,
        scope: &AccountScope,
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
        grain: Grain,
    ) -> Result<(AccountTotals, AsOf), StoreError>;

    /// Accounts with more final receipts since `from` than messages charged for since the hour before: a sign of double
    /// counting. Summed over hours, since a message may be charged for in another hour than that of its submission.
    async fn overdelivered(&self, from: Hour) -> Result<u64, StoreError>;
}

/// An id is looked up this many days before and after its event's own: further apart one of the two is late anyhow, unless
/// horizons are set longer.
pub(crate) const OTHER_DAYS: i32 = 8;

/// Keys of what was counted.
#[async_trait]
pub trait DedupTable {
    /// Which of these are known, as a commit would find them: in their partition, in one of the days around it, or for ever.
    /// With the fingerprints of what was counted.
    async fn known(&self, identities: &[Identity]) -> Result<HashMap<Identity, Fingerprint>, StoreError>;

    /// Rows of each partition, by name: estimates where counting is dear. Keys that are kept for ever are not among them.
    async fn partitions(&self) -> Result<Vec<(String, u64)>, StoreError>;
}
