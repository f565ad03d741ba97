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
mod kept;
mod secrets;
mod telemetry;

pub use kept::{Kept, fingerprint};

use loadline_health::{Monitor, Reading};
use loadline_runtime::{Shutdown, telemetry::Telemetry};
use loadline_settings::Settings;
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// The modes that [`Platform::watch`] reports, beside every service's own.
pub const DETECTS: &[&str] = &[SECRETS, CONFIGURATION, TELEMETRY];

const SECRETS: &str = "PR-13";
const CONFIGURATION: &str = "PR-14";
const TELEMETRY: &str = "PR-15";

/// How often files are read again and exports looked at.
const PERIOD: Duration = Duration::from_secs(5);

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

    /// The modes of a service that detects `own`, for its monitor.
    pub fn detects(own: &[&'static str]) -> Vec<&'static str> {
        [own, DETECTS].concat()
    }

    /// Reports to `monitor`, which was made for [`DETECTS`] too, until shutdown.
    pub async fn watch(&self, monitor: &Monitor, shutdown: &Shutdown) {
        for mode in DETECTS {
            if let Err(error) = monitor.expect_every(mode, PERIOD) {
                tracing::error!(%error, "a detector reports a mode that is not announced");
            }
        }
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            // Files may be on a slow disk or a network.
            let kept = Arc::clone(&self.kept);
            let looked = tokio::task::spawn_blocking(move || (secrets::look(kept.in_force()), kept.look()));
            if let Ok((secrets, configuration)) = looked.await {
                monitor.observe(SECRETS, secrets);
                monitor.observe(CONFIGURATION, configuration);
            }
            monitor.observe(TELEMETRY, self.telemetry_now());
        }
    }

    fn telemetry_now(&self) -> Reading {
        telemetry::look(&self.telemetry.sight(), self.settings().telemetry.scraped_every)
    }
}

#[cfg(test)]
mod tests;
