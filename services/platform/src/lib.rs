//! What every service sees of its own process and of its peers: its secrets (PR-13), its configuration (PR-14), whether anybody
//! outside sees it (PR-15), and whether the other processes are there (PR-09).
//!
//! ```text
//!  file, environment, flags ──▶ [`Kept`]: in force ──looked at every 3 s──▶ PR-13, PR-14
//!  exports and scrapes ───────────────────────────────────────────────────▶ PR-15
//!  the other processes, a connection each ──looked at every 0.5 s─────────▶ PR-09; their hashes ──▶ PR-14
//! ```
//!
//! Its remedies are S, which starts a service again, N, which reads secrets and configuration again, and C, which connects the
//! exporter anew.
//!
//! The nasty invariant: **what does not check is never in force.** A process goes on with the configuration and the secrets that it
//! has, and says what is wrong with the newer ones.

mod certificate;
mod drills;
mod kept;
mod peers;
mod reconnect;
mod reload;
mod restart;
mod secrets;
mod telemetry;
mod watch;

pub use kept::{Kept, fingerprint};
pub use watch::{Life, Watch};

use loadline_health::{Monitor, MonitorError};
use loadline_runtime::{Shutdown, telemetry::Telemetry};
use loadline_settings::Settings;
use peers::Peer;
use std::sync::Arc;

/// The modes that a [`Watch`] reports, beside every service's own.
pub const DETECTS: &[&str] = &[SECRETS, CONFIGURATION, TELEMETRY];

/// Detected only where there are peers.
const CRASH: &str = "PR-09";
const SECRETS: &str = "PR-13";
const CONFIGURATION: &str = "PR-14";
const TELEMETRY: &str = "PR-15";

/// A process, as its services see it. Clones share one state.
#[derive(Clone)]
pub struct Platform {
    kept: Arc<Kept>,
    telemetry: Telemetry,
    /// Peers where the configuration names none.
    beside: Arc<[Peer]>,
    fixed: &'static [&'static str],
}

/// What is set up once in a process, whatever lives in it; of a process that opens backends for several services also those.
const FIXED: &[&str] = &["telemetry.log", "telemetry.format", "telemetry.otlp_endpoint", "telemetry.instance"];
const FIXED_BESIDE: &[&str] = &[
    "telemetry.log",
    "telemetry.format",
    "telemetry.otlp_endpoint",
    "telemetry.instance",
    "log",
    "store",
    "history",
    "rules",
    "simulate",
    "ingest.listen",
    "ingest.admin",
    "query.listen",
    "rollup.listen",
    "serving.listen",
];

impl Platform {
    /// A process of one service, with this configuration, which names its peers, and these instruments.
    pub fn new(kept: Kept, telemetry: Telemetry) -> Self {
        Self { kept: Arc::new(kept), telemetry, beside: Arc::new([]), fixed: FIXED }
    }

    /// A process of several services, on backends that it opens once for all. Those at these addresses (service, address) are
    /// each other's peers, unless the configuration names some.
    #[must_use]
    pub fn beside<'a>(self, peers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { beside: named(peers), fixed: FIXED_BESIDE, ..self }
    }

    /// What is in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.kept.in_force()
    }

    fn peers(&self) -> Arc<[Peer]> {
        let peers = named(self.settings().peers.all());
        if peers.is_empty() { self.beside.clone() } else { peers }
    }

    /// One life of a service. Where it fails with a configuration that was put in force while the process ran, the one before is in
    /// force again, and the service lives again.
    ///
    /// # Errors
    /// Those of the service.
    pub async fn live(&self, life: Shutdown, service: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        match service.await {
            Err(error) if self.kept.reject(&format!("{error:#}")) => {
                tracing::error!(error = format!("{error:#}"), "the configuration cannot be started with; the one before is back");
                life.live_again(life.left().unwrap_or_default().to_owned());
                Ok(())
            }
            ended => ended,
        }
    }

    /// The build that this process is, as its services say.
    pub fn build(&self) -> &str {
        self.telemetry.build()
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
        let crash: &[_] = if self.peers().is_empty() { &[] } else { &[CRASH] };
        let monitor = Monitor::new(service, build, &[own, crash, DETECTS].concat())?;
        let settings = self.settings();
        if let Some(longest) = settings.drills.times_at_most {
            monitor.wait_at_most(*longest);
        }
        monitor.belongs_to(settings.installation.name.as_deref().unwrap_or_default());
        Ok(monitor)
    }

    /// What one of its services reports of it, in one life.
    pub fn watched(&self, life: Life<'_>) -> Watch {
        Watch::new(self, life)
    }
}

fn named<'a>(peers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Arc<[Peer]> {
    let peer = |(service, address): (&str, &str)| Peer { service: service.to_owned(), address: address.to_owned() };
    peers.into_iter().map(peer).collect()
}

#[cfg(test)]
mod tests;
