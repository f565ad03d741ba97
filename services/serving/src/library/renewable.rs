//! The registry behind a client that can be made anew: connections and what an address was resolved to go with the old one.

use async_trait::async_trait;
use bytes::Bytes;
use loadline_fault::Faults;
use loadline_models::registry::{self, Model, NewVersion, Registry, RegistryError, Version};
use std::sync::{Arc, PoisonError, RwLock};

/// What a fault at the registry is cured by.
pub const RENEWED: &str = "renew";

/// A way to the registry; nothing is asked of it yet.
type Open = dyn Fn() -> Result<Arc<dyn Registry>, RegistryError> + Send + Sync;

/// Calls go to the client made last; those under way end on the one that they began with.
pub struct Renewable {
    open: Box<Open>,
    faults: Option<Faults>,
    client: RwLock<Arc<dyn Registry>>,
}

impl Renewable {
    /// A first client, made by `open` as every later one, behind `faults` where some can be injected.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn new(
        open: impl Fn() -> Result<Arc<dyn Registry>, RegistryError> + Send + Sync + 'static,
        faults: Option<Faults>,
    ) -> Result<Self, RegistryError> {
        let client = RwLock::new(registry::behind(open()?, faults.as_ref()));
        Ok(Self { open: Box::new(open), faults, client })
    }

    /// Makes another client; the one before stays where that fails.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn renew(&self) -> Result<(), RegistryError> {
        let client = registry::behind((self.open)()?, self.faults.as_ref());
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        if let Some(faults) = &self.faults {
            faults.cure(RENEWED);
        }
        Ok(())
    }

    fn client(&self) -> Arc<dyn Registry> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Registry for Renewable {
    async fn prepare(&self) -> Result<(), RegistryError> {
        self.client().prepare().await
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.client().probe().await
    }

    async fn list(&self) -> Result<Vec<Model>, RegistryError> {
        self.client().list().await
    }

    async fn get(&self, name: &str) -> Result<Model, RegistryError> {
        self.client().get(name).await
    }

    async fn register(&self, name: &str, bytes: Bytes, new: NewVersion) -> Result<Version, RegistryError> {
        self.client().register(name, bytes, new).await
    }

    async fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<(), RegistryError> {
        self.client().set_alias(name, alias, version).await
    }

    async fn remove_alias(&self, name: &str, alias: &str) -> Result<(), RegistryError> {
        self.client().remove_alias(name, alias).await
    }

    async fn download(&self, name: &str, version: u64, limit: u64) -> Result<Bytes, RegistryError> {
        self.client().download(name, version, limit).await
    }

    fn caveats(&self) -> Vec<String> {
        self.client().caveats()
    }
}
