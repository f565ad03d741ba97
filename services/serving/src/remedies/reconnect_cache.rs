//! C: makes the connection to the shared cache anew, so that its address is looked up again.

use super::retried::retried;
use crate::cache::Cache;
use async_trait::async_trait;
use loadline_health::{
    Remedy,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};

const TARGET: &str = "cache";

pub struct ReconnectCache {
    pub cache: Cache,
}

#[async_trait]
impl Remedy for ReconnectCache {
    fn key(&self) -> &'static str {
        "C"
    }

    fn title(&self) -> &'static str {
        "reconnect the shared cache"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[crate::detect::cache::MODE]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        Planned::reconnection(TARGET, target, "connection to the shared cache made anew; what is in memory stays")
    }

    async fn execute(&self, _: &Planned, running: &Running) -> Result<(), RemedyError> {
        retried(running, || self.cache.shared().reconnect()).await?;
        running.did(Effect::new("connection to the shared cache made anew", 1));
        Ok(())
    }
}
