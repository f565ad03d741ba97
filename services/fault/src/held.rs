//! A fault that its owner holds for as long as it is needed.

use crate::{Fault, Faults, Injected};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// At most one fault of a port, kept by whoever injects it.
#[derive(Debug)]
pub struct Held {
    faults: Faults,
    injected: Mutex<Option<Injected>>,
}

impl Held {
    /// None yet, of the port with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { faults, injected: Mutex::default() }
    }

    /// Injects a fault; the one held before is over.
    pub fn inject(&self, fault: Fault) {
        *self.injected() = Some(self.faults.inject(fault));
    }

    /// Takes it away.
    pub fn end(&self) {
        *self.injected() = None;
    }

    /// Whether it met a call.
    ///
    /// # Errors
    /// `otherwise`, when it met none, or none is held.
    pub fn met_or(&self, otherwise: impl Into<String>) -> Result<(), String> {
        let met = self.injected().as_ref().map_or(0, Injected::met);
        if met > 0 { Ok(()) } else { Err(otherwise.into()) }
    }

    fn injected(&self) -> MutexGuard<'_, Option<Injected>> {
        self.injected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Calls, Kind};
    use std::time::Duration;

    #[tokio::test]
    async fn one_is_held_at_most_and_none_after_its_end() {
        let faults = Faults::default();
        let held = Held::new(faults.clone());
        let (name, calls, ttl) = ("test".to_owned(), Calls::all_but(&[]), Duration::from_secs(30));
        let fault = Fault { name, kind: Kind::Error, calls, ttl, cured_by: None };
        assert_eq!(held.met_or("none is held"), Err("none is held".to_owned()));
        held.inject(fault.clone());
        held.inject(fault);
        assert_eq!((faults.active().len(), held.met_or("met none").is_err()), (1, true));
        held.end();
        assert!(faults.active().is_empty());
    }
}
