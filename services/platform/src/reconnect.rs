//! C: drops the exporter's connections, so that the collector's address is looked up anew, and tries it.

use crate::{TELEMETRY, watch::Rereads};
use async_trait::async_trait;
use loadline_health::{
    Remedy,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use std::time::Duration;
use tokio::time::sleep;

const TARGET: &str = "exporter";
/// Another try does no harm, and services of one process, which share its exporter, may all want it.
const COOLDOWN: Duration = Duration::from_secs(2);
const PROBES: u64 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Reconnect {
    pub rereads: Rereads,
    /// Of the process: others have exporters of their own.
    pub instance: String,
}

impl Reconnect {
    fn target(&self) -> String {
        format!("{TARGET} of {}", self.instance)
    }
}

#[async_trait]
impl Remedy for Reconnect {
    fn key(&self) -> &'static str {
        "C"
    }

    fn title(&self) -> &'static str {
        "reconnect the exporter of telemetry"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[TELEMETRY]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    fn cooldown(&self) -> Duration {
        COOLDOWN
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let asked = if target == self.target() { "" } else { target };
        let does = "connections to the collector dropped; what waits is exported over new ones";
        let planned = Planned::reconnection(TARGET, asked, does)?;
        if !self.rereads.exports().await {
            let why =
                "nothing is exported here, as telemetry.otlp_endpoint is unset: who should scrape has to be mended where it runs";
            return Err(RemedyError::NotNow(why.to_owned()));
        }
        Ok(Planned { target: self.target(), ..planned })
    }

    async fn execute(&self, _: &Planned, running: &Running) -> Result<(), RemedyError> {
        for probe in 1..=PROBES {
            running.step(probe - 1, PROBES)?;
            match self.rereads.reconnect().await {
                Ok(()) => break,
                Err(why) if probe == PROBES => return Err(RemedyError::Failed(format!("the collector does not answer: {why}"))),
                Err(_) => sleep(RETRY_AFTER).await,
            }
        }
        running.did(Effect::new("the collector answered over a new connection", 1));
        self.rereads.look_now();
        Ok(())
    }
}
