//! A version from its file to memory.

use super::Library;
use crate::{
    engine::{Answers, Engine, Refusal},
    resident::{Identity, Loaded},
    status::ServingError,
};
use bytes::Bytes;
use loadline_models::{
    Sha256, Tensor,
    golden::Golden,
    predictor::{PredictError, Predictor},
    registry::{RegistryError, Version},
};
use std::sync::Arc;

const NOT_PINNED: &str = "nobody pinned its file when it was made; register the file through this service";

impl Library {
    /// Loads a version: its file from disk, or from the registry and then kept on disk.
    ///
    /// # Errors
    /// Why it cannot be loaded; remembered, so that it is not tried at every look.
    pub(super) async fn bring(&self, model: &str, version: &Version) -> Result<Arc<Loaded>, ServingError> {
        let refused = |why| ServingError::NotLoadable { model: model.to_owned(), version: version.number, why };
        if let Some(why) = self.failures.too_early(model, version.number) {
            return Err(refused(why));
        }
        let Some(sha256) = version.sha256 else {
            let why = NOT_PINNED.to_owned();
            self.failures.failed(model, version.number, why.clone());
            return Err(refused(why));
        };
        let identity = Identity { model: model.to_owned(), number: version.number, sha256 };
        match self.load_file(identity, &self.parts.engine).await {
            Ok(loaded) => {
                self.failures.loaded(model, version.number);
                tracing::info!(model, version = version.number, %sha256, "loaded");
                Ok(loaded)
            }
            Err(error) => {
                tracing::warn!(model, version = version.number, %error, "not loaded; what is in memory stays");
                self.failures.failed(model, version.number, error.to_string());
                Err(error)
            }
        }
    }

    /// Loads an artifact for whoever holds on to it, named or not: it is put in no place where requests find it.
    ///
    /// # Errors
    /// Why it cannot be loaded; that the registry has another file under its number is [`RegistryError::WrongSha`].
    pub async fn borrow(&self, identity: Identity) -> Result<Arc<Loaded>, ServingError> {
        let bytes = match self.on_disk(identity.sha256).await {
            Some(bytes) => bytes,
            None => self.download(&identity).await?,
        };
        self.made_of(identity, bytes, &self.parts.engine).await
    }

    /// Loads a version beside what answers: on an engine of its own, and gone with its last user.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub async fn apart(&self, model: &str, version: &Version, engine: &Engine) -> Result<Arc<Loaded>, ServingError> {
        let number = version.number;
        let not_pinned = || ServingError::NotLoadable { model: model.to_owned(), version: number, why: NOT_PINNED.to_owned() };
        let sha256 = version.sha256.ok_or_else(not_pinned)?;
        self.load_file(Identity { model: model.to_owned(), number, sha256 }, engine).await
    }

    async fn load_file(&self, identity: Identity, engine: &Engine) -> Result<Arc<Loaded>, ServingError> {
        let bytes = match self.on_disk(identity.sha256).await {
            Some(bytes) => bytes,
            None => {
                let bytes = self.download(&identity).await?;
                self.keep(bytes.clone()).await;
                bytes
            }
        };
        self.made_of(identity, bytes, engine).await
    }

    /// A file from the registry, which is what was pinned, and fit to be loaded: what is on disk was both when it was put there.
    async fn download(&self, identity: &Identity) -> Result<Bytes, ServingError> {
        let (model, version, expected) = (&identity.model, identity.number, identity.sha256);
        let bytes = self.parts.registry.download(model, version, self.parts.largest).await?;
        match Sha256::of(&bytes) {
            found if found == expected => {}
            found => return Err(RegistryError::WrongSha { expected, found }.into()),
        }
        match self.fit(bytes.clone(), expected).await {
            Ok(()) => Ok(bytes),
            Err(why) => Err(ServingError::NotLoadable { model: model.clone(), version, why }),
        }
    }

    /// Makes a file answer, warm.
    pub(super) async fn made_of(&self, identity: Identity, bytes: Bytes, engine: &Engine) -> Result<Arc<Loaded>, ServingError> {
        let (model, version, engine) = (identity.model.clone(), identity.number, engine.clone());
        let made = tokio::task::spawn_blocking(move || {
            let predictor = Predictor::load(&bytes).map_err(|error| error.to_string())?;
            predictor.warm().map_err(|error| error.to_string())?;
            as_the_exporter(&predictor)?;
            let (inputs, outputs) = (predictor.inputs().to_vec(), predictor.outputs().to_vec());
            let (classes, metadata) = (predictor.classes().cloned(), predictor.metadata().clone());
            let loaded = Loaded::new(identity, inputs, outputs, &engine, predictor);
            Ok(Arc::new(loaded.with_classes(classes).with_metadata(metadata)))
        });
        let made = made.await.unwrap_or_else(|_| Err("loading it panicked".to_owned()));
        made.map_err(|why| ServingError::NotLoadable { model, version, why })
    }

    /// A file kept before, if it is whole.
    pub(super) async fn on_disk(&self, sha256: Sha256) -> Option<Bytes> {
        let artifacts = self.parts.artifacts.clone();
        let read = tokio::task::spawn_blocking(move || artifacts.get(sha256)).await;
        match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%sha256, %error, "an artifact on disk is not what it was; it comes from the registry again");
                None
            }
            Err(_) => None,
        }
    }

    /// Keeps a file for the next start. A disk that is full keeps nothing, and serves all the same.
    async fn keep(&self, bytes: Bytes) {
        let artifacts = self.parts.artifacts.clone();
        let kept = tokio::task::spawn_blocking(move || artifacts.put(&bytes)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "an artifact is in memory only: a start without the registry will lack it");
        }
    }
}

/// The golden vectors of its file, if it has some, are answered as its exporter's own runtime answered them.
fn as_the_exporter(predictor: &Predictor) -> Result<(), String> {
    let golden = Golden::from_metadata(predictor.metadata()).map_err(|error| error.to_string())?;
    golden.map_or(Ok(()), |golden| golden.check(predictor).map(drop).map_err(|difference| difference.to_string()))
}

impl Answers for Predictor {
    fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refusal> {
        self.predict(inputs).map_err(|error| match error {
            PredictError::Failed(why) | PredictError::Panicked(why) => Refusal::Broken(why),
            callers => Refusal::Invalid(callers.to_string()),
        })
    }
}
