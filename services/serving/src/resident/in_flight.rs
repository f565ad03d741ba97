//! How many requests are with a version, and when the last has left.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use tokio::sync::Notify;

/// A count that can be waited for to be zero.
#[derive(Default)]
pub(super) struct InFlight {
    count: AtomicUsize,
    /// Somebody waits: only then is it worth telling.
    watched: AtomicBool,
    emptied: Notify,
}

impl InFlight {
    pub fn enter(&self) {
        self.count.fetch_add(1, SeqCst);
    }

    pub fn leave(&self) {
        if self.count.fetch_sub(1, SeqCst) == 1 && self.watched.load(SeqCst) {
            self.emptied.notify_waiters();
        }
    }

    /// Waits until there is none.
    pub async fn none(&self) {
        self.watched.store(true, SeqCst);
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Listening before looking: what leaves in between is heard.
            emptied.as_mut().enable();
            if self.count.load(SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    }
}
