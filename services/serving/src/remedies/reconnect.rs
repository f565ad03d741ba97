//! C: makes the registry's client anew, so that its address is looked up again, and looks at the registry now.

use crate::library::{Library, Renewable};
use async_trait::async_trait;
use loadline_health::{
    Remedy,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

const TARGET: &str = "registry";
const LOOKS: u64 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

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
        running.step(0, 2)?;
        self.registry.renew().map_err(failed)?;
        running.did(Effect::new("client of the registry made anew", 1));
        for look in 1..=LOOKS {
            running.step(1, 2)?;
            match self.looked().await {
                Ok(()) => break,
                Err(error) if look == LOOKS => return Err(error),
                Err(_) => sleep(RETRY_AFTER).await,
            }
        }
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

fn failed(error: impl std::fmt::Display) -> RemedyError {
    RemedyError::Failed(error.to_string())
}
