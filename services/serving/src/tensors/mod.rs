//! Tensors of the protocol, and tensors of models: what a request must be, and how an answer looks.
//!
//! - [`request`]: names, types and shapes against the model's inputs, all checked before a value is read
//! - [`typed`], [`raw`]: values in the two forms that the protocol has
//! - [`response`]: outputs, in the form that the request had
//!
//! Every refusal names the field and what the model takes.

pub mod canonical;
pub mod ports;
pub mod raw;
pub mod request;
pub mod response;
pub mod typed;

use loadline_models::{Tensor, Values};

/// The values as they are, of a tensor of floats.
pub fn floats(tensor: Tensor) -> Option<Vec<f64>> {
    match tensor.values {
        Values::F32(values) => Some(values.into_iter().map(f64::from).collect()),
        Values::F64(values) => Some(values),
        Values::Bool(_) | Values::I32(_) | Values::I64(_) | Values::Text(_) => None,
    }
}

/// A field that is wrong, and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct Invalid {
    /// Path of the field in its request, such as `inputs[0].shape`.
    pub field: String,
    /// What it is, and what it should be.
    pub detail: String,
}

impl Invalid {
    /// A field, and what is wrong with it.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}
