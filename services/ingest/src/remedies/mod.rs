//! The remedies of ingest, one a file, on the desk of its monitor.

mod extend;
mod reconnect;
mod redrive;
mod resume;
mod widen;

use crate::{grpc::Backends, watch::StreamStatus};
use loadline_domain::StreamName;
use loadline_health::{Desk, Monitor, Remedy, desk::Parts, remedy::RemedyError};
use loadline_ledger::Ledger;
use std::sync::Arc;

/// Gives the monitor its desk, with the remedies of the process beside those of ingest.
pub fn install(monitor: &Monitor, backends: &Backends, batch_records: usize, of_process: Vec<Arc<dyn Remedy>>) {
    let own: Vec<Arc<dyn Remedy>> = vec![
        Arc::new(reconnect::Reconnect { store: backends.store.clone() }),
        Arc::new(widen::Widen { statuses: backends.statuses.clone(), batch_records }),
        Arc::new(redrive::Redrive { backends: backends.clone() }),
        Arc::new(resume::Resume { backends: backends.clone() }),
        Arc::new(extend::Extend { backends: backends.clone() }),
    ];
    let remedies = [own, of_process].concat();
    let ledger = Arc::new(Ledger::new(backends.store.clone()));
    let parts = Parts { remedies, audit: ledger.clone(), leases: ledger.clone(), conservation: ledger };
    if let Err(error) = Desk::install(monitor, parts) {
        tracing::error!(%error, "no remedies can be executed here");
    }
}

/// The stream of this name, or of the remedy's own choice for an empty one.
fn chosen<'a>(
    statuses: &'a [Arc<StreamStatus>],
    target: &str,
    choice: impl FnOnce() -> Option<&'a Arc<StreamStatus>>,
) -> Result<&'a Arc<StreamStatus>, RemedyError> {
    if target.is_empty() {
        return choice()
            .ok_or_else(|| RemedyError::NotNow("no stream needs it: name one if it is wanted all the same".to_owned()));
    }
    let named = statuses.iter().find(|status| status.spec.name.as_str() == target);
    let known = || statuses.iter().map(|status| status.spec.name.as_str()).collect::<Vec<_>>().join(", ");
    named.ok_or_else(|| RemedyError::NotNow(format!("there is no stream {target}: the streams are {}", known())))
}

fn failed(error: impl std::fmt::Display) -> RemedyError {
    RemedyError::Failed(error.to_string())
}

fn not_opened(stream: &StreamName) -> RemedyError {
    RemedyError::NotNow(format!("{stream} was never opened: there is nothing to go on with"))
}

/// A stored fact that a plan was made from.
fn fact<T: std::str::FromStr>(planned: &loadline_health::remedy::Planned, name: &str) -> Result<T, RemedyError> {
    let value = planned.world.get(name).and_then(|value| value.parse().ok());
    value.ok_or_else(|| RemedyError::Failed(format!("the plan has no {name}")))
}
