//! Texts become numbers: every text that a model knows gets an id, its place in the sorted vocabulary, and the graph computes with
//! ids. The predictor turns texts into ids on the way in and ids into texts on the way out.
//!
//! That is exact because the operators let through do nothing with a text but compare it with texts of the model, or move it.

use super::{
    CheckError,
    allow::is_ml,
    called,
    normalise::int_attribute,
    types::{STRING, Types},
};
use std::collections::{BTreeSet, HashMap, HashSet};
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType, tensor_proto::DataType, type_proto,
};

/// Operators that move texts as they are.
const MOVES: [&str; 14] = [
    "ArrayFeatureExtractor",
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];
/// Operators that compare texts with those they hold.
const ENCODES: [&str; 2] = ["LabelEncoder", "OneHotEncoder"];
const INT64: i32 = DataType::Int64 as i32;
/// What a label encoder answers for what it does not know.
const UNUSED: &str = "_Unused";

/// Replaces every text of the graph by its id, and returns the texts by id.
pub(super) fn intern(graph: &mut GraphProto, types: &Types) -> Result<Vec<String>, CheckError> {
    only_moved(graph, types)?;
    not_given_back(graph, types)?;
    let mut texts = BTreeSet::new();
    for tensor in &graph.initializer {
        of_tensor(tensor, &mut texts)?;
    }
    for node in &graph.node {
        of_node(node, &mut texts)?;
    }
    let texts: Vec<String> = texts.into_iter().collect();
    let ids: Ids = texts.iter().enumerate().map(|(id, text)| (text.as_bytes(), id as i64)).collect();
    graph.initializer.iter_mut().for_each(|tensor| number_tensor(tensor, &ids));
    for node in &mut graph.node {
        number_node(node, &ids, types);
    }
    for info in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            && tensor.elem_type == STRING
        {
            tensor.elem_type = INT64;
        }
    }
    Ok(texts)
}

type Ids<'a> = HashMap<&'a [u8], i64>;

fn is_text(name: &str, types: &Types) -> bool {
    types.get(name) == Some(&STRING)
}

/// Refuses operators that do something with texts.
fn only_moved(graph: &GraphProto, types: &Types) -> Result<(), CheckError> {
    for node in &graph.node {
        let operator = node.op_type.as_str();
        let takes = node.input.iter().any(|input| is_text(input, types));
        let makes = node.output.iter().any(|output| is_text(output, types));
        let fine = match (takes, makes) {
            (false, false) => true,
            (true, _) => MOVES.contains(&operator) || ENCODES.contains(&operator) || operator == "Where",
            (false, true) => operator == "Constant" || is_ml(node),
        };
        if !fine {
            return Err(CheckError::unsound(
                format!("node {} ({operator})", called(node)),
                "it computes with texts: not supported",
            ));
        }
    }
    Ok(())
}

/// Refuses models that answer a text as it was given: a text that is not in the vocabulary has no id to come back by.
fn not_given_back(graph: &GraphProto, types: &Types) -> Result<(), CheckError> {
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let mut given: HashSet<&str> = inputs.filter(|name| is_text(name, types)).collect();
    for node in graph.node.iter().filter(|node| !ENCODES.contains(&node.op_type.as_str())) {
        if node.input.iter().any(|input| given.contains(input.as_str())) {
            given.extend(node.output.iter().map(String::as_str));
        }
    }
    match graph.output.iter().find(|output| given.contains(output.name.as_str()) && is_text(&output.name, types)) {
        None => Ok(()),
        Some(output) => {
            Err(CheckError::unsound(format!("output {}", output.name), "it answers texts as they were given: not supported"))
        }
    }
}

fn of_tensor(tensor: &TensorProto, texts: &mut BTreeSet<String>) -> Result<(), CheckError> {
    if tensor.data_type == STRING {
        of_list(&tensor.string_data, &tensor.name, texts)?;
    }
    Ok(())
}

fn of_list(list: &[Vec<u8>], at: &str, texts: &mut BTreeSet<String>) -> Result<(), CheckError> {
    for text in list {
        let text = std::str::from_utf8(text).map_err(|_| CheckError::unsound(at, "a text of it is not UTF-8"))?;
        texts.insert(text.to_owned());
    }
    Ok(())
}

/// Attributes that hold texts of the model, and not words of the format.
fn is_texts(attribute: &AttributeProto) -> bool {
    matches!(
        attribute.name.as_str(),
        "classlabels_strings"
            | "classes_strings"
            | "keys_strings"
            | "values_strings"
            | "default_string"
            | "cats_strings"
            | "value_string"
            | "value_strings"
    )
}

fn of_node(node: &NodeProto, texts: &mut BTreeSet<String>) -> Result<(), CheckError> {
    for attribute in &node.attribute {
        if let Some(tensor) = &attribute.t {
            of_tensor(tensor, texts)?;
        }
        if is_texts(attribute) {
            of_list(&attribute.strings, &attribute.name, texts)?;
            of_list(std::slice::from_ref(&attribute.s), &attribute.name, texts)?;
        }
    }
    if node.op_type == "LabelEncoder" {
        texts.insert(UNUSED.to_owned());
    }
    Ok(())
}

fn number_tensor(tensor: &mut TensorProto, ids: &Ids<'_>) {
    if tensor.data_type == STRING {
        tensor.data_type = INT64;
        tensor.int64_data = std::mem::take(&mut tensor.string_data).iter().map(|text| ids[text.as_slice()]).collect();
    }
}

fn number_node(node: &mut NodeProto, ids: &Ids<'_>, types: &Types) {
    let takes = node.input.first().is_some_and(|input| is_text(input, types));
    let answers = node.output.first().is_some_and(|output| is_text(output, types));
    if node.op_type == "LabelEncoder" {
        plain_encoder(node, ids, takes, answers);
    }
    let tree = node.op_type == "TreeEnsembleClassifier";
    for attribute in &mut node.attribute {
        if let Some(tensor) = &mut attribute.t {
            number_tensor(tensor, ids);
        }
        if is_texts(attribute) {
            number_attribute(attribute, ids, tree);
        }
    }
}

/// Writes a label encoder as its later versions are written: keys, values, and a default of the values' kind.
fn plain_encoder(node: &mut NodeProto, ids: &Ids<'_>, takes: bool, answers: bool) {
    // The first version has one list, and numbers are places in it.
    if let Some(at) = node.attribute.iter().position(|attribute| attribute.name == "classes_strings") {
        let classes = node.attribute.swap_remove(at).strings;
        let (places, classes) = ((0..classes.len() as i64).collect(), numbers(&classes, ids));
        let (keys, values) = if takes { (classes, places) } else { (places, classes) };
        node.attribute.extend([ints_attribute("keys_int64s", keys), ints_attribute("values_int64s", values)]);
    }
    let other = if answers { "default_int64" } else { "default_string" };
    node.attribute.retain(|attribute| attribute.name != other);
    let has_default =
        node.attribute.iter().any(|attribute| matches!(attribute.name.as_str(), "default_string" | "default_tensor"));
    if answers && !has_default {
        node.attribute.push(int_attribute("default_int64", ids[UNUSED.as_bytes()]));
    }
}

fn numbers(texts: &[Vec<u8>], ids: &Ids<'_>) -> Vec<i64> {
    texts.iter().map(|text| ids[text.as_slice()]).collect()
}

fn ints_attribute(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Ints as i32, ints, ..AttributeProto::default() }
}

fn number_attribute(attribute: &mut AttributeProto, ids: &Ids<'_>, tree: bool) {
    let one = |name: &str, text: &[u8]| int_attribute(name, ids[text]);
    let many = |name: &str, texts: &[Vec<u8>]| ints_attribute(name, numbers(texts, ids));
    *attribute = match attribute.name.as_str() {
        "default_string" => one("default_int64", &attribute.s),
        "value_string" => one("value_int", &attribute.s),
        "value_strings" => many("value_ints", &attribute.strings),
        "classlabels_strings" if tree => many("classlabels_int64s", &attribute.strings),
        "classlabels_strings" => many("classlabels_ints", &attribute.strings),
        "keys_strings" => many("keys_int64s", &attribute.strings),
        "values_strings" => many("values_int64s", &attribute.strings),
        _ => many("cats_int64s", &attribute.strings),
    };
}
