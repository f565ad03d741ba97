//! R: runs a failed or late job again. Jobs do all there is to do, whatever an earlier run left.

use super::{
    failed,
    queue::{Queue, Wanted, tell},
};
use crate::{
    Parts,
    jobs::{ARCHIVE, DAILY_ROLLUP, first_hot_day},
};
use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use serde_json::json;
use std::time::Duration;

/// A first archive of many days takes so long.
const DEADLINE: Duration = Duration::from_secs(6 * 3600);

pub struct Rerun {
    pub queue: Queue,
    pub parts: Parts,
}

impl Rerun {
    async fn effect(&self, job: &str) -> Result<Effect, RemedyError> {
        let Parts { store, clock, settings, .. } = &self.parts;
        if job == DAILY_ROLLUP {
            let waiting = store.dirty().await.map_err(failed)?.account_days;
            return Ok(Effect::new("account-days computed again from their hours", waiting));
        }
        let due = store.archivable(first_hot_day(clock.now(), settings.hot_days)).await.map_err(failed)?;
        Ok(Effect::new("days moved to history, each deleted here once its copy was read back", due.len() as u64))
    }
}

/// The job whose failure is the mode.
fn job_of(mode: &str) -> &'static str {
    if mode == "AN-07" { ARCHIVE } else { DAILY_ROLLUP }
}

#[async_trait]
impl Remedy for Rerun {
    fn key(&self) -> &'static str {
        "R"
    }

    fn title(&self) -> &'static str {
        "run the failed job again"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-04", "AN-07"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn plan(&self, mode: &str, target: &str) -> Result<Planned, RemedyError> {
        let job = job_of(mode);
        if !["", job].contains(&target) {
            return Err(RemedyError::NotNow(format!("{target} is not the job of {mode}: that is {job}")));
        }
        let world = self.queue.world(job).await?;
        self.queue.ensure_free(&world).await?;
        let effect = self.effect(job).await?;
        Ok(Planned {
            target: job.to_owned(),
            expected: Duration::from_secs(if job == ARCHIVE { 5 + 30 * effect.count } else { 2 + effect.count / 5_000 }),
            effects: vec![effect],
            count: 1,
            world,
            undo_within: None,
        })
    }

    async fn look_again(&self, mode: &str, _: &Planned) -> Result<World, RemedyError> {
        self.queue.world(job_of(mode)).await
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 0)?;
        let job = if planned.target == ARCHIVE { ARCHIVE } else { DAILY_ROLLUP };
        let wanted = Wanted { remedy: self.key(), job, parameters: json!({}), part: "" };
        let told = self.queue.run(wanted, planned, running).await?;
        running.did(Effect::new(format!("run of {job}"), 1));
        let names = [
            ("account_days", "account-days computed again"),
            ("days", "days moved to history"),
            ("left", "days left: they kept changing"),
        ];
        tell(&told, &names, running);
        Ok(())
    }
}
