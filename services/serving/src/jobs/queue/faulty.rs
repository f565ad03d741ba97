//! The queue behind injected faults: the same port, of which calls may fail, wait, or lose their reply.

use super::{Delivery, Queue, QueueError, Receipt};
use loadline_fault::{Fails, Faults, Faulty, faulty};
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
    reconnect() -> ();
    .. {
        fn caveats(&self) -> Vec<String> {
            self.inner().caveats()
        }
    }
}

impl Fails for QueueError {
    fn unavailable(why: String) -> Self {
        Self::Unavailable(why)
    }

    fn broken(why: String) -> Self {
        Self::Misconfigured(why)
    }

    /// Whoever hears of no end does it again: to nobody is that another failure.
    fn unknown(why: String) -> Self {
        Self::Unavailable(why)
    }
}
