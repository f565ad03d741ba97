//! The drills of serving, one a file.

mod asking;
mod cache_down;
mod own_model;
mod queue_down;
mod registry_down;
mod stale_answer;
mod worse_champion;

use crate::Serving;
use loadline_fault::Faults;
use loadline_health::{Drill, Monitor};
use std::sync::Arc;

/// Where serving can be broken. Ports have calls of the same names: each has faults of its own.
#[derive(Debug, Default)]
pub struct OfPorts {
    /// Of the registry, and of the process.
    pub registry: Faults,
    /// Of the queue of jobs.
    pub queue: Faults,
    /// Of the shared cache.
    pub cache: Faults,
}

/// Gives the monitor its drills, and those of the process.
pub fn install(monitor: &Monitor, serving: &Serving, faults: &OfPorts, of_process: Vec<Arc<dyn Drill>>) {
    let own: Vec<Arc<dyn Drill>> = vec![
        Arc::new(registry_down::RegistryDown::new(serving.library.clone(), faults.registry.clone())),
        Arc::new(queue_down::QueueDown::new(serving.clone(), faults.queue.clone())),
        Arc::new(worse_champion::WorseChampion::new(serving.clone())),
        Arc::new(cache_down::CacheDown::new(serving.clone(), faults.cache.clone())),
        Arc::new(stale_answer::StaleAnswer::new(serving.clone(), faults.cache.clone())),
    ];
    let active = vec![faults.registry.clone(), faults.queue.clone(), faults.cache.clone()];
    loadline_ledger::drills::install(monitor, serving.store.clone(), active, [own, of_process].concat());
}
