//! The model that answers until somebody promotes theirs: an ordered logit over the difference of Elo ratings. `baseline/generate.py` makes
//! its file, and says how it is fitted.

use super::MODEL;
use crate::{Serving, aliases::Wanted, gate::ByGate, resident::CHAMPION, status::ServingError};
use bytes::Bytes;
use loadline_models::{
    Sha256, onnx,
    registry::{Model, NewVersion},
};
use std::sync::LazyLock;

const FILE: &[u8] = include_bytes!("../../baseline/elo_baseline.onnx");

struct Baseline {
    /// As it is served.
    bytes: Bytes,
    sha256: Sha256,
}

static BASELINE: LazyLock<Baseline> = LazyLock::new(|| {
    let bytes: Bytes = onnx::check(FILE).expect("the built-in model can be served").bytes.into();
    Baseline { sha256: Sha256::of(&bytes), bytes }
});

/// Checks it, which takes longer than a request should: whoever is not the first to need it does not wait.
pub fn prepare() {
    LazyLock::force(&BASELINE);
}

/// Whether an artifact is the baseline: by its bytes, whatever a file says of itself.
pub fn is(sha256: Sha256) -> bool {
    BASELINE.sha256 == sha256
}

impl Serving {
    /// Registers the baseline where that is wanted and nobody registered another, and lets it be the champion.
    ///
    /// # Errors
    /// Those of the registry and of the journal: the next look tries again.
    pub(crate) async fn provide_baseline(&self) -> Result<(), ServingError> {
        if !self.football.0.with_baseline || !is_wanted(self.library.listing().iter().find(|model| model.name == MODEL)) {
            return Ok(());
        }
        let new = NewVersion { properties: [("baseline".to_owned(), "true".to_owned())].into() };
        let version = self.library.registry().register(MODEL, BASELINE.bytes.clone(), new).await?;
        let wanted = Wanted {
            model: MODEL.to_owned(),
            alias: CHAMPION.to_owned(),
            expected: 0,
            actor: "loadline".to_owned(),
            reason: "the built-in baseline, as no model of football was registered".to_owned(),
        };
        self.to_the_end(move |serving| async move { serving.promote(wanted, version.number, ByGate::default()).await }).await?;
        Ok(())
    }
}

/// Where nothing is registered, or where another process, or this one before it was ended, has only begun.
fn is_wanted(registered: Option<&Model>) -> bool {
    let Some(model) = registered else { return true };
    let only_ours = model.versions.iter().all(|version| version.sha256.is_some_and(is));
    only_ours && !model.aliases.contains_key(CHAMPION)
}
