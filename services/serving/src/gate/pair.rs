//! Two versions, loaded apart from those that answer callers.

use crate::{
    engine::{Engine, Limits},
    library::Library,
    resident::Loaded,
    status::ServingError,
    tensors::Invalid,
};
use loadline_models::registry::RegistryError;
use loadline_proto::serving::GateHeader;
use std::{sync::Arc, time::Duration};

/// Rows of a batch, as where callers are answered: an answer may depend on it in its last digit.
const BATCH_ROWS: usize = 128;

/// What is compared. Both are on an engine that nothing else waits in and that runs one batch at a time, and leave memory together.
pub struct Pair {
    /// What the alias names.
    pub champion: Arc<Loaded>,
    /// What should take its place.
    pub challenger: Arc<Loaded>,
}

impl Pair {
    /// Loads both.
    ///
    /// # Errors
    /// When the alias names nothing, or the challenger itself; why one cannot be loaded.
    pub async fn load(library: &Library, header: &GateHeader) -> Result<Self, ServingError> {
        let GateHeader { model, alias, version, .. } = header;
        let registered = library.registry().get(model).await?;
        let no_champion = || ServingError::NoChampion { model: model.clone(), alias: alias.clone() };
        let champion = registered.aliases.get(alias).copied().ok_or_else(no_champion)?;
        if *version == champion {
            return Err(
                Invalid::new("version", format!("alias `{alias}` names version {version}: there is nothing to compare")).into()
            );
        }
        let found = |number| registered.version(number).ok_or(RegistryError::NotFound(format!("version {number} of `{model}`")));
        let (champion, challenger) = (found(champion)?, found(*version)?);
        let engine =
            Engine::new(Limits { batch_rows: BATCH_ROWS, queued_rows: usize::MAX, runners: 1, target_wait: Duration::ZERO });
        Ok(Self {
            champion: library.apart(model, champion, &engine).await?,
            challenger: library.apart(model, challenger, &engine).await?,
        })
    }
}
