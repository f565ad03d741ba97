//! Who let which alias name which version, and why: the only way in which this service changes an alias.
//!
//! ```text
//!  what the registry names is what the caller expects? ─▶ load, warm ─▶ history ─▶ registry ─▶ swap ─▶ last request answered
//! ```
//!
//! The nasty invariant: **nothing is changed that is not written down before**. What the registry then does not take is withdrawn
//! by an entry of its own; where even that fails, the alias and its history differ, which shows as drift.

mod before;
mod fields;
mod journal;

use crate::{
    Serving,
    gate::ByGate,
    library::{State, over},
    resident::CHAMPION,
    status::ServingError,
};
pub use fields::{sound, sound_header};
pub(crate) use journal::NO_EVIDENCE;
use loadline_models::registry::{Model, RegistryError};
use loadline_store::AliasEntry;

/// A change that somebody wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The model.
    pub model: String,
    /// The alias.
    pub alias: String,
    /// What it names now, as far as the caller knows; 0: nothing.
    pub expected: u64,
    /// Who wants it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Another version was chosen.
    Promotion,
    /// Back to what it named before.
    Rollback,
    /// The change before was not made after all.
    Withdrawal,
    /// No change: what the gate said of a challenger.
    Evaluation,
    /// No change: which other versions get its requests.
    Route,
}

impl Kind {
    /// As it is written down.
    pub fn name(self) -> &'static str {
        match self {
            Self::Promotion => "promotion",
            Self::Rollback => "rollback",
            Self::Withdrawal => "withdrawal",
            Self::Evaluation => "evaluation",
            Self::Route => "route",
        }
    }

    /// Of what was written down; what others write is a promotion to us.
    pub fn named(name: &str) -> Self {
        [Self::Rollback, Self::Withdrawal, Self::Evaluation, Self::Route]
            .into_iter()
            .find(|kind| kind.name() == name)
            .unwrap_or(Self::Promotion)
    }
}

/// Where a rollback would lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WayBack {
    /// What the alias names.
    pub from: u64,
    /// What it would name then.
    pub to: u64,
    /// The last entry of its history.
    pub change: u64,
}

impl Serving {
    /// Where a rollback would lead now. Changes nothing.
    ///
    /// # Errors
    /// As [`Serving::roll_back`].
    pub async fn way_back(&self, model: &str, alias: &str) -> Result<WayBack, ServingError> {
        let version = self.library.registry().get(model).await?.aliases.get(alias).copied().unwrap_or_default();
        let history = self.whole_history(model, alias).await?;
        let nothing = || ServingError::NothingBefore { model: model.to_owned(), alias: alias.to_owned(), version };
        let to = before::of(&history, version).ok_or_else(nothing)?;
        let change = self.last_change(model, alias).await?.map_or(0, |last| last.number);
        Ok(WayBack { from: version, to, change })
    }

    /// Lets an alias name a version. When it returns, this process has answered its last request by that alias with the one before.
    ///
    /// # Errors
    /// Nothing has changed then, but where the registry's answer is lost: then the alias names the one or the other.
    pub async fn promote(&self, wanted: Wanted, version: u64, by: ByGate) -> Result<AliasEntry, ServingError> {
        let state = self.library.change().await;
        let model = self.library.registry().get(&wanted.model).await?;
        let from = as_expected(&model, &wanted)?;
        let evidence = self.backed(&wanted, from, version, &by).await?;
        self.change(&state, model, wanted, version, (Kind::Promotion, &evidence)).await
    }

    /// Lets an alias name what it named before the promotion in force.
    ///
    /// # Errors
    /// As [`Serving::promote`]; when its history has nothing before.
    pub async fn roll_back(&self, wanted: Wanted) -> Result<AliasEntry, ServingError> {
        let state = self.library.change().await;
        let model = self.library.registry().get(&wanted.model).await?;
        let version = as_expected(&model, &wanted)?;
        let history = self.whole_history(&wanted.model, &wanted.alias).await?;
        let nothing = || ServingError::NothingBefore { model: wanted.model.clone(), alias: wanted.alias.clone(), version };
        let before = before::of(&history, version).ok_or_else(nothing)?;
        self.change(&state, model, wanted, before, (Kind::Rollback, NO_EVIDENCE)).await
    }

    /// In memory first, then in the history, in the registry, and in place.
    async fn change(
        &self,
        state: &State,
        mut model: Model,
        wanted: Wanted,
        version: u64,
        (kind, evidence): (Kind, &str),
    ) -> Result<AliasEntry, ServingError> {
        let from = model.aliases.get(&wanted.alias).copied().unwrap_or_default();
        if from == version {
            return Err(ServingError::Unchanged { model: wanted.model, alias: wanted.alias, version });
        }
        let prepared = self.library.prepare(&model, version).await?;
        let change = self.write_down(&wanted, (kind, evidence), from, version).await?;
        self.end_route(&model.name, &wanted.alias);
        if let Err(error) = self.library.registry().set_alias(&model.name, &wanted.alias, version).await {
            self.look_back(&wanted, &change, error).await?;
        }
        model.aliases.insert(wanted.alias, version);
        let ended = self.library.follow(state, &model, Some(prepared)).await;
        over(&ended).await;
        Ok(change)
    }

    /// Whether the registry took a change after all. What it did not take is withdrawn from the history.
    async fn look_back(&self, wanted: &Wanted, change: &AliasEntry, error: RegistryError) -> Result<(), ServingError> {
        let Ok(model) = self.library.registry().get(&wanted.model).await else { return Err(error.into()) };
        let (before, after) = (change.change.before.unwrap_or_default(), change.change.after.unwrap_or_default());
        if model.aliases.get(&wanted.alias) == Some(&after) {
            return Ok(());
        }
        let reason = format!("the registry did not take change {}: {error}", change.number);
        let withdrawal = Wanted { reason, ..wanted.clone() };
        if let Err(also) = self.write_down(&withdrawal, (Kind::Withdrawal, NO_EVIDENCE), after, before).await {
            tracing::error!(change = change.number, error = %also, "a change that was not made stays in the history");
        }
        Err(error.into())
    }
}

/// The alias that is meant where none is named.
pub fn named(alias: String) -> String {
    if alias.is_empty() { CHAMPION.to_owned() } else { alias }
}

/// What the alias names, if it is what the caller thinks.
fn as_expected(model: &Model, wanted: &Wanted) -> Result<u64, ServingError> {
    let found = model.aliases.get(&wanted.alias).copied().unwrap_or_default();
    if found == wanted.expected {
        return Ok(found);
    }
    let Wanted { model, alias, expected, .. } = wanted.clone();
    Err(ServingError::Moved { model, alias, expected, found })
}
