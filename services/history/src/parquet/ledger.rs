//! The newest manifest, and how the next one comes to be: put if absent, so that of two writers one tries again.

use super::{
    manifest::{Manifest, SCHEMA},
    place::Place,
};
use crate::HistoryError;
use futures::TryStreamExt as _;
use loadline_domain::archive::Part;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutMode};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::Mutex;
use uuid::Uuid;

/// Races lost before giving up; each rival has moved on meanwhile.
const TRIES: u32 = 50;

/// Manifests of a place.
#[derive(Debug)]
pub(super) struct Ledger {
    place: Place,
    /// The newest we know of.
    known: RwLock<Option<Arc<Manifest>>>,
    /// Publications of this process wait for each other instead of racing.
    publishing: Mutex<()>,
}

impl Ledger {
    pub fn new(place: Place) -> Self {
        Self { place, known: RwLock::default(), publishing: Mutex::default() }
    }

    /// Publishes the first version when there is none.
    pub async fn prepare(&self) -> Result<(), HistoryError> {
        if self.versions(0).await?.is_empty() {
            let first = Manifest { schema: SCHEMA, version: 1, ..Manifest::default() };
            self.put(first).await?;
        }
        self.newest().await.map(drop)
    }

    /// Puts the owner's name when there is none.
    pub async fn claim(&self, store: &str) -> Result<(), HistoryError> {
        let path = self.place.at("owner");
        let put = async {
            match self.place.store.get(&path).await {
                Err(Error::NotFound { .. }) => {}
                found => return found?.bytes().await,
            }
            match self.place.store.put_opts(&path, store.to_owned().into(), PutMode::Create.into()).await {
                Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
                Err(error) => return Err(error),
            }
            self.place.store.get(&path).await?.bytes().await
        };
        let owner = put.await.map_err(|error| self.place.failed("asking whose history it is", &error))?;
        if owner == store.as_bytes() {
            return Ok(());
        }
        Err(HistoryError::Foreign { owner: String::from_utf8_lossy(&owner).into_owned(), store: store.to_owned() })
    }

    /// Writes a byte, where there is a history: a folder that is not mounted must not be made.
    pub async fn probe_writing(&self) -> Result<(), HistoryError> {
        self.newest().await?;
        let path = self.place.at("probe");
        let put = self.place.store.put(&path, "1".into()).await;
        put.map_err(|error| self.place.failed("writing a probe", &error)).map(drop)
    }

    /// A version that holds all these parts: the known one if it does, else the newest.
    pub async fn holding(&self, parts: &[Part]) -> Result<Arc<Manifest>, HistoryError> {
        if let Some(known) = self.known().filter(|known| known.lacks(parts).is_none()) {
            return Ok(known);
        }
        let newest = self.newest().await?;
        match newest.lacks(parts) {
            None => Ok(newest),
            Some(part) => Err(HistoryError::Missing(part.clone())),
        }
    }

    /// The newest version, asked for anew.
    pub async fn newest(&self) -> Result<Arc<Manifest>, HistoryError> {
        let known = self.known();
        let since = known.as_ref().map_or(0, |known| known.version);
        // It may be swept while it is looked up; then there is a newer one.
        for _ in 0..TRIES {
            let Some(version) = self.versions(since).await?.last().copied() else { break };
            if let Some(known) = known.as_ref().filter(|known| known.version == version) {
                return Ok(known.clone());
            }
            if let Some(manifest) = self.get(version).await? {
                return Ok(self.remember(manifest));
            }
        }
        Err(HistoryError::Unavailable(match known {
            Some(known) => {
                let name = Manifest::name(known.version);
                format!("{name}, the newest it had, is gone, and none came after it; bring the folder or bucket back as it was")
            }
            None => {
                "it holds no manifest: it is not there now, or was never prepared; bring the folder or bucket back".to_owned()
            }
        }))
    }

    /// Publishes what `change` makes of the newest version; it is called again after a lost race. `None`: nothing to change.
    pub async fn publish(
        &self,
        mut change: impl FnMut(&Manifest) -> Result<Option<Manifest>, HistoryError>,
    ) -> Result<Option<Arc<Manifest>>, HistoryError> {
        let _turn = self.publishing.lock().await;
        for lost in 0..TRIES {
            let newest = self.newest().await?;
            let Some(next) = change(&newest)? else { return Ok(None) };
            let next = Manifest { version: newest.version + 1, publication: Uuid::now_v7().to_string(), ..next };
            if let Some(published) = self.put(next).await? {
                return Ok(Some(published));
            }
            tokio::time::sleep(Duration::from_millis(u64::from(lost.min(20)) * 5 + u64::from(Uuid::new_v4().as_bytes()[0]) / 16))
                .await;
        }
        Err(HistoryError::Unavailable(format!("{TRIES} versions were published by others meanwhile")))
    }

    /// Versions there are, from `since` on, ascending.
    pub async fn versions(&self, since: u64) -> Result<Vec<u64>, HistoryError> {
        let (folder, offset) = (self.place.at("manifest"), self.place.at(&Manifest::name(since.saturating_sub(1))));
        let found: Vec<_> = self
            .place
            .store
            .list_with_offset(Some(&folder), &offset)
            .try_collect()
            .await
            .map_err(|error| self.place.failed("listing manifests", &error))?;
        let mut versions: Vec<u64> =
            found.iter().filter_map(|object| Manifest::version_of(&self.place.below(&object.location))).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// Puts a version; `None` when a rival was first.
    async fn put(&self, manifest: Manifest) -> Result<Option<Arc<Manifest>>, HistoryError> {
        let path = self.place.at(&Manifest::name(manifest.version));
        match self.place.store.put_opts(&path, manifest.encode().into(), PutMode::Create.into()).await {
            Ok(_) => Ok(Some(self.remember(manifest))),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                // A put that was sent again because its reply was lost meets itself.
                let there = self.get(manifest.version).await?;
                let ours = there.filter(|there| there.publication == manifest.publication);
                Ok(ours.map(|ours| self.remember(ours)))
            }
            Err(error) => Err(self.place.failed("publishing a manifest", &error)),
        }
    }

    async fn get(&self, version: u64) -> Result<Option<Manifest>, HistoryError> {
        let name = Manifest::name(version);
        let read = async { self.place.store.get(&self.place.at(&name)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Manifest::decode(&name, &bytes).map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.place.failed("reading a manifest", &error)),
        }
    }

    fn known(&self) -> Option<Arc<Manifest>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, manifest: Manifest) -> Arc<Manifest> {
        let manifest = Arc::new(manifest);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.version < manifest.version) {
            *known = Some(manifest.clone());
        }
        manifest
    }
}
