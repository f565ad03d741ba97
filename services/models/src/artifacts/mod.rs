//! Files of models on this machine's disk, by content: what serving starts from when the registry is down.
//!
//! ```text
//! sha256/ab/ab12…        bytes
//! sha256/ab/ab12….json   its marker, written last: with it the artifact begins
//! last-good.json         what was served last
//! ```
//!
//! The nasty invariant: **bytes are given only under the name that they have**. Every read is hashed; a file without marker is
//! a write that did not end, and a file that differs from its marker or its name is damage, which is said and never given.
//!
//! All calls wait for the disk: ask from a thread that may.

mod error;
mod last_good;
#[cfg(test)]
mod tests;

pub use error::ArtifactError;
pub use last_good::Served;

use crate::{
    Sha256,
    disk::{self, Disk},
};
use bytes::Bytes;
use error::at;
use loadline_domain::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A folder of artifacts. Clones are one; several processes may use one folder.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    root: PathBuf,
    disk: Disk,
}

/// Says that a file is whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    size: u64,
}

impl ArtifactStore {
    /// Opens a folder, and makes it where there is none.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`] when it cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ArtifactError> {
        let store = Self { root: root.into(), disk: Disk::default() };
        let folder = store.root.join("sha256");
        store.disk.folder(&folder).map_err(at(&folder))?;
        Ok(store)
    }

    /// Keeps bytes, on disk when it returns. What is there already stays, is new again for [`ArtifactStore::sweep`], and is
    /// mended if it was damaged.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`], also for a full disk: then there is no such artifact, or the one there was.
    pub fn put(&self, bytes: &[u8]) -> Result<Sha256, ArtifactError> {
        let sha256 = Sha256::of(bytes);
        let (path, marker) = self.paths(sha256);
        let _no_sweep = self.locked(File::lock_shared)?;
        let folder = path.parent().expect("an artifact is in a folder");
        self.disk.folder(folder).map_err(at(folder))?;
        if !matches!(self.get(sha256), Ok(Some(_))) {
            self.disk.replace(&path, bytes).map_err(at(&path))?;
        }
        let whole = serde_json::to_vec(&Marker { size: bytes.len() as u64 }).expect("a number is JSON");
        self.disk.replace(&marker, &whole).map_err(at(&marker))?;
        Ok(sha256)
    }

    /// The bytes of this name; `None` when they were never kept to the end.
    ///
    /// # Errors
    /// [`ArtifactError::Damaged`] when there is something else under the name: fetch it again, and put it.
    pub fn get(&self, sha256: Sha256) -> Result<Option<Bytes>, ArtifactError> {
        let (path, marker) = self.paths(sha256);
        let Some(marker) = disk::read(&marker).map_err(at(&marker))? else { return Ok(None) };
        let damaged = |why: String| Err(ArtifactError::Damaged { file: path.display().to_string(), why });
        let Ok(Marker { size }) = serde_json::from_slice(&marker) else {
            return damaged("its marker is not readable".to_owned());
        };
        // Looked at first: nobody reads a file that grew into memory to find that out.
        let found = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return damaged("it is gone, its marker is there".to_owned());
            }
            file => file.map_err(at(&path))?.len(),
        };
        if found != size {
            return damaged(format!("it has {found} bytes, not {size}"));
        }
        let bytes = fs::read(&path).map_err(at(&path))?;
        match Sha256::of(&bytes) {
            same if same == sha256 => Ok(Some(bytes.into())),
            other => damaged(format!("its sha256 is {other}")),
        }
    }

    /// Removes artifacts that are not in `keep`, and what was never finished, all from before `older_than`: which must lie
    /// further back than a put and what follows it take. Returns how many artifacts went.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`]; what was removed until then stays removed.
    pub fn sweep(&self, keep: &[Sha256], older_than: Timestamp) -> Result<u64, ArtifactError> {
        let older_than = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(older_than.micros()).unwrap_or_default());
        let (all, mut removed) = (self.root.join("sha256"), 0);
        let _no_put = self.locked(File::lock)?;
        self.disk.tidy(&self.root, older_than).map_err(at(&self.root))?;
        for shard in disk::names(&all).map_err(at(&all))? {
            let shard = all.join(shard);
            self.disk.tidy(&shard, older_than).map_err(at(&shard))?;
            for name in disk::names(&shard).map_err(at(&shard))? {
                let Ok(sha256) = name.parse::<Sha256>() else { continue };
                let (path, marker) = self.paths(sha256);
                if keep.contains(&sha256) || !is_older(&path, older_than) || !is_older(&marker, older_than) {
                    continue;
                }
                // The marker first: a file without one is no artifact.
                self.disk.remove(&marker).map_err(at(&marker))?;
                self.disk.remove(&path).map_err(at(&path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Puts and sweeps exclude each other, also of several processes: what is renewed must not be what is removed.
    fn locked(&self, lock: impl FnOnce(&File) -> io::Result<()>) -> Result<File, ArtifactError> {
        let path = self.root.join("lock");
        let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(at(&path))?;
        lock(&file).map_err(at(&path))?;
        Ok(file)
    }

    /// Of its bytes, and of its marker.
    fn paths(&self, sha256: Sha256) -> (PathBuf, PathBuf) {
        let name = sha256.to_string();
        let shard = self.root.join("sha256").join(&name[..2]);
        (shard.join(&name), shard.join(format!("{name}.json")))
    }
}

/// Also what is not there.
fn is_older(path: &Path, than: SystemTime) -> bool {
    fs::metadata(path).and_then(|file| file.modified()).map_or(true, |modified| modified < than)
}
