//! Where models are registered: names, versions, aliases, and the files behind them.
//!
//! ```text
//!                 ┌─ files    a folder (`file:`), safe with several processes
//! dyn Registry ───┤
//!                 └─ mlflow   its REST interface (`mlflow+http://`), treated as untrusted
//! ```
//!
//! [`Registry`] is the port; [`open`] chooses the backend by URL, once; [`crate::contract`] is their test.
//!
//! The nasty invariant: **what is downloaded is what was registered**. A version's sha256 is written down when it is registered,
//! and bytes that have another are an error, whoever sent them and whatever else they said.

mod error;
mod faulty;
pub mod files;
pub mod mlflow;
pub mod names;
mod open;

pub use error::RegistryError;
pub use faulty::behind;
pub use open::{Options, open};

use crate::Sha256;
use async_trait::async_trait;
use bytes::Bytes;
use loadline_domain::Timestamp;
use std::collections::BTreeMap;

/// A model of a registry. It begins with its first version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// As [`names::model`] has it.
    pub name: String,
    /// By number, from the first; never empty.
    pub versions: Vec<Version>,
    /// Which version each alias names. One that was deleted behind our back may still be named.
    pub aliases: BTreeMap<String, u64>,
}

impl Model {
    /// The version of this number.
    #[must_use]
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The version that an alias names.
    #[must_use]
    pub fn aliased(&self, alias: &str) -> Option<&Version> {
        self.version(*self.aliases.get(alias)?)
    }
}

/// A version of a model: one file, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// From 1 upwards; numbers may be missing.
    pub number: u64,
    /// What its file must have, since it was registered. `None`: somebody made it by other means, and nobody said what its
    /// file is; it cannot be downloaded here.
    pub sha256: Option<Sha256>,
    /// Bytes of its file; `None` as for `sha256`.
    pub size: Option<u64>,
    /// When, by the registry's clock.
    pub registered_at: Timestamp,
    /// What was said about it when it was registered.
    pub properties: BTreeMap<String, String>,
}

/// What is said about a version when it is registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewVersion {
    /// As [`names::properties`] has them.
    pub properties: BTreeMap<String, String>,
}

/// A registry of models.
///
/// Every name is checked before anything is asked, and so is every name that comes back: what a registry holds under names
/// that are none of ours is left out of answers. A call ends within the times of [`Options`].
#[async_trait]
pub trait Registry: Send + Sync {
    /// Makes the folder, or looks whether a registry answers. Safe to call by several processes at once.
    async fn prepare(&self) -> Result<(), RegistryError>;

    /// Whether it can be asked now; bounded to two seconds.
    async fn probe(&self) -> Result<(), RegistryError>;

    /// All models by name, with all their versions and aliases.
    async fn list(&self) -> Result<Vec<Model>, RegistryError>;

    /// A model with its versions and, as of one moment, all its aliases.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] when there is none, or none of its versions.
    async fn get(&self, name: &str) -> Result<Model, RegistryError>;

    /// Makes a version with this file, durable when it returns. The same bytes under a name are the same version: then that
    /// one is returned as it is, and its file is put back if it was lost or changed. Whoever else reads sees the version whole
    /// or not at all.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`] above [`Options::largest`]; [`RegistryError::Refused`] for no bytes at all. After
    /// [`RegistryError::Unavailable`] it may have happened; repeating it is safe.
    async fn register(&self, name: &str, bytes: Bytes, new: NewVersion) -> Result<Version, RegistryError>;

    /// Lets an alias name a version, whatever it named before.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] when there is no such version; nothing is changed then.
    async fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<(), RegistryError>;

    /// Takes an alias away; does nothing when the model has none of this name.
    async fn remove_alias(&self, name: &str, alias: &str) -> Result<(), RegistryError>;

    /// A version's file, at most `limit` bytes of it, which have the sha256 that the version was registered with.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`], found before or while it is read; [`RegistryError::WrongSha`];
    /// [`RegistryError::Lost`] when the file is not there; [`RegistryError::Refused`] for a version without a sha256, and for
    /// one whose file is said to be elsewhere.
    async fn download(&self, name: &str, version: u64, limit: u64) -> Result<Bytes, RegistryError>;

    /// What this backend cannot promise; shown to operators at start.
    fn caveats(&self) -> Vec<String>;
}

/// The bytes, if they are those that were registered.
fn pinned(bytes: Bytes, expected: Sha256) -> Result<Bytes, RegistryError> {
    match Sha256::of(&bytes) {
        found if found == expected => Ok(bytes),
        found => Err(RegistryError::WrongSha { expected, found }),
    }
}

/// Refuses files that no registry takes.
fn check_file(bytes: &Bytes, largest: u64) -> Result<(), RegistryError> {
    if bytes.is_empty() {
        return Err(RegistryError::Refused("the file is empty; register the file of a model".to_owned()));
    }
    if bytes.len() as u64 > largest {
        return Err(RegistryError::TooLarge { what: format!("the file has {} bytes", bytes.len()), limit: largest });
    }
    Ok(())
}
