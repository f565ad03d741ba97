//! Which other versions get requests by an alias: a canary a part of them, a shadow all that there is time for.
//!
//! ```text
//!  request by alias ─▶ its champion, held ─▶ the route's champion? ─no──▶ champion answers
//!                                              │ yes
//!                        key below the weight ─┼─▶ canary answers, and says so
//!                                              └─▶ champion answers ─▶ shadow is asked beside the reply, if nothing else waits
//! ```
//!
//! - [`sticky`]: the same key, the same version; a higher weight takes keys from the champion only
//! - [`shadow`]: asked once the answer is made, on an engine of its own, left out first
//! - [`in_force`]: routes as they are set, kept, and found again by every process
//!
//! A route is about the version that the alias named when it was set: with the next change of the alias it is over, also where that
//! leads back to the same version.
//!
//! The nasty invariant: **whoever is answered by a canary holds the champion too**. A promotion therefore waits for them, and when it is
//! acknowledged nobody is answered by what was on trial before.

mod in_force;
pub mod shadow;
pub mod sticky;

pub use in_force::{Route, Wished};

use crate::{
    Serving,
    resident::{Held, alias_of},
    status::ServingError,
};
use arc_swap::ArcSwap;
use in_force::InForce;
use loadline_proto::inference::ModelInferRequest;
use shadow::{Seen, Shadow};
use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex},
};
use sticky::Spread;

/// Routes that this process follows, by model and alias. Clones are one.
#[derive(Clone, Default)]
pub struct Routes {
    table: Arc<ArcSwap<HashMap<String, HashMap<String, Arc<InForce>>>>>,
    spread: Arc<Spread>,
    /// Held by whoever replaces the table.
    changing: Arc<Mutex<()>>,
}

/// The version that a request is answered by.
pub struct Routed {
    answers: Held,
    /// The champion, where a canary answers.
    champion: Option<Held>,
    shadow: Option<Arc<Shadow>>,
}

impl Routed {
    /// Whether a canary answers.
    pub fn is_canary(&self) -> bool {
        self.champion.is_some()
    }
}

impl Deref for Routed {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.answers
    }
}

impl Serving {
    /// Holds the version that a request is answered by.
    ///
    /// # Errors
    /// When there is none of that name in memory; when its key is no text.
    pub fn route(&self, request: &ModelInferRequest) -> Result<Routed, ServingError> {
        let residents = self.library.residents();
        let key = sticky::key(request)?;
        let named = residents.hold(&request.model_name, &request.model_version)?;
        let alias = alias_of(&request.model_version);
        let found = alias.and_then(|alias| Some((alias, self.routes.find(&request.model_name, alias)?)));
        // Set for another champion: it is over.
        let Some((alias, route)) = found.filter(|(_, route)| route.champion == named.number) else {
            return Ok(Routed { answers: named, champion: None, shadow: None });
        };
        if route.route.canary > 0 {
            let place = key.map_or_else(|| self.routes.spread.next(), |key| sticky::place(&request.model_name, alias, key));
            if place < route.route.parts
                && let Ok(canary) = residents.hold(&request.model_name, &in_force::canary(alias))
            {
                return Ok(Routed { answers: canary, champion: Some(named), shadow: None });
            }
        }
        Ok(Routed { answers: named, champion: None, shadow: route.shadow() })
    }

    /// What a shadow will be asked once the request has its answer.
    pub fn seen(&self, routed: &Routed, request: &ModelInferRequest) -> Option<Seen> {
        routed.shadow.as_ref()?.see(request, self.library.engine())
    }
}

impl Routes {
    fn find(&self, model: &str, alias: &str) -> Option<Arc<InForce>> {
        self.table.load().get(model)?.get(alias).cloned()
    }

    /// Puts a route in place of the one before.
    fn put(&self, model: &str, alias: &str, route: InForce) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut table = HashMap::clone(&self.table.load());
        table.entry(model.to_owned()).or_default().insert(alias.to_owned(), Arc::new(route));
        self.table.store(Arc::new(table));
    }
}
