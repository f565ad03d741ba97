//! How old the registry's last answer is, and whether it answers now.

use loadline_domain::Timestamp;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// Fresh while the registry answers, stale from the first question that it did not answer.
#[derive(Default)]
pub struct Freshness {
    stale: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Clone, Default)]
struct Known {
    answered_at: Option<Timestamp>,
    problem: Option<String>,
}

impl Freshness {
    /// It answered.
    pub fn answered(&self, at: Timestamp) {
        *self.known() = Known { answered_at: Some(at), problem: None };
        self.stale.store(false, Relaxed);
    }

    /// It did not, and why.
    pub fn silent(&self, why: String) {
        self.known().problem = Some(why);
        self.stale.store(true, Relaxed);
    }

    /// Begins with what a process before was told by it; stale until it answers this one.
    pub fn inherited(&self, answered_at: Timestamp) {
        self.known().answered_at = Some(answered_at);
        self.silent("this process has not reached it yet".to_owned());
    }

    /// Whether it was silent when it was last asked.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Relaxed)
    }

    /// Whether it was never asked: nothing can be told of it.
    pub fn is_unknown(&self) -> bool {
        let known = self.known();
        known.answered_at.is_none() && known.problem.is_none()
    }

    /// When it last answered.
    pub fn answered_at(&self) -> Option<Timestamp> {
        self.known().answered_at
    }

    /// Since when it has not answered; `None`: it never has.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.answered_at().map(|answered| now.since(answered))
    }

    /// Why it does not answer now.
    pub fn problem(&self) -> Option<String> {
        self.known().problem.clone()
    }

    /// `READY`, or `READY_STALE(age)`.
    pub fn state(&self, now: Timestamp) -> String {
        match (self.is_stale(), self.age(now)) {
            (false, _) => "READY".to_owned(),
            (true, Some(age)) => format!("READY_STALE({}s)", age.as_secs()),
            (true, None) => "READY_STALE(unknown)".to_owned(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
