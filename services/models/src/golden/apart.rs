//! Rows apart: a row is answered the same alone and among others. Rows of several callers share a batch, and a batch is filled up, so
//! that a model that reduces over its rows would answer one caller by what another asked.

use super::Golden;
use crate::{
    predictor::Predictor,
    tensor::{DataType, Port, Tensor, Values},
};

/// Rows that are asked together; there is a plan of that size, and one for each alone.
const ROWS: usize = 8;
/// By how much of the largest value of an output a row may differ: summing up in another order is no mixing.
const NEAR: f64 = 0.01;
/// Rows that have to differ: where classes are about as likely, one label may fall to either side.
const SEVERAL: usize = 2;

/// An output whose rows are not answered apart.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "output {0} of a row is another one when other rows are asked with it; rows of several callers are asked together, so that a model \
     has to answer each row by itself: export it without operators that work along the first axis"
)]
pub struct Mixed(pub String);

/// Asks some rows together and each alone: those of the golden vectors, and some that are made up. What the model does not take says
/// nothing.
///
/// # Errors
/// The first output whose answers differ.
pub fn check(predictor: &Predictor, golden: Option<&Golden>) -> Result<(), Mixed> {
    let made_up: Vec<Tensor> = predictor.inputs().iter().map(made_up).collect();
    let golden = golden.map(|golden| golden.inputs.iter().map(|input| rows(input, 0, ROWS)).collect::<Vec<_>>());
    for inputs in golden.into_iter().chain([made_up]) {
        let count = inputs.first().map_or(0, |input| input.shape[0]);
        let alone = (0..count).map(|row| predictor.predict(&inputs.iter().map(|input| rows(input, row, 1)).collect::<Vec<_>>()));
        let (Ok(together), Ok(alone)) = (predictor.predict(&inputs), alone.collect::<Result<Vec<_>, _>>()) else { continue };
        for (at, output) in together.iter().enumerate() {
            let differing =
                alone.iter().enumerate().filter(|(row, alone)| differs(&rows(output, *row, 1), &alone[at], largest(output)));
            if differing.count() >= SEVERAL {
                return Err(Mixed(output.name.clone()));
            }
        }
    }
    Ok(())
}

/// Rows of which no two are alike.
fn made_up(port: &Port) -> Tensor {
    let shape: Vec<usize> = port.shape.iter().map(|length| length.unwrap_or(ROWS)).collect();
    let width: usize = shape.iter().skip(1).product();
    let places = (0..ROWS * width).map(|at| (at / width, at % width));
    let number = |(row, column): (usize, usize)| ((row * 7 + column * 3) % 11) as f32 * 0.37 - 1.5;
    let values = match port.data_type {
        DataType::Bool => Values::Bool(places.map(|(row, column)| (row + column) % 2 == 0).collect()),
        DataType::I32 => Values::I32(places.map(|(row, column)| ((row + column) % 3) as i32).collect()),
        DataType::I64 => Values::I64(places.map(|(row, column)| ((row + column) % 3) as i64).collect()),
        DataType::F32 => Values::F32(places.map(number).collect()),
        DataType::F64 => Values::F64(places.map(|place| f64::from(number(place))).collect()),
        DataType::Text => Values::Text(places.map(|(row, _)| row.to_string()).collect()),
    };
    Tensor { name: port.name.clone(), shape, values }
}

/// At most so many rows of a tensor.
fn rows(tensor: &Tensor, first: usize, most: usize) -> Tensor {
    let width: usize = tensor.shape.iter().skip(1).product();
    let last = tensor.shape.first().copied().unwrap_or_default().min(first + most);
    let range = first * width..last * width;
    let values = match &tensor.values {
        Values::Bool(values) => Values::Bool(values[range].to_vec()),
        Values::I32(values) => Values::I32(values[range].to_vec()),
        Values::I64(values) => Values::I64(values[range].to_vec()),
        Values::F32(values) => Values::F32(values[range].to_vec()),
        Values::F64(values) => Values::F64(values[range].to_vec()),
        Values::Text(values) => Values::Text(values[range].to_vec()),
    };
    let shape = std::iter::once(last - first).chain(tensor.shape.iter().skip(1).copied()).collect();
    Tensor { name: tensor.name.clone(), shape, values }
}

fn differs(among: &Tensor, alone: &Tensor, largest: f64) -> bool {
    match (floats(&among.values), floats(&alone.values)) {
        (Some(among), Some(alone)) => among.iter().zip(&alone).any(|(a, b)| {
            let alike = a == b || (a.is_nan() && b.is_nan());
            // A difference that is no number is not near.
            let near = (a - b).abs() <= NEAR * largest;
            !alike && !near
        }),
        _ => among.values != alone.values,
    }
}

fn largest(output: &Tensor) -> f64 {
    let values = floats(&output.values).unwrap_or_default();
    values.into_iter().filter(|value| value.is_finite()).map(f64::abs).fold(0.0, f64::max)
}

fn floats(values: &Values) -> Option<Vec<f64>> {
    match values {
        Values::F32(values) => Some(values.iter().copied().map(f64::from).collect()),
        Values::F64(values) => Some(values.clone()),
        Values::Bool(_) | Values::I32(_) | Values::I64(_) | Values::Text(_) => None,
    }
}
