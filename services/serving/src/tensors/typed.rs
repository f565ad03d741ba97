//! Values by type, in the field of their type.

use loadline_models::{DataType, Values};
use loadline_proto::inference::InferTensorContents;

/// Whether no field has a value.
pub fn is_empty(contents: &InferTensorContents) -> bool {
    fields(contents).iter().all(|(_, length)| *length == 0)
}

/// So many values of a type, and none of another.
///
/// # Errors
/// What is wrong with the contents.
pub fn values(data_type: DataType, contents: InferTensorContents, count: usize) -> Result<Values, String> {
    let wanted = field(data_type);
    let given = fields(&contents);
    if let Some((other, _)) = given.iter().find(|(name, length)| *length > 0 && *name != wanted) {
        return Err(format!("has {other}; values of {data_type} belong into {wanted}"));
    }
    let length = given.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, length)| *length);
    if length != count {
        return Err(format!("has {length} values in {wanted}; the shape has {count}"));
    }
    Ok(match data_type {
        DataType::Bool => Values::Bool(contents.bool_contents),
        DataType::I32 => Values::I32(contents.int_contents),
        DataType::I64 => Values::I64(contents.int64_contents),
        DataType::F32 => Values::F32(contents.fp32_contents),
        DataType::F64 => Values::F64(contents.fp64_contents),
        DataType::Text => {
            let texts = contents.bytes_contents.into_iter().enumerate();
            let text = |(index, bytes)| String::from_utf8(bytes).map_err(|_| format!("value {index} is no UTF-8 text"));
            Values::Text(texts.map(text).collect::<Result<_, _>>()?)
        }
    })
}

/// Values in the field of their type.
pub fn contents(values: Values) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match values {
        Values::Bool(values) => contents.bool_contents = values,
        Values::I32(values) => contents.int_contents = values,
        Values::I64(values) => contents.int64_contents = values,
        Values::F32(values) => contents.fp32_contents = values,
        Values::F64(values) => contents.fp64_contents = values,
        Values::Text(values) => contents.bytes_contents = values.into_iter().map(String::into_bytes).collect(),
    }
    contents
}

fn field(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "bool_contents",
        DataType::I32 => "int_contents",
        DataType::I64 => "int64_contents",
        DataType::F32 => "fp32_contents",
        DataType::F64 => "fp64_contents",
        DataType::Text => "bytes_contents",
    }
}

/// Every field with its number of values.
fn fields(contents: &InferTensorContents) -> [(&'static str, usize); 8] {
    [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ]
}
