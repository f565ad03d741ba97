//! What answered last, on disk: a start that needs no registry.

use super::Library;
use crate::resident::{CHAMPION, Identity, Served as InMemory};
use loadline_models::artifacts::Served;
use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

/// How old the time written down may be while nothing changes. A start without a registry says it is that much staler than it is.
pub(super) const REFRESHED_AFTER: Duration = Duration::from_secs(60);

impl Library {
    /// Brings what answered last into memory, from disk alone. Returns how many aliases answer; what is damaged is left out.
    pub async fn start_from_disk(&self) -> usize {
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
        let Some(since) = records.iter().map(|record| record.since).max() else { return 0 };
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
        aliases
    }

    async fn restore(&self, served: &mut InMemory, record: Served) {
        let Served { model, alias, version, sha256, .. } = record;
        let kept = served.versions.get(&version).filter(|loaded| loaded.sha256 == sha256).cloned();
        if let Some(loaded) = kept {
            return served.name(&alias, &loaded);
        }
        let Some(bytes) = self.on_disk(sha256).await else {
            return tracing::warn!(model, alias, version, "its artifact is not on disk: it waits for the registry");
        };
        match self.made_of(Identity { model, number: version, sha256 }, bytes, &self.parts.engine).await {
            Ok(loaded) => served.name(&alias, &loaded),
            Err(error) => tracing::warn!(%error, "what answered last cannot be loaded any more: it waits for the registry"),
        }
    }

    /// Writes down what answers now. The caller holds the right to change it, so that the last one written is the last one true.
    pub(super) async fn write_down(&self) {
        let since = self.freshness.answered_at().unwrap_or_else(|| self.parts.clock.now());
        let table = self.residents.table();
        let aliases = table.values().flat_map(|served| &served.aliases);
        let mut records: Vec<_> = aliases
            .map(|(alias, tenure)| {
                let version = tenure.version();
                let (model, alias) = (version.model.clone(), alias.clone());
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
