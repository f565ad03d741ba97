//! AN-04, AN-05, AN-07: a job fails whenever it runs, because it or history does, until R or P runs it again.

use super::{OfPorts, become_idle, ended, enqueue, is_idle};
use crate::jobs::{ARCHIVE, DAILY_ROLLUP, PURGE_DEDUP};
use async_trait::async_trait;
use loadline_domain::Day;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use loadline_store::{RunState, Store};
use serde_json::json;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A day whose dedup tables are past every horizon; nothing is in them.
const LONG_AGO: i32 = 18_262;

pub struct FailingJob {
    mode: &'static str,
    fault: &'static str,
    job: &'static str,
    presses: &'static [Press],
    store: Arc<dyn Store>,
    held: Held,
    kind: Kind,
    calls: Calls,
    /// Of the world that a job that fails must leave as it is.
    before: Mutex<Option<Kept>>,
}

/// What must not be less than before while the job fails.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    /// Account-days whose hours are not rolled up: answers are planned from hours for them.
    Dirty(u64),
    /// Where hot rows end.
    Boundary(Option<Day>),
    /// Dedup tables, the old ones among them.
    Tables(usize),
}

pub fn all(store: &Arc<dyn Store>, faults: &OfPorts) -> [FailingJob; 3] {
    let failing = |mode, job, fault, breaks: (&Faults, Kind, Calls), presses| FailingJob {
        mode,
        fault,
        job,
        presses,
        store: store.clone(),
        held: Held::new(breaks.0.clone()),
        kind: breaks.1,
        calls: breaks.2,
        before: Mutex::default(),
    };
    let run_of = |job| (&faults.store, Kind::Break, Calls::only(&["run"]).about(job));
    let history = (&faults.history, Kind::Error, Calls::all_but(&[]));
    const R: &[Press] = &[Press { key: "R", target: "" }];
    const P: &[Press] = &[Press { key: "P", target: "" }];
    [
        failing("AN-04", DAILY_ROLLUP, "every run of the roll-up fails", run_of(DAILY_ROLLUP), R),
        failing(
            "AN-05",
            PURGE_DEDUP,
            "every run of the purge fails, with a dedup table past its horizon",
            run_of(PURGE_DEDUP),
            P,
        ),
        failing("AN-07", ARCHIVE, "history answers no call of rollup, and the archive is run", history, R),
    ]
}

impl FailingJob {
    fn before(&self) -> MutexGuard<'_, Option<Kept>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self) -> Result<Kept, DrillError> {
        Ok(match self.job {
            ARCHIVE => Kept::Boundary(self.store.boundary().await.map_err(DrillError::of)?),
            PURGE_DEDUP => Kept::Tables(self.store.partitions().await.map_err(DrillError::of)?.len()),
            _ => Kept::Dirty(self.store.dirty().await.map_err(DrillError::of)?.account_days),
        })
    }

    async fn last_failed(&self) -> Result<bool, DrillError> {
        let last = self.store.last_finished().await.map_err(DrillError::of)?.remove(self.job);
        Ok(last.is_some_and(|run| run.state == RunState::Failed))
    }
}

impl Kept {
    fn is_kept_by(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Dirty(before), Self::Dirty(now)) => before <= now,
            (Self::Tables(before), Self::Tables(now)) => before <= now,
            (before, now) => before == now,
        }
    }
}

#[async_trait]
impl Drill for FailingJob {
    fn mode(&self) -> &'static str {
        self.mode
    }

    fn fault(&self) -> &'static str {
        self.fault
    }

    fn presses(&self) -> &'static [Press] {
        self.presses
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        become_idle(&*self.store, self.job).await
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault =
            Fault { name: format!("drill {}", self.mode), kind: self.kind, calls: self.calls.clone(), ttl, cured_by: None };
        self.held.inject(fault);
        *self.before() = None;
        if self.job == PURGE_DEDUP {
            let day = Day::from_index(LONG_AGO);
            self.store.prepare_partitions(day, day).await.map_err(DrillError::of)?;
        }
        let before = self.look().await?;
        *self.before() = Some(before);
        enqueue(&*self.store, self.mode, self.job, &json!({})).await.map(drop)
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or(format!("nothing that {} needs was broken when it ran", self.job))
    }

    /// Nothing is half done: what the job would have taken away is there.
    async fn contained(&self) -> Result<(), String> {
        let now = self.look().await.map_err(|error| error.to_string())?;
        let before = self.before().clone();
        match before {
            Some(before) if before.is_kept_by(&now) => Ok(()),
            before => Err(format!("there was {before:?}, and now there is {now:?}")),
        }
    }

    /// A job cannot be run again while it cannot run.
    async fn relent(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }

    async fn ready(&self, _: &Press) -> Result<(), String> {
        is_idle(&*self.store, self.job).await
    }

    /// A run that works, where no remedy has made one.
    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        if self.last_failed().await? {
            let run = enqueue(&*self.store, self.mode, self.job, &json!({})).await?;
            let run = ended(&*self.store, run.id).await?;
            if run.state != RunState::Succeeded {
                return Err(DrillError(format!("run {} of {} ended as {}", run.id, self.job, run.state.as_str())));
            }
        }
        Ok(())
    }

    async fn clean(&self) -> Result<(), String> {
        is_idle(&*self.store, self.job).await
    }
}
