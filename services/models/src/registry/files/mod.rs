//! A registry in a folder: a folder a model, a record a version, a file an alias.
//!
//! ```text
//! registry.json                         which layout this is
//! models/NAME/files/SHA256              bytes, by content
//! models/NAME/versions/0000000001.json  appears last, and whole: with it the version begins
//! models/NAME/aliases/ALIAS.json        replaced whole
//! ```
//!
//! Several processes may use one folder: a version's number is taken by making its record, which only one of them can; who
//! comes late looks again. What a process that ended half-way leaves behind is no version, and [`Registry::prepare`] removes it.

mod folder;
mod record;
#[cfg(test)]
mod tests;

use super::{Model, NewVersion, Options, Registry, RegistryError, Version, names};
use async_trait::async_trait;
use bytes::Bytes;
use folder::Folder;
use std::{path::PathBuf, sync::Arc, time::Duration};

const PROBE: Duration = Duration::from_secs(2);

/// A registry on disk.
#[derive(Debug)]
pub struct FilesRegistry {
    folder: Arc<Folder>,
    options: Options,
}

impl FilesRegistry {
    /// In this folder, which [`Registry::prepare`] makes.
    #[must_use]
    pub fn new(root: PathBuf, options: Options) -> Self {
        Self { folder: Arc::new(Folder::new(root)), options }
    }

    /// Does work that waits for the disk, to its end also when its caller does not wait for it.
    async fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&Folder) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let folder = self.folder.clone();
        let working = tokio::task::spawn_blocking(move || work(&folder));
        let late = || RegistryError::Unavailable(format!("the disk gave no answer within {} s", limit.as_secs_f64()));
        let worked = tokio::time::timeout(limit, working).await.map_err(|_| late())?;
        worked.unwrap_or_else(|failed| Err(RegistryError::Broken(format!("a task of the registry: {failed}"))))
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        self.within(self.options.timeout, work).await
    }
}

#[async_trait]
impl Registry for FilesRegistry {
    async fn prepare(&self) -> Result<(), RegistryError> {
        self.work(Folder::prepare).await
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.within(PROBE, Folder::probe).await
    }

    async fn list(&self) -> Result<Vec<Model>, RegistryError> {
        self.work(Folder::list).await
    }

    async fn get(&self, name: &str) -> Result<Model, RegistryError> {
        names::model(name)?;
        let name = name.to_owned();
        self.work(move |folder| folder.model(&name)).await
    }

    async fn register(&self, name: &str, bytes: Bytes, new: NewVersion) -> Result<Version, RegistryError> {
        names::model(name)?;
        names::properties(&new.properties)?;
        super::check_file(&bytes, self.options.largest)?;
        let (name, now) = (name.to_owned(), self.options.clock.now());
        self.within(self.options.transfer_timeout, move |folder| folder.register(&name, &bytes, new.properties, now)).await
    }

    async fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<(), RegistryError> {
        names::model(name)?;
        names::alias(alias)?;
        let (name, alias) = (name.to_owned(), alias.to_owned());
        self.work(move |folder| folder.set_alias(&name, &alias, version)).await
    }

    async fn remove_alias(&self, name: &str, alias: &str) -> Result<(), RegistryError> {
        names::model(name)?;
        names::alias(alias)?;
        let (name, alias) = (name.to_owned(), alias.to_owned());
        self.work(move |folder| folder.remove_alias(&name, &alias)).await
    }

    async fn download(&self, name: &str, version: u64, limit: u64) -> Result<Bytes, RegistryError> {
        names::model(name)?;
        let name = name.to_owned();
        self.within(self.options.transfer_timeout, move |folder| folder.download(&name, version, limit)).await
    }

    fn caveats(&self) -> Vec<String> {
        vec!["models are registered in a folder of this machine: replicas elsewhere do not see it".to_owned()]
    }
}
