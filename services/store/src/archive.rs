//! Days on their way to history: what the store gives out, lists as archived, and lets go of.
//!
//! ```text
//! archivable ─▶ export_day ─▶ (history writes and recounts a part) ─▶ archive: list the part, delete exactly its rows
//! ```

use crate::{Leadership, StoreError};
use async_trait::async_trait;
use futures::stream::BoxStream;
use loadline_domain::{
    Day, Timestamp,
    archive::{Part, Totals},
    usage::{LatencyKey, Usage, UsageKey},
};

/// A day that can be archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archivable {
    /// It has hot rows.
    pub day: Day,
    /// Number of the part they would be: 0 for a day never archived.
    pub number: u32,
}

/// A part that history holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedPart {
    /// Which.
    pub part: Part,
    /// What it holds, as counted when it left the store.
    pub totals: Totals,
    /// Since when, by the store's clock.
    pub archived_at: Timestamp,
}

/// Some hot rows of a day, in order of their keys. All hourly rows come before the first latency row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exported {
    /// Hourly usage.
    Hourly(Vec<(UsageKey, Usage)>),
    /// Hourly latency counts.
    Latency(Vec<(LatencyKey, i64)>),
}

/// A day's hot rows, from one snapshot. Ends after its first error.
pub type Export = BoxStream<'static, Result<Exported, StoreError>>;

/// What [`Archive::archive`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archived {
    /// Listed the part and deleted its rows.
    Done,
    /// Nothing: this very part is listed.
    Already,
    /// Nothing: the day's rows are no longer those of the part. Write another one.
    Moved {
        /// What the day holds now.
        found: Totals,
    },
}

/// Days that move to history.
#[async_trait]
pub trait Archive {
    /// A random name, made with the tables of this store and kept for good: whose history it is.
    async fn identity(&self) -> Result<String, StoreError>;

    /// Days before `before` with hot rows, oldest first.
    async fn archivable(&self, before: Day) -> Result<Vec<Archivable>, StoreError>;

    /// All hot rows of a day. Reading slowly holds the snapshot, up to an hour.
    async fn export_day(&self, day: Day) -> Result<Export, StoreError>;

    /// In one transaction: lists the part, and deletes the day's hot hourly, latency, daily and dirty rows, if what goes is
    /// exactly `totals`. A row that comes meanwhile stays, hot and dirty. After [`StoreError::Unknown`], call it again.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over, or the part's number is not the next of its day.
    async fn archive(&self, leadership: &Leadership, part: &Part, totals: &Totals) -> Result<Archived, StoreError>;

    /// Takes what days before `before` left behind them where nothing is hot any more; returns of how many days. What is in use at that
    /// moment stays for the next time.
    async fn drop_empty_days(&self, before: Day) -> Result<u64, StoreError>;

    /// Archived parts of the days `from..=to`, in order.
    async fn parts(&self, from: Day, to: Day) -> Result<Vec<ArchivedPart>, StoreError>;

    /// The first day that was never archived: every day before it is, or had nothing. `None` when nothing is archived.
    async fn boundary(&self) -> Result<Option<Day>, StoreError>;
}
