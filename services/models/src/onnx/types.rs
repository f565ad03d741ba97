//! What kind of values each name stands for, as far as it matters: where texts are, and which casts change nothing.

use super::{allow::is_ml, attributes::Attributes};
use std::collections::HashMap;
use tract_onnx::pb::{GraphProto, NodeProto, tensor_proto::DataType, type_proto};

/// Kinds of values by name, in the numbers of ONNX; a name that is not there is of a kind that is not known.
pub(super) type Types = HashMap<String, i32>;

const FLOAT: i32 = DataType::Float as i32;
const INT64: i32 = DataType::Int64 as i32;
const BOOL: i32 = DataType::Bool as i32;
/// The kind of texts.
pub(super) const STRING: i32 = DataType::String as i32;

/// Operators that answer truths.
const TRUTHS: [&str; 11] =
    ["And", "Or", "Xor", "Not", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf"];

/// Goes through the graph in its order, which must be sorted.
pub(super) fn infer(graph: &GraphProto) -> Types {
    let mut types = Types::new();
    for input in &graph.input {
        if let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
            types.insert(input.name.clone(), tensor.elem_type);
        }
    }
    for tensor in &graph.initializer {
        types.insert(tensor.name.clone(), tensor.data_type);
    }
    for node in &graph.node {
        for (output, kind) in node.output.iter().zip(of_outputs(node, &types)) {
            if let Some(kind) = kind {
                types.insert(output.clone(), kind);
            }
        }
    }
    types
}

fn of_outputs(node: &NodeProto, types: &Types) -> Vec<Option<i32>> {
    let input = |at: usize| node.input.get(at).and_then(|name| types.get(name)).copied();
    let attributes = Attributes::of(node);
    if is_ml(node) {
        return of_ml(node, &attributes, input(0));
    }
    match node.op_type.as_str() {
        truth if TRUTHS.contains(&truth) => vec![Some(BOOL)],
        "ArgMax" | "ArgMin" | "Shape" => vec![Some(INT64)],
        "Cast" => vec![Some(attributes.int("to", 0) as i32)],
        "Constant" => vec![of_constant(node)],
        "ConstantOfShape" => vec![Some(attributes.tensor("value").map_or(FLOAT, |tensor| tensor.data_type))],
        "OneHot" => vec![input(2)],
        "TopK" => vec![input(0), Some(INT64)],
        "Where" => vec![input(1)],
        _ => vec![input(0); node.output.len()],
    }
}

fn of_ml(node: &NodeProto, attributes: &Attributes<'_>, first: Option<i32>) -> Vec<Option<i32>> {
    match node.op_type.as_str() {
        "ArrayFeatureExtractor" | "Binarizer" => vec![first],
        "Imputer" => vec![Some(if attributes.has("imputed_value_int64s") { INT64 } else { FLOAT })],
        "LabelEncoder" => vec![of_encoder(attributes, first)],
        "LinearClassifier" | "SVMClassifier" | "TreeEnsembleClassifier" => {
            let named = attributes.has("classlabels_strings");
            vec![Some(if named { STRING } else { INT64 }), Some(FLOAT)]
        }
        _ => vec![Some(FLOAT)],
    }
}

/// Kind of what a label encoder answers. Its first version turns numbers into texts and back, by one list.
fn of_encoder(attributes: &Attributes<'_>, first: Option<i32>) -> Option<i32> {
    if attributes.has("classes_strings") {
        return first.map(|kind| if kind == STRING { INT64 } else { STRING });
    }
    let lists = [("values_strings", STRING), ("values_int64s", INT64), ("values_floats", FLOAT)];
    let listed = lists.iter().find(|(name, _)| attributes.has(name)).map(|&(_, kind)| kind);
    listed.or_else(|| attributes.tensor("values_tensor").map(|tensor| tensor.data_type))
}

fn of_constant(node: &NodeProto) -> Option<i32> {
    let attribute = node.attribute.first()?;
    Some(match attribute.name.as_str() {
        "value" => attribute.t.as_ref()?.data_type,
        "value_int" | "value_ints" => INT64,
        "value_float" | "value_floats" => FLOAT,
        "value_string" | "value_strings" => STRING,
        _ => return None,
    })
}
