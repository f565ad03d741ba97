//! Answers: a checked model, compiled for batches of a few sizes, asked by any number of callers at once.
//!
//! ```text
//!  tensors ─▶ ports ─▶ split into 1, 8, 32, 128 rows ─▶ plan of that size ─▶ rows put together again
//!             names,                                     compiled when
//!             types, shapes                              first needed
//! ```
//!
//! Shapes in a plan are numbers, never symbols: a dynamic batch is slower and has panicked in tract. A batch that fits no plan is
//! split or filled up with its own last row, whose answers are dropped.

mod error;
mod feed;
mod plan;

pub use error::{LoadError, PredictError};

use crate::{
    onnx::{Classes, kernel, ports::Served},
    tensor::{Port, Tensor, shape_text},
};
use feed::Feed;
use plan::Plan;
use prost::Message;
use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};
use tract_onnx::{pb::ModelProto, prelude::*};

/// Rows that plans are compiled for.
pub const BATCHES: [usize; 4] = [1, 8, 32, 128];

/// Rows one call may have.
pub const MAX_ROWS: usize = 16_384;

/// A model that answers. Calls need no lock: share it.
#[derive(Debug)]
pub struct Predictor {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    classes: Option<Classes>,
    metadata: BTreeMap<String, String>,
    feed: Feed,
    /// What plans are compiled from.
    model: InferenceModel,
    plans: [OnceLock<Result<Plan, String>>; BATCHES.len()],
}

impl Predictor {
    /// Loads what [`crate::onnx::check`] wrote, and compiles it for single rows.
    ///
    /// # Errors
    /// It was not written by that, or cannot be run.
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        caught(|| Self::read(bytes)).unwrap_or_else(|panic| Err(LoadError::Panicked(panic)))
    }

    fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let proto = ModelProto::decode(bytes).map_err(|error| LoadError::Unreadable(error.to_string()))?;
        let served = Served::read(&proto).ok_or(LoadError::NotNormalised)?;
        let model = kernel::framework().model_for_proto_model(&proto).map_err(|error| LoadError::of(&error))?;
        let metadata = proto.metadata_props.into_iter().map(|entry| (entry.key, entry.value));
        let metadata = metadata.filter(|(key, _)| !key.starts_with(crate::onnx::OURS)).collect();
        let mut predictor = Self {
            feed: Feed::new(served.vocabulary),
            inputs: served.inputs,
            outputs: served.outputs,
            classes: served.classes,
            metadata,
            model,
            plans: Default::default(),
        };
        let shapes = predictor.plan(0).map_err(LoadError::Unusable)?.output_shapes().to_vec();
        for (port, shape) in predictor.outputs.iter_mut().zip(shapes) {
            port.shape = std::iter::once(None).chain(shape.into_iter().skip(1).map(Some)).collect();
        }
        Ok(predictor)
    }

    /// What it wants, in the model's order.
    #[must_use]
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What it answers, in the model's order.
    #[must_use]
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Which class each column of probabilities is, if the model says so.
    #[must_use]
    pub fn classes(&self) -> Option<&Classes> {
        self.classes.as_ref()
    }

    /// The file's own metadata.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Compiles for every batch size, so that no call has to wait for it.
    ///
    /// # Errors
    /// It can answer single rows, but not batches: its file holds a batch size of its own, or a row's answer grows with their number.
    pub fn warm(&self) -> Result<(), LoadError> {
        (0..BATCHES.len()).try_for_each(|at| {
            let plan = self.plan(at).map_err(LoadError::Unusable)?;
            match self.outputs.iter().zip(plan.output_shapes()).find(|(port, shape)| !fits_rows(port, shape)) {
                None => Ok(()),
                Some((port, shape)) => Err(LoadError::Unusable(format!(
                    "for {} rows: output {} has the shape {shape:?}, and {} by single rows",
                    BATCHES[at],
                    port.name,
                    shape_text(&port.shape)
                ))),
            }
        })
    }

    /// Answers any number of rows, up to [`MAX_ROWS`]. Inputs may come in any order, and all have as many rows; every output has
    /// that many. NaN is a value like any other: models that fill in missing values want it.
    ///
    /// # Errors
    /// An input is missing or not what the model wants, or the model failed on these values.
    pub fn predict(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, PredictError> {
        let (inputs, rows) = feed::arrange(&self.inputs, inputs)?;
        if let Some(at) = BATCHES.iter().position(|&size| size == rows) {
            return self.run(at, &inputs, 0, rows);
        }
        let mut answers: Vec<Tensor> = Vec::new();
        let mut done = 0;
        while done < rows {
            let at = best_plan(rows - done);
            let take = BATCHES[at].min(rows - done);
            feed::append(&mut answers, self.run(at, &inputs, done, take)?);
            done += take;
        }
        Ok(answers)
    }

    fn run(&self, at: usize, inputs: &[&Tensor], from: usize, take: usize) -> Result<Vec<Tensor>, PredictError> {
        let plan = self.plan(at).map_err(PredictError::Failed)?;
        let fed = || -> TractResult<Vec<Tensor>> {
            let tensors =
                inputs.iter().map(|input| self.feed.rows(input, from, take, BATCHES[at])).collect::<TractResult<_>>()?;
            let answers = plan.run(tensors)?;
            self.outputs.iter().zip(answers).map(|(port, answer)| self.feed.answer(port, &answer, take)).collect()
        };
        match caught(fed) {
            Ok(answers) => answers.map_err(|error| PredictError::Failed(format!("{error:#}"))),
            Err(panic) => Err(PredictError::Panicked(panic)),
        }
    }

    /// The plan of that size, compiled if it is not yet.
    fn plan(&self, at: usize) -> Result<&Plan, String> {
        let compile = || match caught(|| Plan::compile(&self.model, &self.inputs, &self.outputs, BATCHES[at])) {
            Ok(plan) => plan.map_err(|error| format!("for {} rows: {error:#}", BATCHES[at])),
            Err(panic) => Err(format!("for {} rows it panics: {panic}", BATCHES[at])),
        };
        self.plans[at].get_or_init(compile).as_ref().map_err(Clone::clone)
    }
}

/// Whether a shape is that of a port, for some number of rows.
fn fits_rows(port: &Port, shape: &[usize]) -> bool {
    port.shape.iter().skip(1).copied().eq(shape.iter().skip(1).copied().map(Some))
}

/// Which plan to use next: the smallest that takes all, unless more than half of it would be filler.
fn best_plan(rows: usize) -> usize {
    let fits = BATCHES.iter().position(|&size| size >= rows);
    match fits.filter(|&at| BATCHES[at] <= 2 * rows) {
        Some(at) => at,
        None => BATCHES.iter().rposition(|&size| size <= rows).unwrap_or(0),
    }
}

/// Calls, and makes a panic an error: what it says, if it says something.
fn caught<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panic_text(&*panic))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_split_so_that_at_most_half_of_a_plan_is_filler() {
        for rows in 1..=1000 {
            let (mut left, mut run) = (rows, 0);
            while left > 0 {
                let size = BATCHES[best_plan(left)];
                assert!(size <= 2 * left, "{size} rows for the last {left} of {rows}");
                run += size;
                left -= size.min(left);
            }
            assert!(run >= rows && run <= 2 * rows, "{run} rows run for {rows}");
        }
    }

    #[test]
    fn a_panic_is_told_with_its_text() {
        assert_eq!(caught(|| -> () { panic!("axis {}", 3) }), Err("axis 3".to_owned()));
    }
}
