//! The remedies of query, one a file, on the desk of its monitor.

mod refresh;
mod reopen;

use crate::Query;
use loadline_health::{Desk, Monitor, Remedy, desk::Parts};
use loadline_ledger::Ledger;
use std::sync::Arc;

/// Gives the monitor its desk, with the remedies of the process beside those of query.
pub fn install(monitor: &Monitor, query: &Query, of_process: Vec<Arc<dyn Remedy>>) {
    let store = query.parts.store.clone();
    let own: Vec<Arc<dyn Remedy>> = vec![Arc::new(refresh::Refresh { store }), Arc::new(reopen::Reopen { query: query.clone() })];
    let remedies = [own, of_process].concat();
    let ledger = Arc::new(Ledger::new(query.parts.store.clone()));
    let parts = Parts { remedies, audit: ledger.clone(), leases: ledger.clone(), conservation: ledger };
    if let Err(error) = Desk::install(monitor, parts) {
        tracing::error!(%error, "no remedies can be executed here");
    }
}
