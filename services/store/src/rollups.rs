//! Days recomputed from their hours.

use crate::{Leadership, StoreError};
use async_trait::async_trait;
use loadline_domain::Timestamp;

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
}
