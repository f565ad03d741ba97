//! Where files are put: MLflow takes a version only with a run whose artifacts hold its file, so each file has a run of its own, in
//! the experiment `loadline`.

use super::{
    MlflowRegistry,
    place::Place,
    wire::{self, GotExperiment, GotRun, MadeExperiment, ModelVersion, Run, Runs, UpdatedRun},
};
use crate::{
    Sha256,
    registry::{RegistryError, error::shown},
};
use reqwest::Method;
use serde_json::json;

/// The experiment of all runs of ours.
const EXPERIMENT: &str = "loadline";

/// A run that holds a file.
pub struct FileRun {
    pub id: String,
    /// The folder of its artifacts, as the server writes it: the source of the version.
    pub source: String,
    pub place: Place,
}

impl FileRun {
    /// Of a run of this experiment, if its artifacts are served by the server.
    fn of(run: Run, experiment: &str) -> Result<Self, RegistryError> {
        let info = run.info;
        if info.experiment_id != experiment {
            return Err(RegistryError::Garbage("a run of another experiment than was asked for".to_owned()));
        }
        match Place::of(&info.artifact_uri) {
            Some(place) => Ok(Self { id: info.run_id, source: info.artifact_uri, place }),
            None => Err(RegistryError::Refused(format!(
                "MLflow keeps artifacts of experiment `{EXPERIMENT}` at `{}`, where it does not serve them itself; start it with \
                 --serve-artifacts and without --default-artifact-root, then rename that experiment",
                shown(info.artifact_uri.as_bytes())
            ))),
        }
    }
}

impl MlflowRegistry {
    /// The id of our experiment, made if it is not there.
    pub(super) async fn experiment(&self) -> Result<String, RegistryError> {
        match self.known_experiment().await {
            Err(RegistryError::NotFound(_)) => {}
            known => return known,
        }
        let made = self.http.send::<MadeExperiment>(Method::POST, "experiments/create", &json!({ "name": EXPERIMENT })).await;
        match made {
            // Somebody else may just have made it.
            Err(refused @ RegistryError::Refused(_)) => self.known_experiment().await.map_err(|_| refused),
            made => made.map(|made| made.experiment_id),
        }
    }

    async fn known_experiment(&self) -> Result<String, RegistryError> {
        let got = self.http.get::<GotExperiment>("experiments/get-by-name", &[("experiment_name", EXPERIMENT)]).await?;
        let experiment = got.experiment;
        if experiment.lifecycle_stage == "deleted" {
            return Err(RegistryError::Refused(format!(
                "experiment `{EXPERIMENT}` was deleted in MLflow; restore it with `mlflow experiments restore -x {}`",
                shown(experiment.experiment_id.as_bytes())
            )));
        }
        Ok(experiment.experiment_id)
    }

    /// The run for a file: the one that somebody began before, or a new one.
    pub(super) async fn run_for(&self, experiment: &str, name: &str, sha256: Sha256) -> Result<FileRun, RegistryError> {
        let tags = wire::tags_of_run(name, sha256);
        let search = json!({
            "experiment_ids": [experiment],
            "filter": wire::with_tags(&tags),
            "order_by": ["attributes.start_time ASC"],
            "max_results": 1,
        });
        let found = self.http.send::<Runs>(Method::POST, "runs/search", &search).await?.runs;
        if let Some(run) = found.into_iter().next() {
            return FileRun::of(run, experiment);
        }
        let new = json!({
            "experiment_id": experiment,
            "run_name": name,
            "start_time": self.now_ms(),
            "tags": tags,
        });
        FileRun::of(self.http.send::<GotRun>(Method::POST, "runs/create", &new).await?.run, experiment)
    }

    /// Says that a run is over.
    pub(super) async fn finish(&self, run: &FileRun) -> Result<(), RegistryError> {
        let over = json!({ "run_id": run.id, "status": "FINISHED", "end_time": self.now_ms() });
        self.http.send::<UpdatedRun>(Method::POST, "runs/update", &over).await.map(drop)
    }

    /// Where the file of a version of ours is, to put it back. `None`: its run is gone, or was never ours; nothing is written there.
    pub(super) async fn own_place(&self, version: &ModelVersion, experiment: &str) -> Result<Option<Place>, RegistryError> {
        if version.run_id.is_empty() {
            return Ok(None);
        }
        let run = match self.http.get::<GotRun>("runs/get", &[("run_id", &version.run_id)]).await {
            Err(RegistryError::NotFound(_) | RegistryError::Refused(_)) => return Ok(None),
            run => run?.run.info,
        };
        let is_ours = run.experiment_id == experiment && run.run_id == version.run_id && run.artifact_uri == version.source;
        Ok(Place::of(&version.source).filter(|_| is_ours))
    }

    fn now_ms(&self) -> i64 {
        self.options.clock.now().micros() / 1_000
    }
}
