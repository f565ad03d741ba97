//! History is kept in order: small files become large ones, and what no part lists goes. Apart from the archive, so that days are
//! moved however long that takes, or fails.

use super::ours::ensure_ours;
use crate::job::{Job, JobError, Running, no_parameters};
use async_trait::async_trait;
use loadline_domain::{Clock, Day, archive::Part};
use loadline_history::History;
use loadline_store::Store;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub const NAME: &str = "tidy_history";

/// Attempts younger than this may still be under way in a process that was cut off.
const SWEEP_AFTER: Duration = Duration::from_secs(24 * 3600);

pub struct TidyHistory {
    pub store: Arc<dyn Store>,
    pub history: Arc<dyn History>,
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Job for TidyHistory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "Merges the small files that the archive leaves in history, and removes attempts of a day ago that were never confirmed."
    }

    fn check(&self, parameters: &Value) -> Result<(), String> {
        no_parameters(parameters)
    }

    async fn run(&self, run: &Running) -> Result<Value, JobError> {
        run.step(0, Some(2), "merging").await?;
        // However long the rest takes: what is younger now may be listed after the last look.
        let older_than = self.clock.now().minus(SWEEP_AFTER);
        let listed = self.listed().await?;
        // Without a day in it, history is nobody's yet, or another store's.
        if listed.is_empty() {
            return Ok(json!({ "merged": 0, "swept": 0 }));
        }
        ensure_ours(&*self.store, &*self.history).await?;
        let merged = self.history.compact(&listed).await?;
        run.step(1, Some(2), "sweeping").await?;
        let swept = self.history.sweep(&self.listed().await?, older_than).await?;
        run.step(2, Some(2), "done").await?;
        Ok(json!({ "merged": merged, "swept": swept }))
    }
}

impl TidyHistory {
    async fn listed(&self) -> Result<Vec<Part>, JobError> {
        let listed = self.store.parts(Day::from_index(i32::MIN), Day::from_index(i32::MAX)).await?;
        Ok(listed.into_iter().map(|listed| listed.part).collect())
    }
}
