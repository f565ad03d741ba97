//! What stands in the files of a registry's folder.

use crate::{
    Sha256,
    registry::{RegistryError, Version, names},
};
use loadline_domain::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, path::Path};

/// Layouts this build reads.
pub const SCHEMA: u32 = 1;

/// `registry.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Layout {
    pub schema: u32,
}

/// A version.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    number: u64,
    sha256: Sha256,
    size: u64,
    /// RFC 3339.
    registered_at: String,
    properties: BTreeMap<String, String>,
}

/// Which version an alias names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub version: u64,
}

impl Record {
    pub fn new(
        number: u64,
        bytes: &[u8],
        sha256: Sha256,
        registered_at: Timestamp,
        properties: BTreeMap<String, String>,
    ) -> Self {
        Self { number, sha256, size: bytes.len() as u64, registered_at: registered_at.to_string(), properties }
    }

    /// The version it is the record of, if it is that of this number.
    pub fn into_version(self, number: u64) -> Result<Version, String> {
        if self.number != number {
            return Err(format!("it is the record of version {}", self.number));
        }
        names::properties(&self.properties).map_err(|refused| refused.to_string())?;
        let registered_at = self.registered_at.parse().map_err(|error| format!("registered_at: {error}"))?;
        let (sha256, size) = (Some(self.sha256), Some(self.size));
        Ok(Version { number, sha256, size, registered_at, properties: self.properties })
    }
}

/// As it is written.
pub fn encoded(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain records are JSON");
    text.push(b'\n');
    text
}

/// As it was written, or what is wrong with it.
pub fn decoded<T: DeserializeOwned>(path: &Path, content: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(content).map_err(|error| damaged(path, error.to_string()))
}

pub fn damaged(path: &Path, why: String) -> RegistryError {
    RegistryError::Damaged { file: path.display().to_string(), why }
}
