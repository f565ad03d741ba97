//! Live skill: whether the champion is worse than the version before it, on the requests that it answered, by what then happened.
//!
//! ```text
//!  ModelInfer with an id ─▶ answered by the champion ─▶ kept: its row, its forecast
//!                                                          │ ReportOutcomes: the same id, what happened
//!                                                          ▼
//!                             the version before, behind every request ─▶ domain::gate: both on the same match ─▶ worse, for sure?
//! ```
//!
//! - [`kept`]: answered requests that wait for their outcome, so many and no more
//! - [`outcomes`]: outcomes joined with them, each once
//! - [`standing`]: what the latest of them say
//!
//! Everything here is in memory, and about one pair of versions: with the next change of the champion it begins anew. What is lost is
//! evidence, and no more: another process has its own, a restart begins with none.
//!
//! The nasty invariant: **an outcome is counted once**, and only for the versions that are in force when it comes.

pub mod kept;
pub mod outcomes;
pub mod standing;

pub use outcomes::{Class, Outcome, Tally};
pub use standing::{Found, Standing};

use crate::{
    Serving,
    resident::{CHAMPION, Residents, Served, alias_of},
    routes::{Routed, shadow::floats},
};
use kept::{Answered, Kept};
use loadline_proto::inference::{ModelInferRequest, ModelInferResponse};
use prost::Message as _;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A champion, and the version that was before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// What answers.
    pub champion: u64,
    /// What answered before, and is in memory still.
    pub previous: u64,
}

/// What is known, by model. Clones are one.
#[derive(Clone, Default)]
pub struct Skill {
    /// Requests take this lock, and nobody holds it for long.
    kept: Arc<Mutex<HashMap<String, Kept>>>,
    standings: Arc<Mutex<HashMap<String, Standing>>>,
}

/// A request of which something is kept once it has its answer.
pub struct Remembered {
    model: String,
    pair: Pair,
    id: String,
    request: ModelInferRequest,
    bytes: usize,
}

impl Pair {
    /// Of what is in memory of a model; `None`: there is nothing to compare its champion with.
    pub fn of(served: &Served) -> Option<Self> {
        let pair = Self { champion: served.aliased(CHAMPION)?.number, previous: served.previous? };
        (pair.champion != pair.previous && served.versions.contains_key(&pair.previous)).then_some(pair)
    }
}

impl Serving {
    /// What to keep of a request; `None`: nothing, as it names no id, has several rows, or its answer could not be compared.
    pub(crate) fn remember(&self, routed: &Routed, request: &ModelInferRequest) -> Option<Remembered> {
        let named = !request.id.is_empty() && alias_of(&request.model_version) == Some(CHAMPION) && !routed.is_canary();
        let one_row = || request.inputs.iter().all(|input| input.shape.first() == Some(&1));
        if !named || !one_row() {
            return None;
        }
        let pair = Pair::of(&*self.library.residents().model(&request.model_name)?)?;
        let bytes = request.encoded_len();
        if pair.champion != routed.number || bytes > kept::LARGEST {
            return None;
        }
        let (inputs, raw_input_contents) = (request.inputs.clone(), request.raw_input_contents.clone());
        let (model, id) = (request.model_name.clone(), request.id.clone());
        let request = ModelInferRequest { inputs, raw_input_contents, ..ModelInferRequest::default() };
        Some(Remembered { model, pair, id, request, bytes })
    }
}

impl Skill {
    /// Keeps a request that has its answer, if that is a forecast.
    pub(crate) fn answered(&self, remembered: Remembered, answer: &ModelInferResponse) {
        let Remembered { model, pair, id, request, bytes } = remembered;
        let Some(given) = floats(answer).filter(|given| given.values.len() == given.width) else { return };
        let answered = Answered { request, output: given.name, forecast: given.values };
        self.kept().entry(model).or_insert_with(|| Kept::of(pair)).put(pair, id, answered, bytes);
    }

    /// Champions that are worse than what was before them, for sure, of the versions that are in memory.
    pub fn worse(&self, residents: &Residents) -> Vec<Found> {
        let standings = self.standings();
        let found = standings.iter().filter_map(|(model, standing)| {
            let in_force = residents.model(model).as_deref().and_then(Pair::of);
            standing.found(model).filter(|found| found.is_worse && in_force == Some(found.pair))
        });
        let mut found: Vec<Found> = found.collect();
        found.sort_by(|one, other| one.rps.high.total_cmp(&other.rps.high));
        found
    }

    /// Forgets what is about versions that are not in force, or not in memory, any more.
    pub fn forget(&self, residents: &Residents) {
        let in_force = |model: &str, pair: Pair| residents.model(model).as_deref().and_then(Pair::of) == Some(pair);
        self.kept().retain(|model, kept| in_force(model, kept.pair()));
        self.standings().retain(|model, standing| in_force(model, standing.pair()));
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standings(&self) -> MutexGuard<'_, HashMap<String, Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
