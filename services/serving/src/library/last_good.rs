//! What answered last, on disk: a start that needs no registry.

use super::Library;
use crate::resident::{CHAMPION, Identity, Loaded, Served as InMemory};
use loadline_models::artifacts::Served;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// How old the time written down may be while nothing changes. A start without a registry says it is that much staler than it is.
pub(super) const REFRESHED_AFTER: Duration = Duration::from_secs(60);

/// Where the champion before is written down: nothing that an alias can be called.
const BEFORE: &str = "champion/before";

/// Champions before, as they were written down.
#[derive(Default)]
pub struct Before(Vec<Served>);

impl Library {
    /// Brings what answered last into memory, from disk alone. Returns how many aliases answer, and what is for
    /// [`Library::bring_before`]; what is damaged is left out.
    pub async fn start_from_disk(&self) -> (usize, Before) {
        let state = self.change().await;
        let artifacts = self.parts.artifacts.clone();
        let records = match tokio::task::spawn_blocking(move || artifacts.last_good()).await {
            Ok(Ok(records)) => records,
            Ok(Err(error)) => {
                tracing::warn!(%error, "what answered last is not readable: this start needs the registry");
                vec![]
            }
            Err(_) => vec![],
        };
        let Some(since) = records.iter().map(|record| record.since).max() else { return Default::default() };
        let (before, records): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.alias == BEFORE);
        let mut models: BTreeMap<String, InMemory> = BTreeMap::new();
        for record in records {
            let served = models.entry(record.model.clone()).or_default();
            self.restore(served, record).await;
        }
        models.retain(|_, served| !served.aliases.is_empty());
        let aliases = models.values().map(|served| served.aliases.len()).sum();
        for (name, served) in models {
            self.residents.put(&name, Some(served));
        }
        if aliases > 0 {
            self.freshness.inherited(since);
            self.ready.store(true, Relaxed);
        }
        drop(state);
        (aliases, Before(before))
    }

    /// Brings the versions before the champions into memory, which rollbacks go back to and live skill is measured against. Nobody
    /// waits for them, so that they are not a part of the start.
    pub async fn bring_before(&self, before: Before) {
        for record in before.0 {
            let _state = self.change().await;
            self.restore_before(record).await;
        }
    }

    async fn restore(&self, served: &mut InMemory, record: Served) {
        let alias = record.alias.clone();
        if let Some(loaded) = self.restored(served, record).await {
            served.name(&alias, &loaded);
        }
    }

    /// Unless the champion has changed meanwhile.
    async fn restore_before(&self, record: Served) {
        let served = self.residents.model(&record.model);
        let waits = |served: &Arc<InMemory>| served.aliased(CHAMPION).is_some() && served.previous.is_none();
        let Some(served) = served.filter(waits) else { return };
        let (model, mut served) = (record.model.clone(), InMemory::clone(&served));
        if let Some(loaded) = self.restored(&served, record).await {
            served.previous = Some(loaded.number);
            served.versions.entry(loaded.number).or_insert(loaded);
            self.residents.put(&model, Some(served));
        }
    }

    async fn restored(&self, served: &InMemory, record: Served) -> Option<Arc<Loaded>> {
        let Served { model, alias, version, sha256, .. } = record;
        let kept = served.versions.get(&version).filter(|loaded| loaded.sha256 == sha256).cloned();
        if kept.is_some() {
            return kept;
        }
        let Some(bytes) = self.on_disk(sha256).await else {
            tracing::warn!(model, alias, version, "its artifact is not on disk: it waits for the registry");
            return None;
        };
        let made = self.made_of(Identity { model, number: version, sha256 }, bytes, &self.parts.engine).await;
        match made {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                tracing::warn!(%error, "what answered last cannot be loaded any more: it waits for the registry");
                None
            }
        }
    }

    /// Writes down what answers now. The caller holds the right to change it, so that the last one written is the last one true.
    pub(super) async fn write_down(&self) {
        let since = self.freshness.answered_at().unwrap_or_else(|| self.parts.clock.now());
        let table = self.residents.table();
        let aliases = table.values().flat_map(|served| &served.aliases);
        let named = aliases.map(|(alias, tenure)| (alias.as_str(), tenure.version()));
        let before = table.values().filter_map(|served| Some((BEFORE, served.versions.get(&served.previous?)?)));
        let mut records: Vec<_> = named
            .chain(before)
            .map(|(alias, version)| {
                let (model, alias) = (version.model.clone(), alias.to_owned());
                Served { model, alias, version: version.number, sha256: version.sha256, since }
            })
            .collect();
        // The champion first: a start that is cut short has it.
        records.sort_by_key(|record| (record.alias != CHAMPION, record.model.clone(), record.alias.clone()));
        let artifacts = self.parts.artifacts.clone();
        let written = tokio::task::spawn_blocking(move || artifacts.set_last_good(&records)).await;
        match written {
            Ok(Err(error)) => {
                tracing::warn!(%error, "what answers is not written down: a start without the registry will lack it")
            }
            _ => self.written_at.store(since.micros(), Relaxed),
        }
    }
}
