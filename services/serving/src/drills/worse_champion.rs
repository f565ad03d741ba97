//! PR-07: a version that answers about the opposite is promoted, of the drills' own model, and what happens to its answers is reported. A
//! control reports the same of the one that answers well.

use super::own_model::{MODEL, OwnModel};
use crate::{
    Serving,
    resident::CHAMPION,
    skill::{Class, Outcome, Pair, Tally},
};
use async_trait::async_trait;
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use loadline_proto::inference::{ModelInferRequest, grpc_inference_service_server::GrpcInferenceService as _};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};
use tonic::Request;
use uuid::Uuid;

/// Questions whose outcomes are reported at once: more than the least that decides.
const QUESTIONS: u32 = 60;

pub struct WorseChampion {
    serving: Serving,
    model: OwnModel,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The better one, and the worse one that was before it.
    pair: Option<Pair>,
    /// What became of the outcomes of the worse one.
    tally: Tally,
    /// Ends what was done when its time is over, whatever becomes of the drill.
    bound: Option<JoinHandle<()>>,
}

impl WorseChampion {
    pub fn new(serving: Serving) -> Self {
        Self { model: OwnModel::new(serving.clone()), serving, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the champion as a caller does, and reports what the better one would have expected to happen.
    async fn ask_and_report(&self) -> Result<Tally, DrillError> {
        let mut outcomes = Vec::new();
        for at in 0..QUESTIONS {
            // Numbers that are spread, and never far from each other: none of them is too easy.
            let x = [(at * 7 % 11) as f32 / 5.0 - 1.0, (at * 5 % 13) as f32 / 6.0 - 1.0];
            let id = Uuid::now_v7().to_string();
            let request = ModelInferRequest { id: id.clone(), ..OwnModel::question(x) };
            self.serving.model_infer(Request::new(request)).await.map_err(DrillError::of)?;
            outcomes.push(Outcome { id, class: Class::Index(OwnModel::most_likely(x)), group: String::new() });
        }
        let reported = self.serving.report_outcomes(MODEL.to_owned(), CHAMPION, outcomes).await;
        let tally = reported.map_err(DrillError::of)?;
        match tally.counted == u64::from(QUESTIONS) {
            true => Ok(tally),
            false => Err(DrillError(format!("{} of {QUESTIONS} outcomes were counted: {tally:?}", tally.counted))),
        }
    }
}

#[async_trait]
impl Drill for WorseChampion {
    fn mode(&self) -> &'static str {
        crate::detect::regression::MODE
    }

    fn fault(&self) -> &'static str {
        "a version that answers about the opposite is promoted, of the drills' own model, and what happens is reported"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "B", target: MODEL }]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        let pair = self.model.ready_after_the_worse().await?;
        *self.state() = State { pair: Some(pair), ..State::default() };
        self.ask_and_report().await.map(drop)
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let pair = self.state().pair.ok_or_else(|| DrillError("it was not prepared".to_owned()))?;
        let model = self.model.clone();
        let bound = tokio::spawn(async move {
            sleep(ttl).await;
            if let Err(error) = model.ready().await {
                tracing::error!(%error, "the worse version of the drills' model is still its champion");
            }
        });
        self.state().bound = Some(bound);
        self.model.promote(pair.previous, pair.champion, "a drill promotes a worse version").await?;
        let tally = self.ask_and_report().await?;
        self.state().tally = tally;
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        let state = self.state();
        let found = state.tally.found.as_ref().filter(|found| found.is_worse);
        found.map(drop).ok_or_else(|| format!("the outcomes do not say that it is worse: {:?}", state.tally))
    }

    /// The version before is in memory, and callers are answered.
    async fn contained(&self) -> Result<(), String> {
        let pair = self.state().pair.ok_or("it was not prepared")?;
        let worse_before_better = Some(Pair { champion: pair.previous, previous: pair.champion });
        if self.model.pair() != worse_before_better {
            return Err(format!("version {}, which was before it, is not in memory", pair.champion));
        }
        let answer = self.serving.model_infer(Request::new(OwnModel::question([0.5, -0.5]))).await;
        answer.map(drop).map_err(|status| format!("the champion does not answer: {status}"))
    }

    async fn undo(&self) -> Result<(), DrillError> {
        if let Some(bound) = self.state().bound.take() {
            bound.abort();
        }
        let prepared = self.state().pair.is_some();
        if prepared { self.model.ready().await.map(drop) } else { Ok(()) }
    }

    async fn clean(&self) -> Result<(), String> {
        let Some(pair) = self.state().pair else { return Ok(()) };
        match self.model.pair() {
            Some(now) if now.champion == pair.champion => Ok(()),
            other => Err(format!("the champion of the drills' model is not version {}: {other:?}", pair.champion)),
        }
    }
}
