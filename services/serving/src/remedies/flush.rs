//! F: empties the cache of an artifact's answers, in memory and in the shared tier.

use crate::cache::Cache;
use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use loadline_models::Sha256;
use std::time::Duration;

/// The target that is every artifact.
const ALL: &str = "all artifacts";

pub struct Flush {
    pub cache: Cache,
}

#[async_trait]
impl Remedy for Flush {
    fn key(&self) -> &'static str {
        "F"
    }

    fn title(&self) -> &'static str {
        "flush the prediction cache of an artifact"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[crate::detect::stale::MODE]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    /// The target is an artifact's sha256; its own choice is all of them, since an entry that is stale may lie about whose it is.
    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        if !self.cache.is_on() {
            return Err(RemedyError::NotNow("no answers are kept (serving.cache.memory is 0)".to_owned()));
        }
        let artifact = artifact(target)?;
        let shared = if self.cache.shared().is_there() { ", and those of the shared cache" } else { "" };
        let does = format!("answers of {} in memory taken out{shared}; models answer anew", named(artifact.as_ref()));
        Ok(Planned {
            effects: vec![Effect::new(does, self.cache.held(artifact.as_ref()))],
            count: 1,
            // How many are held moves with every answer, and is no part of the world.
            world: World::default().with("artifact", named(artifact.as_ref())),
            target: artifact.map_or_else(|| ALL.to_owned(), |artifact| artifact.to_string()),
            expected: Duration::from_secs(2),
            undo_within: None,
        })
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        let (held, shared) = self.cache.flush(artifact(&planned.target)?.as_ref()).await;
        running.did(Effect::new("answers in memory taken out", held));
        let shared = shared.map_err(|error| RemedyError::Failed(format!("memory is empty, but {error}")))?;
        running.did(Effect::new("answers of the shared cache taken out", shared));
        running.step(1, 1)
    }
}

fn artifact(target: &str) -> Result<Option<Sha256>, RemedyError> {
    match target {
        "" | ALL => Ok(None),
        sha256 => sha256
            .parse()
            .map(Some)
            .map_err(|_| RemedyError::NotNow(format!("`{sha256}` is no artifact: give its sha256, or nothing for {ALL}"))),
    }
}

fn named(artifact: Option<&Sha256>) -> String {
    artifact.map_or_else(|| ALL.to_owned(), |artifact| format!("artifact {artifact}"))
}
