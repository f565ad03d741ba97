//! Models as scikit-learn, XGBoost and LightGBM export them answer as onnxruntime answers; what is not supported says so.
//!
//! `fixtures/generate.py` writes the models and the answers.

#![allow(clippy::unwrap_used)] // a test may stop at the first surprise

use loadline_models::{
    golden::Golden,
    onnx::{self, CheckError, Classes},
    predictor::{BATCHES, PredictError, Predictor},
    tensor::{DataType, Tensor, Values},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(format!("{name}.onnx"))).unwrap()
}

fn golden(name: &str) -> Golden {
    Golden::from_json(&std::fs::read(fixtures().join(format!("{name}.json"))).unwrap()).unwrap()
}

fn predictor(name: &str) -> Predictor {
    let checked = onnx::check(&bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Predictor::load(&checked.bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `rows` rows of a tensor, from its beginning again when it ends.
fn rows(tensor: &Tensor, rows: usize) -> Tensor {
    let (own, width) = (tensor.shape[0], tensor.shape.iter().skip(1).product::<usize>());
    let places = (0..rows).flat_map(|row| (0..width).map(move |column| row % own * width + column));
    let mut shape = tensor.shape.clone();
    shape[0] = rows;
    let values = match &tensor.values {
        Values::Bool(values) => Values::Bool(places.map(|at| values[at]).collect()),
        Values::I32(values) => Values::I32(places.map(|at| values[at]).collect()),
        Values::I64(values) => Values::I64(places.map(|at| values[at]).collect()),
        Values::F32(values) => Values::F32(places.map(|at| values[at]).collect()),
        Values::F64(values) => Values::F64(places.map(|at| values[at]).collect()),
        Values::Text(values) => Values::Text(places.map(|at| values[at].clone()).collect()),
    };
    Tensor { name: tensor.name.clone(), shape, values }
}

fn resized(golden: &Golden, count: usize) -> Golden {
    Golden {
        inputs: golden.inputs.iter().map(|tensor| rows(tensor, count)).collect(),
        outputs: golden.outputs.iter().map(|tensor| rows(tensor, count)).collect(),
        tolerance: golden.tolerance,
    }
}

#[test]
fn exported_models_answer_as_onnxruntime_does_in_batches_of_any_size() {
    let names = names();
    assert!(names.len() >= 40, "{} models", names.len());
    let mut wrong = BTreeMap::new();
    for name in &names {
        let golden = golden(name);
        let outcome = onnx::check(&bytes(name)).map_err(|error| error.to_string()).and_then(|checked| {
            let predictor = Predictor::load(&checked.bytes).map_err(|error| error.to_string())?;
            for count in [1, 7, 8, 40, 300] {
                resized(&golden, count).check(&predictor).map_err(|error| format!("{count} rows: {error}"))?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            wrong.insert(name, error.chars().take(300).collect::<String>());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_wrong_golden_value_is_found() {
    let predictor = predictor("logistic_multinomial");
    let mut golden = golden("logistic_multinomial");
    golden.check(&predictor).unwrap();
    let Values::F32(probabilities) = &mut golden.outputs[1].values else { panic!("probabilities are floats") };
    probabilities[4] += 0.01;
    let error = golden.check(&predictor).unwrap_err().to_string();
    assert!(error.contains("row 1, value 1"), "{error}");
}

#[test]
fn a_file_is_normalised_to_the_same_bytes_every_time() {
    for name in names() {
        let bytes = bytes(&name);
        assert_eq!(onnx::check(&bytes).unwrap().bytes, onnx::check(&bytes).unwrap().bytes, "{name}");
    }
}

#[test]
fn a_normalised_file_is_not_taken_for_an_export() {
    let checked = onnx::check(&bytes("ridge_two_targets")).unwrap();
    assert!(matches!(onnx::check(&checked.bytes), Err(CheckError::Unsound { .. })));
}

#[test]
fn a_file_that_was_not_checked_is_not_loaded() {
    let error = Predictor::load(&bytes("ridge_two_targets")).unwrap_err();
    assert_eq!(error, loadline_models::predictor::LoadError::NotNormalised);
}

#[test]
fn probabilities_are_a_table_and_their_classes_are_known() {
    let classes = |name: &str| onnx::check(&bytes(name)).unwrap().classes;
    let texts = |list: [&str; 3]| Some(Classes::Texts(list.map(str::to_owned).to_vec()));
    assert_eq!(classes("logistic_text_labels"), texts(["away", "draw", "home"]));
    assert_eq!(classes("logistic_without_zipmap"), Some(Classes::Ints(vec![7, 20, 300])));
    assert_eq!(classes("xgboost_classifier"), Some(Classes::Ints(vec![0, 1, 2])));
    assert_eq!(classes("mlp_text_labels"), texts(["away", "draw", "home"]));
    assert_eq!(classes("linear_regression"), None);
    let predictor = predictor("mlp_text_labels");
    assert_eq!(predictor.classes(), texts(["away", "draw", "home"]).as_ref());
    let ports: Vec<_> = predictor.outputs().iter().map(|port| (port.data_type, port.shape.clone())).collect();
    assert_eq!(ports, [(DataType::Text, vec![None]), (DataType::F32, vec![None, Some(3)])]);
}

#[test]
fn every_batch_size_is_compiled_by_warming() {
    for name in ["column_transformer_one_hot", "network", "gaussian_naive_bayes"] {
        predictor(name).warm().unwrap();
    }
    assert_eq!(BATCHES, [1, 8, 32, 128]);
}

#[test]
fn callers_in_parallel_get_the_answers_that_one_gets() {
    let (predictor, golden) = (predictor("pipeline_minmax_mlp"), golden("pipeline_minmax_mlp"));
    std::thread::scope(|scope| {
        for at in 0..8 {
            let (predictor, golden) = (&predictor, resized(&golden, 1 + at * 9));
            scope.spawn(move || (0..30).for_each(|_| assert!(golden.check(predictor).is_ok())));
        }
    });
}

#[test]
fn an_input_that_does_not_fit_is_named_with_what_was_expected() {
    let predictor = predictor("column_transformer_one_hot");
    let golden = golden("column_transformer_one_hot");
    let ask = |change: fn(&mut Vec<Tensor>)| {
        let mut inputs = golden.inputs.clone();
        change(&mut inputs);
        predictor.predict(&inputs).unwrap_err()
    };
    assert!(matches!(ask(|inputs| drop(inputs.pop())), PredictError::Missing { name, .. } if name == "league"));
    assert!(matches!(ask(|inputs| inputs.push(Tensor::new("goals", [40, 1], Values::F32(vec![0.0; 40])))),
        PredictError::Unknown { name, .. } if name == "goals"));
    assert_eq!(ask(|inputs| inputs.push(inputs[0].clone())), PredictError::Twice("numbers".to_owned()));
    let error = ask(|inputs| inputs[0].values = Values::F64(vec![0.0; 200]));
    assert_eq!(error.to_string(), "input numbers is FP64, expected FP32");
    let error = ask(|inputs| inputs[0] = Tensor::new("numbers", [40, 4], Values::F32(vec![0.0; 160])));
    assert_eq!(error.to_string(), "input numbers has the shape [40, 4], expected [rows, 5]");
    let error = ask(|inputs| inputs[0].shape = vec![40, 5, 1]);
    assert!(matches!(error, PredictError::Shape { .. }));
    let error = ask(|inputs| inputs[0].values = Values::F32(vec![0.0; 199]));
    assert_eq!(error, PredictError::Values { name: "numbers".to_owned(), shape: vec![40, 5], values: 199 });
    let error = ask(|inputs| inputs[1] = Tensor::new("league", [39, 1], Values::Text(vec![String::new(); 39])));
    assert_eq!(error.to_string(), "input league has 39 rows where numbers has 40");
    let none = |inputs: &mut Vec<Tensor>| {
        inputs[0] = Tensor::new("numbers", [0, 5], Values::F32(vec![]));
        inputs[1] = Tensor::new("league", [0, 1], Values::Text(vec![]));
    };
    assert!(matches!(ask(none), PredictError::RowCount { rows: 0, .. }));
}

#[test]
fn inputs_may_come_in_another_order() {
    let (predictor, mut golden) = (predictor("column_transformer_one_hot"), golden("column_transformer_one_hot"));
    golden.inputs.reverse();
    golden.check(&predictor).unwrap();
}

#[test]
fn operators_that_are_not_supported_are_named() {
    let refused = |name: &str| onnx::check(&std::fs::read(fixtures().join(format!("refused/{name}.onnx"))).unwrap()).unwrap_err();
    let error = refused("neighbours_cdist");
    assert!(matches!(&error, CheckError::Operator { operator, .. } if operator == "com.microsoft.CDist"), "{error}");
    assert!(error.to_string().contains("TreeEnsembleClassifier"), "it says what is supported: {error}");
    let error = refused("neighbours_scan");
    assert!(matches!(&error, CheckError::NestedGraph(node) if node.contains("Scan")), "{error}");
}
