//! A model is checked in a process with limits, and whatever becomes of that process, the one that asked goes on.

#![allow(clippy::unwrap_used)] // a test may stop at the first surprise

use loadline_models::{
    Sha256,
    golden::{Golden, Limits, Refusal, check_in_child},
    onnx,
    tensor::Values,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadline-check-model");
const NO_ARGS: [&str; 0] = [];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn model(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("{name}.onnx"))).unwrap()
}

fn golden(name: &str) -> Golden {
    Golden::from_json(&std::fs::read(fixture(&format!("{name}.json"))).unwrap()).unwrap()
}

fn checked(model: &[u8], golden: Option<&Golden>, limits: Limits) -> Result<loadline_models::golden::Report, Refusal> {
    check_in_child(Path::new(PROGRAM), &NO_ARGS, model, golden, limits)
}

#[test]
fn a_model_that_answers_its_golden_vectors_passes_with_the_hash_of_its_normalised_bytes() {
    let model = model("xgboost_classifier");
    let report = checked(&model, Some(&golden("xgboost_classifier")), Limits::default()).unwrap();
    assert_eq!((report.golden_rows, report.golden_values), (40, 40 + 40 * 3));
    let here = onnx::check(&model).unwrap().bytes;
    assert_eq!((report.bytes, report.sha256), (here.len(), Sha256::of(&here)));
}

#[test]
fn a_model_that_answers_something_else_is_refused_with_the_value() {
    let mut golden = golden("linear_regression");
    let Values::F32(values) = &mut golden.outputs[0].values else { panic!("numbers are floats") };
    values[17] += 1.0;
    let refusal = checked(&model("linear_regression"), Some(&golden), Limits::default()).unwrap_err();
    assert!(matches!(&refusal, Refusal::Model(why) if why.contains("row 17")), "{refusal}");
}

#[test]
fn a_file_that_cannot_be_served_is_refused_with_the_same_words_as_here() {
    let model = std::fs::read(fixture("refused/neighbours_cdist.onnx")).unwrap();
    let refusal = checked(&model, None, Limits::default()).unwrap_err();
    assert_eq!(refusal.to_string(), onnx::check(&model).unwrap_err().to_string());
}

#[test]
fn a_process_without_memory_is_a_refusal() {
    let limits = Limits { memory_bytes: 4 << 20, ..Limits::default() };
    let refusal = checked(&model("network"), None, limits).unwrap_err();
    assert!(matches!(refusal, Refusal::Died(_)), "{refusal}");
}

#[test]
fn a_process_without_time_is_a_refusal() {
    // The program sleeps instead of answering, and is stopped.
    let limits = Limits { wall: Duration::from_millis(300), ..Limits::default() };
    let refusal = check_in_child(Path::new("/bin/sleep"), &["60"], &model("network"), None, limits).unwrap_err();
    assert!(matches!(refusal, Refusal::TookTooLong(_)), "{refusal}");
}

#[test]
fn a_process_that_dies_or_talks_nonsense_is_a_refusal() {
    let run = |script: &str| {
        check_in_child(Path::new("/bin/sh"), &["-c", script], &model("network"), None, Limits::default()).unwrap_err()
    };
    for script in ["kill -SEGV $$", "exit 7", "echo nonsense", "cat", "cat >/dev/null; echo '{\"fine\":{}}'"] {
        assert!(matches!(run(script), Refusal::Died(_)), "{script}");
    }
    assert!(run("echo 'out of ink' >&2; exit 3").to_string().contains("out of ink"));
    let refusal = check_in_child(Path::new("/nowhere"), &NO_ARGS, &model("network"), None, Limits::default()).unwrap_err();
    assert!(matches!(refusal, Refusal::NotStarted(_)));
}
