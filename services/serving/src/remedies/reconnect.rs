//! C: makes the registry's client anew, so that its address is looked up again, and looks at the registry now.

use super::retried::{failed, retried};
use crate::library::{Library, Renewable};
use async_trait::async_trait;
use loadline_health::{
    Remedy,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use std::sync::Arc;

const TARGET: &str = "registry";

pub struct Reconnect {
    pub registry: Arc<Renewable>,
    pub library: Arc<Library>,
}

#[async_trait]
impl Remedy for Reconnect {
    fn key(&self) -> &'static str {
        "C"
    }

    fn title(&self) -> &'static str {
        "reconnect the registry of models"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[crate::detect::registry::MODE]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let does = "client of the registry made anew, and all its models looked at; what is in memory stays";
        Planned::reconnection(TARGET, target, does)
    }

    async fn execute(&self, _: &Planned, running: &Running) -> Result<(), RemedyError> {
        self.registry.renew().map_err(failed)?;
        running.did(Effect::new("client of the registry made anew", 1));
        retried(running, || self.looked()).await?;
        running.did(Effect::new("registry listed its models over the new client", 1));
        Ok(())
    }
}

impl Reconnect {
    /// To its end, whatever becomes of the run: no model is left half in place.
    async fn looked(&self) -> Result<(), RemedyError> {
        let library = self.library.clone();
        tokio::spawn(async move { library.look().await }).await.map_err(failed)?.map_err(failed)
    }
}
