//! ArrayFeatureExtractor: the elements of the last axis at the places given.

use super::{Kernel, Shaped, answer, ints};
use tract_onnx::tract_hir::internal::*;

#[derive(Debug)]
pub(super) struct ArrayFeatureExtractor;

/// Shape of the answer; a single axis counts as one row.
fn shape(of: &[usize], places: usize) -> TractResult<TVec<usize>> {
    let (_, before) = of.split_last().context("ArrayFeatureExtractor takes no scalar")?;
    let mut shape: TVec<usize> = if before.is_empty() { tvec![1] } else { before.into() };
    shape.push(places);
    Ok(shape)
}

impl Kernel for ArrayFeatureExtractor {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        Ok(tvec![(inputs[0].0, shape(inputs[0].1, inputs[1].1.iter().product())?)])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let shape = shape(inputs[0].shape(), inputs[1].len())?;
        let columns = inputs[0].shape().last().copied().unwrap_or_default();
        let places = ints(&inputs[1], |places| {
            let inside = |&place: &i64| usize::try_from(place).ok().filter(|&place| place < columns);
            places
                .iter()
                .map(inside)
                .collect::<Option<Vec<usize>>>()
                .with_context(|| format!("a place is not among {columns} columns"))
        })?;
        let answer = match inputs[0].datum_type() {
            DatumType::F32 => take::<f32>(&inputs[0], columns, &places, &shape)?,
            DatumType::F64 => take::<f64>(&inputs[0], columns, &places, &shape)?,
            DatumType::I32 => take::<i32>(&inputs[0], columns, &places, &shape)?,
            DatumType::I64 => take::<i64>(&inputs[0], columns, &places, &shape)?,
            DatumType::Bool => take::<bool>(&inputs[0], columns, &places, &shape)?,
            DatumType::TDim => take::<TDim>(&inputs[0], columns, &places, &shape)?,
            other => bail!("ArrayFeatureExtractor does not take {other:?}"),
        };
        Ok(tvec![answer])
    }
}

fn take<T: Datum + Clone>(from: &Tensor, columns: usize, places: &[usize], shape: &[usize]) -> TractResult<TValue> {
    let from = from.try_as_plain_ram()?.as_slice::<T>()?;
    let rows = from.chunks_exact(columns.max(1));
    answer(shape, rows.flat_map(|row| places.iter().map(|&place| row[place].clone())).collect())
}
