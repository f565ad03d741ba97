//! PR-08: the registry answers neither probes nor looks, until its client is made anew. What changes a model goes on meanwhile, so
//! that a drill stops nobody's promotion.

use crate::{
    engine::Refusal,
    library::{Library, RENEWED},
    resident::{CHAMPION, Served},
};
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Injected, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use loadline_models::{DataType, Port, Sha256, Tensor, Values};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The artifact of each model's champion.
type Champions = BTreeMap<String, Sha256>;

pub struct RegistryDown {
    library: Arc<Library>,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    injected: Option<Injected>,
    /// What answered before.
    before: Champions,
}

impl RegistryDown {
    pub fn new(library: Arc<Library>, faults: Faults) -> Self {
        Self { library, faults, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn champions(&self) -> Champions {
        let table = self.library.residents().table();
        let champion = |(name, served): (&String, &Arc<Served>)| Some((name.clone(), served.aliased(CHAMPION)?.sha256));
        table.iter().filter_map(champion).collect()
    }

    /// Asks a champion for one row, as a caller is answered.
    async fn ask(&self, model: &str) -> Result<(), String> {
        let version = self.library.residents().hold(model, "").map_err(|error| error.to_string())?;
        match version.lane.answer(version.inputs.iter().map(one_row).collect(), 1, None).await {
            // A model that refuses these values has answered.
            Ok(_) | Err(Refusal::Invalid(_)) => Ok(()),
            Err(refusal) => Err(format!("{model} does not answer: {refusal:?}")),
        }
    }
}

#[async_trait]
impl Drill for RegistryDown {
    fn mode(&self) -> &'static str {
        crate::detect::registry::MODE
    }

    fn fault(&self) -> &'static str {
        "the registry of models answers neither probes nor looks, until its client is made anew"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "C", target: "" }]
    }

    /// Looks at the registry now, where that is done seldom: from a failed look on answers say how old they are.
    fn wake(&self) {
        let library = self.library.clone();
        tokio::spawn(async move { library.look().await });
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        let before = self.champions();
        *self.state() = State { injected: None, before };
        Ok(())
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault = Fault {
            name: format!("drill {}", self.mode()),
            kind: Kind::Error,
            calls: Calls::only(&["probe", "list"]),
            ttl,
            cured_by: Some(RENEWED),
        };
        self.state().injected = Some(self.faults.inject(fault));
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        let met = self.state().injected.as_ref().map_or(0, Injected::met);
        if met > 0 { Ok(()) } else { Err("nothing was asked of the registry".to_owned()) }
    }

    /// Whoever answered answers, and says that it is stale.
    async fn contained(&self) -> Result<(), String> {
        if !self.library.is_ready() {
            return Err("it is not ready any more".to_owned());
        }
        let state = self.library.state();
        if !state.starts_with("READY_STALE(") {
            return Err(format!("answers say that they are {state}"));
        }
        let (before, now) = (self.state().before.clone(), self.champions());
        if let Some(gone) = before.keys().find(|model| !now.contains_key(*model)) {
            return Err(format!("the champion of {gone} has left memory"));
        }
        for model in before.keys() {
            self.ask(model).await?;
        }
        Ok(())
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.state().injected = None;
        Ok(())
    }

    async fn clean(&self) -> Result<(), String> {
        if self.library.freshness().is_stale() { Err("answers are still stale".to_owned()) } else { Ok(()) }
    }
}

/// A row of nothing in particular, of the form that a model takes.
fn one_row(port: &Port) -> Tensor {
    let shape: Vec<usize> = port.shape.iter().map(|length| length.unwrap_or(1)).collect();
    let count = shape.iter().product();
    let values = match port.data_type {
        DataType::Bool => Values::Bool(vec![false; count]),
        DataType::I32 => Values::I32(vec![0; count]),
        DataType::I64 => Values::I64(vec![0; count]),
        DataType::F32 => Values::F32(vec![0.0; count]),
        DataType::F64 => Values::F64(vec![0.0; count]),
        DataType::Text => Values::Text(vec![String::new(); count]),
    };
    Tensor::new(port.name.clone(), shape, values)
}
