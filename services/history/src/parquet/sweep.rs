//! Removing what no longer counts: attempts that nobody listed, replaced files, what was written and never named, and old
//! manifests.

use super::{
    ParquetHistory,
    manifest::{Manifest, Retired},
};
use crate::HistoryError;
use futures::TryStreamExt as _;
use loadline_domain::{Clock as _, Timestamp, archive::Part, time::SystemClock};
use object_store::{Error, ObjectMeta, ObjectStore as _, ObjectStoreExt as _};
use std::{
    collections::HashSet,
    time::{Duration, UNIX_EPOCH},
};

/// Newest versions that stay whatever their age: nobody may publish one of them a second time.
const VERSIONS: usize = 32;

impl ParquetHistory {
    pub(super) async fn remove(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
        let attempts = self.disown(keep, older_than).await?;
        let files = self.delete_retired(older_than).await?;
        let orphans = self.delete_orphans(older_than).await?;
        self.delete_versions(older_than).await?;
        Ok(attempts + files + orphans + self.delete_uploads(older_than).await?)
    }

    /// Takes attempts that nobody listed out of the manifest. Rows of theirs within merged files stay, and stay unread.
    async fn disown(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
        let keep: HashSet<&str> = keep.iter().map(|part| part.token.as_str()).collect();
        let mut gone = 0;
        let disown = |newest: &Manifest| {
            let old: HashSet<String> = newest
                .parts
                .iter()
                .filter(|(token, held)| held.at < older_than.micros() && !keep.contains(token.as_str()))
                .map(|(token, _)| token.clone())
                .collect();
            gone = old.len() as u64;
            if old.is_empty() {
                return Ok(None);
            }
            let mut next = newest.clone();
            next.parts.retain(|token, _| !old.contains(token));
            let at = SystemClock.now().micros();
            let (void, files) = next.files.into_iter().partition(|file| file.tokens.iter().all(|token| old.contains(token)));
            let void: Vec<_> = void;
            next.files = files;
            next.retired.extend(void.iter().map(|file| Retired { id: file.id.clone(), at }));
            Ok(Some(next))
        };
        self.ledger.publish(disown).await?;
        Ok(gone)
    }

    async fn delete_retired(&self, older_than: Timestamp) -> Result<u64, HistoryError> {
        let newest = self.ledger.newest().await?;
        let old: HashSet<&str> =
            newest.retired.iter().filter(|file| file.at < older_than.micros()).map(|file| file.id.as_str()).collect();
        for id in &old {
            self.delete(&format!("data/{id}.parquet")).await?;
            self.delete(&format!("data/{id}.sums")).await?;
        }
        let forget = |newest: &Manifest| {
            let mut next = newest.clone();
            next.retired.retain(|file| !old.contains(file.id.as_str()));
            Ok((next.retired.len() < newest.retired.len()).then_some(next))
        };
        self.ledger.publish(forget).await?;
        Ok(old.len() as u64)
    }

    /// Files that no manifest names, from writers that ended half-way.
    async fn delete_orphans(&self, older_than: Timestamp) -> Result<u64, HistoryError> {
        // Listed before the manifest is read: what is published in between is named.
        let there = self.list("data").await?;
        let newest = self.ledger.newest().await?;
        let known: HashSet<String> =
            newest.files.iter().map(|file| file.id.clone()).chain(newest.retired.iter().map(|file| file.id.clone())).collect();
        let mut deleted = 0;
        for object in there.iter().filter(|object| object.last_modified.timestamp_micros() < older_than.micros()) {
            let name = self.place.below(&object.location);
            let id = name.trim_start_matches("data/").split('.').next().unwrap_or_default();
            if !known.contains(id) {
                self.delete(&name).await?;
                deleted += u64::from(name.ends_with(".parquet"));
            }
        }
        Ok(deleted)
    }

    /// Files on disk whose writers were killed. What a bucket keeps of them is for its own rules.
    async fn delete_uploads(&self, older_than: Timestamp) -> Result<u64, HistoryError> {
        let Some(disk) = &self.place.disk else { return Ok(0) };
        let older_than = UNIX_EPOCH + Duration::from_micros(older_than.micros().try_into().unwrap_or(0));
        let mut deleted = 0;
        for folder in ["data", "manifest"] {
            let gone = disk.delete_uploads(&self.place.at(folder), older_than).await;
            deleted += gone.map_err(|error| self.place.failed("deleting what killed writers left", &error))?;
        }
        Ok(deleted)
    }

    async fn delete_versions(&self, older_than: Timestamp) -> Result<(), HistoryError> {
        let mut there = self.list("manifest").await?;
        there.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        let old = there.len().saturating_sub(VERSIONS);
        for object in there[..old].iter().filter(|object| object.last_modified.timestamp_micros() < older_than.micros()) {
            self.delete(&self.place.below(&object.location)).await?;
        }
        Ok(())
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>, HistoryError> {
        let listed = self.place.store.list(Some(&self.place.at(folder))).try_collect().await;
        listed.map_err(|error| self.place.failed("listing files", &error))
    }

    /// What is gone already need not be deleted.
    async fn delete(&self, name: &str) -> Result<(), HistoryError> {
        match self.place.store.delete(&self.place.at(name)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.place.failed(&format!("deleting {name}"), &error)),
        }
    }
}
