//! The drills of rollup, one a file.

mod failing_job;
mod wrong_count;

use crate::{
    Parts,
    job::{Job, JobError, Running},
};
use async_trait::async_trait;
use loadline_fault::{Call, Fails, Faults, Faulty};
use loadline_health::{
    Drill, Monitor,
    drill::{DrillError, until},
};
use loadline_store::{Enqueued, JobRun, NewRun, RunFilter, RunState, Store, StoreError, Trigger};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use uuid::Uuid;

const LOOK: Duration = Duration::from_millis(100);
/// How long a run of a schedule may take that a drill waits for.
const IDLE_WITHIN: Duration = Duration::from_secs(15);

/// Where rollup can be broken. Ports have calls of the same names: each has faults of its own.
#[derive(Debug, Default)]
pub struct OfPorts {
    /// Of the store, of jobs, and of the process.
    pub store: Faults,
    pub history: Faults,
}

/// Gives the monitor its drills. `store` is the one without faults: what drills write down with is not what they break.
pub fn install(monitor: &Monitor, parts: &Parts, store: Arc<dyn Store>, faults: &OfPorts, of_process: Vec<Arc<dyn Drill>>) {
    let failing = failing_job::all(&store, faults).into_iter().map(|drill| Arc::new(drill) as Arc<dyn Drill>);
    let wrong = wrong_count::WrongCount::new(parts, store.clone(), faults.store.clone());
    let drills = failing.chain([Arc::new(wrong) as Arc<dyn Drill>]).chain(of_process).collect();
    loadline_ledger::drills::install(monitor, store, vec![faults.store.clone(), faults.history.clone()], drills);
}

/// A job behind faults, or as it is where none can be injected.
pub fn behind(job: Arc<dyn Job>, faults: Option<&Faults>) -> Arc<dyn Job> {
    match faults {
        Some(faults) => Arc::new(Faulty::new(job, faults.clone())),
        None => job,
    }
}

#[async_trait]
impl<T: Job + ?Sized> Job for Faulty<T> {
    fn name(&self) -> &'static str {
        self.inner().name()
    }

    fn description(&self) -> &'static str {
        self.inner().description()
    }

    fn check(&self, parameters: &Value) -> Result<(), String> {
        self.inner().check(parameters)
    }

    async fn run(&self, run: &Running) -> Result<Value, JobError> {
        let call = Call { name: "run", about: self.inner().name() };
        self.faults().around(call, self.inner().run(run), None).await
    }
}

impl Fails for JobError {
    fn unavailable(why: String) -> Self {
        StoreError::Unavailable(why).into()
    }

    fn broken(why: String) -> Self {
        Self::Refused(why)
    }

    fn unknown(why: String) -> Self {
        StoreError::Unknown(why).into()
    }
}

/// Queues a run for a drill.
async fn enqueue(store: &dyn Store, mode: &str, job: &str, parameters: &Value) -> Result<JobRun, DrillError> {
    let run = NewRun {
        job: job.to_owned(),
        idempotency_key: format!("drill:{}", Uuid::new_v4()),
        trigger: Trigger::Request,
        parameters: parameters.to_string(),
        requested_by: format!("drill {mode}"),
        scheduled_for: None,
        attempt: 1,
    };
    match store.enqueue(&run).await.map_err(DrillError::of)? {
        Enqueued::New(run) | Enqueued::Known(run) | Enqueued::KeyTaken(run) => Ok(run),
    }
}

/// Waits for the end of a run; whoever calls bounds it.
async fn ended(store: &dyn Store, id: Uuid) -> Result<JobRun, DrillError> {
    loop {
        match store.job_run(id).await.map_err(DrillError::of)? {
            Some(run) if run.state.is_final() => return Ok(run),
            Some(_) => sleep(LOOK).await,
            None => return Err(DrillError(format!("run {id} is gone"))),
        }
    }
}

/// Waits for the end of runs under way: a schedule may have come first.
async fn become_idle(store: &dyn Store, job: &str) -> Result<(), DrillError> {
    until(IDLE_WITHIN, || is_idle(store, job)).await.map(drop).map_err(DrillError)
}

/// Whether no run of a job waits or works.
async fn is_idle(store: &dyn Store, job: &str) -> Result<(), String> {
    for state in [RunState::Running, RunState::Queued] {
        let filter = RunFilter { job: Some(job.to_owned()), state: Some(state) };
        let runs = store.job_runs(&filter, None, 1).await.map_err(|error| error.to_string())?;
        if let Some(run) = runs.first() {
            return Err(format!("run {} of {job} is under way", run.id));
        }
    }
    Ok(())
}
