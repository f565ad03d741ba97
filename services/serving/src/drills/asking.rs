//! Champions asked for one row, as callers are answered: what goes on whatever else is broken.

use crate::{engine::Refusal, resident::Residents};
use loadline_models::{DataType, Port, Tensor, Values};

/// Asks the champion of each model.
///
/// # Errors
/// The first that does not answer, in words.
pub async fn all(residents: &Residents, models: impl IntoIterator<Item = &String>) -> Result<(), String> {
    for model in models {
        let version = residents.hold(model, "").map_err(|error| error.to_string())?;
        match version.lane.answer(version.inputs.iter().map(one_row).collect(), 1, None).await {
            // A model that refuses these values has answered.
            Ok(_) | Err(Refusal::Invalid(_)) => {}
            Err(refusal) => return Err(format!("{model} does not answer: {refusal:?}")),
        }
    }
    Ok(())
}

/// A row of nothing in particular, of the form that a model takes.
fn one_row(port: &Port) -> Tensor {
    let shape: Vec<usize> = port.shape.iter().map(|length| length.unwrap_or(1)).collect();
    let count = shape.iter().product();
    let values = match port.data_type {
        DataType::Bool => Values::Bool(vec![false; count]),
        DataType::I32 => Values::I32(vec![0; count]),
        DataType::I64 => Values::I64(vec![0; count]),
        DataType::F32 => Values::F32(vec![0.0; count]),
        DataType::F64 => Values::F64(vec![0.0; count]),
        DataType::Text => Values::Text(vec![String::new(); count]),
    };
    Tensor::new(port.name.clone(), shape, values)
}
