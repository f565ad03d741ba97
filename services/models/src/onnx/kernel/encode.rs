//! LabelEncoder and OneHotEncoder: values looked up among those the model knows.

use super::{
    super::{CheckError, attributes::Attributes, sound},
    Kernel, Shaped, answer, ints,
};
use std::collections::HashMap;
use tract_onnx::tract_hir::internal::*;

/// Places of keys.
#[derive(Debug)]
enum Keys {
    Ints(HashMap<i64, usize>),
    /// By bits, as doubles: every float has one.
    Reals(HashMap<u64, usize>),
}

/// All NaN are one key, as are both zeros.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

#[derive(Debug)]
enum Values {
    Ints(Vec<i64>, i64),
    Floats(Vec<f32>, f32),
    Doubles(Vec<f64>, f64),
}

/// A value for every key, and one for everything else.
#[derive(Debug)]
pub(super) struct LabelEncoder {
    keys: Keys,
    values: Values,
}

impl LabelEncoder {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let (keys, count) = keys(attributes)?;
        let values = values(attributes)?;
        let listed = match &values {
            Values::Ints(list, _) => list.len(),
            Values::Floats(list, _) => list.len(),
            Values::Doubles(list, _) => list.len(),
        };
        if count == 0 || listed != count {
            return Err(attributes.unsound(format!("it has {count} keys and {listed} values")));
        }
        Ok(Self { keys, values })
    }

    fn answers(&self) -> DatumType {
        match &self.values {
            Values::Ints(..) => DatumType::I64,
            Values::Floats(..) => DatumType::F32,
            Values::Doubles(..) => DatumType::F64,
        }
    }

    /// Where each value is among the keys.
    fn places(&self, input: &Tensor) -> TractResult<Vec<Option<usize>>> {
        match &self.keys {
            Keys::Ints(keys) => ints(input, |values| Ok(values.iter().map(|value| keys.get(value).copied()).collect())),
            Keys::Reals(keys) => {
                let values = input.cast_to::<f64>()?;
                let values = values.try_as_plain_ram()?.as_slice::<f64>()?;
                Ok(values.iter().map(|&value| keys.get(&bits(value)).copied()).collect())
            }
        }
    }
}

/// The first of equal keys counts.
fn first_places<K: Hash + Eq>(keys: impl DoubleEndedIterator<Item = K> + ExactSizeIterator) -> HashMap<K, usize> {
    keys.enumerate().rev().map(|(place, key)| (key, place)).collect()
}

fn keys(attributes: &Attributes<'_>) -> Result<(Keys, usize), CheckError> {
    let tensor = attributes.tensor("keys_tensor");
    let ints = tensor.and_then(sound::ints).unwrap_or_else(|| attributes.ints("keys_int64s").to_vec());
    if !ints.is_empty() {
        return Ok((Keys::Ints(first_places(ints.iter().copied())), ints.len()));
    }
    let reals = match tensor {
        Some(tensor) => {
            sound::reals(tensor).ok_or_else(|| attributes.unsound("keys_tensor is of a kind that is not supported"))?
        }
        None => attributes.reals("keys_floats")?,
    };
    Ok((Keys::Reals(first_places(reals.iter().map(|&value| bits(value)))), reals.len()))
}

fn values(attributes: &Attributes<'_>) -> Result<Values, CheckError> {
    let tensor = attributes.tensor("values_tensor");
    let default = attributes.tensor("default_tensor");
    let real_default = |or: f64| default.and_then(sound::reals).and_then(|list| list.first().copied()).unwrap_or(or);
    let ints = tensor.and_then(sound::ints).unwrap_or_else(|| attributes.ints("values_int64s").to_vec());
    if !ints.is_empty() {
        let default = default.and_then(sound::ints).and_then(|list| list.first().copied());
        return Ok(Values::Ints(ints, default.unwrap_or_else(|| attributes.int("default_int64", -1))));
    }
    let otherwise = f64::from(attributes.float("default_float", -0.0));
    match tensor {
        None => Ok(Values::Floats(attributes.floats("values_floats").to_vec(), real_default(otherwise) as f32)),
        Some(tensor) => {
            let list =
                sound::reals(tensor).ok_or_else(|| attributes.unsound("values_tensor is of a kind that is not supported"))?;
            let double = tensor.data_type == tract_onnx::pb::tensor_proto::DataType::Double as i32;
            Ok(match double {
                true => Values::Doubles(list, real_default(otherwise)),
                false => Values::Floats(list.iter().map(|&value| value as f32).collect(), real_default(otherwise) as f32),
            })
        }
    }
}

impl Kernel for LabelEncoder {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        let (kind, shape) = inputs[0];
        let fits = match &self.keys {
            Keys::Ints(_) => kind.is_integer() || kind.is_tdim(),
            Keys::Reals(_) => kind.is_float(),
        };
        ensure!(fits, "LabelEncoder has keys of another kind than {kind:?}");
        Ok(tvec![(self.answers(), shape.into())])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let places = self.places(&inputs[0])?.into_iter();
        let shape = inputs[0].shape();
        Ok(tvec![match &self.values {
            Values::Ints(list, default) => answer(shape, places.map(|at| at.map_or(*default, |at| list[at])).collect())?,
            Values::Floats(list, default) => answer(shape, places.map(|at| at.map_or(*default, |at| list[at])).collect())?,
            Values::Doubles(list, default) => answer(shape, places.map(|at| at.map_or(*default, |at| list[at])).collect())?,
        }])
    }
}

/// A column of ones and zeros for each category, on a new last axis.
#[derive(Debug)]
pub(super) struct OneHotEncoder {
    places: HashMap<i64, usize>,
    categories: usize,
    /// Whether an unknown category is all zeros, and not an error.
    zeros: bool,
}

impl OneHotEncoder {
    pub(super) fn new(attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        let categories = attributes.ints("cats_int64s");
        if categories.is_empty() {
            return Err(attributes.unsound("it has no categories"));
        }
        let places = first_places(categories.iter().copied());
        Ok(Self { places, categories: categories.len(), zeros: attributes.int("zeros", 1) != 0 })
    }
}

impl Kernel for OneHotEncoder {
    fn outputs(&self, inputs: &[(DatumType, &[usize])]) -> TractResult<TVec<Shaped>> {
        let (kind, shape) = inputs[0];
        ensure!(super::is_number(kind), "OneHotEncoder takes numbers or texts, and not {kind:?}");
        Ok(tvec![(DatumType::F32, shape.iter().copied().chain([self.categories]).collect())])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let mut values = vec![0.0_f32; inputs[0].len() * self.categories];
        ints(&inputs[0], |categories| {
            for (row, category) in values.chunks_exact_mut(self.categories).zip(categories) {
                match self.places.get(category) {
                    Some(&place) => row[place] = 1.0,
                    None => ensure!(self.zeros, "OneHotEncoder got a category that it does not know"),
                }
            }
            Ok(())
        })?;
        let shape: TVec<usize> = inputs[0].shape().iter().copied().chain([self.categories]).collect();
        Ok(tvec![answer(&shape, values)?])
    }
}
