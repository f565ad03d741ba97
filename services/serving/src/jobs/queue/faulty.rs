//! The queue behind injected faults: the same port, of which calls may fail, wait, or lose their reply.

use super::{Delivery, Queue, QueueError, Receipt};
use loadline_fault::{Faults, Faulty, faulty};
use loadline_store::{ClaimTerms, Ticket};
use std::{sync::Arc, time::Duration};

/// A queue behind faults, or as it is where none can be injected.
pub fn behind(queue: Arc<dyn Queue>, faults: Option<&Faults>) -> Arc<dyn Queue> {
    match faults {
        Some(faults) => Arc::new(Faulty::new(queue, faults.clone())),
        None => queue,
    }
}

faulty! { Queue, QueueError;
    dispatch(tickets: &[Ticket]) -> ();
    pull(terms: &ClaimTerms, most: usize, wait: Duration) -> Vec<Delivery>;
    keep(receipt: &Receipt) -> ();
    done(receipt: &Receipt) -> ();
    again(receipt: &Receipt, after: Duration) -> ();
    probe() -> ();
    .. {
        async fn reconnect(&self) -> Result<(), QueueError> {
            self.faults().cure("reconnect");
            self.inner().reconnect().await
        }

        fn caveats(&self) -> Vec<String> {
            self.inner().caveats()
        }
    }
}
