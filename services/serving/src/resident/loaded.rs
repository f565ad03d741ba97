//! A version in memory.

use crate::engine::{Answers, Engine, Lane};
use loadline_models::{Port, Sha256, golden::METADATA_KEY, onnx::Classes};
use std::collections::BTreeMap;

/// A version that can be asked.
pub struct Loaded {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub number: u64,
    /// Of the artifact it was made from.
    pub sha256: Sha256,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// What its classes are called, in their order, where its file says so.
    pub classes: Option<Classes>,
    /// What its file says of itself, but golden vectors.
    pub metadata: BTreeMap<String, String>,
    /// Where it is asked.
    pub lane: Lane,
}

/// What a version is, beside what answers.
pub struct Identity {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub number: u64,
    /// Of its artifact.
    pub sha256: Sha256,
}

impl Loaded {
    /// A version that `answers`, with these ports.
    pub fn new(identity: Identity, inputs: Vec<Port>, outputs: Vec<Port>, engine: &Engine, answers: impl Answers) -> Self {
        let Identity { model, number, sha256 } = identity;
        let lane = Lane::new(engine, answers);
        Self { model, number, sha256, inputs, outputs, classes: None, metadata: BTreeMap::new(), lane }
    }

    /// The same with names for its classes.
    #[must_use]
    pub fn with_classes(self, classes: Option<Classes>) -> Self {
        Self { classes, ..self }
    }

    /// With what its file says of itself.
    #[must_use]
    pub fn with_metadata(self, mut metadata: BTreeMap<String, String>) -> Self {
        metadata.remove(METADATA_KEY);
        Self { metadata, ..self }
    }
}
