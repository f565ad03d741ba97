//! A version in memory.

use crate::engine::{Answers, Engine, Lane};
use loadline_models::{Port, Sha256, golden::METADATA_KEY};
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
        Self { model, number, sha256, inputs, outputs, metadata: BTreeMap::new(), lane: Lane::new(engine, answers) }
    }

    /// With what its file says of itself.
    #[must_use]
    pub fn with_metadata(self, mut metadata: BTreeMap<String, String>) -> Self {
        metadata.remove(METADATA_KEY);
        Self { metadata, ..self }
    }
}
