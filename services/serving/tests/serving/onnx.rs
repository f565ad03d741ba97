//! ONNX files whose answers are known: `y = x · w + b`, written as an exporter writes them.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(int32, tag = "20")]
    r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(oneof = "Length", tags = "1, 2")]
    value: Option<Length>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Length {
    #[prost(int64, tag = "1")]
    Value(i64),
    #[prost(string, tag = "2")]
    Parameter(String),
}

const FLOAT: i32 = 1;

/// `y = x · w + b`: two numbers in, three out, each the sum of the two and `b`.
pub fn plus(b: f32) -> Vec<u8> {
    chain(2, 3, 1, b)
}

/// The same, with golden vectors in its metadata: one and two should be answered by `expected`.
pub fn golden(b: f32, expected: f32) -> Vec<u8> {
    let mut model = ModelProto::decode(&plus(b)[..]).unwrap();
    let value = format!(
        r#"{{"inputs": [{{"name": "x", "type": "FP32", "shape": [1, 2], "values": [1, 2]}}],
             "outputs": [{{"name": "y", "type": "FP32", "shape": [1, 3], "values": [{expected}, {expected}, {expected}]}}]}}"#
    );
    model.metadata_props.push(StringStringEntryProto { key: loadline_models::golden::METADATA_KEY.to_owned(), value });
    model.encode_to_vec()
}

/// A forecast over three classes: `softmax(scale · [x₀, 0, x₁] + bias)`.
pub fn forecast(scale: f32, bias: [f32; 3]) -> Vec<u8> {
    let mut model = ModelProto::decode(&plus(0.0)[..]).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer[0].float_data = vec![scale, 0.0, 0.0, 0.0, 0.0, scale];
    graph.initializer[1].float_data = bias.to_vec();
    graph.node[1].output = vec!["logits".to_owned()];
    graph.node.push(node("Softmax", &["logits"], "y"));
    model.encode_to_vec()
}

/// A small file whose one constant doubles forty times when it is loaded: more memory than there is.
pub fn bomb() -> Vec<u8> {
    let mut model = ModelProto::decode(&plus(0.0)[..]).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let axis = AttributeProto { name: "axis".to_owned(), i: 1, r#type: 2 };
    let double = |from: String, to: String| NodeProto { attribute: vec![axis.clone()], ..node("Concat", &[&from, &from], &to) };
    graph.node = (0..40).map(|at| double(format!("c{at}"), format!("c{}", at + 1))).collect();
    graph.node.push(node("ReduceMax", &["c40"], "m"));
    graph.node.push(node("Add", &["x", "m"], "y"));
    graph.initializer = vec![tensor("c0", &[1, 2], 1.0)];
    graph.output = vec![info("y", 2)];
    model.encode_to_vec()
}

/// The same forecast whatever it is asked, of so many numbers: `softmax(bias)`; with metadata.
pub fn forecast_of(takes: usize, bias: [f32; 3], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut model = ModelProto::decode(&forecast(0.0, bias)[..]).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer[0] = tensor("w", &[takes, 3], 0.0);
    graph.input = vec![info("x", takes)];
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).to_owned(), value: (*value).to_owned() };
    model.metadata_props = metadata.iter().map(entry).collect();
    model.encode_to_vec()
}

/// The same of `width` numbers, `layers` times: work that takes as long as one wants.
pub fn slow(width: usize, layers: usize) -> Vec<u8> {
    chain(width, width, layers, 0.0)
}

fn chain(takes: usize, gives: usize, layers: usize, b: f32) -> Vec<u8> {
    let (mut nodes, mut value) = (Vec::new(), "x".to_owned());
    for layer in 0..layers {
        let (product, sum) = (format!("p{layer}"), if layer + 1 == layers { "y".to_owned() } else { format!("s{layer}") });
        nodes.push(node("MatMul", &[&value, "w"], &product));
        nodes.push(node("Add", &[&product, "b"], &sum));
        value = sum;
    }
    let weights = if layers == 1 { 1.0 } else { 1.0 / takes as f32 };
    let graph = GraphProto {
        node: nodes,
        name: "chain".to_owned(),
        initializer: vec![tensor("w", &[takes, gives], weights), tensor("b", &[gives], b)],
        input: vec![info("x", takes)],
        output: vec![info("y", gives)],
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
    let model = ModelProto {
        ir_version: 8,
        producer_name: "tests".to_owned(),
        graph: Some(graph),
        opset_import: vec![opset],
        ..Default::default()
    };
    model.encode_to_vec()
}

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: op_type.to_owned(),
        attribute: vec![],
    }
}

fn tensor(name: &str, dims: &[usize], value: f32) -> TensorProto {
    let float_data = vec![value; dims.iter().product()];
    TensorProto { dims: dims.iter().map(|dim| *dim as i64).collect(), data_type: FLOAT, float_data, name: name.to_owned() }
}

fn info(name: &str, width: usize) -> ValueInfoProto {
    let dim = |value| Dimension { value: Some(value) };
    let dims = vec![dim(Length::Parameter("N".to_owned())), dim(Length::Value(width as i64))];
    let tensor_type = TensorType { elem_type: FLOAT, shape: Some(Shape { dim: dims }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

#[test]
fn the_files_that_drills_promote_are_a_forecast_and_its_opposite() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    for (name, scale) in [("drill_better.onnx", 1.0), ("drill_worse.onnx", -1.0)] {
        let (file, due) = (format!("{folder}/{name}"), forecast(scale, [0.0; 3]));
        // As frames are: accepted on request.
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(&file, &due).unwrap();
        }
        assert!(std::fs::read(&file).unwrap() == due, "{name}: INSTA_UPDATE=always writes it anew");
    }
}
