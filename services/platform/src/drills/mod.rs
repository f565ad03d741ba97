//! Drills of a process and of its peers.

mod bystander;
mod crashed;
mod unreadable;

use crate::watch::Watch;
use loadline_fault::Faults;
use loadline_health::{Drill, Monitor};
use std::sync::Arc;

/// One a mode, of those that the monitor detects.
pub(crate) fn all(watch: &Watch, faults: &Faults, monitor: &Monitor) -> Vec<Arc<dyn Drill>> {
    let crashed: Arc<dyn Drill> = Arc::new(crashed::Crashed::new(watch.clone(), faults.clone(), monitor));
    let crashed = monitor.detects(crashed.mode()).then_some(crashed);
    unreadable::all(watch, faults).into_iter().chain(crashed).collect()
}
