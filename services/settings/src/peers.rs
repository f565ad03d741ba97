//! Which other processes there are.

use loadline_runtime::config::{Check, Problems, key};
use serde::{Deserialize, Serialize};

/// `[peers]`: gRPC addresses of the services of this deployment, this process and its replicas among them or not. Each process
/// watches those it names, over a connection each, and says when one is down (PR-09) or has another configuration (PR-14).
/// Without any, that is not detected here; `loadline up` names its own services then.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PeersSettings {
    /// `["host:7401"]`
    pub ingest: Vec<String>,
    /// `["host:7402"]`
    pub query: Vec<String>,
    /// `["host:7403"]`
    pub rollup: Vec<String>,
    /// `["host:7404"]`
    pub serving: Vec<String>,
}

impl PeersSettings {
    /// All, each with its service.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let services = [("ingest", &self.ingest), ("query", &self.query), ("rollup", &self.rollup), ("serving", &self.serving)];
        services.into_iter().flat_map(|(service, addresses)| addresses.iter().map(move |address| (service, address.as_str())))
    }
}

impl Check for PeersSettings {
    fn check(&self, at: &str, problems: &mut Problems) {
        for (service, address) in self.all() {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) || address.contains('/') || address.contains(char::is_whitespace) {
                problems.refuse(key(at, service), format!("{address:?}"), "HOST:PORT, such as 10.0.0.7:7402");
            }
        }
    }
}
