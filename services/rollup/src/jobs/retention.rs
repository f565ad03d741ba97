//! What was kept long enough is deleted, as the policy says.

use crate::job::{Job, JobError, Running, no_parameters};
use async_trait::async_trait;
use loadline_domain::Clock;
use loadline_settings::RetentionSettings;
use loadline_store::{Expiring, Store};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub const NAME: &str = "retention";

/// Rows of a transaction.
const CHUNK: u32 = 5_000;

pub struct Retain {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub settings: RetentionSettings,
}

#[async_trait]
impl Job for Retain {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "Deletes resolved dead letters and finished runs by the policy of rollup.retention; losses only when it names an age for them."
    }

    fn check(&self, parameters: &Value) -> Result<(), String> {
        no_parameters(parameters)
    }

    async fn run(&self, run: &Running) -> Result<Value, JobError> {
        let letters = self.expire(run, Expiring::ResolvedDeadLetters, Some(*self.settings.resolved_dead_letters)).await?;
        let runs = self.expire(run, Expiring::FinishedRuns, Some(*self.settings.finished_runs)).await?;
        let losses = self.expire(run, Expiring::Losses, self.settings.losses.map(|age| *age)).await?;
        Ok(json!({ "resolved_dead_letters": letters, "finished_runs": runs, "losses": losses }))
    }
}

impl Retain {
    /// Deletes what is older; nothing without an age.
    async fn expire(&self, run: &Running, what: Expiring, age: Option<Duration>) -> Result<u64, JobError> {
        let Some(age) = age else { return Ok(0) };
        let before = self.clock.now().minus(age);
        let mut deleted = 0;
        loop {
            run.step(deleted, None, format!("deleting {what:?}")).await?;
            let gone = self.store.expire(&run.leadership, what, before, CHUNK).await?;
            deleted += gone;
            if gone < u64::from(CHUNK) {
                return Ok(deleted);
            }
        }
    }
}
