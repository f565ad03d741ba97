//! Answers beside those that were expected.

use super::{Golden, Tolerance};
use crate::{
    predictor::{PredictError, Predictor},
    tensor::{Tensor, Values},
};

/// What was compared, and how near it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verified {
    /// Rows asked.
    pub rows: usize,
    /// Values compared.
    pub values: usize,
    /// The largest difference of two floats, in the unit of the answer.
    pub largest_difference: f64,
}

/// Why a model did not pass.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Difference {
    /// It did not answer.
    #[error("the golden inputs are not answered: {0}")]
    NotAnswered(#[from] PredictError),
    /// It does not have an output that is expected.
    #[error("there is no output {name}; the model's outputs are {}", .outputs.join(", "))]
    NoOutput {
        /// Which.
        name: String,
        /// Those that there are.
        outputs: Vec<String>,
    },
    /// An output is of another type or shape.
    #[error("output {name} is {came}, expected {expected}")]
    Kind {
        /// Which.
        name: String,
        /// What was expected.
        expected: String,
        /// What came.
        came: String,
    },
    /// A value is another one.
    #[error("output {name}, row {row}, value {column}: {came}, expected {expected}")]
    Value {
        /// Which output.
        name: String,
        /// Which row.
        row: usize,
        /// Which value of it.
        column: usize,
        /// What was expected.
        expected: String,
        /// What came.
        came: String,
    },
}

impl Golden {
    /// Asks `predictor`, and compares.
    ///
    /// # Errors
    /// Says which value differs first.
    pub fn check(&self, predictor: &Predictor) -> Result<Verified, Difference> {
        let answers = predictor.predict(&self.inputs)?;
        let rows = self.inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(0);
        let mut verified = Verified { rows, values: 0, largest_difference: 0.0 };
        for expected in &self.outputs {
            let answer = answers.iter().find(|answer| answer.name == expected.name);
            let answer = answer.ok_or_else(|| Difference::NoOutput {
                name: expected.name.clone(),
                outputs: answers.iter().map(|answer| answer.name.clone()).collect(),
            })?;
            verified.largest_difference = verified.largest_difference.max(compare(answer, expected, self.tolerance)?);
            verified.values += expected.values.len();
        }
        Ok(verified)
    }
}

/// The largest difference of two floats of a tensor and what it should be.
///
/// # Errors
/// Another type or shape, or the first value that is further off than tolerated.
pub fn compare(answer: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<f64, Difference> {
    let kind = |tensor: &Tensor| format!("{} of shape {:?}", tensor.values.data_type(), tensor.shape);
    if kind(answer) != kind(expected) || answer.values.len() != expected.values.len() {
        return Err(Difference::Kind { name: expected.name.clone(), expected: kind(expected), came: kind(answer) });
    }
    let off = |a: f64, e: f64| if a == e || (a.is_nan() && e.is_nan()) { 0.0 } else { (a - e).abs() };
    let near = |a: f64, e: f64| off(a, e) <= tolerance.absolute + tolerance.relative * e.abs();
    let differs = |at: usize, came: String, wanted: String| {
        let width = expected.shape.iter().skip(1).product::<usize>().max(1);
        Difference::Value { name: expected.name.clone(), row: at / width, column: at % width, expected: wanted, came }
    };
    match (&answer.values, &expected.values) {
        (Values::F32(answers), Values::F32(wanted)) => {
            let pairs = || answers.iter().zip(wanted).map(|(&a, &e)| (f64::from(a), f64::from(e)));
            all_near(pairs, near, off, differs)
        }
        (Values::F64(answers), Values::F64(wanted)) => {
            all_near(|| answers.iter().zip(wanted).map(|(&a, &e)| (a, e)), near, off, differs)
        }
        (Values::Bool(answers), Values::Bool(wanted)) => all_equal(answers, wanted, differs),
        (Values::I32(answers), Values::I32(wanted)) => all_equal(answers, wanted, differs),
        (Values::I64(answers), Values::I64(wanted)) => all_equal(answers, wanted, differs),
        (Values::Text(answers), Values::Text(wanted)) => all_equal(answers, wanted, differs),
        _ => unreachable!("types were compared"),
    }
}

fn all_near<I: Iterator<Item = (f64, f64)>>(
    pairs: impl Fn() -> I,
    near: impl Fn(f64, f64) -> bool,
    off: impl Fn(f64, f64) -> f64,
    differs: impl Fn(usize, String, String) -> Difference,
) -> Result<f64, Difference> {
    match pairs().enumerate().find(|(_, (a, e))| !near(*a, *e)) {
        Some((at, (a, e))) => Err(differs(at, a.to_string(), e.to_string())),
        None => Ok(pairs().map(|(a, e)| off(a, e)).fold(0.0, f64::max)),
    }
}

fn all_equal<T: PartialEq + std::fmt::Debug>(
    answers: &[T],
    wanted: &[T],
    differs: impl Fn(usize, String, String) -> Difference,
) -> Result<f64, Difference> {
    match answers.iter().zip(wanted).position(|(a, e)| a != e) {
        Some(at) => Err(differs(at, format!("{:?}", answers[at]), format!("{:?}", wanted[at]))),
        None => Ok(0.0),
    }
}
