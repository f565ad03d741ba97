//! What every service sees of its own process: its secrets (PR-13), its configuration (PR-14) and whether anybody outside sees it
//! (PR-15).
//!
//! ```text
//!  file, environment, flags ──▶ [`Kept`]: in force ──looked at every 5 s──▶ PR-13, PR-14
//!  exports and scrapes ───────────────────────────────────────────────────▶ PR-15
//! ```
//!
//! The nasty invariant: **what does not check is never in force.** A process goes on with the configuration and the secrets that it
//! began with, and says what is wrong with the newer ones.

mod certificate;
mod drills;
mod kept;
mod secrets;
mod telemetry;
mod watch;

pub use kept::{Kept, fingerprint};
pub use watch::Watch;

use loadline_fault::Faults;
use loadline_health::{Monitor, MonitorError};
use loadline_runtime::telemetry::Telemetry;
use loadline_settings::Settings;
use std::sync::Arc;

/// The modes that a [`Watch`] reports, beside every service's own.
pub const DETECTS: &[&str] = &[SECRETS, CONFIGURATION, TELEMETRY];

const SECRETS: &str = "PR-13";
const CONFIGURATION: &str = "PR-14";
const TELEMETRY: &str = "PR-15";

/// A process, as its services see it. Clones share one state.
#[derive(Clone)]
pub struct Platform {
    kept: Arc<Kept>,
    telemetry: Telemetry,
}

impl Platform {
    /// A process with this configuration and these instruments.
    pub fn new(kept: Kept, telemetry: Telemetry) -> Self {
        Self { kept: Arc::new(kept), telemetry }
    }

    /// What is in force.
    pub fn settings(&self) -> &Settings {
        self.kept.in_force()
    }

    /// Its instruments.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The monitor of a service that detects `own` beside the modes of the process, with times as configured.
    ///
    /// # Errors
    /// A mode that nothing can detect.
    pub fn monitor(&self, service: &str, build: &str, own: &[&'static str]) -> Result<Monitor, MonitorError> {
        let monitor = Monitor::new(service, build, &[own, DETECTS].concat())?;
        if let Some(longest) = self.settings().drills.times_at_most {
            monitor.wait_at_most(*longest);
        }
        Ok(monitor)
    }

    /// What a service reports of it, through faults of its own where there are any.
    pub fn watched(&self, faults: Option<&Faults>) -> Watch {
        Watch::new(self, faults)
    }
}

#[cfg(test)]
mod tests;
