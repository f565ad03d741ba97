//! Golden vectors as JSON.

use super::{Golden, Tolerance};
use crate::tensor::{DataType, Tensor, Values};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why golden vectors cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("golden vectors: {0}")]
pub struct GoldenError(pub(super) String);

#[derive(Serialize, Deserialize)]
struct File {
    inputs: Vec<Written>,
    outputs: Vec<Written>,
    #[serde(default)]
    tolerance: WrittenTolerance,
}

#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    shape: Vec<usize>,
    values: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct WrittenTolerance {
    absolute: f64,
    relative: f64,
}

impl Default for WrittenTolerance {
    fn default() -> Self {
        let Tolerance { absolute, relative } = Tolerance::default();
        Self { absolute, relative }
    }
}

pub(super) fn read(json: &[u8]) -> Result<Golden, GoldenError> {
    let file: File = serde_json::from_slice(json).map_err(|error| GoldenError(error.to_string()))?;
    let WrittenTolerance { absolute, relative } = file.tolerance;
    if !(absolute >= 0.0 && relative >= 0.0) {
        return Err(GoldenError("a tolerance is negative".to_owned()));
    }
    if file.outputs.is_empty() {
        return Err(GoldenError("they expect no output".to_owned()));
    }
    Ok(Golden {
        inputs: file.inputs.into_iter().map(tensor).collect::<Result<_, _>>()?,
        outputs: file.outputs.into_iter().map(tensor).collect::<Result<_, _>>()?,
        tolerance: Tolerance { absolute, relative },
    })
}

fn tensor(written: Written) -> Result<Tensor, GoldenError> {
    let Written { name, data_type, shape, values } = written;
    let kind = DataType::named(&data_type).ok_or_else(|| GoldenError(format!("{name} is of an unknown type: {data_type}")))?;
    let expected = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
    if shape.is_empty() || expected != Some(values.len()) {
        return Err(GoldenError(format!("{name} has the shape {shape:?} and {} values", values.len())));
    }
    let all = |read: fn(&Value) -> Option<f64>| values.iter().map(read).collect::<Option<Vec<f64>>>();
    let read = match kind {
        DataType::Bool => values.iter().map(Value::as_bool).collect::<Option<_>>().map(Values::Bool),
        DataType::I32 => values.iter().map(|value| i32::try_from(value.as_i64()?).ok()).collect::<Option<_>>().map(Values::I32),
        DataType::I64 => values.iter().map(Value::as_i64).collect::<Option<_>>().map(Values::I64),
        DataType::F32 => all(real).map(|values| Values::F32(values.into_iter().map(|value| value as f32).collect())),
        DataType::F64 => all(real).map(Values::F64),
        DataType::Text => values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<_>>().map(Values::Text),
    };
    let values = read.ok_or_else(|| GoldenError(format!("{name} holds a value that is not {kind}")))?;
    Ok(Tensor { name, shape, values })
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::String(text) if text == "inf" => Some(f64::INFINITY),
        Value::String(text) if text == "-inf" => Some(f64::NEG_INFINITY),
        value => value.as_f64(),
    }
}

pub(super) fn write(golden: &Golden) -> String {
    let Tolerance { absolute, relative } = golden.tolerance;
    let file = File {
        inputs: golden.inputs.iter().map(written).collect(),
        outputs: golden.outputs.iter().map(written).collect(),
        tolerance: WrittenTolerance { absolute, relative },
    };
    serde_json::to_string(&file).expect("texts and numbers are always JSON")
}

fn written(tensor: &Tensor) -> Written {
    let values = match &tensor.values {
        Values::Bool(values) => values.iter().map(|&value| value.into()).collect(),
        Values::I32(values) => values.iter().map(|&value| value.into()).collect(),
        Values::I64(values) => values.iter().map(|&value| value.into()).collect(),
        Values::F32(values) => values.iter().map(|&value| of_real(f64::from(value))).collect(),
        Values::F64(values) => values.iter().map(|&value| of_real(value)).collect(),
        Values::Text(values) => values.iter().map(|value| value.as_str().into()).collect(),
    };
    Written {
        name: tensor.name.clone(),
        data_type: tensor.values.data_type().name().to_owned(),
        shape: tensor.shape.clone(),
        values,
    }
}

fn of_real(value: f64) -> Value {
    match value {
        f64::INFINITY => "inf".into(),
        f64::NEG_INFINITY => "-inf".into(),
        // JSON has no NaN, and serde_json writes null.
        value => value.into(),
    }
}
