//! How long an alias names one version, and who is with it.

use super::{in_flight::InFlight, loaded::Loaded};
use std::{ops::Deref, sync::Arc};

/// An alias and the version that it names, until it names another.
pub struct Tenure {
    version: Arc<Loaded>,
    in_flight: InFlight,
}

/// A version that a request is with.
pub struct Held(By);

enum By {
    Alias(Arc<Tenure>),
    Number(Arc<Loaded>),
}

impl Tenure {
    pub(super) fn new(version: Arc<Loaded>) -> Self {
        Self { version, in_flight: InFlight::default() }
    }

    /// What it names.
    pub fn version(&self) -> &Arc<Loaded> {
        &self.version
    }

    /// Waits until every request that found it has its answer, once a table without it is in place.
    pub async fn over(&self) {
        self.in_flight.none().await;
    }
}

impl Held {
    pub(super) fn by_alias(tenure: Arc<Tenure>) -> Self {
        tenure.in_flight.enter();
        Self(By::Alias(tenure))
    }

    pub(super) fn by_number(version: Arc<Loaded>) -> Self {
        Self(By::Number(version))
    }

    /// Whether what was asked for is this version, whatever changes.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self.0, By::Number(_))
    }

    pub(super) fn is_in(&self, other: &Arc<Tenure>) -> bool {
        matches!(&self.0, By::Alias(tenure) if Arc::ptr_eq(tenure, other))
    }
}

impl Deref for Held {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        match &self.0 {
            By::Alias(tenure) => &tenure.version,
            By::Number(version) => version,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let By::Alias(tenure) = &self.0 {
            tenure.in_flight.leave();
        }
    }
}
