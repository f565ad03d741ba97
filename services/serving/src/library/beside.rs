//! Versions that are in memory although no alias names them: those on trial beside one that an alias does name.

use loadline_models::registry::Model;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// A version beside another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// What it is called in memory: nothing that an alias can be called.
    pub name: String,
    /// What the alias names: as soon as it names another, this is not wanted any more.
    pub champion: u64,
    /// The version.
    pub version: u64,
}

/// By model and alias.
#[derive(Default)]
pub(super) struct Table(Mutex<BTreeMap<(String, String), Beside>>);

impl Table {
    pub fn set(&self, model: &str, alias: &str, beside: Option<Beside>) {
        let place = (model.to_owned(), alias.to_owned());
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match beside {
            Some(beside) => table.insert(place, beside),
            None => table.remove(&place),
        };
    }

    /// Those of a model whose champions are what its aliases name.
    pub fn of(&self, model: &Model) -> Vec<Beside> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = table
            .iter()
            .filter(|((name, alias), beside)| *name == model.name && model.aliases.get(alias) == Some(&beside.champion));
        wanted.map(|(_, beside)| beside.clone()).collect()
    }
}
