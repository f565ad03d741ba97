//! The graph as it is served: without what only another runtime needs, in one order, under names of one pattern.

use super::{CheckError, Classes, allow::is_ml, attributes::Attributes, called, ports::Served, sound, types};
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

/// Makes the graph simpler without changing what it answers. Returns the classes a ZipMap named, if there was one.
pub(super) fn normalise(graph: &mut GraphProto) -> Result<Option<Classes>, CheckError> {
    sound::sort(graph)?;
    let classes = strip_zip_maps(graph)?;
    lower_vectorizers(graph);
    say_zero(graph);
    tidy(graph);
    prune(graph);
    sound::sort(graph)?;
    for (at, node) in graph.node.iter_mut().enumerate() {
        // tract wants names to be unique; the number makes them so, the rest is for people.
        node.name = format!("{at} {} {}", node.op_type, called(node));
        node.doc_string.clear();
        if node.domain == "ai.onnx" {
            node.domain.clear();
        }
    }
    Ok(classes)
}

/// ZipMap makes a list of maps of a tensor of probabilities. The tensor is what is answered here.
fn strip_zip_maps(graph: &mut GraphProto) -> Result<Option<Classes>, CheckError> {
    let used: HashSet<String> = graph.node.iter().flat_map(|node| node.input.clone()).collect();
    let mut classes = Vec::new();
    for node in graph.node.iter_mut().filter(|node| node.op_type == "ZipMap") {
        let at = || format!("node {} (ZipMap)", called(node));
        let output = match node.output.as_slice() {
            [output] if !used.contains(output) && node.input.len() == 1 => output.clone(),
            _ => {
                return Err(CheckError::unsound(
                    at(),
                    "only at the end of a model, with one input and one output, is it supported",
                ));
            }
        };
        let named = class_labels(node, ["classlabels_int64s", "classlabels_strings"])?;
        let columns = named.as_ref().map_or(0, Classes::len);
        if let Some(info) = graph.output.iter_mut().find(|info| info.name == output) {
            info.r#type = Some(rows_of_floats(columns));
        }
        classes.extend(named);
        *node = NodeProto {
            op_type: "Identity".to_owned(),
            name: std::mem::take(&mut node.name),
            input: std::mem::take(&mut node.input),
            output: std::mem::take(&mut node.output),
            ..NodeProto::default()
        };
    }
    Ok(if classes.len() == 1 { classes.pop() } else { None })
}

fn rows_of_floats(columns: usize) -> TypeProto {
    let axis = |length: i64| tensor_shape_proto::Dimension {
        denotation: String::new(),
        value: (length > 0).then_some(tensor_shape_proto::dimension::Value::DimValue(length)),
    };
    let shape = TensorShapeProto { dim: vec![axis(0), axis(columns as i64)] };
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) }
}

impl Classes {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn class_labels(node: &NodeProto, [ints, texts]: [&str; 2]) -> Result<Option<Classes>, CheckError> {
    let attributes = Attributes::of(node);
    let texts = attributes.texts(texts)?;
    Ok(match attributes.ints(ints) {
        [] if texts.is_empty() => None,
        [] => Some(Classes::Texts(texts.into_iter().map(str::to_owned).collect())),
        ints => Some(Classes::Ints(ints.to_vec())),
    })
}

/// The classes of the graph's only classifier, where its own labels are what the model answers.
pub(super) fn classes_of(graph: &GraphProto) -> Option<Classes> {
    let mut classifiers = graph.node.iter().filter(|node| node.op_type.ends_with("Classifier"));
    let (first, second) = (classifiers.next()?, classifiers.next());
    let ints = if first.op_type == "TreeEnsembleClassifier" { "classlabels_int64s" } else { "classlabels_ints" };
    let classes = class_labels(first, [ints, "classlabels_strings"]).ok().flatten()?;
    let encoded = graph.node.iter().any(|node| node.op_type == "LabelEncoder" || node.op_type == "ArrayFeatureExtractor");
    (second.is_none() && !encoded).then_some(classes)
}

/// FeatureVectorizer puts columns of numbers side by side, as floats.
fn lower_vectorizers(graph: &mut GraphProto) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        if !(is_ml(&node) && node.op_type == "FeatureVectorizer") {
            nodes.push(node);
            continue;
        }
        let name = called(&node);
        let floats: Vec<String> = (0..node.input.len()).map(|at| format!("{}/as float {at}", node.output[0])).collect();
        for (input, float) in node.input.iter().zip(&floats) {
            let to = int_attribute("to", i64::from(DataType::Float as i32));
            nodes.push(core_node("Cast", &name, vec![input.clone()], vec![float.clone()], to));
        }
        nodes.push(core_node("Concat", &name, floats, node.output, int_attribute("axis", 1)));
    }
    graph.node = nodes;
}

/// ConstantOfShape makes zeros, floats, if nothing else is said. tract would make doubles.
fn say_zero(graph: &mut GraphProto) {
    for node in graph.node.iter_mut().filter(|node| node.op_type == "ConstantOfShape" && node.attribute.is_empty()) {
        let zero =
            TensorProto { dims: vec![1], data_type: DataType::Float as i32, float_data: vec![0.0], ..TensorProto::default() };
        let r#type = AttributeType::Tensor as i32;
        node.attribute.push(AttributeProto { name: "value".to_owned(), r#type, t: Some(zero), ..AttributeProto::default() });
    }
}

fn core_node(operator: &str, name: &str, input: Vec<String>, output: Vec<String>, attribute: AttributeProto) -> NodeProto {
    let attribute = vec![attribute];
    NodeProto { op_type: operator.to_owned(), name: name.to_owned(), input, output, attribute, ..NodeProto::default() }
}

pub(super) fn int_attribute(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i: value, ..AttributeProto::default() }
}

/// Takes out nodes that answer what they were given: Identity, Dropout, and casts to the kind there already is.
fn tidy(graph: &mut GraphProto) {
    let types = types::infer(graph);
    let outputs: HashSet<String> = graph.output.iter().map(|info| info.name.clone()).collect();
    let mut renamed: HashMap<String, String> = HashMap::new();
    let mut kept: Vec<NodeProto> = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        rename(&mut node.input, &renamed);
        if !is_idle(&node, &types) {
            kept.push(node);
            continue;
        }
        let (from, to) = (node.input[0].clone(), node.output[0].clone());
        if !outputs.contains(&to) {
            renamed.insert(to, from);
            continue;
        }
        let maker = kept.iter().position(|node| node.output.contains(&from));
        match maker.filter(|_| !outputs.contains(&from)) {
            // What comes from outside, or is answered itself, keeps its name.
            None => kept.push(core_identity(node)),
            Some(_) => {
                renamed.insert(from, to);
                for node in &mut kept {
                    rename(&mut node.input, &renamed);
                    rename(&mut node.output, &renamed);
                }
            }
        }
    }
    graph.node = kept;
}

fn rename(names: &mut [String], renamed: &HashMap<String, String>) {
    for name in names {
        while let Some(new) = renamed.get(name.as_str()) {
            name.clone_from(new);
        }
    }
}

fn core_identity(node: NodeProto) -> NodeProto {
    let NodeProto { name, input, mut output, .. } = node;
    output.truncate(1);
    NodeProto { op_type: "Identity".to_owned(), name, input: vec![input[0].clone()], output, ..NodeProto::default() }
}

fn is_idle(node: &NodeProto, types: &types::Types) -> bool {
    let [output] = node.output.as_slice() else { return false };
    let Some(input) = node.input.first().filter(|input| !input.is_empty() && !output.is_empty()) else { return false };
    match node.op_type.as_str() {
        _ if is_ml(node) => false,
        "Identity" => true,
        // A third input may switch training on.
        "Dropout" => node.input.len() < 3,
        "Cast" => types.get(input).is_some_and(|&kind| i64::from(kind) == Attributes::of(node).int("to", 0)),
        _ => false,
    }
}

/// Takes out what no output needs.
fn prune(graph: &mut GraphProto) {
    let mut needed: HashSet<String> = graph.output.iter().map(|info| info.name.clone()).collect();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
}

/// The bytes of the normalised model.
pub(super) fn write(model: ModelProto, graph: GraphProto, metadata: &BTreeMap<String, String>, served: &Served) -> Vec<u8> {
    let entry = |(key, value): (&String, &String)| StringStringEntryProto { key: key.clone(), value: value.clone() };
    let metadata_props = metadata.iter().map(entry).chain([served.write()]).collect();
    let version = |domains: &[&str]| {
        let import = model.opset_import.iter().find(|import| domains.contains(&import.domain.as_str()));
        import.map(|import| OperatorSetIdProto { domain: domains[0].to_owned(), version: import.version })
    };
    ModelProto {
        ir_version: model.ir_version,
        opset_import: version(&["", "ai.onnx"]).into_iter().chain(version(&["ai.onnx.ml"])).collect(),
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        graph: Some(bare(graph)),
        metadata_props,
        ..ModelProto::default()
    }
    .encode_to_vec()
}

/// Without what a person reads, and without shapes of a batch that is not ours.
fn bare(graph: GraphProto) -> GraphProto {
    let plain = |info: ValueInfoProto| ValueInfoProto { doc_string: String::new(), ..info };
    let mut initializer = graph.initializer;
    initializer.iter_mut().for_each(|tensor| tensor.doc_string.clear());
    GraphProto {
        node: graph.node,
        name: graph.name,
        initializer,
        input: graph.input.into_iter().map(plain).collect(),
        output: graph.output.into_iter().map(plain).collect(),
        ..GraphProto::default()
    }
}
