//! The remedies of rollup, one a file, on the desk of its monitor. What they do is done by runs of jobs, under the one leader.

mod purge;
mod queue;
mod repair;
mod rerun;

use crate::Parts;
use loadline_health::{Desk, Monitor, Remedy, desk, remedy::RemedyError};
use loadline_ledger::Ledger;
use queue::Queue;
use std::sync::Arc;

/// Gives the monitor its desk, with the remedies of the process beside those of rollup.
pub fn install(monitor: &Monitor, parts: &Parts, of_process: Vec<Arc<dyn Remedy>>) {
    let queue = Queue { store: parts.store.clone() };
    let own: Vec<Arc<dyn Remedy>> = vec![
        Arc::new(rerun::Rerun { queue: queue.clone(), parts: parts.clone() }),
        Arc::new(purge::Purge { queue: queue.clone(), parts: parts.clone() }),
        Arc::new(repair::RepairCounts { queue }),
    ];
    let remedies = [own, of_process].concat();
    let ledger = Arc::new(Ledger::new(parts.store.clone()));
    let parts = desk::Parts { remedies, audit: ledger.clone(), leases: ledger.clone(), conservation: ledger };
    if let Err(error) = Desk::install(monitor, parts) {
        tracing::error!(%error, "no remedies can be executed here");
    }
}

fn failed(error: impl std::fmt::Display) -> RemedyError {
    RemedyError::Failed(error.to_string())
}
