//! A version that answers nobody: asked once the answer is made, when nothing else is to be done, and compared.

use crate::{
    engine::Engine,
    resident::Loaded,
    tensors::{self, raw, request},
};
use loadline_domain::gate::score;
use loadline_models::{DataType, Tensor};
use loadline_proto::inference::{ModelInferRequest, ModelInferResponse, model_infer_response::InferOutputTensor};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that may wait for a shadow; the next one is left out.
const WAITING: usize = 32;
/// Longest that a shadow may take for a request: one that hangs holds up its own thread, and nothing else.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often, and after how long, it is looked for a moment without other work.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How far the sum of a forecast may be from 1.
const SUM: f64 = 1e-3;

/// A shadow in memory, on an engine of its own.
pub struct Shadow {
    version: Arc<Loaded>,
    waiting: Arc<Semaphore>,
    request_rows: usize,
    patience: Duration,
    tally: Mutex<Tally>,
}

/// What came of it so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Requests that it answered.
    pub requests: u64,
    /// Left out because something else had to be done.
    pub shed: u64,
    /// It failed, or took too long.
    pub failed: u64,
    /// Why the last one did.
    pub last_failure: String,
    /// Rows that were compared.
    pub rows: u64,
    /// Rows whose largest value is at the same place.
    pub agreed: u64,
    /// Rows that are forecasts in both answers.
    pub forecasts: u64,
    /// Mean total variation distance of those.
    pub mean_distance: f64,
    /// The largest.
    pub max_distance: f64,
}

/// A request that a shadow will be asked, once it has its answer.
pub struct Seen {
    shadow: Arc<Shadow>,
    request: ModelInferRequest,
    /// Its place among those that wait.
    place: OwnedSemaphorePermit,
}

/// An output with several floats a row.
#[derive(Debug, PartialEq)]
pub(crate) struct Floats {
    pub name: String,
    pub width: usize,
    pub values: Vec<f64>,
}

impl Shadow {
    /// A version that was loaded apart from those that answer.
    pub fn new(version: Arc<Loaded>, request_rows: usize) -> Self {
        Self { version, waiting: Arc::new(Semaphore::new(WAITING)), request_rows, patience: PATIENCE, tally: Mutex::default() }
    }

    /// What came of it so far.
    pub fn tally(&self) -> Tally {
        self.told().clone()
    }

    fn told(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a request, unless those who want an answer need the engine, or as many wait as may.
    pub fn see(self: &Arc<Self>, request: &ModelInferRequest, engine: &Engine) -> Option<Seen> {
        let place = engine.has_room().then(|| self.waiting.clone().try_acquire_owned().ok()).flatten();
        match place {
            Some(place) => Some(Seen { shadow: self.clone(), request: request.clone(), place }),
            None => {
                self.told().shed += 1;
                None
            }
        }
    }

    async fn ask(&self, request: ModelInferRequest) -> Result<Vec<Tensor>, String> {
        let asked = request::read(request, &self.version.inputs, &self.version.outputs, self.request_rows);
        let asked = asked.map_err(|wrong| format!("it does not take what the champion takes: {wrong}"))?;
        let answer = tokio::time::timeout(self.patience, self.version.lane.answer(asked.inputs, asked.rows, None)).await;
        let answer = answer.map_err(|_| format!("it did not answer within {:?}", self.patience))?;
        answer.map_err(|refusal| crate::status::ServingError::from(refusal).to_string())
    }

    fn compare(&self, given: &Floats, answer: Result<Vec<Tensor>, String>) {
        let compared = answer.and_then(|outputs| {
            let named = outputs.into_iter().find(|output| output.name == given.name);
            let values = named.and_then(tensors::floats).filter(|values| values.len() == given.values.len());
            values.ok_or_else(|| format!("it gives no output `{}` of {} values a row", given.name, given.width))
        });
        let mut tally = self.told();
        match compared {
            Ok(values) => tally.add(given, &values),
            Err(why) => {
                tally.failed += 1;
                tally.last_failure = why;
            }
        }
    }
}

impl Seen {
    /// Asks the shadow, in a task of its own: whoever was answered does not wait.
    pub fn answered(self, answer: &ModelInferResponse, engine: Engine) {
        let Some(given) = floats(answer) else { return };
        tokio::spawn(async move {
            let Self { shadow, request, place } = self;
            if room(&engine).await {
                let answer = shadow.ask(request).await;
                shadow.compare(&given, answer);
            } else {
                shadow.told().shed += 1;
            }
            drop(place);
        });
    }
}

impl Tally {
    fn add(&mut self, given: &Floats, values: &[f64]) {
        self.requests += 1;
        for (given, shadow) in given.values.chunks(given.width).zip(values.chunks(given.width)) {
            self.rows += 1;
            self.agreed += u64::from(score::most_likely(given) == score::most_likely(shadow));
            let is_forecast = |row: &[f64]| (row.iter().sum::<f64>() - 1.0).abs() <= SUM && row.iter().all(|part| *part >= 0.0);
            if is_forecast(given) && is_forecast(shadow) {
                let distance = score::distance(given, shadow);
                self.forecasts += 1;
                self.mean_distance += (distance - self.mean_distance) / self.forecasts as f64;
                self.max_distance = self.max_distance.max(distance);
            }
        }
    }
}

/// Waits a moment for an engine that whoever wants an answer does not need.
async fn room(engine: &Engine) -> bool {
    for _ in 0..LOOKS {
        if engine.has_room() {
            return true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}

/// The first output with several floats a row, in either form that an answer has.
pub(crate) fn floats(answer: &ModelInferResponse) -> Option<Floats> {
    answer.outputs.iter().enumerate().find_map(|(at, output)| {
        let InferOutputTensor { name, datatype, shape, contents, .. } = output;
        let data_type = DataType::named(datatype)?;
        let [rows, width] = shape[..] else { return None };
        let (rows, width) = (usize::try_from(rows).ok()?, usize::try_from(width).ok().filter(|width| *width > 1)?);
        let values = match (contents, answer.raw_output_contents.get(at)) {
            (None, Some(bytes)) => {
                tensors::floats(Tensor::new(name, [rows, width], raw::values(data_type, bytes, rows * width).ok()?))?
            }
            (Some(contents), _) if data_type == DataType::F32 => contents.fp32_contents.iter().copied().map(f64::from).collect(),
            (Some(contents), _) if data_type == DataType::F64 => contents.fp64_contents.clone(),
            _ => return None,
        };
        (values.len() == rows * width).then(|| Floats { name: name.clone(), width, values })
    })
}

#[cfg(test)]
mod tests;
