//! Whether a graph is one: names that exist, each defined once, no way round in a circle, tensors that hold what they say.

use super::{CheckError, allow::is_ml, called};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType, tensor_proto::DataType,
};

/// Values one tensor of the file may hold.
const MAX_VALUES: usize = 1 << 24;
/// Length one axis may have, of inputs and of shapes that are constants.
pub(super) const MAX_LENGTH: i64 = 1 << 20;
const MAX_NODES: usize = 10_000;
const MAX_NAME: usize = 512;
/// Inputs, and outputs, of a model.
const MAX_PORTS: usize = 256;

/// Makes files of all kinds alike: an initial value that is also listed as an input is no input, and an empty list says nothing.
pub(super) fn prepare(graph: &mut GraphProto) {
    let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    graph.input.retain(|input| !constants.contains(input.name.as_str()));
    let lists = [AttributeType::Floats as i32, AttributeType::Ints as i32, AttributeType::Strings as i32];
    for node in graph.node.iter_mut().filter(|node| is_ml(node)) {
        node.attribute.retain(|list| {
            !(lists.contains(&list.r#type) && list.floats.is_empty() && list.ints.is_empty() && list.strings.is_empty())
        });
    }
}

/// Looks whether the graph holds together.
pub(super) fn check(graph: &GraphProto) -> Result<(), CheckError> {
    if graph.node.len() > MAX_NODES {
        return Err(CheckError::TooMuch { what: "nodes", count: graph.node.len(), limit: MAX_NODES });
    }
    for (what, count) in [("inputs", graph.input.len()), ("outputs", graph.output.len())] {
        if count > MAX_PORTS {
            return Err(CheckError::TooMuch { what, count, limit: MAX_PORTS });
        }
    }
    let values = names(graph)?;
    for node in &graph.node {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            if !values.contains_key(input.as_str()) {
                return Err(unsound(node, format!("its input {input} comes from nowhere")));
            }
        }
        attributes(node)?;
    }
    for output in &graph.output {
        if !values.contains_key(output.name.as_str()) {
            return Err(CheckError::unsound(format!("output {}", output.name), "no node makes it"));
        }
    }
    for constant in &graph.initializer {
        tensor(constant, &constant.name)?;
    }
    no_circle(graph, &values)?;
    shapes_are_modest(graph)
}

/// Every value by name, with the node that makes it.
fn names(graph: &GraphProto) -> Result<HashMap<&str, Option<usize>>, CheckError> {
    let mut values = HashMap::new();
    let given = graph.input.iter().map(|input| (&input.name, None));
    let constant = graph.initializer.iter().map(|tensor| (&tensor.name, None));
    let made = graph.node.iter().enumerate().flat_map(|(at, node)| node.output.iter().map(move |name| (name, Some(at))));
    for (name, made_by) in given.chain(constant).chain(made) {
        if name.len() > MAX_NAME {
            return Err(CheckError::TooMuch { what: "bytes in a name", count: name.len(), limit: MAX_NAME });
        }
        if name.is_empty() && made_by.is_some() {
            continue;
        }
        if name.is_empty() || values.insert(name.as_str(), made_by).is_some() {
            return Err(CheckError::unsound(format!("value {name:?}"), "it is defined twice, or has no name"));
        }
    }
    let mut outputs = HashSet::new();
    match graph.output.iter().find(|output| !outputs.insert(output.name.as_str())) {
        Some(twice) => Err(CheckError::unsound(format!("output {}", twice.name), "it is listed twice")),
        None => Ok(values),
    }
}

fn unsound(node: &NodeProto, why: impl Into<String>) -> CheckError {
    CheckError::unsound(format!("node {} ({})", called(node), node.op_type), why)
}

fn attributes(node: &NodeProto) -> Result<(), CheckError> {
    let mut seen = HashSet::new();
    for attribute in &node.attribute {
        if !seen.insert(attribute.name.as_str()) {
            return Err(unsound(node, format!("attribute {} is set twice", attribute.name)));
        }
        if !attribute.ref_attr_name.is_empty() {
            return Err(unsound(node, format!("attribute {} refers to a function's", attribute.name)));
        }
        for held in tensors(attribute) {
            tensor(held, &format!("{} of {}", attribute.name, called(node)))?;
        }
    }
    if is_ml(node) { one_list_each(node) } else { Ok(()) }
}

/// Refuses a list that is given in texts and in numbers: which of them counts cannot be told.
fn one_list_each(node: &NodeProto) -> Result<(), CheckError> {
    for list in node.attribute.iter().filter_map(|attribute| attribute.name.strip_suffix("_strings")) {
        let also = |kind: &str| node.attribute.iter().any(|attribute| attribute.name == format!("{list}_{kind}"));
        if ["ints", "int64s", "floats", "tensor"].into_iter().any(also) {
            return Err(unsound(node, format!("{list} are given both as texts and as numbers")));
        }
    }
    Ok(())
}

fn tensors(attribute: &AttributeProto) -> impl Iterator<Item = &TensorProto> {
    attribute.t.iter().chain(&attribute.tensors)
}

/// Looks whether a tensor holds as many values as its shape says, here and not in another file.
fn tensor(tensor: &TensorProto, name: &str) -> Result<(), CheckError> {
    let at = || format!("tensor {name}");
    if tensor.data_location.unwrap_or(0) != 0 || !tensor.external_data.is_empty() {
        return Err(CheckError::ExternalData(name.to_owned()));
    }
    let expected = tensor.dims.iter().try_fold(1_usize, |product, &length| {
        product.checked_mul(usize::try_from(length).ok()?).filter(|&product| product <= MAX_VALUES)
    });
    let expected = expected.ok_or_else(|| CheckError::unsound(at(), format!("its shape {:?} is absurd", tensor.dims)))?;
    let held = held(tensor).ok_or_else(|| CheckError::unsound(at(), format!("type {} is not supported", tensor.data_type)))?;
    if held != expected {
        return Err(CheckError::unsound(at(), format!("it holds {held} values where its shape says {expected}")));
    }
    Ok(())
}

/// How many values are there, in the one field of its type; `None` for types that are not supported.
fn held(tensor: &TensorProto) -> Option<usize> {
    let bytes = tensor.raw_data.len();
    let raw = |width: usize| if bytes.is_multiple_of(width) { bytes / width } else { usize::MAX };
    let either = |width: usize, typed: usize| match (tensor.raw_data.is_empty(), typed) {
        (false, 0) => raw(width),
        (true, typed) => typed,
        // Both: which of them counts cannot be told.
        (false, _) => usize::MAX,
    };
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float => either(4, tensor.float_data.len()),
        DataType::Double => either(8, tensor.double_data.len()),
        DataType::Int64 => either(8, tensor.int64_data.len()),
        DataType::Int32 => either(4, tensor.int32_data.len()),
        DataType::Bool | DataType::Uint8 | DataType::Int8 => either(1, tensor.int32_data.len()),
        DataType::String => tensor.string_data.len(),
        _ => return None,
    })
}

/// The values of a tensor of floats or doubles that was found sound.
pub(super) fn reals(tensor: &TensorProto) -> Option<Vec<f64>> {
    let raw = |width: usize| tensor.raw_data.chunks_exact(width);
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float if tensor.raw_data.is_empty() => tensor.float_data.iter().map(|&value| f64::from(value)).collect(),
        DataType::Float => raw(4).filter_map(|bytes| Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?)))).collect(),
        DataType::Double if tensor.raw_data.is_empty() => tensor.double_data.clone(),
        DataType::Double => raw(8).filter_map(|bytes| Some(f64::from_le_bytes(bytes.try_into().ok()?))).collect(),
        _ => return None,
    })
}

/// The values of a tensor of 64-bit integers that was found sound.
pub(super) fn ints(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != DataType::Int64 as i32 {
        return None;
    }
    if tensor.raw_data.is_empty() {
        return Some(tensor.int64_data.clone());
    }
    Some(tensor.raw_data.chunks_exact(8).filter_map(|bytes| Some(i64::from_le_bytes(bytes.try_into().ok()?))).collect())
}

/// Takes nodes away that wait for nothing until none is left; what stays waits for itself.
fn no_circle(graph: &GraphProto, values: &HashMap<&str, Option<usize>>) -> Result<(), CheckError> {
    match order(graph, values) {
        order if order.len() == graph.node.len() => Ok(()),
        order => {
            let done: HashSet<usize> = order.into_iter().collect();
            let stuck = (0..graph.node.len()).find(|at| !done.contains(at)).map(|at| called(&graph.node[at]));
            Err(CheckError::unsound(format!("node {}", stuck.unwrap_or_default()), "it waits for its own output"))
        }
    }
}

/// Nodes in an order in which each comes after what it needs; of several that could come, the one the file has first.
fn order(graph: &GraphProto, values: &HashMap<&str, Option<usize>>) -> Vec<usize> {
    let mut waits = vec![0_usize; graph.node.len()];
    let mut followers = vec![Vec::new(); graph.node.len()];
    for (at, node) in graph.node.iter().enumerate() {
        for before in node.input.iter().filter_map(|input| values.get(input.as_str()).copied().flatten()) {
            waits[at] += 1;
            followers[before].push(at);
        }
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..waits.len()).filter(|&at| waits[at] == 0).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for &follower in &followers[at] {
            waits[follower] -= 1;
            if waits[follower] == 0 {
                ready.insert(follower);
            }
        }
    }
    order
}

/// Puts the nodes of a sound graph in order.
pub(super) fn sort(graph: &mut GraphProto) -> Result<(), CheckError> {
    let order = order(graph, &names(graph)?);
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|at| nodes[at].take()).collect();
    Ok(())
}

/// Operators that make a tensor as large as a constant says, and which of their inputs says it.
const MAKES: [(&str, usize); 6] = [("ConstantOfShape", 0), ("Expand", 1), ("Reshape", 1), ("Tile", 1), ("Pad", 1), ("OneHot", 1)];

/// Refuses what would make a tensor of absurd size from a few bytes, as far as its size is a constant.
fn shapes_are_modest(graph: &GraphProto) -> Result<(), CheckError> {
    let constants: HashMap<&str, Vec<i64>> = constants(graph).collect();
    for node in &graph.node {
        let Some(&(_, from)) = MAKES.iter().find(|(operator, _)| *operator == node.op_type) else { continue };
        let Some(shape) = node.input.get(from).and_then(|input| constants.get(input.as_str())) else { continue };
        let product = shape.iter().try_fold(1_i64, |product, &length| product.checked_mul(length.abs().max(1)));
        if shape.iter().any(|&length| length > MAX_LENGTH) || product.is_none_or(|product| product > MAX_VALUES as i64) {
            return Err(unsound(node, format!("it makes a tensor of absurd shape {shape:?}")));
        }
    }
    Ok(())
}

/// Integers that are constants, by name.
fn constants(graph: &GraphProto) -> impl Iterator<Item = (&str, Vec<i64>)> {
    let initial = graph.initializer.iter().filter_map(|tensor| Some((tensor.name.as_str(), ints(tensor)?)));
    let nodes = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
        let attribute = node.attribute.first()?;
        let values = match attribute.name.as_str() {
            "value" => ints(attribute.t.as_ref()?)?,
            "value_ints" => attribute.ints.clone(),
            "value_int" => vec![attribute.i],
            _ => return None,
        };
        Some((node.output.first()?.as_str(), values))
    });
    initial.chain(nodes)
}
