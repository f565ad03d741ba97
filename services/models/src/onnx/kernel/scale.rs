//! Operators that change each value on its own, or by its row: Scaler, Imputer, Binarizer, Normalizer.

use super::{
    super::{CheckError, attributes::Attributes},
    Kernel, Shaped, answer, floats, ints, is_number, table,
};
use tract_onnx::tract_hir::internal::*;

/// A value for each column, or one for all of them.
fn by_column<T: Copy>(values: &[T], column: usize) -> T {
    values[if values.len() == 1 { 0 } else { column }]
}

/// Refuses a list of values that is neither as long as a row nor one for all columns.
fn fits(operator: &str, values: usize, shape: &[usize]) -> TractResult<usize> {
    let (_, columns) = table(operator, shape)?;
    ensure!(values == 1 || values == columns, "{operator} is made for {values} columns and gets {columns}");
    Ok(columns.max(1))
}

fn floats_like(kind: DatumType, shape: &[usize]) -> TractResult<TVec<Shaped>> {
    ensure!(is_number(kind), "numbers are expected, and not {kind:?}");
    Ok(tvec![(DatumType::F32, shape.into())])
}

/// `(x - offset) * scale`, by column.
#[derive(Debug)]
pub(super) struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Scaler {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let or = |list: &[f32], neutral| if list.is_empty() { vec![neutral] } else { list.to_vec() };
        Ok(Self { offset: or(attributes.floats("offset"), 0.0), scale: or(attributes.floats("scale"), 1.0) })
    }
}

impl Kernel for Scaler {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        fits("Scaler", self.offset.len(), inputs[0].1)?;
        fits("Scaler", self.scale.len(), inputs[0].1)?;
        floats_like(inputs[0].0, inputs[0].1)
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let columns = fits("Scaler", self.scale.len(), inputs[0].shape())?;
        let scaled = |(at, value): (usize, &f32)| {
            let column = at % columns;
            (value - by_column(&self.offset, column)) * by_column(&self.scale, column)
        };
        let values = floats(&inputs[0], |values| Ok(values.iter().enumerate().map(scaled).collect()))?;
        Ok(tvec![answer(inputs[0].shape(), values)?])
    }
}

/// Another value in place of one that stands for "missing".
#[derive(Debug)]
pub(super) enum Imputer {
    Floats { imputed: Vec<f32>, replaced: f32 },
    Ints { imputed: Vec<i64>, replaced: i64 },
}

impl Imputer {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let (floats, ints) = (attributes.floats("imputed_value_floats"), attributes.ints("imputed_value_int64s"));
        match (floats, ints) {
            ([], []) => Err(attributes.unsound("it has no values to put in")),
            (floats, []) => {
                Ok(Self::Floats { imputed: floats.to_vec(), replaced: attributes.float("replaced_value_float", 0.0) })
            }
            ([], ints) => Ok(Self::Ints { imputed: ints.to_vec(), replaced: attributes.int("replaced_value_int64", 0) }),
            _ => Err(attributes.unsound("it has both floats and integers to put in")),
        }
    }
}

impl Kernel for Imputer {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        let (kind, shape) = inputs[0];
        match self {
            Self::Floats { imputed, .. } => fits("Imputer", imputed.len(), shape).and_then(|_| floats_like(kind, shape)),
            Self::Ints { imputed, .. } => {
                fits("Imputer", imputed.len(), shape)?;
                ensure!(kind == DatumType::I64, "this Imputer takes int64, and not {kind:?}");
                Ok(tvec![(DatumType::I64, shape.into())])
            }
        }
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        let imputed = match self {
            Self::Floats { imputed, replaced } => {
                let columns = fits("Imputer", imputed.len(), shape)?;
                let missing = |value: f32| value == *replaced || (replaced.is_nan() && value.is_nan());
                let fill = |(at, &value): (usize, &f32)| if missing(value) { by_column(imputed, at % columns) } else { value };
                answer(shape, floats(&inputs[0], |values| Ok(values.iter().enumerate().map(fill).collect()))?)?
            }
            Self::Ints { imputed, replaced } => {
                let columns = fits("Imputer", imputed.len(), shape)?;
                let fill =
                    |(at, &value): (usize, &i64)| if value == *replaced { by_column(imputed, at % columns) } else { value };
                answer(shape, ints(&inputs[0], |values| Ok(values.iter().enumerate().map(fill).collect()))?)?
            }
        };
        Ok(tvec![imputed])
    }
}

/// One above a threshold, zero at and below it.
#[derive(Debug)]
pub(super) struct Binarizer {
    threshold: f32,
}

impl Binarizer {
    pub(super) fn new(attributes: &Attributes<'_>) -> Self {
        Self { threshold: attributes.float("threshold", 0.0) }
    }
}

impl Kernel for Binarizer {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        ensure!(inputs[0].0 == DatumType::F32, "Binarizer takes floats, and not {:?}", inputs[0].0);
        floats_like(inputs[0].0, inputs[0].1)
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let above = |value: &f32| if *value > self.threshold { 1.0_f32 } else { 0.0 };
        let values = floats(&inputs[0], |values| Ok(values.iter().map(above).collect()))?;
        Ok(tvec![answer(inputs[0].shape(), values)?])
    }
}

/// Each row divided by its length.
#[derive(Debug)]
pub(super) enum Normalizer {
    Max,
    L1,
    L2,
}

impl Normalizer {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        match attributes.text("norm", "MAX")? {
            "MAX" => Ok(Self::Max),
            "L1" => Ok(Self::L1),
            "L2" => Ok(Self::L2),
            other => Err(attributes.unsound(format!("norm {other} is not known"))),
        }
    }

    fn length(&self, row: &[f32]) -> f32 {
        match self {
            Self::Max => row.iter().copied().fold(f32::MIN, f32::max),
            Self::L1 => row.iter().map(|value| value.abs()).sum(),
            Self::L2 => row.iter().map(|value| value * value).sum::<f32>().sqrt(),
        }
    }
}

impl Kernel for Normalizer {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        table("Normalizer", inputs[0].1)?;
        floats_like(inputs[0].0, inputs[0].1)
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (_, columns) = table("Normalizer", inputs[0].shape())?;
        let mut values = floats(&inputs[0], |values| Ok(values.to_vec()))?;
        for row in values.chunks_exact_mut(columns.max(1)) {
            let length = self.length(row);
            if length != 0.0 {
                row.iter_mut().for_each(|value| *value /= length);
            }
        }
        Ok(tvec![answer(inputs[0].shape(), values)?])
    }
}
