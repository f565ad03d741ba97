//! Tensors into the engine and out of it: names and shapes matched, rows taken and filled up, texts as ids.

use super::{MAX_ROWS, PredictError};
use crate::tensor::{DataType, Port, Tensor, Values};
use std::collections::HashMap;
use tract_onnx::tract_hir::internal::{Datum, DatumType, IntoTValue, TValue, Tensor as Engine, TractResult, bail, ensure};

/// Knows the texts that the model knows.
#[derive(Debug)]
pub(super) struct Feed {
    texts: Vec<String>,
    ids: HashMap<String, i64>,
}

/// Stands for every text that the model does not know.
const UNKNOWN: i64 = -1;

impl Feed {
    pub(super) fn new(texts: Vec<String>) -> Self {
        let ids = texts.iter().cloned().zip(0..).collect();
        Self { texts, ids }
    }

    /// `take` rows of an input, filled up to `size` with the last of them.
    pub(super) fn rows(&self, input: &Tensor, from: usize, take: usize, size: usize) -> TractResult<TValue> {
        let width = input.shape.iter().skip(1).product::<usize>();
        let mut shape = [0_usize; 8];
        ensure!(input.shape.len() <= shape.len(), "input {} has more than {} axes", input.name, shape.len());
        let shape = &mut shape[..input.shape.len()];
        shape.copy_from_slice(&input.shape);
        shape[0] = size;
        let part = Part { shape, range: from * width..(from + take) * width, width, size };
        match &input.values {
            Values::Bool(values) => part.of(values),
            Values::I32(values) => part.of(values),
            Values::I64(values) => part.of(values),
            Values::F32(values) => part.of(values),
            Values::F64(values) => part.of(values),
            Values::Text(texts) => {
                let ids: Vec<i64> = texts[part.range.clone()].iter().map(|text| self.id(text)).collect();
                Part { range: 0..ids.len(), ..part }.of(&ids)
            }
        }
    }

    fn id(&self, text: &str) -> i64 {
        self.ids.get(text).copied().unwrap_or(UNKNOWN)
    }

    /// The first `take` rows of an answer.
    pub(super) fn answer(&self, port: &Port, answer: &Engine, take: usize) -> TractResult<Tensor> {
        let mut shape = answer.shape().to_vec();
        ensure!(shape.first().is_some_and(|&rows| rows >= take), "output {} has the shape {shape:?}", port.name);
        shape[0] = take;
        let count = shape.iter().product::<usize>();
        let values = match (answer.datum_type(), port.data_type) {
            (DatumType::F32, DataType::F32) => Values::F32(first(answer, count)?),
            (DatumType::F64, DataType::F64) => Values::F64(first(answer, count)?),
            (DatumType::I32, DataType::I32) => Values::I32(first(answer, count)?),
            (DatumType::Bool, DataType::Bool) => Values::Bool(first(answer, count)?),
            (DatumType::I64, DataType::I64) => Values::I64(first(answer, count)?),
            (DatumType::I64, DataType::Text) => Values::Text(self.texts(first(answer, count)?, port)?),
            (came, expected) => bail!("output {} is {came:?} and not {expected}", port.name),
        };
        Ok(Tensor { name: port.name.clone(), shape, values })
    }

    fn texts(&self, ids: Vec<i64>, port: &Port) -> TractResult<Vec<String>> {
        let text = |id: i64| match usize::try_from(id).ok().and_then(|id| self.texts.get(id)) {
            Some(text) => Ok(text.clone()),
            None => bail!("output {} is a text that the model does not know", port.name),
        };
        ids.into_iter().map(text).collect()
    }
}

/// Some rows of an input.
struct Part<'a> {
    shape: &'a [usize],
    range: std::ops::Range<usize>,
    width: usize,
    size: usize,
}

impl Part<'_> {
    fn of<T: Datum + Copy>(&self, values: &[T]) -> TractResult<TValue> {
        let own = &values[self.range.clone()];
        if own.len() == self.size * self.width {
            return Ok(Engine::from_shape(self.shape, own)?.into_tvalue());
        }
        let mut filled = Vec::with_capacity(self.size * self.width);
        filled.extend_from_slice(own);
        while filled.len() < self.size * self.width {
            filled.extend_from_slice(&own[own.len() - self.width..]);
        }
        Ok(Engine::from_shape(self.shape, &filled)?.into_tvalue())
    }
}

fn first<T: Datum + Copy>(answer: &Engine, count: usize) -> TractResult<Vec<T>> {
    Ok(answer.try_as_plain_ram()?.as_slice::<T>()?[..count].to_vec())
}

/// The inputs in the model's order, and how many rows they have.
pub(super) fn arrange<'a>(ports: &[Port], inputs: &'a [Tensor]) -> Result<(Vec<&'a Tensor>, usize), PredictError> {
    let mut arranged: Vec<&Tensor> = Vec::with_capacity(ports.len());
    for (at, port) in ports.iter().enumerate() {
        // Most callers keep the model's order.
        let found = inputs.get(at).filter(|input| input.name == port.name);
        let found = found.or_else(|| inputs.iter().find(|input| input.name == port.name));
        let input = found.ok_or_else(|| PredictError::Missing {
            name: port.name.clone(),
            expected: port.data_type,
            shape: port.shape.clone(),
        })?;
        fits(port, input)?;
        arranged.push(input);
    }
    if inputs.len() != ports.len() {
        return Err(surplus(ports, inputs));
    }
    let rows = arranged.first().map_or(0, |first| first.shape[0]);
    for input in &arranged {
        if input.shape[0] != rows {
            let (came, first) = (input.shape[0], arranged[0].name.clone());
            return Err(PredictError::Rows { name: input.name.clone(), came, first, expected: rows });
        }
    }
    if rows == 0 || rows > MAX_ROWS {
        return Err(PredictError::RowCount { rows, limit: MAX_ROWS });
    }
    Ok((arranged, rows))
}

fn fits(port: &Port, input: &Tensor) -> Result<(), PredictError> {
    let name = || input.name.clone();
    if input.values.data_type() != port.data_type {
        return Err(PredictError::Type { name: name(), expected: port.data_type, came: input.values.data_type() });
    }
    let alike = |(expected, came): (&Option<usize>, &usize)| expected.is_none_or(|expected| expected == *came);
    if input.shape.len() != port.shape.len() || !port.shape.iter().zip(&input.shape).all(alike) {
        return Err(PredictError::Shape { name: name(), expected: port.shape.clone(), came: input.shape.clone() });
    }
    let values = input.shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
    if values != Some(input.values.len()) {
        return Err(PredictError::Values { name: name(), shape: input.shape.clone(), values: input.values.len() });
    }
    Ok(())
}

/// What is wrong when every port has its input, and there are more.
fn surplus(ports: &[Port], inputs: &[Tensor]) -> PredictError {
    let names = || ports.iter().map(|port| port.name.clone()).collect();
    match inputs.iter().find(|input| ports.iter().all(|port| port.name != input.name)) {
        Some(input) => PredictError::Unknown { name: input.name.clone(), inputs: names() },
        None => {
            let twice = |at: &usize| inputs[..*at].iter().any(|before| before.name == inputs[*at].name);
            let at = (0..inputs.len()).find(twice).unwrap_or_default();
            PredictError::Twice(inputs[at].name.clone())
        }
    }
}

/// Puts more rows under those that there are.
pub(super) fn append(answers: &mut Vec<Tensor>, more: Vec<Tensor>) {
    if answers.is_empty() {
        *answers = more;
        return;
    }
    for (answer, more) in answers.iter_mut().zip(more) {
        answer.shape[0] += more.shape[0];
        match (&mut answer.values, more.values) {
            (Values::Bool(values), Values::Bool(more)) => values.extend(more),
            (Values::I32(values), Values::I32(more)) => values.extend(more),
            (Values::I64(values), Values::I64(more)) => values.extend(more),
            (Values::F32(values), Values::F32(more)) => values.extend(more),
            (Values::F64(values), Values::F64(more)) => values.extend(more),
            (Values::Text(values), Values::Text(more)) => values.extend(more),
            _ => unreachable!("a port has one type"),
        }
    }
}
