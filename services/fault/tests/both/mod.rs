//! A port twice, as it is and behind faults: a module of the test programs of ports.
#![allow(dead_code)] // each uses its part

use loadline_fault::{Calls, Fault, Faults, Injected, Kind};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

/// Longer than anything here takes.
pub const TTL: Duration = Duration::from_secs(60);
/// A call that lasts longer is held.
pub const HELD: Duration = Duration::from_millis(500);

pub struct Both<T: ?Sized> {
    pub plain: Arc<T>,
    pub faulty: Arc<T>,
    pub faults: Faults,
    _folder: TempDir,
}

impl<T: ?Sized> Both<T> {
    /// What a port has in a folder, which goes with it.
    pub fn of(plain: Arc<T>, behind: fn(Arc<T>, Option<&Faults>) -> Arc<T>, folder: TempDir) -> Self {
        let faults = Faults::default();
        Self { faulty: behind(plain.clone(), Some(&faults)), plain, faults, _folder: folder }
    }

    pub fn inject(&self, kind: Kind, calls: Calls) -> Injected {
        self.inject_for(TTL, kind, calls)
    }

    pub fn inject_for(&self, ttl: Duration, kind: Kind, calls: Calls) -> Injected {
        self.faults.inject(Fault { name: "test".to_owned(), kind, calls, ttl, cured_by: None })
    }

    /// One that a call of the port ends.
    pub fn inject_until(&self, cured_by: &'static str, kind: Kind, calls: Calls) -> Injected {
        self.faults.inject(Fault { name: "test".to_owned(), kind, calls, ttl: TTL, cured_by: Some(cured_by) })
    }
}
