//! Golden vectors: inputs, and what the exporter's own runtime answered to them. A model that does not answer them alike is not
//! served.
//!
//! [`check_in_child`] does all of it where a hostile file can do no harm: in a process with limits, which is this program again and
//! ends in [`as_child`] there.

mod apart;
mod child;
mod compare;
mod json;
mod limits;
mod program;

pub use apart::Mixed;
pub use child::{Refusal, Report, check_in_child, child_main};
pub use compare::{Difference, Verified, compare};
pub use json::GoldenError;
pub use limits::Limits;
pub use program::{ARGUMENT, as_child};

use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Key of golden vectors in the metadata of an ONNX file.
pub const METADATA_KEY: &str = "golden_vectors";

/// Inputs of some rows, and the outputs that are expected, which may be some of the model's.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// All that the model wants.
    pub inputs: Vec<Tensor>,
    /// What it should answer.
    pub outputs: Vec<Tensor>,
    /// How far an answer may be off.
    pub tolerance: Tolerance,
}

/// An answer `a` is near enough to `e` if `|a - e| <= absolute + relative * |e|`. Integers, truths and texts must be equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// In the unit of the answer.
    pub absolute: f64,
    /// A share of the expected value.
    pub relative: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { absolute: 1e-5, relative: 1e-4 }
    }
}

impl Golden {
    /// Reads them from the JSON beside a model:
    /// `{"inputs": [{"name", "type", "shape", "values"}], "outputs": […], "tolerance": {"absolute", "relative"}}`, with the types'
    /// names of the Open Inference Protocol and values in row-major order. In floats, `null` is NaN, `"inf"` and `"-inf"` are
    /// infinite.
    ///
    /// # Errors
    /// It is not that.
    pub fn from_json(json: &[u8]) -> Result<Self, GoldenError> {
        json::read(json)
    }

    /// As JSON that [`Golden::from_json`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// Reads them from a model's metadata, if they are there.
    ///
    /// # Errors
    /// They are there, and are not what they should be.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, GoldenError> {
        metadata.get(METADATA_KEY).map(|json| Self::from_json(json.as_bytes())).transpose()
    }
}
