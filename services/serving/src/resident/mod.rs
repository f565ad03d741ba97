//! Models in memory, and how requests find them while they change.
//!
//! ```text
//!  request ─▶ table ─▶ model ─┬─▶ alias (or champion) ─▶ its tenure, held until it is answered ─▶ version
//!               ▲             └─▶ number ──────────────────────────────────────────────────────▶ version
//!               └── a new table, whole, whenever anything changes; then the tenures that ended are waited for
//! ```
//!
//! A *tenure* is the time an alias names one version, without a break. Requests that name a version by its number hold no tenure:
//! they get what they asked for, as long as it is in memory.
//!
//! The nasty invariant: **when [`Tenure::over`] returns, no request is in that tenure, and none will be**. A request holds the tenure
//! first and then looks whether it still is the one it would find; a swap puts the new table in place first and then looks who
//! holds. Whichever comes first, one sees the other.

mod in_flight;
mod loaded;
mod tenure;

pub use loaded::{Identity, Loaded};
pub use tenure::{Held, Tenure};

use crate::status::ServingError;
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{Ordering::SeqCst, fence},
    },
};

/// The alias that answers where a request names no version.
pub const CHAMPION: &str = "champion";

/// What of one model is in memory.
#[derive(Clone, Default)]
pub struct Served {
    /// What each alias names; all of it is in `versions`.
    pub aliases: BTreeMap<String, Arc<Tenure>>,
    /// Those that an alias names, and the champion before.
    pub versions: BTreeMap<u64, Arc<Loaded>>,
    /// The champion before: kept, so that a rollback takes no time.
    pub previous: Option<u64>,
}

/// Models by name.
pub type Table = HashMap<String, Arc<Served>>;

/// What is in memory. Readers take the table whole and never wait.
#[derive(Default)]
pub struct Residents {
    table: ArcSwap<Table>,
}

impl Served {
    /// The version that an alias names.
    pub fn aliased(&self, alias: &str) -> Option<&Arc<Loaded>> {
        Some(self.aliases.get(alias)?.version())
    }

    /// Aliases that name a version.
    pub fn aliases_of(&self, number: u64) -> Vec<&str> {
        let naming = self.aliases.iter().filter(|(_, tenure)| tenure.version().number == number);
        naming.map(|(alias, _)| alias.as_str()).collect()
    }

    /// Lets an alias name a version: the tenure goes on if it did already.
    pub fn name(&mut self, alias: &str, version: &Arc<Loaded>) {
        let same = |tenure: &Arc<Tenure>| Arc::ptr_eq(tenure.version(), version);
        if !self.aliases.get(alias).is_some_and(same) {
            self.aliases.insert(alias.to_owned(), Arc::new(Tenure::new(version.clone())));
        }
        self.versions.insert(version.number, version.clone());
    }

    /// Forgets versions that nothing names any more, but the champion before.
    pub fn forget_unnamed(&mut self) {
        let named: Vec<u64> = self.aliases.values().map(|tenure| tenure.version().number).chain(self.previous).collect();
        self.versions.retain(|number, _| named.contains(number));
    }
}

/// What a request calls a version.
enum Named<'a> {
    Number(u64),
    Alias(&'a str),
}

/// The alias that a request asks for, if it does not ask for a number.
pub fn alias_of(version: &str) -> Option<&str> {
    match named(version) {
        Named::Alias(alias) => Some(alias),
        Named::Number(_) => None,
    }
}

/// A number has digits only, so that no alias is ever taken for one; one that is too large is no alias either, and names nothing.
fn named(version: &str) -> Named<'_> {
    match version {
        "" => Named::Alias(CHAMPION),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => Named::Number(number.parse().unwrap_or(u64::MAX)),
        alias => Named::Alias(alias),
    }
}

impl Residents {
    /// All of it, as of one moment.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// A model, if any of it is in memory.
    pub fn model(&self, name: &str) -> Option<Arc<Served>> {
        self.table.load().get(name).cloned()
    }

    /// Holds the version that a request names: by number, by alias, or (empty) the champion.
    ///
    /// # Errors
    /// When there is none of that name in memory.
    pub fn hold(&self, model: &str, version: &str) -> Result<Held, ServingError> {
        loop {
            let held = self.find(model, version)?;
            fence(SeqCst);
            if held.is_lasting() || self.still_finds(model, version, &held) {
                return Ok(held);
            }
        }
    }

    fn find(&self, model: &str, version: &str) -> Result<Held, ServingError> {
        let table = self.table.load();
        let served = table.get(model).ok_or_else(|| ServingError::UnknownModel(model.to_owned()))?;
        let found = match named(version) {
            Named::Number(number) => served.versions.get(&number).cloned().map(Held::by_number),
            Named::Alias(alias) => served.aliases.get(alias).cloned().map(Held::by_alias),
        };
        found.ok_or_else(|| ServingError::UnknownVersion {
            model: model.to_owned(),
            version: version.to_owned(),
            loaded: served.versions.keys().copied().collect(),
            aliases: served.aliases.keys().cloned().collect(),
        })
    }

    fn still_finds(&self, model: &str, version: &str, held: &Held) -> bool {
        let table = self.table.load();
        let Named::Alias(alias) = named(version) else { return true };
        table.get(model).and_then(|served| served.aliases.get(alias)).is_some_and(|tenure| held.is_in(tenure))
    }

    /// Puts a model in place, or takes it out. Returns the tenures that ended: no request finds them any more, and whoever has to
    /// know when the last one has left them waits for that. One writer at a time.
    pub fn put(&self, name: &str, served: Option<Served>) -> Vec<Arc<Tenure>> {
        let mut table = Table::clone(&self.table.load());
        let old = table.remove(name);
        let goes_on =
            |tenure: &Arc<Tenure>| served.iter().flat_map(|served| served.aliases.values()).any(|kept| Arc::ptr_eq(kept, tenure));
        let tenures = old.iter().flat_map(|old| old.aliases.values());
        let ended = tenures.filter(|tenure| !goes_on(tenure)).cloned().collect();
        if let Some(served) = served {
            table.insert(name.to_owned(), Arc::new(served));
        }
        self.table.store(Arc::new(table));
        fence(SeqCst);
        ended
    }
}

#[cfg(test)]
mod tests;
