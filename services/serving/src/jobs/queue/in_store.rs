//! The store's own table as the queue: what is queued there can be claimed there.

use super::{Delivery, Queue, QueueError, Receipt};
use async_trait::async_trait;
use loadline_store::{ClaimTerms, Store, Ticket};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// What other processes queued, and what was put off, is looked for so often while nothing of this process wakes anybody.
const LOOK: Duration = Duration::from_millis(500);

/// See the module.
pub struct InStore {
    store: Arc<dyn Store>,
    /// Rung when this process has queued something.
    queued: Notify,
}

impl InStore {
    /// Of a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, queued: Notify::new() }
    }

    async fn claim(&self, terms: &ClaimTerms, most: usize) -> Result<Vec<Delivery>, QueueError> {
        let mut claimed = Vec::new();
        while claimed.len() < most {
            match self.store.claim_next_prediction(terms).await {
                Ok(Some(claim)) => claimed.push(Delivery { claim, receipt: Receipt(None) }),
                Ok(None) => break,
                // What is claimed is the caller's to work on, whatever became of the next.
                Err(_) if !claimed.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(claimed)
    }
}

#[async_trait]
impl Queue for InStore {
    async fn dispatch(&self, tickets: &[Ticket]) -> Result<(), QueueError> {
        self.store.predictions_dispatched(tickets).await?;
        self.queued.notify_one();
        Ok(())
    }

    async fn pull(&self, terms: &ClaimTerms, most: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        let until = Instant::now() + wait;
        loop {
            // Before the look: what is queued right after it is heard.
            let rung = self.queued.notified();
            let claimed = self.claim(terms, most).await?;
            let left = until.saturating_duration_since(Instant::now());
            if !claimed.is_empty() || left.is_zero() {
                return Ok(claimed);
            }
            let _ = timeout(left.min(LOOK), rung).await;
        }
    }

    async fn keep(&self, _: &Receipt) -> Result<(), QueueError> {
        Ok(())
    }

    async fn done(&self, _: &Receipt) -> Result<(), QueueError> {
        Ok(())
    }

    async fn again(&self, _: &Receipt, after: Duration) -> Result<(), QueueError> {
        if after.is_zero() {
            self.queued.notify_one();
        }
        Ok(())
    }

    async fn probe(&self) -> Result<(), QueueError> {
        Ok(self.store.prediction_outbox(1).await.map(drop)?)
    }

    /// There is no connection but the store's.
    async fn reconnect(&self) -> Result<(), QueueError> {
        self.store.reconnect().await;
        self.probe().await
    }

    fn caveats(&self) -> Vec<String> {
        vec![
            "queue in the store: processes other than the one that accepted a job find it up to half a second later".to_owned(),
            "queue in the store: while the store is down no job begins, as none is accepted".to_owned(),
        ]
    }
}
