//! What is really wrong in the services that share a store: each tells it by a lease, which nobody has to clear after a crash.

use super::{Drills, records::is_in_the_way};
use crate::{Monitor, remedy::LeaseError};
use loadline_proto::health::{ModeStatus, Severity};
use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// With a mode and a service: held while that mode is really open there, and serious.
const LEASE: &str = "incident";
/// How long a process that died is believed.
const TTL: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);

/// What leases tell of other services, and of other processes of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Elsewhere {
    Nothing,
    /// A mode of a service.
    Incident(String),
    /// A drill or a control.
    Drill(String),
}

/// P1 and P2 end drills.
pub(super) fn is_serious(mode: &ModeStatus) -> bool {
    matches!(mode.severity(), Severity::P1 | Severity::P2)
}

fn name(mode: &str, service: &str) -> String {
    format!("{LEASE} {mode} of {service}")
}

impl Drills {
    /// Tells the other services what is really wrong here, until shutdown. While nothing is, nothing is written.
    pub(super) async fn tell_incidents(self) {
        loop {
            let Some(monitor) = self.0.monitor.upgrade() else { return };
            let real: Vec<_> = self.real(&monitor).iter().map(|mode| name(&mode.id, &self.0.service)).collect();
            drop(monitor);
            let over: Vec<_> = self.told().keys().filter(|name| !real.contains(name)).cloned().collect();
            for name in over {
                // It ends by itself, should this fail.
                let _ = timeout(PATIENCE, self.0.parts.leases.release(&name, &self.0.boot_id)).await;
                self.told().remove(&name);
            }
            for name in real {
                self.tell(name).await;
            }
            sleep(LOOK).await;
        }
    }

    async fn tell(&self, name: String) {
        let now = Instant::now();
        if self.told().get(&name).is_some_and(|at| now < *at + TTL / 3) {
            return;
        }
        // Before it is: nobody here may take it for another process's.
        self.told().insert(name.clone(), now);
        match timeout(PATIENCE, self.0.parts.leases.hold(&name, &self.0.boot_id, TTL)).await {
            // Or another process of this service tells it.
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(name, %error, "an incident cannot be told to other services"),
            Err(_) => tracing::debug!(name, "an incident is not told to other services within {PATIENCE:?}"),
        }
    }

    /// What other services, and other processes of this one, tell: a mode that is open and serious there, but for what a drill of
    /// `mode` may do; and a drill that must not be beside it. What this process tells it knows by its own monitor.
    ///
    /// # Errors
    /// When that cannot be known.
    pub(super) async fn look_elsewhere(&self, mode: &str, control: bool) -> Result<Elsewhere, LeaseError> {
        let own = name(mode, &self.0.service);
        let names = timeout(PATIENCE, self.0.parts.leases.names()).await;
        let names = names.map_err(|_| LeaseError(format!("leases did not answer within {PATIENCE:?}")))??;
        let told = self.told();
        let mut others = names.iter().filter(|name| **name != own && !told.contains_key(*name));
        if let Some(incident) = others.find_map(|name| name.strip_prefix(LEASE)) {
            return Ok(Elsewhere::Incident(incident.trim().to_owned()));
        }
        let drill = names.iter().find(|name| is_in_the_way(name, control));
        Ok(drill.map_or(Elsewhere::Nothing, |name| Elsewhere::Drill(format!("{name} of another service or process"))))
    }

    /// What this process tells, and since when it was last told.
    fn told(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What no drill of this process causes.
    fn real(&self, monitor: &Monitor) -> Vec<ModeStatus> {
        let drilled = self.drilled().unwrap_or_default();
        let is_real = |mode: &ModeStatus| is_serious(mode) && mode.drill_id.is_empty() && mode.id != drilled;
        monitor.open_modes().into_iter().filter(is_real).collect()
    }
}
