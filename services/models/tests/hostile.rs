//! Hostile files are refused: with a reason, without a panic, and without much work.

#![allow(clippy::unwrap_used)] // a test may stop at the first surprise

use loadline_models::{
    golden::{Golden, Limits, Refusal, check_in_child},
    onnx::{self, CheckError},
    predictor::{LoadError, Predictor},
    tensor::{Tensor, Values},
};
use proptest::prelude::*;
use prost::Message;
use std::path::{Path, PathBuf};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadline-check-model");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("{name}.onnx"))).unwrap()
}

fn node(operator: &str, input: &[&str], output: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: operator.to_owned(),
        name: format!("the {operator}"),
        input: owned(input),
        output: owned(output),
        ..NodeProto::default()
    }
}

fn value(name: &str, kind: DataType, shape: &[i64]) -> ValueInfoProto {
    let dimension = |&length: &i64| tensor_shape_proto::Dimension {
        denotation: String::new(),
        value: (length > 0).then_some(tensor_shape_proto::dimension::Value::DimValue(length)),
    };
    let shape = Some(TensorShapeProto { dim: shape.iter().map(dimension).collect() });
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape };
    let kind = TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(kind), doc_string: String::new() }
}

/// A model from `x`, two floats a row, to `y`.
fn model(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto {
        node: nodes,
        initializer: constants,
        input: vec![value("x", DataType::Float, &[0, 2])],
        output: vec![value("y", DataType::Float, &[0, 2])],
        ..GraphProto::default()
    };
    let import = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
    ModelProto {
        ir_version: 8,
        opset_import: vec![import("", 17), import("ai.onnx.ml", 3)],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn refusal(model: &ModelProto) -> CheckError {
    onnx::check(&model.encode_to_vec()).expect_err("it must be refused")
}

fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    let data_type = DataType::Int64 as i32;
    TensorProto { name: name.to_owned(), dims: dims.to_vec(), data_type, int64_data: values.to_vec(), ..TensorProto::default() }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let data_type = DataType::Float as i32;
    TensorProto { name: name.to_owned(), dims: dims.to_vec(), data_type, float_data: values.to_vec(), ..TensorProto::default() }
}

fn sum_with(constant: TensorProto) -> ModelProto {
    let name = constant.name.clone();
    model(vec![node("Add", &["x", &name], &["y"])], vec![constant])
}

/// Asks a model that passed the check; whatever it answers, it must not panic or end the process.
fn ask(bytes: &[u8], golden: &Golden) {
    if let Ok(checked) = onnx::check(bytes)
        && let Ok(predictor) = Predictor::load(&checked.bytes)
    {
        let _ = golden.check(&predictor);
    }
}

#[test]
fn the_model_that_these_tests_spoil_is_fine_before() {
    let checked = onnx::check(&sum_with(floats("c", &[2], &[1.0, 2.0])).encode_to_vec()).unwrap();
    let predictor = Predictor::load(&checked.bytes).unwrap();
    let answers = predictor.predict(&[Tensor::new("x", [1, 2], Values::F32(vec![3.0, 4.0]))]).unwrap();
    assert_eq!(answers, [Tensor::new("y", [1, 2], Values::F32(vec![4.0, 6.0]))]);
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    for name in ["column_transformer_one_hot", "random_forest_classifier", "network"] {
        let bytes = bytes(name);
        let whole = onnx::check(&bytes).unwrap();
        for end in (0..bytes.len()).step_by(7) {
            if let Ok(checked) = onnx::check(&bytes[..end]) {
                // What ends between two fields after the graph lacks nothing that is served.
                assert_eq!(
                    (checked.inputs, checked.outputs),
                    (whole.inputs.clone(), whole.outputs.clone()),
                    "{name} up to {end}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_never_panic(
        name in prop::sample::select(vec!["column_transformer_one_hot", "lightgbm_classifier", "svc_probabilities", "two_classes_both", "label_encoders"]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..6),
    ) {
        let mut bytes = bytes(name);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let golden = Golden::from_json(&std::fs::read(fixture(&format!("{name}.json"))).unwrap()).unwrap();
        ask(&bytes, &golden);
    }

    #[test]
    fn bytes_of_any_kind_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(onnx::check(&bytes).is_err());
    }
}

#[test]
fn a_bomb_of_nested_graphs_is_refused_unopened() {
    // Each level doubles the work of a runtime that opens it; none is opened here.
    let mut inner = GraphProto { output: vec![value("y", DataType::Float, &[0, 2])], ..GraphProto::default() };
    for _ in 0..60 {
        let branch =
            |name: &str| AttributeProto { name: name.to_owned(), r#type: 5, g: Some(inner.clone()), ..AttributeProto::default() };
        let attribute = vec![branch("then_branch")];
        inner = GraphProto { node: vec![NodeProto { attribute, ..node("If", &["x"], &["y"]) }], ..inner.clone() };
    }
    let mut bomb = model(vec![], vec![]);
    graph(&mut bomb).node = inner.node;
    let error = refusal(&bomb);
    assert!(matches!(&error, CheckError::NestedGraph(node) if node.contains("If")), "{error}");
}

#[test]
fn a_file_of_empty_messages_is_not_unfolded() {
    let empty_nodes: Vec<u8> = [0x0a, 0x00].repeat(1_000_000);
    let mut bytes = vec![0x3a];
    prost::encoding::encode_varint(empty_nodes.len() as u64, &mut bytes);
    bytes.extend(empty_nodes);
    assert!(matches!(onnx::check(&bytes), Err(CheckError::TooMuch { what: "messages", .. })));
    let large = vec![0; onnx::MAX_BYTES + 1];
    assert!(matches!(onnx::check(&large), Err(CheckError::TooMuch { what: "bytes", .. })));
}

#[test]
fn a_constant_of_a_shape_is_of_floats_if_nothing_else_is_said() {
    // tract takes doubles there.
    let nodes = vec![node("ConstantOfShape", &["s"], &["zeros"]), node("Add", &["x", "zeros"], &["y"])];
    let checked = onnx::check(&model(nodes, vec![ints("s", &[1], &[2])]).encode_to_vec()).unwrap();
    let x = Values::F32(vec![3.0, 4.0]);
    let answers = Predictor::load(&checked.bytes).unwrap().predict(&[Tensor::new("x", [1, 2], x.clone())]).unwrap();
    assert_eq!(answers, [Tensor::new("y", [1, 2], x)]);
}

#[test]
fn absurd_shapes_are_refused() {
    let mut wide = sum_with(floats("c", &[2], &[1.0, 2.0]));
    graph(&mut wide).input = vec![value("x", DataType::Float, &[0, 1 << 40])];
    assert!(refusal(&wide).to_string().contains("absurd length"));
    let mut deep = sum_with(floats("c", &[2], &[1.0, 2.0]));
    graph(&mut deep).input = vec![value("x", DataType::Float, &[0, 1 << 12, 1 << 12])];
    assert!(refusal(&deep).to_string().contains("more than"));
    for dims in [vec![1 << 40], vec![1 << 33, 1 << 33], vec![-2], vec![3], vec![]] {
        assert!(matches!(refusal(&sum_with(floats("c", &dims, &[1.0, 2.0]))), CheckError::Unsound { .. }), "{dims:?}");
    }
    for operator in ["ConstantOfShape", "Expand", "Tile"] {
        let shape = ints("s", &[2], &[1 << 20, 1 << 20]);
        let maker =
            if operator == "ConstantOfShape" { node(operator, &["s"], &["y"]) } else { node(operator, &["x", "s"], &["y"]) };
        assert!(refusal(&model(vec![maker], vec![shape])).to_string().contains("absurd shape"), "{operator}");
    }
    let mut open = sum_with(floats("c", &[2], &[1.0, 2.0]));
    graph(&mut open).input = vec![value("x", DataType::Float, &[0, 0])];
    assert!(refusal(&open).to_string().contains("no fixed length"));
}

#[test]
fn a_tensor_in_another_file_is_refused_by_name() {
    let entry = StringStringEntryProto { key: "location".to_owned(), value: "/etc/passwd".to_owned() };
    let outside =
        TensorProto { float_data: vec![], external_data: vec![entry], data_location: Some(1), ..floats("secret", &[2], &[]) };
    assert_eq!(refusal(&sum_with(outside)), CheckError::ExternalData("secret".to_owned()));
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    let texts = TensorProto {
        data_type: DataType::String as i32,
        string_data: vec![b"a".to_vec(), b"b".to_vec()],
        float_data: vec![],
        ..floats("c", &[2], &[])
    };
    assert!(refusal(&sum_with(texts)).to_string().contains("computes with texts"));
    let half = TensorProto { data_type: DataType::Float16 as i32, ..floats("c", &[2], &[1.0, 2.0]) };
    assert!(refusal(&sum_with(half)).to_string().contains("not supported"));
    let raw = TensorProto { raw_data: vec![0; 9], float_data: vec![], ..floats("c", &[2], &[]) };
    assert!(matches!(refusal(&sum_with(raw)), CheckError::Unsound { .. }));
    let both = TensorProto { raw_data: vec![0; 8], ..floats("c", &[2], &[1.0, 2.0]) };
    assert!(matches!(refusal(&sum_with(both)), CheckError::Unsound { .. }));
    let mut untyped = sum_with(floats("c", &[2], &[1.0, 2.0]));
    graph(&mut untyped).input[0].r#type = None;
    assert!(refusal(&untyped).to_string().contains("no type"));
}

#[test]
fn graphs_that_contradict_themselves_are_refused() {
    let circle = model(vec![node("Add", &["x", "b"], &["a"]), node("Neg", &["a"], &["b"]), node("Abs", &["a"], &["y"])], vec![]);
    assert!(refusal(&circle).to_string().contains("waits for its own output"));
    let twice = model(vec![node("Neg", &["x"], &["y"]), node("Abs", &["x"], &["y"])], vec![]);
    assert!(refusal(&twice).to_string().contains("defined twice"));
    let nowhere = model(vec![node("Add", &["x", "z"], &["y"])], vec![]);
    assert!(refusal(&nowhere).to_string().contains("z comes from nowhere"));
    let nothing = model(vec![node("Neg", &["x"], &["z"])], vec![]);
    assert!(refusal(&nothing).to_string().contains("no node makes it"));
    let shadow = model(vec![node("Neg", &["x"], &["x"]), node("Abs", &["x"], &["y"])], vec![]);
    assert!(refusal(&shadow).to_string().contains("defined twice"));
    let mut empty = model(vec![], vec![]);
    graph(&mut empty).output.clear();
    assert!(refusal(&empty).to_string().contains("answers nothing"));
}

#[test]
fn operators_and_versions_that_are_not_known_are_refused() {
    let unknown = model(vec![node("Einsum", &["x"], &["y"])], vec![]);
    assert!(matches!(refusal(&unknown), CheckError::Operator { operator, .. } if operator == "Einsum"));
    let foreign = NodeProto { domain: "evil.corp".to_owned(), ..node("Add", &["x", "x"], &["y"]) };
    assert!(
        matches!(refusal(&model(vec![foreign], vec![])), CheckError::Operator { operator, .. } if operator == "evil.corp.Add")
    );
    let mut new = sum_with(floats("c", &[2], &[1.0, 2.0]));
    new.opset_import[0].version = 99;
    assert!(matches!(refusal(&new), CheckError::Opset { domain: "ai.onnx", version: 99, .. }));
    new.opset_import.clear();
    assert!(matches!(refusal(&new), CheckError::Opset { version: 0, .. }));
}

fn list(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: 7, ints: ints.to_vec(), ..AttributeProto::default() }
}

fn reals(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: 6, floats: floats.to_vec(), ..AttributeProto::default() }
}

fn words(name: &str, words: &[&str]) -> AttributeProto {
    let strings = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    AttributeProto { name: name.to_owned(), r#type: 8, strings, ..AttributeProto::default() }
}

/// One tree: a branch with two leaves.
fn tree() -> Vec<AttributeProto> {
    vec![
        list("nodes_treeids", &[0, 0, 0]),
        list("nodes_nodeids", &[0, 1, 2]),
        list("nodes_featureids", &[1, 0, 0]),
        reals("nodes_values", &[0.5, 0.0, 0.0]),
        words("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
        list("nodes_truenodeids", &[1, 0, 0]),
        list("nodes_falsenodeids", &[2, 0, 0]),
        list("target_treeids", &[0, 0]),
        list("target_nodeids", &[1, 2]),
        list("target_ids", &[0, 0]),
        reals("target_weights", &[1.0, 2.0]),
    ]
}

fn with_tree(changed: AttributeProto) -> ModelProto {
    let mut attribute = tree();
    attribute.retain(|old| old.name != changed.name);
    attribute.push(changed);
    let trees = NodeProto { domain: "ai.onnx.ml".to_owned(), attribute, ..node("TreeEnsembleRegressor", &["x"], &["y"]) };
    model(vec![trees], vec![])
}

#[test]
fn trees_that_are_none_are_refused() {
    onnx::check(&with_tree(list("nodes_treeids", &[0, 0, 0])).encode_to_vec()).expect("the tree is one before it is spoilt");
    let spoilt = [
        (list("nodes_truenodeids", &[9, 0, 0]), "not there"),
        (list("nodes_truenodeids", &[-1, 0, 0]), "not there"),
        (list("nodes_truenodeids", &[2, 0, 0]), "two nodes"),
        (list("nodes_truenodeids", &[0, 0, 0]), "circle"),
        (words("nodes_modes", &["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"]), "two nodes"),
        (words("nodes_modes", &["BRANCH_LEQ", "LEAF", "BRANCH_MEMBER"]), "BRANCH_MEMBER"),
        (words("nodes_modes", &["BRANCH_LEQ", "LEAF"]), "3 are expected"),
        (list("nodes_nodeids", &[0, 1, 1]), "twice"),
        (list("nodes_featureids", &[1 << 40, 0, 0]), "absurd"),
        (list("nodes_featureids", &[-1, 0, 0]), "absurd"),
        (list("nodes_values", &[1, 2, 3]), "3 are expected"),
        (reals("nodes_values", &[0.5]), "3 are expected"),
        (list("target_nodeids", &[1, 7]), "no node 7"),
        (list("target_ids", &[0, 1]), "no target 1"),
        (list("target_ids", &[0, -1]), "no target -1"),
        (reals("target_weights", &[1.0]), "2 are expected"),
    ];
    for (change, reason) in spoilt {
        let error = refusal(&with_tree(change.clone())).to_string();
        assert!(error.contains(reason), "{change:?}: {error}");
    }
}

#[test]
fn a_tree_whose_nodes_lead_round_in_a_circle_is_refused() {
    // Nodes 1 and 2 lead to each other and to a leaf each; the root is a leaf of its own.
    let attribute = vec![
        list("nodes_treeids", &[0, 0, 0, 0, 0]),
        list("nodes_nodeids", &[0, 1, 2, 3, 4]),
        list("nodes_featureids", &[0; 5]),
        reals("nodes_values", &[0.0; 5]),
        words("nodes_modes", &["LEAF", "BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF"]),
        list("nodes_truenodeids", &[0, 2, 1, 0, 0]),
        list("nodes_falsenodeids", &[0, 3, 4, 0, 0]),
        list("target_treeids", &[0]),
        list("target_nodeids", &[0]),
        list("target_ids", &[0]),
        reals("target_weights", &[1.0]),
    ];
    let trees = NodeProto { domain: "ai.onnx.ml".to_owned(), attribute, ..node("TreeEnsembleRegressor", &["x"], &["y"]) };
    let error = refusal(&model(vec![trees], vec![]));
    assert!(error.to_string().contains("circle"), "{error}");
}

#[test]
fn attributes_that_do_not_fit_together_are_refused() {
    let ml = |operator: &str, attribute: Vec<AttributeProto>| {
        let node = NodeProto { domain: "ai.onnx.ml".to_owned(), attribute, ..node(operator, &["x"], &["y"]) };
        model(vec![node], vec![])
    };
    for (operator, attributes) in [
        ("LabelEncoder", vec![reals("keys_floats", &[1.0, 2.0]), reals("values_floats", &[1.0])]),
        ("LabelEncoder", vec![]),
        ("OneHotEncoder", vec![]),
        ("OneHotEncoder", vec![list("cats_int64s", &[1]), words("cats_strings", &["a"])]),
        ("Imputer", vec![]),
        ("LinearRegressor", vec![reals("coefficients", &[1.0, 2.0, 3.0]), reals("intercepts", &[1.0, 2.0])]),
        ("LinearRegressor", vec![]),
        ("LinearClassifier", vec![reals("coefficients", &[1.0, 2.0]), reals("intercepts", &[1.0])]),
        ("SVMRegressor", vec![reals("coefficients", &[1.0]), reals("rho", &[0.0]), reals("kernel_params", &[1.0])]),
        ("SVMClassifier", vec![list("classlabels_ints", &[0, 1]), list("vectors_per_class", &[1 << 62, 1 << 62, 1 << 62])]),
    ] {
        let spoilt = ml(operator, attributes.clone());
        let outcome = onnx::check(&spoilt.encode_to_vec());
        let loaded = outcome.map(|checked| Predictor::load(&checked.bytes));
        assert!(matches!(loaded, Err(CheckError::Unsound { .. }) | Ok(Err(_))), "{operator} {attributes:?}: {loaded:?}");
    }
    // A list that is too long for the input is found when shapes are known.
    let checked =
        onnx::check(&ml("Scaler", vec![reals("offset", &[1.0; 7]), reals("scale", &[1.0; 7])]).encode_to_vec()).unwrap();
    assert!(matches!(Predictor::load(&checked.bytes), Err(LoadError::Unusable(why)) if why.contains("7 columns")));
}

#[test]
fn a_model_that_fails_on_some_values_answers_the_next() {
    let ml =
        |operator: &str, attribute| NodeProto { domain: "ai.onnx.ml".to_owned(), attribute, ..node(operator, &["i"], &["y"]) };
    let zeros = AttributeProto { name: "zeros".to_owned(), r#type: 2, i: 0, ..AttributeProto::default() };
    let one_hot = ml("OneHotEncoder", vec![list("cats_int64s", &[0, 1]), zeros]);
    let places = NodeProto { domain: "ai.onnx.ml".to_owned(), ..node("ArrayFeatureExtractor", &["c", "flat"], &["row"]) };
    let flat = node("Reshape", &["i", "all"], &["flat"]);
    let column = node("Reshape", &["row", "one"], &["y"]);
    for nodes in [vec![one_hot], vec![node("Gather", &["c", "i"], &["y"])], vec![flat, places, column]] {
        let constants = vec![floats("c", &[2], &[1.0, 2.0]), ints("all", &[1], &[-1]), ints("one", &[2], &[-1, 1])];
        let mut fragile = model(nodes.clone(), constants);
        graph(&mut fragile).input = vec![value("i", DataType::Int64, &[0, 1])];
        let predictor = Predictor::load(&onnx::check(&fragile.encode_to_vec()).unwrap().bytes).unwrap();
        let ask = |place: i64| predictor.predict(&[Tensor::new("i", [1, 1], Values::I64(vec![place]))]);
        for _ in 0..3 {
            ask(1).unwrap();
            let error = ask(1 << 40).unwrap_err();
            assert!(!error.is_callers(), "{} {error}", nodes[0].op_type);
        }
    }
}

/// Along the first axis are rows of several callers, and filler.
#[test]
fn a_model_that_answers_a_row_by_what_the_others_are_is_refused() {
    let first_axis = AttributeProto { name: "axis".to_owned(), r#type: 2, i: 0, ..AttributeProto::default() };
    let softmax = NodeProto { attribute: vec![first_axis], ..node("Softmax", &["x"], &["y"]) };
    let mixing = [
        model(
            vec![node("ReduceSum", &["x", "axes"], &["sum"]), node("Add", &["x", "sum"], &["y"])],
            vec![ints("axes", &[1], &[0])],
        ),
        model(vec![node("CumSum", &["x", "axis"], &["y"])], vec![ints("axis", &[], &[0])]),
        model(vec![softmax], vec![]),
        model(vec![node("Transpose", &["x"], &["t"]), node("MatMul", &["x", "t"], &["y"])], vec![]),
    ];
    for model in mixing {
        let refused = check_in_child(Path::new(PROGRAM), &[] as &[&str], &model.encode_to_vec(), None, Limits::default());
        let why = refused.expect_err("it must be refused").to_string();
        assert!(why.contains("output y"), "{why}");
    }
}

#[test]
fn every_exported_model_keeps_its_rows_apart() {
    let mut files = 0;
    for entry in std::fs::read_dir(fixture("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let golden = Golden::from_json(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
            let checked = check_in_child(
                Path::new(PROGRAM),
                &[] as &[&str],
                &std::fs::read(&path).unwrap(),
                Some(&golden),
                Limits::default(),
            );
            checked.unwrap_or_else(|refused| panic!("{}: {refused}", path.display()));
            files += 1;
        }
    }
    assert!(files > 60, "{files} files");
}

#[test]
fn a_graph_that_doubles_its_tensor_forty_times_is_refused_by_the_process_that_tries() {
    let axis = AttributeProto { name: "axis".to_owned(), r#type: 2, i: 1, ..AttributeProto::default() };
    let double =
        |from: String, to: String| NodeProto { attribute: vec![axis.clone()], ..node("Concat", &[&from, &from], &[&to]) };
    let mut nodes: Vec<NodeProto> = (0..40).map(|at| double(format!("c{at}"), format!("c{}", at + 1))).collect();
    nodes.push(node("ReduceMax", &["c40"], &["m"]));
    nodes.push(node("Add", &["x", "m"], &["y"]));
    let bomb = model(nodes, vec![floats("c0", &[1, 2], &[1.0, 2.0])]).encode_to_vec();
    let limits = Limits { memory_bytes: 1 << 30, cpu_seconds: 10, ..Limits::default() };
    let refusal = check_in_child::<&str>(Path::new(PROGRAM), &[], &bomb, None, limits).unwrap_err();
    assert!(matches!(refusal, Refusal::Died(_) | Refusal::Model(_)), "{refusal}");
}

#[test]
fn a_graph_whose_constants_take_minutes_to_compute_is_stopped_by_its_processor_limit() {
    let mut nodes = vec![node("Tile", &["c", "s"], &["c0"])];
    nodes.extend((0..1000).map(|at| node("MatMul", &[&format!("c{at}"), &format!("c{at}")], &[&format!("c{}", at + 1)])));
    nodes.push(node("ReduceMax", &["c1000"], &["m"]));
    nodes.push(node("Add", &["x", "m"], &["y"]));
    let values: Vec<f32> = (0..256 * 256).map(|at| (at % 97) as f32 - 48.0).collect();
    let slow = model(nodes, vec![floats("c", &[256, 256], &values), ints("s", &[2], &[16, 16])]).encode_to_vec();
    let limits = Limits { cpu_seconds: 1, ..Limits::default() };
    let refusal = check_in_child::<&str>(Path::new(PROGRAM), &[], &slow, None, limits).unwrap_err();
    assert!(refusal.to_string().contains("1 s of processor time"), "{refusal}");
}

#[test]
fn spoilt_networks_are_refused_or_answered_by_the_process_that_tries() {
    let good = bytes("network");
    for at in (0..good.len()).step_by(good.len() / 12) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        // Whatever comes of it, it comes: this process goes on.
        let outcome = check_in_child::<&str>(Path::new(PROGRAM), &[], &bytes, None, Limits::default());
        assert!(!matches!(outcome, Err(Refusal::NotStarted(_) | Refusal::TookTooLong(_))), "{outcome:?}");
    }
}
