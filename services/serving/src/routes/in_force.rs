//! Routes as they are set, kept, and found again by every process.

use super::{shadow::Shadow, shadow::Tally, sticky::PARTS};
use crate::{
    Serving,
    aliases::Kind,
    engine::{Engine, Limits},
    library::{Beside, over},
    resident::Loaded,
    status::ServingError,
    tensors::Invalid,
};
use loadline_models::registry::{Model, RegistryError};
use loadline_store::{AliasChange, AliasEntry, StoreError};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Rows of a shadow's batch.
const BATCH_ROWS: usize = 128;
/// After how long a shadow that could not be loaded is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Which versions get requests beside the champion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// 0: none.
    pub shadow: u64,
    /// 0: none.
    pub canary: u64,
    /// Of [`PARTS`], how many the canary answers.
    pub parts: u32,
}

/// A route that somebody wants.
#[derive(Debug, Clone)]
pub struct Wished {
    /// The model.
    pub model: String,
    /// The alias.
    pub alias: String,
    /// What it names, as far as the caller knows.
    pub expected: u64,
    /// Empty: only the champion answers.
    pub route: Route,
    /// Who wants it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// A route that this process follows.
pub struct InForce {
    /// Of its entry in the journal.
    number: u64,
    /// What the alias named when it was set; 0: it is over.
    pub champion: u64,
    /// What was set.
    pub route: Route,
    shadow: Mutex<Shade>,
}

/// What is kept of a route.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    route: Route,
    /// The last change of the alias when it was set: with the next one it is over, wherever that leads.
    change: u64,
}

/// What the journal says of a route.
struct Said {
    number: u64,
    /// 0: it is over.
    champion: u64,
    route: Route,
}

/// The shadow, or why it is not in memory.
enum Shade {
    Loaded(Arc<Shadow>),
    Absent { why: String, since: Instant },
}

impl Shade {
    fn absent(why: impl Into<String>) -> Self {
        Self::Absent { why: why.into(), since: Instant::now() }
    }
}

/// Where routes of an alias are kept: a name that no alias can have.
fn place(alias: &str) -> String {
    format!("{alias}/route")
}

/// What a canary is called among the versions in memory.
pub fn canary(alias: &str) -> String {
    format!("{alias}/canary")
}

impl Route {
    /// The field that makes no sense for this champion, and why.
    fn wrong(&self, champion: u64) -> Option<(&'static str, &'static str)> {
        let is_champion = |version| version != 0 && version == champion;
        match self {
            Self { shadow, .. } if is_champion(*shadow) => Some(("route.shadow", "is what the alias names")),
            Self { canary, .. } if is_champion(*canary) => Some(("route.canary", "is what the alias names")),
            Self { canary: 0, parts: 1.., .. } => Some(("route.percent", "is given without a canary")),
            Self { canary: 1.., parts, .. } if !(1..=PARTS).contains(parts) => {
                Some(("route.percent", "has to be above 0 and at most 100"))
            }
            _ => None,
        }
    }
}

impl InForce {
    fn new(number: u64, champion: u64, route: Route, shadow: Shade) -> Self {
        Self { number, champion, route, shadow: Mutex::new(shadow) }
    }

    /// The shadow, if there is one in memory.
    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        match &*self.shadow.lock().unwrap_or_else(PoisonError::into_inner) {
            Shade::Loaded(shadow) => Some(shadow.clone()),
            Shade::Absent { .. } => None,
        }
    }

    fn tally(&self) -> Tally {
        match &*self.shadow.lock().unwrap_or_else(PoisonError::into_inner) {
            Shade::Loaded(shadow) => shadow.tally(),
            Shade::Absent { why, .. } => Tally { last_failure: why.clone(), ..Tally::default() },
        }
    }

    /// Whether a shadow that is wanted should be tried again.
    fn lacks_shadow(&self) -> bool {
        let shade = self.shadow.lock().unwrap_or_else(PoisonError::into_inner);
        self.champion > 0
            && self.route.shadow > 0
            && matches!(&*shade, Shade::Absent { since, .. } if since.elapsed() >= TRY_AGAIN)
    }
}

impl Serving {
    /// Sets the route of an alias. When it returns, this process has answered its last request by the canary before, and the new one is in
    /// memory; other processes follow when they next look.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn set_route(&self, wished: Wished) -> Result<AliasEntry, ServingError> {
        let state = self.library.change().await;
        let Wished { model, alias, expected, route, .. } = &wished;
        let registered = self.library.registry().get(model).await?;
        let found = registered.aliases.get(alias).copied().unwrap_or_default();
        if found == 0 {
            return Err(ServingError::NoChampion { model: model.clone(), alias: alias.clone() });
        }
        if found != *expected {
            let (model, alias) = (model.clone(), alias.clone());
            return Err(ServingError::Moved { model, alias, expected: *expected, found });
        }
        if let Some((field, detail)) = route.wrong(found) {
            return Err(Invalid::new(field, detail).into());
        }
        let prepared = match route.canary {
            0 => None,
            version => Some(self.library.prepare(&registered, version).await?),
        };
        let shadow = match route.shadow {
            0 => Shade::absent(""),
            version => Shade::Loaded(self.shaded(&registered, version).await?),
        };
        let change = self.last_change(model, alias).await?.map_or(0, |last| last.number);
        let entry = self.append(&entry(&wished, change)?).await?;
        self.routes.put(model, alias, InForce::new(entry.number, found, *route, shadow));
        self.library.set_beside(model, alias, beside(alias, found, *route));
        let ended = self.library.follow(&state, &registered, prepared).await;
        over(&ended).await;
        tracing::info!(model, alias, ?route, "a route is in force");
        Ok(entry)
    }

    /// Ends the route of an alias, for good: what is on trial beside one version is not beside the next.
    pub(crate) fn end_route(&self, model: &str, alias: &str) {
        if let Some(known) = self.routes.find(model, alias) {
            self.routes.put(model, alias, InForce::new(known.number, 0, known.route, Shade::absent("")));
            self.library.set_beside(model, alias, None);
        }
    }

    /// Follows what others set, and what was set before this process began. A store that is down changes nothing.
    ///
    /// # Errors
    /// Those of the store and the registry.
    pub async fn follow_routes(&self) -> Result<(), ServingError> {
        for model in self.library.listing().iter() {
            for (alias, version) in &model.aliases {
                let Some(said) = self.said(&model.name, alias, *version).await? else { continue };
                let known = self.routes.find(&model.name, alias);
                let is_known = |known: &Arc<InForce>| known.number == said.number && known.champion == said.champion;
                if !known.as_ref().is_some_and(is_known) || known.is_some_and(|known| known.lacks_shadow()) {
                    self.catch_up(&model.name, alias).await?;
                }
            }
        }
        Ok(())
    }

    /// Brings into force what the journal says now.
    async fn catch_up(&self, model: &str, alias: &str) -> Result<(), ServingError> {
        let state = self.library.change().await;
        let registered = self.library.registry().get(model).await?;
        let version = registered.aliases.get(alias).copied().unwrap_or_default();
        let Some(Said { number, champion, route }) = self.said(model, alias, version).await? else { return Ok(()) };
        let shadow = match route.shadow {
            version if champion > 0 && version > 0 => self.shaded(&registered, version).await.map_or_else(
                |error| {
                    tracing::warn!(model, alias, version, %error, "a shadow cannot be loaded; it is tried again");
                    Shade::absent(error.to_string())
                },
                Shade::Loaded,
            ),
            _ => Shade::absent(""),
        };
        self.routes.put(model, alias, InForce::new(number, champion, route, shadow));
        self.library.set_beside(model, alias, beside(alias, champion, route));
        let ended = self.library.follow(&state, &registered, None).await;
        drop(state);
        over(&ended).await;
        Ok(())
    }

    /// The last route of an alias that names a version, by the journal; `None`: it never had one.
    async fn said(&self, model: &str, alias: &str, version: u64) -> Result<Option<Said>, ServingError> {
        let Some((number, champion, kept)) = self.last_change(model, &place(alias)).await?.and_then(read) else {
            return Ok(None);
        };
        let change = self.last_change(model, alias).await?.map_or(0, |last| last.number);
        let champion = if kept.change == change && champion == version { champion } else { 0 };
        Ok(Some(Said { number, champion, route: kept.route }))
    }

    /// A shadow, on an engine of its own: one that hangs has one thread, and nothing that others wait for.
    async fn shaded(&self, registered: &Model, version: u64) -> Result<Arc<Shadow>, ServingError> {
        let not_found = || RegistryError::NotFound(format!("version {version} of `{}`", registered.name));
        let found = registered.version(version).ok_or_else(not_found)?;
        let engine = Engine::new(Limits {
            batch_rows: BATCH_ROWS,
            queued_rows: self.limits.request_rows,
            runners: 1,
            target_wait: Duration::ZERO,
        });
        let loaded: Arc<Loaded> = self.library.apart(&registered.name, found, &engine).await?;
        Ok(Arc::new(Shadow::new(loaded, self.limits.request_rows)))
    }

    /// The route in force for an alias, with its champion.
    pub fn route_of(&self, model: &str, alias: &str) -> Option<(u64, Route)> {
        let (champion, found) = self.in_force(model, alias)?;
        (found.route != Route::default()).then_some((champion, found.route))
    }

    /// What came of the shadow in force for an alias: champion, shadow, tally.
    pub fn shadow_report(&self, model: &str, alias: &str) -> Option<(u64, u64, Tally)> {
        let (champion, found) = self.in_force(model, alias)?;
        (found.route.shadow > 0).then(|| (champion, found.route.shadow, found.tally()))
    }

    fn in_force(&self, model: &str, alias: &str) -> Option<(u64, Arc<InForce>)> {
        let champion = self.library.residents().model(model)?.aliased(alias)?.number;
        let found = self.routes.find(model, alias).filter(|found| found.champion == champion)?;
        Some((champion, found))
    }
}

/// What has to be in memory for a route.
fn beside(alias: &str, champion: u64, route: Route) -> Option<Beside> {
    (champion > 0 && route.canary > 0).then(|| Beside { name: canary(alias), champion, version: route.canary })
}

fn entry(wished: &Wished, change: u64) -> Result<AliasChange, ServingError> {
    let Wished { model, alias, expected, route, actor, reason } = wished.clone();
    let after = [route.canary, route.shadow].into_iter().find(|version| *version > 0);
    Ok(AliasChange {
        model,
        alias: place(&alias),
        action: Kind::Route.name().to_owned(),
        before: Some(expected),
        after,
        actor,
        evidence: serde_json::to_string(&Kept { route, change }).map_err(|error| StoreError::Broken(error.to_string()))?,
        reason,
    })
}

fn read(entry: AliasEntry) -> Option<(u64, u64, Kept)> {
    let AliasEntry { number, change, .. } = entry;
    let kept = serde_json::from_str(&change.evidence).ok()?;
    (change.action == Kind::Route.name()).then_some(())?;
    Some((number, change.before?, kept))
}
