//! A model compiled for one number of rows.

use crate::tensor::{DataType, Port};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tract_onnx::tract_hir::internal::*;

/// Values one tensor inside a plan may have; a graph may grow what it was given only so far.
const MAX_VALUES: usize = 1 << 26;

/// States kept for the next calls; more callers than that at once make their own.
const IDLE_STATES: usize = 64;

/// A model for a number of rows, ready to run.
#[derive(Debug)]
pub(super) struct Plan {
    runnable: Arc<TypedRunnableModel>,
    /// What runs need and can use again. One that failed is not put back.
    idle: Mutex<Vec<TypedSimpleState>>,
    output_shapes: Vec<Vec<usize>>,
}

impl Plan {
    /// Compiles `model` for that many rows.
    pub(super) fn compile(model: &InferenceModel, inputs: &[Port], outputs: &[Port], rows: usize) -> TractResult<Self> {
        let mut model = model.clone();
        for (at, port) in inputs.iter().enumerate() {
            let shape: TVec<usize> = port.shape.iter().map(|axis| axis.unwrap_or(rows)).collect();
            model.set_input_fact(at, InferenceFact::dt_shape(kind(port.data_type), shape))?;
        }
        let mut model = model.into_typed()?;
        for outlet in model.output_outlets()?.to_vec() {
            // tract computes 64-bit integers that might be shapes in a type of its own.
            if model.outlet_fact(outlet)?.datum_type.is_tdim() {
                let name = format!("{}.as int", model.node(outlet.node).name);
                let cast = model.wire_node(name, tract_core::ops::cast::cast(DatumType::I64), &[outlet])?;
                let outputs = model
                    .output_outlets()?
                    .iter()
                    .map(|&other| if other == outlet { cast[0] } else { other })
                    .collect::<Vec<_>>();
                model.select_output_outlets(&outputs)?;
            }
        }
        modest(&model)?;
        let model = model.into_optimized()?;
        modest(&model)?;
        let output_shapes = output_shapes(&model, outputs, rows)?;
        Ok(Self { runnable: model.into_runnable()?, idle: Mutex::default(), output_shapes })
    }

    /// Runs it on inputs in the model's order.
    pub(super) fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let idle = self.idle().pop();
        let mut state = idle.map_or_else(|| self.runnable.spawn(), Ok)?;
        let answers = state.run(inputs)?;
        let mut idle = self.idle();
        if idle.len() < IDLE_STATES {
            idle.push(state);
        }
        Ok(answers)
    }

    /// Nothing can fail while this is held, so a poisoned lock holds what a sound one would.
    fn idle(&self) -> MutexGuard<'_, Vec<TypedSimpleState>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn output_shapes(&self) -> &[Vec<usize>] {
        &self.output_shapes
    }
}

fn kind(data_type: DataType) -> DatumType {
    match data_type {
        DataType::Bool => DatumType::Bool,
        DataType::I32 => DatumType::I32,
        DataType::I64 | DataType::Text => DatumType::I64,
        DataType::F32 => DatumType::F32,
        DataType::F64 => DatumType::F64,
    }
}

/// Refuses a graph that makes something absurdly large of its inputs.
fn modest(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes() {
        for output in &node.outputs {
            let shape = output.fact.shape.as_concrete().with_context(|| format!("{}: a shape depends on values", node.name))?;
            let values = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
            ensure!(values.is_some_and(|values| values <= MAX_VALUES), "{} makes a tensor of absurd shape {shape:?}", node.name);
        }
    }
    Ok(())
}

/// Shapes of the outputs; each must have the rows first.
fn output_shapes(model: &TypedModel, outputs: &[Port], rows: usize) -> TractResult<Vec<Vec<usize>>> {
    let outlets = model.output_outlets()?;
    ensure!(outlets.len() == outputs.len(), "it has {} outputs, {} are expected", outlets.len(), outputs.len());
    outlets
        .iter()
        .zip(outputs)
        .map(|(&outlet, port)| {
            let fact = model.outlet_fact(outlet)?;
            let shape =
                fact.shape.as_concrete().with_context(|| format!("the shape of output {} depends on values", port.name))?;
            ensure!(
                shape.first() == Some(&rows),
                "output {} has the shape {shape:?}, which does not begin with {rows} rows",
                port.name
            );
            ensure!(
                fact.datum_type == kind(port.data_type),
                "output {} is {:?} and not {}",
                port.name,
                fact.datum_type,
                port.data_type
            );
            Ok(shape.to_vec())
        })
        .collect()
}
