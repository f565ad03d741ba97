//! What every registry must do: one function a behaviour, named as a fact. Each is given a [`Subject`] whose names nobody else
//! uses, and panics when the backend breaks its word.

#![allow(clippy::unwrap_used)] // a test suite: panicking is how it speaks

pub mod aliases;
pub mod files;
pub mod names;
pub mod upkeep;
pub mod versions;

use crate::registry::{Model, NewVersion, Options, Registry, RegistryError, Version};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A registry to try.
pub struct Subject {
    /// Prepared.
    pub registry: Arc<dyn Registry>,
    /// Where it is, to open it again.
    pub url: String,
    /// The folder in which its files lie in the end, to harm them.
    pub folder: PathBuf,
    /// What names of models begin with.
    prefix: String,
}

impl Deref for Subject {
    type Target = dyn Registry;

    fn deref(&self) -> &Self::Target {
        &*self.registry
    }
}

impl Subject {
    /// Opens and prepares the registry at `url`, whose files lie somewhere in `folder`. Several may share one registry under
    /// different prefixes.
    pub async fn new(url: String, folder: PathBuf, prefix: &str) -> Self {
        let registry = open(&url);
        registry.prepare().await.unwrap();
        Self { registry, url, folder, prefix: prefix.to_owned() }
    }

    /// The same registry, as another process would open it.
    pub fn again(&self) -> Arc<dyn Registry> {
        open(&self.url)
    }

    /// A model's name that is this subject's own.
    pub fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// All models of this subject.
    async fn mine(&self) -> Vec<Model> {
        let prefix = format!("{}.", self.prefix);
        self.list().await.unwrap().into_iter().filter(|model| model.name.starts_with(&prefix)).collect()
    }

    /// Registers these bytes without saying anything about them.
    async fn plain(&self, name: &str, bytes: &[u8]) -> Version {
        self.register(name, Bytes::copy_from_slice(bytes), NewVersion::default()).await.unwrap()
    }

    /// Replaces, behind the registry's back, the content of each file that has this one; `None` removes it.
    fn harm(&self, content: &[u8], by: Option<&[u8]>) {
        let found = files_with(&self.folder, content).unwrap();
        assert!(!found.is_empty(), "no file of {} has this content", self.folder.display());
        for file in found {
            match by {
                Some(other) => fs::write(file, other).unwrap(),
                None => fs::remove_file(file).unwrap(),
            }
        }
    }
}

fn open(url: &str) -> Arc<dyn Registry> {
    // Few rows a page: every listing has several.
    crate::registry::open(url, Options { page: 3, ..Options::default() }).unwrap()
}

fn files_with(folder: &Path, content: &[u8]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, content)?);
        } else if fs::read(&path)? == content {
            found.push(path);
        }
    }
    Ok(found)
}

fn said(properties: &[(&str, &str)]) -> NewVersion {
    let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    NewVersion { properties: properties.collect() }
}

fn numbers(model: &Model) -> Vec<u64> {
    model.versions.iter().map(|version| version.number).collect()
}

fn named(aliases: &[(&str, u64)]) -> BTreeMap<String, u64> {
    aliases.iter().map(|(alias, version)| ((*alias).to_owned(), *version)).collect()
}

fn is_not_found<T>(answer: &Result<T, RegistryError>) -> bool {
    matches!(answer, Err(RegistryError::NotFound(_)))
}
