//! PR-08: the registry answers neither probes nor looks, until its client is made anew. What changes a model goes on meanwhile, so
//! that a drill stops nobody's promotion.

use super::asking;
use crate::{
    library::{Library, RENEWED},
    resident::{CHAMPION, Served},
};
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use loadline_models::Sha256;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The artifact of each model's champion.
type Champions = BTreeMap<String, Sha256>;

pub struct RegistryDown {
    library: Arc<Library>,
    held: Held,
    /// What answered before.
    before: Mutex<Champions>,
}

impl RegistryDown {
    pub fn new(library: Arc<Library>, faults: Faults) -> Self {
        Self { library, held: Held::new(faults), before: Mutex::default() }
    }

    fn before(&self) -> MutexGuard<'_, Champions> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn champions(&self) -> Champions {
        let table = self.library.residents().table();
        let champion = |(name, served): (&String, &Arc<Served>)| Some((name.clone(), served.aliased(CHAMPION)?.sha256));
        table.iter().filter_map(champion).collect()
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
        *self.before() = self.champions();
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
        self.held.inject(fault);
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("nothing was asked of the registry")
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
        let (before, now) = (self.before().clone(), self.champions());
        if let Some(gone) = before.keys().find(|model| !now.contains_key(*model)) {
            return Err(format!("the champion of {gone} has left memory"));
        }
        asking::all(self.library.residents(), before.keys()).await
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }

    async fn clean(&self) -> Result<(), String> {
        if self.library.freshness().is_stale() { Err("answers are still stale".to_owned()) } else { Ok(()) }
    }
}
