//! What MLflow's REST interface says and is told, and what of it is taken.

use crate::{
    Sha256,
    registry::{Model, NewVersion, RegistryError, Version, error::shown, names},
};
use loadline_domain::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Tags of ours begin so; the others are other people's.
const OURS: &str = "loadline.";

/// `registered-models/get`.
#[derive(Debug, Deserialize)]
pub struct GotModel {
    pub registered_model: RegisteredModel,
}

/// A page of `registered-models/search`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    #[serde(default)]
    pub registered_models: Vec<RegisteredModel>,
    #[serde(default)]
    pub next_page_token: String,
}

/// A page of `model-versions/search`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    #[serde(default)]
    pub model_versions: Vec<ModelVersion>,
    #[serde(default)]
    pub next_page_token: String,
}

/// `model-versions/get` and `model-versions/create`.
#[derive(Debug, Deserialize)]
pub struct GotVersion {
    pub model_version: ModelVersion,
}

/// `experiments/get-by-name`.
#[derive(Debug, Deserialize)]
pub struct GotExperiment {
    pub experiment: Experiment,
}

#[derive(Debug, Deserialize)]
pub struct Experiment {
    pub experiment_id: String,
    #[serde(default)]
    pub lifecycle_stage: String,
}

/// `experiments/create`.
#[derive(Debug, Deserialize)]
pub struct MadeExperiment {
    pub experiment_id: String,
}

/// `runs/get` and `runs/create`.
#[derive(Debug, Deserialize)]
pub struct GotRun {
    pub run: Run,
}

/// `runs/search`; only its first page is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    #[serde(default)]
    pub runs: Vec<Run>,
    #[serde(default, rename = "next_page_token")]
    _next_page_token: String,
}

/// `runs/update`.
#[derive(Debug, Deserialize)]
pub struct UpdatedRun {
    #[serde(rename = "run_info")]
    _run_info: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub struct Run {
    pub info: RunInfo,
}

#[derive(Debug, Deserialize)]
pub struct RunInfo {
    pub run_id: String,
    pub experiment_id: String,
    #[serde(default)]
    pub artifact_uri: String,
}

/// What lies in a folder of artifacts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    #[serde(default)]
    pub files: Vec<File>,
}

#[derive(Debug, Deserialize)]
pub struct File {
    pub path: String,
}

/// An answer that says nothing. Whatever says something else is no MLflow: pages too know their fields, since an empty page
/// has none of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {}

#[derive(Debug, Deserialize)]
pub struct RegisteredModel {
    pub name: String,
    #[serde(default)]
    aliases: Vec<Alias>,
}

#[derive(Debug, Deserialize)]
struct Alias {
    alias: String,
    #[serde(deserialize_with = "number")]
    version: u64,
}

#[derive(Debug, Deserialize)]
pub struct ModelVersion {
    pub name: String,
    #[serde(deserialize_with = "number")]
    pub version: u64,
    /// Milliseconds since 1970.
    #[serde(default, deserialize_with = "number")]
    creation_timestamp: u64,
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub run_id: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// MLflow writes numbers of 64 bits as texts, and has changed its mind about it.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

impl RegisteredModel {
    /// Those that can be aliases here; others are not ours to name.
    pub fn aliases(&self) -> BTreeMap<String, u64> {
        let taken = self.aliases.iter().filter(|alias| names::alias(&alias.alias).is_ok());
        taken.map(|alias| (alias.alias.clone(), alias.version)).collect()
    }
}

impl ModelVersion {
    fn tag(&self, key: &str) -> Option<&str> {
        let ours = self.tags.iter().find(|tag| tag.key.strip_prefix(OURS) == Some(key));
        ours.map(|tag| tag.value.as_str())
    }

    /// What its file must have; a tag that is no sha256 pins nothing.
    pub fn pin(&self) -> Option<Sha256> {
        self.tag("sha256")?.parse().ok()
    }

    pub fn size(&self) -> Option<u64> {
        self.tag("size")?.parse().ok()
    }

    pub fn version(&self) -> Version {
        let ours = self.tags.iter().filter_map(|tag| Some((tag.key.strip_prefix(OURS)?, &tag.value)));
        let properties = ours.filter(|(key, value)| names::is_property(key, value));
        let sha256 = self.pin();
        Version {
            number: self.version,
            sha256,
            size: sha256.and(self.size()),
            registered_at: Timestamp::from_micros(
                i64::try_from(self.creation_timestamp.saturating_mul(1_000)).unwrap_or(i64::MAX),
            ),
            properties: properties.map(|(key, value)| (key.to_owned(), value.clone())).collect(),
        }
    }

    /// That it is what was asked for.
    pub fn check(&self, name: &str, number: Option<u64>) -> Result<(), RegistryError> {
        if self.name == name && number.is_none_or(|number| number == self.version) {
            return Ok(());
        }
        let what = format!("version {} of `{}`", self.version, shown(self.name.as_bytes()));
        Err(RegistryError::Garbage(format!("{what}, where one of `{name}` was asked for")))
    }
}

/// Tags of a run that holds the file of a model: what it is found by.
pub fn tags_of_run(model: &str, sha256: Sha256) -> [Tag; 2] {
    [("model", model.to_owned()), ("sha256", sha256.to_string())].map(|(key, value)| Tag { key: format!("{OURS}{key}"), value })
}

/// A search for runs with these tags. Names and hashes have nothing to escape in them.
pub fn with_tags(tags: &[Tag]) -> String {
    tags.iter().map(|Tag { key, value }| format!("tags.`{key}` = '{value}'")).collect::<Vec<_>>().join(" and ")
}

/// Tags of a version that is registered here.
pub fn tags(sha256: Sha256, size: u64, new: &NewVersion) -> Vec<Tag> {
    let pin = [("sha256", sha256.to_string()), ("size", size.to_string())];
    let pin = pin.into_iter().map(|(key, value)| Tag { key: format!("{OURS}{key}"), value });
    let properties = new.properties.iter().map(|(key, value)| Tag { key: format!("{OURS}{key}"), value: value.clone() });
    pin.chain(properties).collect()
}

/// A model with these versions, by number; `None` without any.
pub fn model(registered: &RegisteredModel, mut versions: Vec<Version>) -> Option<Model> {
    versions.sort_by_key(|version| version.number);
    // Rows that moved between two pages are on both.
    versions.dedup_by_key(|version| version.number);
    (!versions.is_empty()).then(|| Model { name: registered.name.clone(), versions, aliases: registered.aliases() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_either_kind_and_nothing_else() {
        let read = |version: &str| {
            serde_json::from_str::<ModelVersion>(&format!(r#"{{"name":"m","version":{version}}}"#)).map(|read| read.version)
        };
        assert_eq!((read("7").unwrap(), read("\"7\"").unwrap()), (7, 7));
        for wrong in ["-1", "\"-1\"", "\"seven\"", "1.5", "null", "[]", "\"99999999999999999999\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_tagged_by_others_is_left_out() {
        let tag = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        let tags = [
            tag("loadline.sha256", "nonsense"),
            tag("loadline.size", "7"),
            tag("loadline.league", "E0"),
            tag("loadline.a/../b", "x"),
            tag("loadline.bell", "\\u0007"),
            tag("owner", "me"),
        ];
        let json = format!(r#"{{"name":"m","version":"1","creation_timestamp":1700000000000,"tags":[{}]}}"#, tags.join(","));
        let version = serde_json::from_str::<ModelVersion>(&json).unwrap().version();
        assert_eq!((version.sha256, version.size), (None, None));
        assert_eq!(version.properties, BTreeMap::from([("league".to_owned(), "E0".to_owned())]));
        assert_eq!(version.registered_at.to_string(), "2023-11-14T22:13:20Z");
    }
}
