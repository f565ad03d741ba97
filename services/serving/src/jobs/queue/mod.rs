//! The queue between those who submit jobs and those who work on them.
//!
//! ```text
//!  outbox ─dispatch─▶ queue ─pull─▶ claimed in the store ─▶ worked on ─▶ ended in the store ─done─▶ gone from the queue
//!                       ▲                                       │
//!                       └───── again: handed back, or silent for longer than its lease
//! ```
//!
//! A queue is a hint, never the truth: it may deliver a job twice, late, or, after it lost its disk, not at all. The claim in the store
//! decides who works on a job, and what the queue has lost goes to the outbox again.
//!
//! - [`InStore`]: the store's own table; nothing more is needed
//! - [`WorkQueue`]: a work-queue stream of NATS JetStream
//!
//! What both promise, and how, is in [`Queue`]; [`contract`] tries it.

pub mod contract;
mod faulty;
mod in_store;
mod jetstream;

pub use faulty::behind;
pub use in_store::InStore;
pub use jetstream::WorkQueue;

use async_nats::jetstream::message::Acker;
use async_trait::async_trait;
use loadline_store::{Claim, ClaimTerms, Store, StoreError, Ticket};
use std::{fmt, sync::Arc, time::Duration};

/// Where jobs wait for workers.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Takes jobs from the outbox, in this order, and says so in the store: then they are queued. They are durable in the queue, as far
    /// as [`Queue::caveats`] says, before the store hears of it. The same ticket again is taken once, or delivered twice, which is
    /// harmless. After an error some may have been taken: dispatch them all again.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] within seconds when it cannot be reached; [`QueueError::Store`] when the store does not hear of it.
    async fn dispatch(&self, tickets: &[Ticket]) -> Result<(), QueueError>;

    /// Claims up to `most` jobs, the oldest first; waits up to `wait` where there are none. A job that is not [`Queue::done`] comes
    /// again, to whoever pulls, when its claim has run out.
    ///
    /// Jobs that cannot be claimed, because they have ended or others have them, are dealt with here and not delivered.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] within seconds of `wait` when it cannot be reached; [`QueueError::Store`] when claims fail.
    async fn pull(&self, terms: &ClaimTerms, most: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError>;

    /// Says that a delivery is still worked on. Whoever keeps a claim in the store keeps it here as well.
    async fn keep(&self, receipt: &Receipt) -> Result<(), QueueError>;

    /// Forgets a delivery whose job has ended in the store: only then may this be called.
    async fn done(&self, receipt: &Receipt) -> Result<(), QueueError>;

    /// Delivers again, after a while, what was handed back in the store.
    async fn again(&self, receipt: &Receipt, after: Duration) -> Result<(), QueueError>;

    /// Whether it can be reached now.
    async fn probe(&self) -> Result<(), QueueError>;

    /// Drops every connection, so that the next call resolves and connects anew.
    async fn reconnect(&self) -> Result<(), QueueError>;

    /// What this backend cannot promise; shown to operators. What a server of unknown version cannot promise is not known yet.
    fn caveats(&self) -> Vec<String>;
}

/// A job to be worked on.
#[derive(Debug)]
pub struct Delivery {
    /// The caller's alone, while it lasts.
    pub claim: Claim,
    /// Names the delivery to its queue.
    pub receipt: Receipt,
}

/// Names a delivery to the queue it came from.
pub struct Receipt(Option<Acker>);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Receipt(a message)" } else { "Receipt(a row)" })
    }
}

/// Why a call on the queue failed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// It cannot be reached, or does not answer in time. A retry can help.
    #[error("queue unavailable: {0}")]
    Unavailable(String),
    /// A URL or a server's setting that cannot work.
    #[error("queue: {0}")]
    Misconfigured(String),
    /// The store, in which jobs are claimed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The queue that a URL names: `store:`, or `nats://…` and `tls://…`, several servers separated by commas. A server that is down does not
/// fail here. `lease` is how long a delivery may be silent.
///
/// # Errors
/// [`QueueError::Misconfigured`] for any other URL, without its text.
pub fn open(url: &str, store: Arc<dyn Store>, lease: Duration) -> Result<Arc<dyn Queue>, QueueError> {
    match url.split_once(':') {
        Some(("store", "")) => Ok(Arc::new(InStore::new(store))),
        Some(("nats" | "tls", rest)) if rest.len() > 2 && rest.starts_with("//") => {
            Ok(Arc::new(WorkQueue::new(url, store, lease)))
        }
        _ => Err(QueueError::Misconfigured("no queue has such a URL; use `store:` or `nats://host:4222`".to_owned())),
    }
}
