//! What can go wrong with artifacts on disk.

use std::{io, path::Path};

/// Why a call on the artifact store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// The disk is full, not there, or does not let us. A retry can help.
    #[error("artifacts unavailable: {0}")]
    Unavailable(String),
    /// What lies there is not what was put there.
    #[error("artifact file {file} is damaged: {why}; fetch it from the registry again")]
    Damaged {
        /// Its path.
        file: String,
        /// What differs.
        why: String,
    },
}

/// Says where it went wrong.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> ArtifactError + '_ {
    move |error| ArtifactError::Unavailable(format!("{}: {error}", path.display()))
}
