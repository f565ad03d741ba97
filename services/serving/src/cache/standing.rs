//! What was looked up, what failed, and what was found to be another artifact's.

use super::shared::SharedError;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// Counters since the start.
#[derive(Default)]
pub(super) struct Standing {
    hits: AtomicU64,
    errors: AtomicU64,
    damaged: AtomicU64,
    stale: Mutex<Stale>,
}

/// Since the start of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Answers from memory or the shared tier.
    pub hits: u64,
    /// Calls of the shared tier that failed or were late.
    pub errors: u64,
    /// Entries of the shared tier that were none.
    pub damaged: u64,
}

/// Entries that were not the asked artifact's; nobody was given one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stale {
    /// Since the last flush.
    pub found: u64,
    /// When the last one was.
    pub last: Option<Instant>,
    /// What it was.
    pub detail: String,
}

impl Standing {
    /// Counts a hit; which one it is.
    pub fn hit(&self) -> u64 {
        self.hits.fetch_add(1, Relaxed) + 1
    }

    pub fn failed(&self, error: &SharedError) {
        let counter = if matches!(error, SharedError::Damaged(_)) { &self.damaged } else { &self.errors };
        counter.fetch_add(1, Relaxed);
    }

    pub fn found_stale(&self, detail: String) {
        tracing::error!(detail, "the cache gave what was not asked for; the model answered instead");
        let mut stale = self.lock();
        *stale = Stale { found: stale.found + 1, last: Some(Instant::now()), detail };
    }

    pub fn flushed(&self) {
        *self.lock() = Stale::default();
    }

    pub fn counts(&self) -> Counts {
        let told = |counter: &AtomicU64| counter.load(Relaxed);
        Counts { hits: told(&self.hits), errors: told(&self.errors), damaged: told(&self.damaged) }
    }

    pub fn stale(&self) -> Stale {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Stale> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
