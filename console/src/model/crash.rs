//! PR-09, a service's process crashed: the one mode that the console tells by itself, because who has crashed cannot.
//!
//! A process is down while its health stream is broken or it says that it does not serve. What only is silent may just be slow:
//! that is blind, not crashed.

use super::{
    endpoint::{Endpoint, Serving},
    report::Mode,
    standing::{Knowledge, Severity},
    world::World,
};
use crate::moment::Moment;
use std::{sync::LazyLock, time::Duration};

/// Its id in the catalogue.
pub const ID: &str = "PR-09";
/// For so long it is only suspected: a restart may be quicker.
const HOLD: Duration = Duration::from_secs(2);

/// A process that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Down {
    /// Which.
    pub endpoint: usize,
    /// P1 where it was the last of its service.
    pub severity: Severity,
    /// For how long.
    pub lasts: Duration,
}

impl Down {
    /// Whether it has been so for long enough to say so.
    pub fn is_open(&self) -> bool {
        self.lasts >= HOLD
    }
}

/// The processes that are down.
pub fn down(world: &World, now: Moment) -> Vec<Down> {
    let down = |endpoint: &Endpoint| endpoint.down.is_some();
    let replica_up = |one: &Endpoint| world.endpoints.iter().any(|other| other.name() == one.name() && !down(other));
    let found = world.endpoints.iter().enumerate().filter_map(|(index, endpoint)| {
        let severity = if replica_up(endpoint) { Severity::P2 } else { Severity::P1 };
        endpoint.down.map(|since| Down { endpoint: index, severity, lasts: now.since(since) })
    });
    found.collect()
}

/// A process of which it cannot be told.
pub fn untold(world: &World, knowledge: &[Knowledge]) -> Option<usize> {
    let seen = |index: usize| matches!(knowledge[index], Knowledge::Live | Knowledge::Late);
    (0..world.endpoints.len()).find(|index| !seen(*index) && world.endpoints[*index].down.is_none())
}

/// What is wrong with a process that is down.
pub fn reason(endpoint: &Endpoint) -> String {
    let why = match (&endpoint.serving, &endpoint.fault) {
        (Serving::No, _) => "says that it does not serve",
        (_, Some(fault)) => fault,
        (_, None) => "its health stream is broken",
    };
    format!("{}: {why} ({})", endpoint.name(), endpoint.address)
}

/// What an operator reads of it where no catalogue has come.
pub fn mode() -> &'static Mode {
    static MODE: LazyLock<Mode> = LazyLock::new(|| Mode {
        title: "Service process crashed".to_owned(),
        owners: vec!["all".to_owned()],
        base: Some(Severity::P2),
        raises: vec![(Some(Severity::P1), "it was the last replica".to_owned())],
        signal: "the health stream is broken, or health is not serving".to_owned(),
        containment: "The supervisor or Kubernetes restarts it; readiness gates its traffic.".to_owned(),
        impact: "Its callers get UNAVAILABLE until it is back.".to_owned(),
        remedies: vec!["S".to_owned()],
        alert: "PredServiceDown".to_owned(),
        planned: false,
    });
    &MODE
}
