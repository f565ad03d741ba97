//! What the queue's own calls tell of it.

use super::queue::QueueError;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How the queue answers; of each kind of call the last word counts.
#[derive(Debug, Default)]
pub struct QueueHealth {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    dispatching: Calls,
    pulling: Calls,
}

#[derive(Debug, Default)]
struct Calls {
    failing: Option<Failing>,
    answered: bool,
}

/// Since when calls fail, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// The beginning of the first that failed since one succeeded.
    pub since: Instant,
    /// What the last one said.
    pub why: String,
}

impl QueueHealth {
    /// What a dispatch that began then has come to.
    pub fn dispatched<T>(&self, began: Instant, outcome: &Result<T, QueueError>) {
        self.state().dispatching.heard(began, outcome);
    }

    /// What a pull that began then has come to.
    pub fn pulled<T>(&self, began: Instant, outcome: &Result<T, QueueError>) {
        self.state().pulling.heard(began, outcome);
    }

    /// Whatever fails, for longest.
    pub fn failing(&self) -> Option<Failing> {
        let state = self.state();
        [&state.dispatching, &state.pulling]
            .into_iter()
            .filter_map(|calls| calls.failing.clone())
            .min_by_key(|failing| failing.since)
    }

    /// For how long calls have failed; nothing where they have not, `None` where none was made yet.
    pub fn failing_for(&self) -> Option<Duration> {
        let heard = {
            let state = self.state();
            state.dispatching.answered || state.pulling.answered
        };
        self.failing().map(|failing| failing.since.elapsed()).or(heard.then_some(Duration::ZERO))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    /// The store's failures are the store's: they say nothing of the queue.
    fn heard<T>(&mut self, began: Instant, outcome: &Result<T, QueueError>) {
        match outcome {
            Ok(_) => {
                self.answered = true;
                self.failing = None;
            }
            Err(QueueError::Store(_)) => {}
            Err(error) => {
                let since = self.failing.as_ref().map_or(began, |failing| failing.since);
                self.failing = Some(Failing { since, why: error.to_string() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_store::StoreError;

    fn down() -> Result<(), QueueError> {
        Err(QueueError::Unavailable("refused".to_owned()))
    }

    #[test]
    fn it_fails_as_long_as_either_kind_of_call_does() {
        let health = QueueHealth::default();
        assert_eq!((health.failing(), health.failing_for()), (None, None));
        health.pulled(Instant::now(), &down());
        let first = health.failing().unwrap();
        assert!(first.why.contains("refused"));
        health.pulled(Instant::now(), &down());
        health.dispatched(Instant::now(), &Ok(()));
        assert_eq!(health.failing().unwrap().since, first.since, "another kind of call, and a further failure, change nothing");
        health.pulled(Instant::now(), &Ok(()));
        assert_eq!((health.failing(), health.failing_for()), (None, Some(Duration::ZERO)));
    }

    #[test]
    fn a_store_that_is_down_says_nothing_of_the_queue() {
        let health = QueueHealth::default();
        health.pulled::<()>(Instant::now(), &Err(StoreError::Unavailable("down".to_owned()).into()));
        assert_eq!(health.failing(), None);
        health.pulled(Instant::now(), &down());
        health.pulled::<()>(Instant::now(), &Err(StoreError::Unavailable("down".to_owned()).into()));
        assert!(health.failing().is_some());
    }
}
