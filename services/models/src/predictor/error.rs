//! What can go wrong with a predictor.

use crate::tensor::{DataType, shape_text};
use tract_onnx::prelude::TractError;

/// Why a model cannot be used. Another try cannot help.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoadError {
    /// It is no model.
    #[error("not a model: {0}")]
    Unreadable(String),
    /// It did not come out of the check at registration.
    #[error("this file was not checked: register it, and load what was registered")]
    NotNormalised,
    /// The engine cannot run it.
    #[error("the model cannot be run {0}")]
    Unusable(String),
    /// The engine panicked.
    #[error("the model cannot be loaded: the engine panicked: {0}")]
    Panicked(String),
}

impl LoadError {
    pub(super) fn of(error: &TractError) -> Self {
        Self::Unusable(format!("here: {error:#}"))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PredictError {
    /// An input was not given.
    #[error("input {name} is missing: expected {expected} of {shape}", shape = shape_text(.shape))]
    Missing {
        /// Which.
        name: String,
        /// Of which type.
        expected: DataType,
        /// Of which shape.
        shape: Vec<Option<usize>>,
    },
    /// An input was given that the model does not have.
    #[error("there is no input {name}; the model's inputs are {}", .inputs.join(", "))]
    Unknown {
        /// Which.
        name: String,
        /// Those that there are.
        inputs: Vec<String>,
    },
    /// An input was given twice.
    #[error("input {0} is given twice")]
    Twice(String),
    /// An input is of another type.
    #[error("input {name} is {came}, expected {expected}")]
    Type {
        /// Which.
        name: String,
        /// What it should be.
        expected: DataType,
        /// What it is.
        came: DataType,
    },
    /// An input is of another shape.
    #[error("input {name} has the shape {came:?}, expected {expected}", expected = shape_text(.expected))]
    Shape {
        /// Which.
        name: String,
        /// What it should be.
        expected: Vec<Option<usize>>,
        /// What it is.
        came: Vec<usize>,
    },
    /// An input does not hold as many values as its shape says.
    #[error("input {name} has the shape {shape:?} and {values} values")]
    Values {
        /// Which.
        name: String,
        /// What it says.
        shape: Vec<usize>,
        /// What it holds.
        values: usize,
    },
    /// Inputs have different numbers of rows.
    #[error("input {name} has {came} rows where {first} has {expected}")]
    Rows {
        /// Which.
        name: String,
        /// Its rows.
        came: usize,
        /// The input before it.
        first: String,
        /// That one's rows.
        expected: usize,
    },
    /// There is nothing to answer, or too much at once.
    #[error("{rows} rows: from 1 to {limit} can be answered at once")]
    RowCount {
        /// How many came.
        rows: usize,
        /// How many may.
        limit: usize,
    },
    /// The model failed on these values.
    #[error("the model failed: {0}")]
    Failed(String),
    /// The engine panicked on these values; the next call is not harmed.
    #[error("the model failed: the engine panicked: {0}")]
    Panicked(String),
}

impl PredictError {
    /// Whether the caller's inputs are to blame, and not the model.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::Panicked(_))
    }
}
