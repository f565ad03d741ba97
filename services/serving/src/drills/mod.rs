//! The drills of serving, one a file.

mod registry_down;

use crate::Serving;
use loadline_fault::Faults;
use loadline_health::{Drill, Monitor};
use std::sync::Arc;

/// Gives the monitor its drills, and those of the process.
pub fn install(monitor: &Monitor, serving: &Serving, faults: &Faults, of_process: Vec<Arc<dyn Drill>>) {
    let own: Vec<Arc<dyn Drill>> = vec![Arc::new(registry_down::RegistryDown::new(serving.library.clone(), faults.clone()))];
    loadline_ledger::drills::install(monitor, serving.store.clone(), vec![faults.clone()], [own, of_process].concat());
}
