//! A run of a job as the work of a remedy: queued once, followed to its end, cancelled when the remedy has to stop.

use super::failed;
use crate::leader::ROLE;
use loadline_health::{
    World,
    remedy::{Effect, Planned, RemedyError, Running},
};
use loadline_store::{Enqueued, JobRun, NewRun, RunFilter, RunState, Store, StoreError, Trigger};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use uuid::Uuid;

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Among the newest runs of its job is the one that goes on with an interrupted one.
const SUCCESSORS: u32 = 20;
/// Facts of the world.
const JOB: &str = "job";
const LAST_RUN: &str = "last run";
const UNDER_WAY: &str = "under way";
const NOTHING: &str = "nothing";

/// The queue of jobs, as remedies use it.
#[derive(Clone)]
pub struct Queue {
    pub store: Arc<dyn Store>,
}

/// A run to be queued for a remedy.
pub struct Wanted<'a> {
    /// Key of the remedy.
    pub remedy: &'static str,
    pub job: &'static str,
    pub parameters: Value,
    /// Tells runs of one plan apart.
    pub part: &'a str,
}

impl Queue {
    /// What a plan to run a job rests on: which run ended last, and that none is under way.
    pub async fn world(&self, job: &str) -> Result<World, RemedyError> {
        let last = self.store.last_finished().await.map_err(failed)?.remove(job);
        let last = last.map_or("none".to_owned(), |run| format!("{} {}", run.id, run.state.as_str()));
        let under_way = self.under_way(job).await.map_err(failed)?;
        let under_way = under_way.map_or(NOTHING.to_owned(), |run| format!("run {}", run.id));
        Ok(World::default().with(JOB, job).with(LAST_RUN, last).with(UNDER_WAY, under_way))
    }

    async fn under_way(&self, job: &str) -> Result<Option<JobRun>, StoreError> {
        for state in [RunState::Running, RunState::Queued] {
            let filter = RunFilter { job: Some(job.to_owned()), state: Some(state) };
            if let Some(run) = self.store.job_runs(&filter, None, 1).await?.pop() {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Refuses a world in which a run would only wait.
    pub async fn ensure_free(&self, world: &World) -> Result<(), RemedyError> {
        if let Some(run) = world.get(UNDER_WAY).filter(|run| *run != NOTHING) {
            let job = world.get(JOB).unwrap_or_default();
            return Err(RemedyError::NotNow(format!("{run} of {job} is under way: wait for its end, or cancel it")));
        }
        let leaders = self.store.leaders().await.map_err(failed)?;
        if leaders.iter().any(|leader| leader.role == ROLE) {
            return Ok(());
        }
        Err(RemedyError::NotNow("no process runs jobs now: start one that does".to_owned()))
    }

    /// Queues a run and follows it to its end; what it tells. The plan's last run names it: after a crash the same plan finds
    /// the run that it queued.
    ///
    /// # Errors
    /// [`RemedyError::Stopped`] when it was cancelled because the remedy had to stop; its own error when it failed.
    pub async fn run(&self, wanted: Wanted<'_>, planned: &Planned, running: &Running) -> Result<Value, RemedyError> {
        let Wanted { remedy, job, parameters, part } = wanted;
        let last = planned.world.get(LAST_RUN).and_then(|last| last.split(' ').next()).unwrap_or_default();
        let run = NewRun {
            job: job.to_owned(),
            idempotency_key: format!("remedy:{remedy}:after:{last}{part}"),
            trigger: Trigger::Request,
            parameters: parameters.to_string(),
            requested_by: format!("remedy {remedy}"),
            scheduled_for: None,
            attempt: 1,
        };
        match self.store.enqueue(&run).await.map_err(failed)? {
            Enqueued::New(run) | Enqueued::Known(run) => self.follow(run.id, running).await,
            Enqueued::KeyTaken(run) => Err(failed(format!("run {} was queued for the same, with other parameters", run.id))),
        }
    }

    async fn follow(&self, mut id: Uuid, running: &Running) -> Result<Value, RemedyError> {
        let mut cancelled = false;
        loop {
            match self.store.job_run(id).await {
                Ok(Some(run)) if run.state.is_final() => {
                    // A short run may end between two looks; whether to stop no longer matters.
                    let _ = shown(&run, running);
                    match self.end(&run, cancelled, running).await? {
                        End::Told(result) => return Ok(result),
                        End::GoesOnAs(successor) => id = successor,
                    }
                }
                Ok(Some(run)) => {
                    let stop = shown(&run, running).is_err();
                    if stop && !cancelled {
                        self.store.request_cancel(id).await.map_err(failed)?;
                        cancelled = true;
                    }
                }
                Ok(None) => return Err(failed(format!("run {id} is gone"))),
                // The run goes on when the store is back.
                Err(error) if error.is_retryable() => running.step(0, 0)?,
                Err(error) => return Err(failed(error)),
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = running.stopped(), if !cancelled => {}
            }
        }
    }

    async fn end(&self, run: &JobRun, cancelled: bool, running: &Running) -> Result<End, RemedyError> {
        match run.state {
            RunState::Succeeded => {
                Ok(End::Told(run.result.as_deref().and_then(|told| serde_json::from_str(told).ok()).unwrap_or_default()))
            }
            RunState::Interrupted => self.successor(run).await.map(End::GoesOnAs),
            RunState::Cancelled => {
                running.did(Effect::new(format!("steps of run {} before it was cancelled", run.id), run.progress.done));
                Err(if cancelled { RemedyError::Stopped } else { failed(format!("run {} was cancelled", run.id)) })
            }
            RunState::Failed | RunState::Queued | RunState::Running => {
                Err(failed(format!("run {}: {}", run.id, run.error.as_deref().unwrap_or("no error is known"))))
            }
        }
    }

    /// The run that the next leader queued for one whose leader was lost.
    async fn successor(&self, run: &JobRun) -> Result<Uuid, RemedyError> {
        let filter = RunFilter { job: Some(run.asked.job.clone()), state: None };
        let runs = self.store.job_runs(&filter, None, SUCCESSORS).await.map_err(failed)?;
        let again = format!("again:{}", run.id);
        let successor = runs.into_iter().find(|known| known.asked.idempotency_key == again);
        successor.map(|run| run.id).ok_or_else(|| failed(format!("run {} lost its leader once too often", run.id)))
    }
}

/// Shows how far a run is.
fn shown(run: &JobRun, running: &Running) -> Result<(), RemedyError> {
    running.step(run.progress.done, run.progress.total.unwrap_or_default())
}

enum End {
    Told(Value),
    GoesOnAs(Uuid),
}

/// Says what a run tells that it did, by these names; what is zero is left out.
pub fn tell(told: &Value, names: &[(&str, &str)], running: &Running) {
    let counts = names.iter().filter_map(|(name, text)| Some((told.get(name)?.as_u64()?, *text)));
    counts.filter(|(count, _)| *count > 0).for_each(|(count, text)| running.did(Effect::new(text, count)));
}
