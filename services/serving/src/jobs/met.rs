//! What publishing and pulling last met: a queue may answer a probe, and take or give nothing.

use super::queue::QueueError;
use std::sync::{Mutex, PoisonError};

/// The last failure of each, until it goes well again.
#[derive(Default)]
pub struct Met {
    publishing: Mutex<Option<String>>,
    pulling: Mutex<Option<String>>,
}

impl Met {
    pub(super) fn published<T>(&self, outcome: Result<T, &QueueError>) {
        note(&self.publishing, "publishing", outcome);
    }

    pub(super) fn pulled<T>(&self, outcome: Result<T, &QueueError>) {
        note(&self.pulling, "pulling", outcome);
    }

    /// What went wrong last and was not mended since.
    pub fn problem(&self) -> Option<String> {
        let of = |place: &Mutex<Option<String>>| place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        of(&self.publishing).or_else(|| of(&self.pulling))
    }
}

fn note<T>(place: &Mutex<Option<String>>, what: &str, outcome: Result<T, &QueueError>) {
    let failure = match outcome {
        // The queue answered, and the store did not: where it is the queue itself, the probe says so.
        Ok(_) | Err(QueueError::Store(_)) => None,
        Err(error) => Some(format!("{what}: {error}")),
    };
    *place.lock().unwrap_or_else(PoisonError::into_inner) = failure;
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_store::StoreError;

    #[test]
    fn a_failure_counts_until_the_same_call_goes_well_and_the_stores_is_not_the_queues() {
        let (met, refused) = (Met::default(), QueueError::Unavailable("refused".to_owned()));
        met.pulled::<()>(Err(&refused));
        met.published(Ok(()));
        assert_eq!(met.problem().as_deref(), Some("pulling: queue unavailable: refused"));
        met.published::<()>(Err(&refused));
        met.pulled(Ok(()));
        assert_eq!(met.problem().as_deref(), Some("publishing: queue unavailable: refused"));
        met.published::<()>(Err(&QueueError::Store(StoreError::Unavailable("down".to_owned()))));
        assert_eq!(met.problem(), None);
    }
}
