//! A registry on an MLflow server, over its REST interface.
//!
//! ```text
//! register:  a run for the file ─▶ PUT it under the run's artifacts ─▶ a version from that run, with the sha256 as a tag
//!                                                                                ─▶ is it the only one of its kind?
//! download:  the version's tag and source ─▶ is that among the server's artifacts? ─▶ GET ─▶ has it that sha256?
//! ```
//!
//! - [`http`]: requests to one server, bounded; [`wire`]: what it says; [`listing`]: page by page
//! - [`place`]: where among its artifacts a file lies; [`runs`]: what holds the files that are registered here
//!
//! MLflow asks nobody who they are unless it is told to, and has served files it should not have. So a file is fetched only from
//! below the configured address, through the server's own artifact service: a source elsewhere is refused and not asked. A version
//! that somebody made by other means has no sha256 and is listed without one; there is nothing to hold its file against, so it
//! cannot be downloaded until its file is registered here, or somebody gives it the tag `loadline.sha256`.
//!
//! The tags are as trustworthy as the server: who may write there may pin another file. What was promoted is therefore
//! written down elsewhere too, with its sha256.

mod http;
mod listing;
mod place;
mod runs;
mod wire;

use super::{Model, NewVersion, Options, Registry, RegistryError, Version, error::shown, names, pinned};
use crate::Sha256;
use async_trait::async_trait;
use bytes::Bytes;
use http::Http;
use place::Place;
use reqwest::Method;
use runs::FileRun;
use serde_json::json;
use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};
use wire::{Done, GotModel, GotVersion, ModelVersion, Models};

const PROBE: Duration = Duration::from_secs(2);
/// Numbers that MLflow can keep; it breaks on others.
const NUMBERS: RangeInclusive<u64> = 1..=2_147_483_647;

/// An MLflow server.
pub struct MlflowRegistry {
    http: Http,
    options: Options,
}

impl MlflowRegistry {
    /// `scheme` is `mlflow+http` or `mlflow+https`, `rest` what follows its colon.
    ///
    /// # Errors
    /// [`RegistryError::Misconfigured`] for what is no address.
    pub fn new(scheme: &str, rest: &str, options: Options) -> Result<Self, RegistryError> {
        Ok(Self { http: Http::new(scheme, rest, &options)?, options })
    }

    /// The first of the versions with this file that were registered here, and where it is: where several processes register the same at
    /// once, there is one a while later.
    async fn first_with(
        &self,
        name: &str,
        sha256: Sha256,
        experiment: &str,
    ) -> Result<Option<(ModelVersion, Place)>, RegistryError> {
        let mut same = self.versions(Some(name)).await?;
        same.retain(|version| version.pin() == Some(sha256));
        same.sort_by_key(|version| version.version);
        for version in same {
            if let Some(place) = self.own_place(&version, experiment).await? {
                return Ok(Some((version, place)));
            }
        }
        Ok(None)
    }

    async fn make_model(&self, name: &str) -> Result<(), RegistryError> {
        let Err(RegistryError::NotFound(_)) = self.registered(name).await.map(drop) else { return Ok(()) };
        let made = self.http.send::<GotModel>(Method::POST, "registered-models/create", &json!({ "name": name })).await;
        match made.map(drop) {
            // Somebody else may just have made it.
            Err(refused @ RegistryError::Refused(_)) => self.registered(name).await.map(drop).map_err(|_| refused),
            made => made,
        }
    }

    async fn make_version(
        &self,
        name: &str,
        run: &FileRun,
        experiment: &str,
        (sha256, size): (Sha256, u64),
        new: &NewVersion,
    ) -> Result<Version, RegistryError> {
        let tags = wire::tags(sha256, size, new);
        let body = json!({ "name": name, "source": run.source, "run_id": run.id, "tags": tags });
        let made = self.http.send::<GotVersion>(Method::POST, "model-versions/create", &body).await?.model_version;
        made.check(name, None)?;
        let first = self.first_with(name, sha256, experiment).await?;
        let Some((first, _)) = first.filter(|(first, _)| first.version < made.version) else { return Ok(made.version()) };
        // Nobody but us knows of ours yet.
        let ours = json!({ "name": name, "version": made.version.to_string() });
        self.http.send::<Done>(Method::DELETE, "model-versions/delete", &ours).await?;
        Ok(first.version())
    }

    /// What a failed download means: servers answer for a file that is not there as they do when they are broken.
    async fn why_no_file(&self, name: &str, number: u64, place: &Place, error: RegistryError) -> RegistryError {
        let said = matches!(error, RegistryError::Unavailable(_) | RegistryError::NotFound(_));
        let listed = if said { self.http.folder::<wire::Folder>(place.folder()).await.ok() } else { None };
        match listed {
            Some(listed) if !listed.files.iter().any(|file| file.path == place.file()) => {
                RegistryError::Lost { name: name.to_owned(), version: number }
            }
            _ => error,
        }
    }
}

/// Whether there can be a version of this number at all.
fn numbered(name: &str, number: u64) -> Result<(), RegistryError> {
    if NUMBERS.contains(&number) { Ok(()) } else { Err(RegistryError::NotFound(format!("version {number} of model `{name}`"))) }
}

/// Names what is not there in our words.
fn absent(error: RegistryError, what: impl FnOnce() -> String) -> RegistryError {
    if matches!(error, RegistryError::NotFound(_)) { RegistryError::NotFound(what()) } else { error }
}

#[async_trait]
impl Registry for MlflowRegistry {
    async fn prepare(&self) -> Result<(), RegistryError> {
        self.http.get::<Models>("registered-models/search", &[("max_results", "1")]).await.map(drop)
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.http.get_within::<Models>(PROBE, "registered-models/search", &[("max_results", "1")]).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<Model>, RegistryError> {
        // Models first: versions that their aliases name were there before.
        let models = self.models().await?;
        let mut versions: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        for version in self.versions(None).await? {
            versions.entry(version.name.clone()).or_default().push(version.version());
        }
        let ours: BTreeMap<_, _> =
            models.iter().filter(|model| names::model(&model.name).is_ok()).map(|model| (&model.name, model)).collect();
        Ok(ours.into_values().filter_map(|model| wire::model(model, versions.remove(&model.name)?)).collect())
    }

    async fn get(&self, name: &str) -> Result<Model, RegistryError> {
        names::model(name)?;
        // Aliases first: versions that they name were there before.
        let registered = self.registered(name).await?;
        let versions = self.versions(Some(name)).await?.iter().map(ModelVersion::version).collect();
        wire::model(&registered, versions).ok_or_else(|| RegistryError::NotFound(format!("model `{name}`")))
    }

    async fn register(&self, name: &str, bytes: Bytes, new: NewVersion) -> Result<Version, RegistryError> {
        names::model(name)?;
        names::properties(&new.properties)?;
        super::check_file(&bytes, self.options.largest)?;
        let (sha256, size) = (Sha256::of(&bytes), bytes.len() as u64);
        let experiment = self.experiment().await?;
        if let Some((same, place)) = self.first_with(name, sha256, &experiment).await? {
            // Its file may be lost or changed.
            self.http.upload(&place.path(), bytes).await?;
            return Ok(same.version());
        }
        let run = self.run_for(&experiment, name, sha256).await?;
        self.http.upload(&run.place.path(), bytes).await?;
        self.finish(&run).await?;
        self.make_model(name).await?;
        self.make_version(name, &run, &experiment, (sha256, size), &new).await
    }

    async fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<(), RegistryError> {
        names::model(name)?;
        names::alias(alias)?;
        numbered(name, version)?;
        let body = json!({ "name": name, "alias": alias, "version": version.to_string() });
        let set = self.http.send::<Done>(Method::POST, "registered-models/alias", &body).await.map(drop);
        set.map_err(|error| absent(error, || format!("version {version} of model `{name}`")))
    }

    async fn remove_alias(&self, name: &str, alias: &str) -> Result<(), RegistryError> {
        names::model(name)?;
        names::alias(alias)?;
        let body = json!({ "name": name, "alias": alias });
        let removed = self.http.send::<Done>(Method::DELETE, "registered-models/alias", &body).await.map(drop);
        removed.map_err(|error| absent(error, || format!("model `{name}`")))
    }

    async fn download(&self, name: &str, number: u64, limit: u64) -> Result<Bytes, RegistryError> {
        names::model(name)?;
        let version = self.version(name, number).await?;
        let Some(sha256) = version.pin() else {
            return Err(RegistryError::Refused(format!(
                "version {number} of `{name}` was made by other means and has no sha256; register its file through Loadline"
            )));
        };
        let Some(place) = Place::of(&version.source) else {
            return Err(RegistryError::Refused(format!(
                "version {number} of `{name}` says that its file is at `{}`, which is not among the artifacts that MLflow serves \
                 itself; register the file through Loadline",
                shown(version.source.as_bytes())
            )));
        };
        if let Some(size) = version.size().filter(|size| *size > limit) {
            return Err(RegistryError::TooLarge { what: format!("version {number} of `{name}` has {size} bytes"), limit });
        }
        match self.http.file(&place.path(), limit).await {
            Ok(bytes) => pinned(bytes, sha256),
            Err(error) => Err(self.why_no_file(name, number, &place, error).await),
        }
    }

    fn caveats(&self) -> Vec<String> {
        vec![
            "MLflow asks nobody who they are unless it is told to: who reaches it can move aliases and pin other files"
                .to_owned(),
            "models and aliases that MLflow holds under other names than Loadline takes are not shown".to_owned(),
        ]
    }
}
