//! The product's configuration file as a type: one struct a section, defaults that run the product on one machine, and the rules
//! between values that types do not state.
//!
//! Every program reads the same file. A production file holds only what differs:
//!
//! ```toml
//! [log]
//! url = "nats://loadline:secret@nats-1:4222"
//! [store]
//! url = "postgres://loadline:secret@pg-1/loadline"
//! ```
//!
//! The nasty invariant: a horizon may grow at any time, but must not shrink below what dedup partitions were purged by, and
//! must be the same in every process that applies or explains a stream.

mod peers;
mod rollup;
mod sections;
mod serving;
mod streams;

pub use peers::PeersSettings;
pub use rollup::{HistorySettings, JobSettings, JobsSettings, Missed, RetentionSettings, RollupSettings, VerifySettings};
pub use sections::{
    DrillSettings, IngestSettings, InstallationSettings, LogSettings, QuerySettings, RulesSettings, SimulateSettings,
    StoreSettings,
};
pub use serving::{CacheSettings, PredictionJobSettings, ServingSettings};
pub use streams::{Carries, DRILL_STREAM, StreamSettings};

use loadline_runtime::{
    config::{Check, Loaded, Problems, SecretUrl, environment, key, load},
    grpc, telemetry,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What it is called.
    pub installation: InstallationSettings,
    /// The event log.
    pub log: LogSettings,
    /// The store.
    pub store: StoreSettings,
    /// Streams of the log.
    pub streams: Vec<StreamSettings>,
    /// What may be counted.
    pub rules: RulesSettings,
    /// The ingest service.
    pub ingest: IngestSettings,
    /// The query service.
    pub query: QuerySettings,
    /// Days that left the store.
    pub history: HistorySettings,
    /// The rollup service.
    pub rollup: RollupSettings,
    /// The serving service.
    pub serving: ServingSettings,
    /// Other processes, to be watched.
    pub peers: PeersSettings,
    /// Limits of every gRPC port.
    pub grpc: grpc::Settings,
    /// Logs, traces, metrics.
    pub telemetry: telemetry::Settings,
    /// Simulated traffic of `loadline up`.
    pub simulate: SimulateSettings,
    /// Failure modes caused on purpose.
    pub drills: DrillSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            installation: InstallationSettings::default(),
            log: LogSettings::default(),
            store: StoreSettings::default(),
            streams: streams::default(),
            rules: RulesSettings::default(),
            ingest: IngestSettings::default(),
            query: QuerySettings::default(),
            history: HistorySettings::default(),
            rollup: RollupSettings::default(),
            serving: ServingSettings::default(),
            peers: PeersSettings::default(),
            grpc: grpc::Settings::default(),
            telemetry: telemetry::Settings::default(),
            simulate: SimulateSettings::default(),
            drills: DrillSettings::default(),
        }
    }
}

impl Settings {
    /// Reads file, environment and flags (dotted key, value) over the defaults.
    ///
    /// # Errors
    /// All problems at once.
    pub fn read(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<Loaded<Self>, Problems> {
        load(file, &environment(), flags)
    }
}

impl Settings {
    /// Every URL that may carry a password or name a certificate, by its key.
    pub fn secrets(&self) -> [(&'static str, &SecretUrl); 5] {
        [
            ("log.url", &self.log.url),
            ("store.url", &self.store.url),
            ("history.url", &self.history.url),
            ("serving.registry", &self.serving.registry),
            ("serving.queue", &self.serving.queue),
        ]
    }
}

impl Check for Settings {
    fn check(&self, at: &str, problems: &mut Problems) {
        self.installation.check(&key(at, "installation"), problems);
        self.log.check(&key(at, "log"), problems);
        self.store.check(&key(at, "store"), problems);
        streams::check(&self.streams, &key(at, "streams"), problems);
        self.rules.check(&key(at, "rules"), problems);
        self.ingest.check(&key(at, "ingest"), problems);
        self.query.check(&key(at, "query"), problems);
        self.history.check(&key(at, "history"), problems);
        self.rollup.check(&key(at, "rollup"), problems);
        self.serving.check(&key(at, "serving"), problems);
        self.peers.check(&key(at, "peers"), problems);
        self.grpc.check(&key(at, "grpc"), problems);
        self.telemetry.check(&key(at, "telemetry"), problems);
        self.simulate.check(&key(at, "simulate"), problems);
        self.drills.check(&key(at, "drills"), problems);
    }
}
