//! The remedies of serving, one a file, on the desk of its monitor.

mod flush;
mod reconnect;
mod reconnect_cache;
mod reconnect_queue;
mod retried;
mod roll_back;

use crate::{Serving, library::Renewable};
use loadline_health::{Desk, Monitor, Remedy, desk::Parts};
use loadline_ledger::Ledger;
use std::sync::Arc;

/// Gives the monitor its desk, with the remedies of the process beside those of serving.
pub fn install(monitor: &Monitor, serving: &Serving, registry: Arc<Renewable>, of_process: Vec<Arc<dyn Remedy>>) {
    let own: Vec<Arc<dyn Remedy>> = vec![
        Arc::new(reconnect::Reconnect { registry, library: serving.library.clone() }),
        Arc::new(reconnect_queue::ReconnectQueue { jobs: serving.jobs.clone() }),
        Arc::new(roll_back::RollBack { serving: serving.clone() }),
        Arc::new(reconnect_cache::ReconnectCache { cache: serving.cache.clone() }),
        Arc::new(flush::Flush { cache: serving.cache.clone() }),
    ];
    let remedies = [own, of_process].concat();
    let ledger = Arc::new(Ledger::new(serving.store.clone()));
    let parts = Parts { remedies, audit: ledger.clone(), leases: ledger.clone(), conservation: ledger };
    if let Err(error) = Desk::install(monitor, parts) {
        tracing::error!(%error, "no remedies can be executed here");
    }
}
