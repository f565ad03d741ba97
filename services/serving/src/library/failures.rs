//! Versions that could not be loaded: tried again, but not at every look, because a try may download megabytes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Before a version that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What failed last, by model and number.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<(String, u64), Failure>>);

struct Failure {
    why: String,
    at: Instant,
}

impl Failures {
    /// Why a version was not loaded when it was last tried.
    pub fn why(&self, model: &str, number: u64) -> Option<String> {
        self.all().get(&(model.to_owned(), number)).map(|failure| failure.why.clone())
    }

    /// The same, if it is too early for another try.
    pub(super) fn too_early(&self, model: &str, number: u64) -> Option<String> {
        let all = self.all();
        let failure = all.get(&(model.to_owned(), number))?;
        (failure.at.elapsed() < AGAIN_AFTER).then(|| failure.why.clone())
    }

    pub(super) fn failed(&self, model: &str, number: u64, why: String) {
        let failure = Failure { why, at: Instant::now() };
        self.all().insert((model.to_owned(), number), failure);
    }

    pub(super) fn loaded(&self, model: &str, number: u64) {
        self.all().remove(&(model.to_owned(), number));
    }

    /// Lets a model be tried again at once.
    pub(super) fn forget(&self, model: &str) {
        self.all().retain(|(name, _), _| name != model);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(String, u64), Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
