//! Days whose hours changed are computed anew from them and replaced.

use crate::job::{Job, JobError, Running, no_parameters};
use async_trait::async_trait;
use loadline_store::Store;
use serde_json::{Value, json};
use std::sync::Arc;

pub const NAME: &str = "daily_rollup";

/// Account-days of a transaction: a second or so of work, and what a crash costs.
const CHUNK: u32 = 5_000;

pub struct DailyRollup {
    pub store: Arc<dyn Store>,
}

#[async_trait]
impl Job for DailyRollup {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "Recomputes and replaces the daily usage of account-days whose hours changed."
    }

    fn check(&self, parameters: &Value) -> Result<(), String> {
        no_parameters(parameters)
    }

    async fn run(&self, run: &Running) -> Result<Value, JobError> {
        // As many as waited at the start: under steady traffic the last hour's days are dirty again at once, for the next run.
        let waiting = self.store.dirty().await?.account_days;
        let (mut account_days, mut rows) = (0, 0);
        while account_days < waiting {
            run.step(account_days, Some(waiting), "rolling up").await?;
            let rolled = self.store.roll_up(&run.leadership, CHUNK).await?;
            account_days += rolled.account_days;
            rows += rolled.rows;
            if !rolled.more {
                break;
            }
        }
        run.step(account_days, Some(account_days.max(waiting)), "done").await?;
        Ok(json!({ "account_days": account_days, "rows": rows }))
    }
}
