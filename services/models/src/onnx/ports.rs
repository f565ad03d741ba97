//! What a model wants and answers, as the file says it, and as it is written into the normalised file for the predictor.

use super::{CheckError, Classes, OURS, sound::MAX_LENGTH, types::Types};
use crate::tensor::{DataType, Port};
use serde::{Deserialize, Serialize};
use tract_onnx::pb::{
    GraphProto, ModelProto, StringStringEntryProto, ValueInfoProto, tensor_proto::DataType as Kind,
    tensor_shape_proto::dimension, type_proto,
};

/// Values one row of an input may have.
const MAX_ROW: usize = 1 << 16;

/// What the predictor has to know and a graph cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    /// Texts by their id in the graph.
    pub(crate) vocabulary: Vec<String>,
    pub(crate) classes: Option<Classes>,
}

/// The inputs; every axis but the rows must have a length.
pub(super) fn inputs(graph: &GraphProto) -> Result<Vec<Port>, CheckError> {
    graph.input.iter().map(input).collect()
}

fn input(info: &ValueInfoProto) -> Result<Port, CheckError> {
    let unsound = |why: String| CheckError::unsound(format!("input {}", info.name), why);
    let tensor = tensor_type(info).ok_or_else(|| unsound("it has no type, or is no tensor".to_owned()))?;
    let data_type = data_type(tensor.elem_type).ok_or_else(|| {
        unsound(format!("type {} is not supported; bool, int32, int64, float, double and string are", tensor.elem_type))
    })?;
    let axes = &tensor.shape.as_ref().ok_or_else(|| unsound("it has no shape".to_owned()))?.dim;
    let mut shape = vec![None];
    for (at, axis) in axes.iter().enumerate().skip(1) {
        let length = match axis.value {
            Some(dimension::Value::DimValue(length)) if (1..=MAX_LENGTH).contains(&length) => length as usize,
            Some(dimension::Value::DimValue(length)) => return Err(unsound(format!("axis {at} has an absurd length: {length}"))),
            _ => return Err(unsound(format!("axis {at} has no fixed length; only the first, the rows, may be open"))),
        };
        shape.push(Some(length));
    }
    let values = shape.iter().flatten().try_fold(1_usize, |product, &length| product.checked_mul(length));
    match values {
        _ if axes.is_empty() => Err(unsound("it has no axis for rows".to_owned())),
        Some(values) if values <= MAX_ROW => Ok(Port { name: info.name.clone(), data_type, shape }),
        _ => Err(unsound(format!("a row of it has more than {MAX_ROW} values"))),
    }
}

/// The outputs, as far as the file says.
pub(super) fn outputs(graph: &GraphProto, types: &Types) -> Result<Vec<Port>, CheckError> {
    if graph.output.is_empty() {
        return Err(CheckError::unsound("model", "it answers nothing"));
    }
    graph.output.iter().map(|info| output(info, types)).collect()
}

fn output(info: &ValueInfoProto, types: &Types) -> Result<Port, CheckError> {
    let declared = tensor_type(info);
    let kind = types.get(&info.name).copied().or_else(|| declared.map(|tensor| tensor.elem_type));
    let data_type = kind.and_then(data_type).ok_or_else(|| {
        CheckError::unsound(
            format!("output {}", info.name),
            "it has no type, or one that is not bool, int32, int64, float, double or string",
        )
    })?;
    let axes = declared.and_then(|tensor| tensor.shape.as_ref()).map(|shape| shape.dim.as_slice()).unwrap_or_default();
    let length = |axis: &tract_onnx::pb::tensor_shape_proto::Dimension| match axis.value {
        Some(dimension::Value::DimValue(length)) if length > 0 => usize::try_from(length).ok(),
        _ => None,
    };
    let shape = std::iter::once(None).chain(axes.iter().skip(1).map(length)).collect();
    Ok(Port { name: info.name.clone(), data_type, shape })
}

fn tensor_type(info: &ValueInfoProto) -> Option<&type_proto::Tensor> {
    let type_proto::Value::TensorType(tensor) = info.r#type.as_ref()?.value.as_ref()?;
    Some(tensor)
}

fn data_type(number: i32) -> Option<DataType> {
    Some(match Kind::try_from(number).ok()? {
        Kind::Bool => DataType::Bool,
        Kind::Int32 => DataType::I32,
        Kind::Int64 => DataType::I64,
        Kind::Float => DataType::F32,
        Kind::Double => DataType::F64,
        Kind::String => DataType::Text,
        _ => return None,
    })
}

#[derive(Serialize, Deserialize)]
struct Written {
    inputs: Vec<WrittenPort>,
    outputs: Vec<WrittenPort>,
    vocabulary: Vec<String>,
    #[serde(default)]
    class_ints: Vec<i64>,
    #[serde(default)]
    class_texts: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WrittenPort {
    name: String,
    data_type: String,
    shape: Vec<Option<usize>>,
}

impl Served {
    fn key() -> String {
        format!("{OURS}served")
    }

    /// As an entry of the file's metadata.
    pub(super) fn write(&self) -> StringStringEntryProto {
        let port = |port: &Port| WrittenPort {
            name: port.name.clone(),
            data_type: port.data_type.name().to_owned(),
            shape: port.shape.clone(),
        };
        let (class_ints, class_texts) = match self.classes.clone() {
            None => (Vec::new(), Vec::new()),
            Some(Classes::Ints(ints)) => (ints, Vec::new()),
            Some(Classes::Texts(texts)) => (Vec::new(), texts),
        };
        let written = Written {
            inputs: self.inputs.iter().map(port).collect(),
            outputs: self.outputs.iter().map(port).collect(),
            vocabulary: self.vocabulary.clone(),
            class_ints,
            class_texts,
        };
        let value = serde_json::to_string(&written).expect("texts and numbers are always JSON");
        StringStringEntryProto { key: Self::key(), value }
    }

    /// From the metadata of a normalised file; `None` for any other file.
    pub(crate) fn read(model: &ModelProto) -> Option<Self> {
        let key = Self::key();
        let entry = model.metadata_props.iter().find(|entry| entry.key == key)?;
        let written: Written = serde_json::from_str(&entry.value).ok()?;
        let port =
            |port: WrittenPort| Some(Port { data_type: DataType::named(&port.data_type)?, name: port.name, shape: port.shape });
        let classes = match (written.class_ints, written.class_texts) {
            (ints, _) if !ints.is_empty() => Some(Classes::Ints(ints)),
            (_, texts) if !texts.is_empty() => Some(Classes::Texts(texts)),
            _ => None,
        };
        Some(Self {
            inputs: written.inputs.into_iter().map(port).collect::<Option<_>>()?,
            outputs: written.outputs.into_iter().map(port).collect::<Option<_>>()?,
            vocabulary: written.vocabulary,
            classes,
        })
    }
}
