//! What was served last, for a process that starts while the registry is down.

use super::{ArtifactError, ArtifactStore, error::at};
use crate::{Sha256, disk};
use loadline_domain::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const SCHEMA: u32 = 1;

/// A model that was served: loaded, checked, and answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its name in the registry.
    pub model: String,
    /// The alias that it was served for.
    pub alias: String,
    /// Its number in the registry.
    pub version: u64,
    /// Its artifact.
    pub sha256: Sha256,
    /// Since when the registry was known to say so.
    pub since: Timestamp,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema: u32,
    /// Of `served` as compact JSON: a bit that flipped must not become another version.
    sum: Sha256,
    served: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    alias: String,
    version: u64,
    sha256: Sha256,
    /// RFC 3339.
    since: String,
}

impl ArtifactStore {
    /// What was served last; nothing, when nothing ever was.
    ///
    /// # Errors
    /// [`ArtifactError::Damaged`] when the record is not what was written: it is as good as none.
    pub fn last_good(&self) -> Result<Vec<Served>, ArtifactError> {
        let path = self.last_good_path();
        let Some(content) = disk::read(&path).map_err(at(&path))? else { return Ok(Vec::new()) };
        read(&content).map_err(|why| ArtifactError::Damaged { file: path.display().to_string(), why })
    }

    /// Writes down all that is served now, in place of what was, on disk when it returns. Of several processes with one
    /// folder the last one is right.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`]: then it is as it was, or as it should be.
    pub fn set_last_good(&self, served: &[Served]) -> Result<(), ArtifactError> {
        let served: Vec<Entry> = served.iter().map(Entry::from).collect();
        let record = Record { schema: SCHEMA, sum: sum(&served), served };
        let content = serde_json::to_vec_pretty(&record).expect("a record is JSON");
        let path = self.last_good_path();
        self.disk.replace(&path, &content).map_err(at(&path))
    }

    fn last_good_path(&self) -> PathBuf {
        self.root.join("last-good.json")
    }
}

fn read(content: &[u8]) -> Result<Vec<Served>, String> {
    let record: Record = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    if record.schema != SCHEMA {
        return Err(format!("it has layout {}, this build reads {SCHEMA}", record.schema));
    }
    if record.sum != sum(&record.served) {
        return Err("its sum is another".to_owned());
    }
    record.served.into_iter().map(Entry::into_served).collect()
}

fn sum(served: &[Entry]) -> Sha256 {
    Sha256::of(&serde_json::to_vec(served).expect("plain entries are JSON"))
}

impl From<&Served> for Entry {
    fn from(served: &Served) -> Self {
        let Served { model, alias, version, sha256, since } = served.clone();
        Self { model, alias, version, sha256, since: since.to_string() }
    }
}

impl Entry {
    fn into_served(self) -> Result<Served, String> {
        let Self { model, alias, version, sha256, since } = self;
        let since = since.parse().map_err(|error| format!("since: {error}"))?;
        Ok(Served { model, alias, version, sha256, since })
    }
}
