//! Days recomputed from their hours.

use crate::{Leadership, StoreError, trail::Note};
use async_trait::async_trait;
use loadline_domain::{AccountId, Day, Timestamp};

/// What waits for a roll-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirty {
    /// Account-days whose daily rows are out of date.
    pub account_days: u64,
    /// Since when the oldest of them waits, by the store's clock.
    pub oldest_since: Option<Timestamp>,
}

/// What one chunk of a roll-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Account-days recomputed.
    pub account_days: u64,
    /// Daily rows they have now.
    pub rows: u64,
    /// Whether the limit left some for another chunk.
    pub more: bool,
}

/// An account-day whose daily rows are not what its hours add up to, although nothing marks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongDay {
    /// Whose usage.
    pub account: AccountId,
    /// Which day.
    pub day: Day,
    /// Rows that differ, are missing, or should not be there.
    pub rows: u64,
}

/// Daily usage: for every account-day that is not dirty, exactly the sums of its hourly rows.
#[async_trait]
pub trait Rollups {
    /// How much waits.
    async fn dirty(&self) -> Result<Dirty, StoreError>;

    /// Recomputes and replaces up to `limit` account-days, those that wait longest first, in one transaction. What becomes
    /// dirty again meanwhile stays dirty; an account-day without hours is left without days. One whose sums would leave 64
    /// bits stays dirty and waits behind the others; the chunk is cut short by it. Any number may call it at once.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over.
    async fn roll_up(&self, leadership: &Leadership, limit: u32) -> Result<RolledUp, StoreError>;

    /// Account-days of a day, of one account or of all, that are not dirty and should be, by name, at most `most`: what a roll-up
    /// never looks at again. Reads all hours of the day, in one snapshot with its daily rows and marks.
    ///
    /// # Errors
    /// [`StoreError::Overflow`] when sums of the day leave 64 bits.
    async fn wrong_days(&self, account: Option<&AccountId>, day: Day, most: u32) -> Result<Vec<WrongDay>, StoreError>;

    /// Marks such an account-day, so that it is answered by its hours at once and recomputed by the next roll-up, and writes an
    /// entry, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over.
    async fn mark(&self, leadership: &Leadership, wrong: &WrongDay, reason: &str, actor: &str) -> Result<(), StoreError>;
}

impl WrongDay {
    pub(crate) fn note(&self, reason: &str, actor: &str) -> Note {
        Note {
            actor: actor.to_owned(),
            action: "recompute_day".to_owned(),
            target: format!("{} {}", self.account, self.day),
            reason: reason.to_owned(),
            before: serde_json::json!({ "rows_that_differ": self.rows }).to_string(),
            after: r#""marked for the next roll-up""#.to_owned(),
            outcome: "DONE".to_owned(),
        }
    }
}
