//! PR-10: the queue of jobs takes none, gives none and answers no probe, until its connection is made anew. A job of the drill's own
//! waits meanwhile, and has to end as every other.

use super::{
    asking,
    own_model::{self, OwnModel},
};
use crate::{
    Serving,
    jobs::question::Question,
    resident::{CHAMPION, Served},
};
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use loadline_store::PredictionState;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use uuid::Uuid;

pub struct QueueDown {
    serving: Serving,
    model: OwnModel,
    held: Held,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Makes the question of this drill another one than that of the last.
    key: String,
    /// The job that it submitted.
    job: Option<String>,
}

impl QueueDown {
    pub fn new(serving: Serving, faults: Faults) -> Self {
        Self { model: OwnModel::new(serving.clone()), serving, held: Held::new(faults), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same job each time: its key is the drill's.
    async fn submit(&self) -> Result<PredictionState, String> {
        let key = self.state().key.clone();
        let request = OwnModel::question([0.5, -0.5]);
        let question = Question { request, key, valid_for: None, submitted_by: own_model::MODEL.to_owned() };
        let submitted = self.serving.jobs.submit(self.serving.library.residents(), question).await;
        let job = submitted.map_err(|error| format!("no job is accepted: {error}"))?.job;
        self.state().job = Some(job.id);
        Ok(job.state)
    }
}

#[async_trait]
impl Drill for QueueDown {
    fn mode(&self) -> &'static str {
        crate::detect::queue::MODE
    }

    fn fault(&self) -> &'static str {
        "the queue of jobs takes none, gives none and answers no probe, until its connection is made anew"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "C", target: "" }]
    }

    fn available(&self) -> Result<(), String> {
        match self.serving.jobs.is_worked_on() {
            true => Ok(()),
            false => Err("nobody here works on jobs (serving.jobs.workers is 0): one of a drill would not end".to_owned()),
        }
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        self.model.ready().await?;
        *self.state() = State { key: Uuid::now_v7().to_string(), ..State::default() };
        Ok(())
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault = Fault {
            name: format!("drill {}", self.mode()),
            kind: Kind::Error,
            calls: Calls::only(&["dispatch", "pull", "probe"]),
            ttl,
            cured_by: Some("reconnect"),
        };
        self.held.inject(fault);
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("nothing was asked of the queue")
    }

    /// Whoever waits is answered, and whoever submits is told that the job is kept.
    async fn contained(&self) -> Result<(), String> {
        let residents = self.serving.library.residents();
        let has_champion = |(name, served): (&String, &Arc<Served>)| served.aliased(CHAMPION).map(|_| name.clone());
        let models: Vec<String> = residents.table().iter().filter_map(has_champion).collect();
        asking::all(residents, &models).await?;
        match self.submit().await? {
            PredictionState::Accepted => Ok(()),
            other => Err(format!("a job that was submitted is {other:?}, though the queue takes none")),
        }
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }

    /// Its job has ended, as every other will.
    async fn clean(&self) -> Result<(), String> {
        let Some(id) = self.state().job.clone() else { return Ok(()) };
        let job = self.serving.jobs.get(&id).await.map_err(|error| error.to_string())?;
        match job.state {
            PredictionState::Succeeded => Ok(()),
            other => Err(format!("job {id} of the drill is {other:?}: {}", job.detail.unwrap_or_default())),
        }
    }
}
