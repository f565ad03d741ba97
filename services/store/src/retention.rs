//! What is kept for a while, and deleted by policy.

use crate::{Leadership, StoreError};
use async_trait::async_trait;
use loadline_domain::Timestamp;

/// What a policy may delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expiring {
    /// Dead letters counted, found duplicate or discarded before. Open ones are never deleted.
    ResolvedDeadLetters,
    /// Runs that finished before, except each job's last finished, last scheduled and last succeeded one.
    FinishedRuns,
    /// Losses recorded before. The ledger is permanent by design: only a policy that names it deletes from it.
    Losses,
}

/// Deletes what is old.
#[async_trait]
pub trait Retention {
    /// Deletes up to `limit` of the oldest that ended before `before`; returns how many.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over.
    async fn expire(&self, leadership: &Leadership, what: Expiring, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}
