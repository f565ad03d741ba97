//! Who runs background work: one leader a role, with an epoch that every final write of its work is checked against.

use crate::StoreError;
use async_trait::async_trait;
use loadline_domain::Timestamp;
use std::time::Duration;

/// The right to do the work of a role, until it expires or somebody takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// What it leads, such as `rollup`.
    pub role: String,
    /// Process that holds it.
    pub holder: String,
    /// Rises with every taking.
    pub epoch: u64,
    /// By the store's clock.
    pub expires_at: Timestamp,
}

/// Leaders of background work. Times are the store's.
///
/// Every call that takes a [`Leadership`] is fenced: in its own transaction, holding the role's row until it commits, it
/// checks that the epoch is the present one. Otherwise it is [`StoreError::Stale`] and changes nothing. Taking over waits
/// for a write that has passed its check, or fails as [`StoreError::Unavailable`] when that takes seconds.
#[async_trait]
pub trait Leaders {
    /// Takes the role if it is free, expired, or already held by `holder`. Every taking raises the epoch. `None`: somebody
    /// else leads.
    async fn lead(&self, role: &str, holder: &str, ttl: Duration) -> Result<Option<Leadership>, StoreError>;

    /// Extends it; `None` when it was taken over. Expired leadership that nobody took can still be extended.
    async fn keep_leading(&self, leadership: &Leadership, ttl: Duration) -> Result<Option<Leadership>, StoreError>;

    /// Gives it up, so that the next leader need not wait. Does nothing when it was taken over.
    async fn step_down(&self, leadership: &Leadership) -> Result<(), StoreError>;

    /// All leaders that have not expired, by role.
    async fn leaders(&self) -> Result<Vec<Leadership>, StoreError>;
}

impl Leadership {
    /// The error of a write that came too late.
    pub(crate) fn stale(&self) -> StoreError {
        StoreError::Stale(format!("epoch {} of {} no longer leads `{}`", self.epoch, self.holder, self.role))
    }
}
