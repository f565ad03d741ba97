//! Brings what the registry names into memory, and keeps it there whatever becomes of the registry.
//!
//! ```text
//!  registry ──look: aliases of all models──▶ which versions ──▶ artifact on disk, or download ──▶ sha256 as pinned? fit in a child?
//!                                                                                                     │
//!  what answered last, on disk ──start──▶ memory ◀── swap ◀── warm ◀── predictor ◀────────────────────┘
//! ```
//!
//! What is good stays: a registry that is silent, an artifact that is lost, a file that cannot be loaded or a model that is gone from
//! the registry takes nothing out of memory. Only a new version that is loaded and warm takes the place of an old one, and only an
//! operator unloads a model.
//!
//! The nasty invariant: **one change at a time**. Looking, promoting, loading and unloading hold the same lock from their
//! question to the registry until the table is in place, so that no older answer of the registry undoes a newer change.

mod beside;
mod bring;
mod check;
mod failures;
mod freshness;
mod last_good;
mod renewable;

pub use beside::Beside;
pub use check::Checker;
pub use freshness::Freshness;
pub use renewable::{RENEWED, Renewable};

use crate::{
    engine::Engine,
    resident::{CHAMPION, Loaded, Residents, Served, Tenure},
    status::ServingError,
};
use arc_swap::ArcSwap;
use failures::Failures;
use loadline_domain::{Clock, Timestamp};
use loadline_models::{
    artifacts::ArtifactStore,
    registry::{Model, Registry, RegistryError},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
};
use tokio::sync::{Mutex, MutexGuard};

/// What a library is made of.
pub struct Parts {
    /// Where models are registered.
    pub registry: Arc<dyn Registry>,
    /// Where their files are kept.
    pub artifacts: Arc<ArtifactStore>,
    /// Where they run.
    pub engine: Engine,
    /// Looks at files before this process does.
    pub checker: Checker,
    /// Largest file that is loaded, in bytes.
    pub largest: u64,
    /// What "now" is.
    pub clock: Arc<dyn Clock>,
}

/// What is in memory, and why.
pub struct Library {
    parts: Parts,
    residents: Residents,
    freshness: Freshness,
    failures: Failures,
    /// What the registry last said of itself.
    listing: ArcSwap<Vec<Model>>,
    beside: beside::Table,
    state: Mutex<State>,
    ready: AtomicBool,
    /// The registry's answer that is written down, in microseconds since 1970.
    written_at: AtomicI64,
}

/// Held by whoever changes what is in memory.
#[derive(Default)]
pub struct State {
    /// Models that an operator unloaded.
    withheld: BTreeSet<String>,
}

impl Library {
    /// A library with nothing in memory.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            residents: Residents::default(),
            freshness: Freshness::default(),
            failures: Failures::default(),
            listing: ArcSwap::default(),
            beside: beside::Table::default(),
            state: Mutex::default(),
            ready: AtomicBool::new(false),
            written_at: AtomicI64::new(0),
        }
    }

    /// What is in memory.
    pub fn residents(&self) -> &Residents {
        &self.residents
    }

    /// How old the registry's last answer is.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// `READY`, or `READY_STALE(age)`.
    pub fn state(&self) -> String {
        self.freshness.state(self.parts.clock.now())
    }

    /// Why versions are not in memory.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// The registry.
    pub fn registry(&self) -> &dyn Registry {
        &*self.parts.registry
    }

    /// What the registry last listed.
    pub fn listing(&self) -> Arc<Vec<Model>> {
        self.listing.load_full()
    }

    /// Whether it knows what it has to serve: from the registry, or from what answered last.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// Where what is in memory runs.
    pub fn engine(&self) -> &Engine {
        &self.parts.engine
    }

    /// What has to be in memory beside the version that an alias names; [`Library::follow`] brings it there.
    pub fn set_beside(&self, model: &str, alias: &str, beside: Option<Beside>) {
        self.beside.set(model, alias, beside);
    }

    /// The right to change what is in memory.
    pub async fn change(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    /// Asks the registry for all its models, and brings what their aliases name into memory.
    ///
    /// # Errors
    /// When the registry does not answer: then everything stays.
    pub async fn look(&self) -> Result<(), RegistryError> {
        let state = self.change().await;
        let models = match self.parts.registry.list().await {
            Ok(models) => models,
            Err(error) => {
                self.freshness.silent(error.to_string());
                return Err(error);
            }
        };
        self.freshness.answered(self.parts.clock.now());
        for model in &models {
            self.follow(&state, model, None).await;
        }
        self.listing.store(Arc::new(models));
        let written_at = Timestamp::from_micros(self.written_at.load(Relaxed));
        if self.parts.clock.now().since(written_at) >= last_good::REFRESHED_AFTER {
            self.write_down().await;
        }
        self.ready.store(true, Relaxed);
        Ok(())
    }

    /// Brings what a model's aliases name into memory, where it is not `prepared`. Returns the tenures that ended with it. What
    /// cannot be loaded leaves its alias with the version it has.
    pub async fn follow(&self, state: &State, model: &Model, prepared: Option<Arc<Loaded>>) -> Vec<Arc<Tenure>> {
        if state.withheld.contains(&model.name) {
            return vec![];
        }
        let before = self.residents.model(&model.name);
        let mut served = before.as_deref().cloned().unwrap_or_default();
        served.versions.extend(prepared.map(|version| (version.number, version)));
        let beside = self.beside.of(model);
        let besides = beside.iter().map(|beside| (&beside.name, &beside.version));
        for (alias, number) in model.aliases.iter().chain(besides) {
            match self.version(&served, model, *number).await {
                Ok(version) => served.name(alias, &version),
                Err(error) => tracing::debug!(model = model.name, alias, number, %error, "an alias keeps the version it has"),
            }
        }
        let is_beside = |alias: &String| beside.iter().any(|beside| beside.name == *alias);
        served.aliases.retain(|alias, _| alias == CHAMPION || model.aliases.contains_key(alias) || is_beside(alias));
        self.settle(&model.name, before.as_deref(), served).await
    }

    /// Brings a version into memory before an alias names it: it is kept there for whoever changes the alias, and what cannot be loaded
    /// is found out while nothing has changed.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub async fn prepare(&self, model: &Model, number: u64) -> Result<Arc<Loaded>, ServingError> {
        self.failures.forget(&model.name);
        let served = self.residents.model(&model.name).as_deref().cloned().unwrap_or_default();
        self.version(&served, model, number).await
    }

    /// A version of a model, in memory or brought there.
    ///
    /// # Errors
    /// Why it cannot be: the same for a while, without a new try.
    pub async fn version(&self, served: &Served, model: &Model, number: u64) -> Result<Arc<Loaded>, ServingError> {
        let not_found = || RegistryError::NotFound(format!("version {number} of `{}`", model.name));
        let version = model.version(number).ok_or_else(not_found)?;
        match served.versions.get(&number) {
            Some(loaded) if version.sha256.is_none_or(|pinned| pinned == loaded.sha256) => Ok(loaded.clone()),
            _ => self.bring(&model.name, version).await,
        }
    }

    /// Puts a model in place as it is now, if that is another than before, and writes down what answers.
    pub async fn settle(&self, name: &str, before: Option<&Served>, mut served: Served) -> Vec<Arc<Tenure>> {
        let champion = |served: &Served| served.aliased(CHAMPION).map(|version| version.number);
        let was = before.and_then(champion);
        if was.is_some() && was != champion(&served) {
            served.previous = was;
        }
        served.forget_unnamed();
        if served.versions.is_empty() || before.is_some_and(|before| same(before, &served)) {
            return vec![];
        }
        let ended = self.residents.put(name, Some(served));
        self.write_down().await;
        ended
    }

    /// Lets a model be served again, and loads it now.
    ///
    /// # Errors
    /// When it is not registered, no alias names a version of it, or the champion cannot be loaded.
    pub async fn load(&self, name: &str) -> Result<(), ServingError> {
        let mut state = self.change().await;
        let model = self.parts.registry.get(name).await?;
        state.withheld.remove(name);
        self.failures.forget(name);
        self.follow(&state, &model, None).await;
        for number in model.aliases.values() {
            if let Some(why) = self.failures.why(name, *number) {
                return Err(ServingError::NotLoadable { model: name.to_owned(), version: *number, why });
            }
        }
        self.residents.hold(name, "").map(drop)
    }

    /// Takes a model out of memory, until it is loaded again; when it returns, the last request has its answer.
    ///
    /// # Errors
    /// When nothing of it is there.
    pub async fn unload(&self, name: &str) -> Result<(), ServingError> {
        let mut state = self.change().await;
        if self.residents.model(name).is_none() {
            return Err(ServingError::UnknownModel(name.to_owned()));
        }
        state.withheld.insert(name.to_owned());
        let ended = self.residents.put(name, None);
        self.write_down().await;
        drop(state);
        over(&ended).await;
        Ok(())
    }
}

/// Waits until no request is in any of them.
pub async fn over(tenures: &[Arc<Tenure>]) {
    for tenure in tenures {
        tenure.over().await;
    }
}

fn same(a: &Served, b: &Served) -> bool {
    let tenures = a.aliases.len() == b.aliases.len()
        && a.aliases.iter().zip(&b.aliases).all(|((a, left), (b, right))| a == b && Arc::ptr_eq(left, right));
    tenures && a.previous == b.previous && a.versions.keys().eq(b.versions.keys())
}
