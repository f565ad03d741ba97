//! Whether anybody outside sees this process: how its exports end, and when it was last scraped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How well the process is seen from outside, now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// A collector is configured.
    pub exports: bool,
    /// Time since the first export that failed after the last that went well; `None` while they go well.
    pub failing_for: Option<Duration>,
    /// What the last failed export said.
    pub failure: String,
    /// Spans that were never delivered, since the start.
    pub dropped: u64,
    /// Time since the last scrape, or since the start.
    pub unscraped_for: Duration,
}

/// Where exports and scrapes are noted; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Outcomes(Arc<Noted>);

#[derive(Debug)]
struct Noted {
    dropped: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failing_since: Option<Instant>,
    failure: String,
    scraped: Instant,
}

impl Outcomes {
    pub(super) fn new() -> Self {
        let state = State { failing_since: None, failure: String::new(), scraped: Instant::now() };
        Self(Arc::new(Noted { dropped: AtomicU64::new(0), state: Mutex::new(state) }))
    }

    pub(super) fn dropped(&self, spans: u64) {
        self.0.dropped.fetch_add(spans, Ordering::Relaxed);
    }

    /// An export ended.
    pub(super) fn exported<E: ToString>(&self, outcome: &Result<(), E>) {
        let mut state = self.state();
        match outcome {
            Ok(()) => state.failing_since = None,
            Err(error) => {
                state.failing_since.get_or_insert_with(Instant::now);
                state.failure = error.to_string();
            }
        }
    }

    pub(super) fn scraped(&self) {
        self.state().scraped = Instant::now();
    }

    pub(super) fn sight(&self, exports: bool) -> Sight {
        let state = self.state();
        Sight {
            exports,
            failing_for: state.failing_since.map(|since| since.elapsed()),
            failure: state.failure.clone(),
            dropped: self.0.dropped.load(Ordering::Relaxed),
            unscraped_for: state.scraped.elapsed(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
