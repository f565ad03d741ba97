//! The folder of a registry, as one process sees and changes it.

use super::record::{Layout, Record, SCHEMA, Target, damaged, decoded, encoded};
use crate::{
    Sha256,
    disk::{self, Disk},
    registry::{Model, RegistryError, Version, names, pinned},
};
use bytes::Bytes;
use loadline_domain::Timestamp;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What was begun longer ago was left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    pub disk: Disk,
}

impl Folder {
    pub fn new(root: PathBuf) -> Self {
        Self { root, disk: Disk::default() }
    }

    pub fn prepare(&self) -> Result<(), RegistryError> {
        let layout = self.root.join("registry.json");
        self.disk.folder(&self.root.join("models")).map_err(|error| failed(&self.root, &error))?;
        self.disk.create(&layout, &encoded(&Layout { schema: SCHEMA })).map_err(|error| failed(&layout, &error))?;
        self.check_layout()?;
        self.tidy().map_err(|error| failed(&self.root, &error))
    }

    /// Whether it is there and can be written.
    pub fn probe(&self) -> Result<(), RegistryError> {
        self.check_layout()?;
        self.disk.probe(&self.root).map_err(|error| failed(&self.root, &error))
    }

    pub fn list(&self) -> Result<Vec<Model>, RegistryError> {
        self.check_layout()?;
        let models = self.root.join("models");
        let mut found = disk::names(&models).map_err(|error| failed(&models, &error))?;
        found.retain(|name| names::model(name).is_ok());
        found.sort();
        let listed = found.iter().map(|name| self.model(name));
        // Without a version it has not begun yet.
        listed.filter(|model| !matches!(model, Err(RegistryError::NotFound(_)))).collect()
    }

    pub fn model(&self, name: &str) -> Result<Model, RegistryError> {
        // Aliases first: what they name was there before.
        let aliases = self.aliases(name)?;
        let versions = self.versions(name)?;
        if versions.is_empty() {
            self.check_layout()?;
            return Err(RegistryError::NotFound(format!("model `{name}`")));
        }
        Ok(Model { name: name.to_owned(), versions, aliases })
    }

    pub fn register(
        &self,
        name: &str,
        bytes: &[u8],
        properties: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<Version, RegistryError> {
        self.check_layout()?;
        let sha256 = Sha256::of(bytes);
        self.keep(name, sha256, bytes)?;
        let versions = self.of(name, "versions");
        self.disk.folder(&versions).map_err(|error| failed(&versions, &error))?;
        loop {
            let known = self.versions(name)?;
            if let Some(same) = known.iter().find(|version| version.sha256 == Some(sha256)) {
                return Ok(same.clone());
            }
            let last = known.last().map_or(0, |last| last.number);
            let number = last.checked_add(1).ok_or_else(|| RegistryError::Broken(format!("no number follows {last}")))?;
            let (path, record) = (version_path(&versions, number), Record::new(number, bytes, sha256, now, properties.clone()));
            // Taken by somebody else meanwhile: what they registered may be the same.
            if self.disk.create(&path, &encoded(&record)).map_err(|error| failed(&path, &error))? {
                return record.into_version(number).map_err(RegistryError::Broken);
            }
        }
    }

    pub fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<(), RegistryError> {
        self.version(name, version)?;
        let aliases = self.of(name, "aliases");
        self.disk.folder(&aliases).map_err(|error| failed(&aliases, &error))?;
        let path = aliases.join(format!("{alias}.json"));
        self.disk.replace(&path, &encoded(&Target { version })).map_err(|error| failed(&path, &error))
    }

    pub fn remove_alias(&self, name: &str, alias: &str) -> Result<(), RegistryError> {
        self.model(name)?;
        let path = self.of(name, "aliases").join(format!("{alias}.json"));
        self.disk.remove(&path).map_err(|error| failed(&path, &error))
    }

    pub fn download(&self, name: &str, number: u64, limit: u64) -> Result<Bytes, RegistryError> {
        let version = self.version(name, number)?;
        let Some(sha256) = version.sha256 else { return Err(RegistryError::Broken("a record without a sha256".to_owned())) };
        let path = self.file(name, sha256);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check_layout()?;
                Err(RegistryError::Lost { name: name.to_owned(), version: number })
            }
            Err(error) => Err(failed(&path, &error)),
            Ok(read) if read as u64 > limit => {
                let size = fs::metadata(&path).map_or(read as u64, |file| file.len());
                Err(RegistryError::TooLarge { what: format!("version {number} of `{name}` has {size} bytes"), limit })
            }
            Ok(_) => pinned(bytes.into(), sha256),
        }
    }

    /// Puts a file in its place, unless it is there as it should be.
    fn keep(&self, name: &str, sha256: Sha256, bytes: &[u8]) -> Result<(), RegistryError> {
        let (files, path) = (self.of(name, "files"), self.file(name, sha256));
        self.disk.folder(&files).map_err(|error| failed(&files, &error))?;
        if disk::read(&path).map_err(|error| failed(&path, &error))?.is_some_and(|kept| kept == bytes) {
            return Ok(());
        }
        self.disk.replace(&path, bytes).map_err(|error| failed(&path, &error))
    }

    /// By number.
    fn versions(&self, name: &str) -> Result<Vec<Version>, RegistryError> {
        let folder = self.of(name, "versions");
        let names = disk::names(&folder).map_err(|error| failed(&folder, &error))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| self.record(&version_path(&folder, number), number).transpose()).collect()
    }

    fn version(&self, name: &str, number: u64) -> Result<Version, RegistryError> {
        let found = self.record(&version_path(&self.of(name, "versions"), number), number)?;
        if found.is_none() {
            self.check_layout()?;
        }
        found.ok_or_else(|| RegistryError::NotFound(format!("version {number} of model `{name}`")))
    }

    fn record(&self, path: &Path, number: u64) -> Result<Option<Version>, RegistryError> {
        let Some(content) = disk::read(path).map_err(|error| failed(path, &error))? else { return Ok(None) };
        decoded::<Record>(path, &content)?.into_version(number).map(Some).map_err(|why| damaged(path, why))
    }

    fn aliases(&self, name: &str) -> Result<BTreeMap<String, u64>, RegistryError> {
        let folder = self.of(name, "aliases");
        let mut aliases = BTreeMap::new();
        for file in disk::names(&folder).map_err(|error| failed(&folder, &error))? {
            let Some(alias) = file.strip_suffix(".json").filter(|alias| names::alias(alias).is_ok()) else { continue };
            let path = folder.join(&file);
            // Removed since it was listed.
            let Some(content) = disk::read(&path).map_err(|error| failed(&path, &error))? else { continue };
            aliases.insert(alias.to_owned(), decoded::<Target>(&path, &content)?.version);
        }
        Ok(aliases)
    }

    /// That an empty answer means no models, and not another folder or one that is not mounted.
    fn check_layout(&self) -> Result<(), RegistryError> {
        let path = self.root.join("registry.json");
        let Some(content) = disk::read(&path).map_err(|error| failed(&path, &error))? else {
            return Err(RegistryError::Unavailable(format!("{} is no registry's folder; is it mounted?", self.root.display())));
        };
        let layout: Layout = decoded(&path, &content)?;
        if layout.schema == SCHEMA {
            return Ok(());
        }
        Err(RegistryError::Misconfigured(format!(
            "{} has layout {}, this build reads {SCHEMA}; run the build that wrote it, or use a new folder",
            self.root.display(),
            layout.schema
        )))
    }

    fn tidy(&self) -> io::Result<()> {
        let older_than = SystemTime::now() - LEFT_BEHIND;
        let models = self.root.join("models");
        let each = disk::names(&models)?
            .into_iter()
            .flat_map(|name| ["files", "versions", "aliases"].map(|inner| models.join(&name).join(inner)));
        each.chain([self.root.clone()]).try_for_each(|folder| self.disk.tidy(&folder, older_than).map(drop))
    }

    fn of(&self, name: &str, inner: &str) -> PathBuf {
        self.root.join("models").join(name).join(inner)
    }

    fn file(&self, name: &str, sha256: Sha256) -> PathBuf {
        self.of(name, "files").join(sha256.to_string())
    }
}

fn version_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.json"))
}

fn failed(path: &Path, error: &io::Error) -> RegistryError {
    RegistryError::Unavailable(format!("{}: {error}", path.display()))
}
