//! C: drops the store's connections, so that the next call resolves its address and connects anew.

use super::failed;
use async_trait::async_trait;
use loadline_health::{
    Remedy,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use loadline_store::Store;
use std::{sync::Arc, time::Duration};

const TARGET: &str = "store";
const PROBES: u64 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub struct Reconnect {
    pub store: Arc<dyn Store>,
}

#[async_trait]
impl Remedy for Reconnect {
    fn key(&self) -> &'static str {
        "C"
    }

    fn title(&self) -> &'static str {
        "reconnect the store"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-01"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        Planned::reconnection(TARGET, target, "pool of connections dropped; what is under way on them is tried again")
    }

    async fn execute(&self, _: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 2)?;
        self.store.reconnect().await;
        running.did(Effect::new("pool of connections dropped", 1));
        for probe in 1..=PROBES {
            running.step(1, 2)?;
            match self.store.probe().await {
                Ok(()) => break,
                Err(error) if probe == PROBES => return Err(failed(error)),
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            }
        }
        running.did(Effect::new("probe answered over a new connection", 1));
        Ok(())
    }
}
