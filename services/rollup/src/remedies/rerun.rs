//! R: runs a failed or late job again. Jobs do all there is to do, whatever an earlier run left.

use super::{
    failed,
    queue::{Queue, Wanted, tell},
};
use crate::{
    Parts,
    detect::failures,
    jobs::{ARCHIVE, DAILY_ROLLUP, RETENTION, TIDY_HISTORY, VERIFY, first_hot_day},
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
    /// The job whose failure is the mode.
    async fn job_of(&self, mode: &str) -> Result<&'static str, RemedyError> {
        let jobs: &[_] = if mode == "AN-07" { &[ARCHIVE, TIDY_HISTORY] } else { &[DAILY_ROLLUP, VERIFY, RETENTION] };
        let failures = failures(&*self.parts.store, jobs).await.map_err(failed)?;
        Ok(failures.first().map_or(jobs[0], |(job, _)| *job))
    }

    async fn effect(&self, job: &str) -> Result<Effect, RemedyError> {
        let Parts { store, clock, settings, .. } = &self.parts;
        if job == DAILY_ROLLUP {
            let waiting = store.dirty().await.map_err(failed)?.account_days;
            return Ok(Effect::new("account-days computed again from their hours", waiting));
        }
        if job == TIDY_HISTORY {
            return Ok(Effect::new("look through the files of history: small ones merged, what no part lists removed", 1));
        }
        if job == VERIFY {
            return Ok(Effect::new("days counted again from the log and compared, at most; nothing is repaired", 3));
        }
        if job == RETENTION {
            return Ok(Effect::new("look for dead letters, losses and runs that are past their age, and delete them", 1));
        }
        let due = store.archivable(first_hot_day(clock.now(), settings.hot_days)).await.map_err(failed)?;
        Ok(Effect::new("days moved to history, each deleted here once its copy was read back", due.len() as u64))
    }
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
        let job = self.job_of(mode).await?;
        if !["", job].contains(&target) {
            return Err(RemedyError::NotNow(format!("{target} is not the job of {mode}: that is {job}")));
        }
        let world = self.queue.world(job).await?;
        self.queue.ensure_free(&world).await?;
        let effect = self.effect(job).await?;
        Ok(Planned {
            target: job.to_owned(),
            expected: Duration::from_secs(if job == DAILY_ROLLUP { 2 + effect.count / 5_000 } else { 5 + 30 * effect.count }),
            effects: vec![effect],
            count: 1,
            world,
            undo_within: None,
        })
    }

    async fn look_again(&self, _: &str, planned: &Planned) -> Result<World, RemedyError> {
        self.queue.world(&planned.target).await
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 0)?;
        let others = [ARCHIVE, TIDY_HISTORY, VERIFY, RETENTION];
        let job = others.into_iter().find(|job| *job == planned.target).unwrap_or(DAILY_ROLLUP);
        let wanted = Wanted { remedy: self.key(), job, parameters: json!({}), part: "" };
        let told = self.queue.run(wanted, planned, running).await?;
        running.did(Effect::new(format!("run of {job}"), 1));
        let names = [
            ("account_days", "account-days computed again"),
            ("days", "days moved to history"),
            ("left", "days left: they kept changing"),
            ("merged", "small files merged"),
            ("swept", "attempts removed"),
        ];
        tell(&told, &names, running);
        Ok(())
    }
}
