use super::*;
use crate::{
    engine::{Answers, Limits, Refusal},
    resident::Identity,
};
use loadline_models::{Port, Sha256, Values};
use loadline_proto::inference::{InferTensorContents, model_infer_request::InferInputTensor};
use std::sync::{Condvar, atomic::AtomicUsize, atomic::Ordering::SeqCst};

/// How a shadow goes about it.
enum Way {
    Answers([f32; 3]),
    Panics,
    /// Until the gate is open.
    Hangs(Arc<(Mutex<bool>, Condvar)>),
}

struct Model {
    way: Way,
    asked: Arc<AtomicUsize>,
}

impl Answers for Model {
    fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refusal> {
        self.asked.fetch_add(1, SeqCst);
        let rows = inputs[0].shape[0];
        match &self.way {
            Way::Answers(row) => Ok(vec![Tensor::new("y", [rows, 3], Values::F32(row.repeat(rows)))]),
            Way::Panics => panic!("a model that panics"),
            Way::Hangs(gate) => {
                let (open, opened) = &**gate;
                let mut open = open.lock().unwrap();
                while !*open {
                    open = opened.wait(open).unwrap();
                }
                Err(Refusal::Broken("late".to_owned()))
            }
        }
    }
}

fn engine(runners: usize) -> Engine {
    Engine::new(Limits { batch_rows: 8, queued_rows: 64, runners, target_wait: Duration::ZERO })
}

fn shadow(way: Way) -> (Arc<Shadow>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let identity = Identity { model: "m".to_owned(), number: 2, sha256: Sha256::of(b"m") };
    let port = |name: &str, width| Port { name: name.to_owned(), data_type: DataType::F32, shape: vec![None, Some(width)] };
    let model_hangs = matches!(way, Way::Hangs(_));
    let model = Model { way, asked: asked.clone() };
    let version = Loaded::new(identity, vec![port("x", 2)], vec![port("y", 3)], &engine(1), model);
    let patience = match model_hangs {
        true => Duration::from_millis(50),
        false => Duration::from_secs(60),
    };
    (Arc::new(Shadow { patience, ..Shadow::new(Arc::new(version), 64) }), asked)
}

fn request(rows: usize) -> ModelInferRequest {
    let contents = Some(InferTensorContents { fp32_contents: vec![1.0; rows * 2], ..Default::default() });
    let (name, datatype, shape) = ("x".to_owned(), "FP32".to_owned(), vec![rows as i64, 2]);
    let input = InferInputTensor { name, datatype, shape, contents, ..Default::default() };
    ModelInferRequest { model_name: "m".to_owned(), inputs: vec![input], ..Default::default() }
}

/// What the champion answered.
fn answer(rows: &[[f32; 3]]) -> ModelInferResponse {
    let contents = Some(InferTensorContents { fp32_contents: rows.concat(), ..Default::default() });
    let (name, datatype, shape) = ("y".to_owned(), "FP32".to_owned(), vec![rows.len() as i64, 3]);
    let output = InferOutputTensor { name, datatype, shape, contents, ..Default::default() };
    ModelInferResponse { outputs: vec![output], ..Default::default() }
}

async fn settled(shadow: &Arc<Shadow>) -> Tally {
    while shadow.waiting.available_permits() < WAITING {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shadow.tally()
}

#[tokio::test]
async fn answers_are_compared_row_by_row() {
    let (shadow, _) = shadow(Way::Answers([0.5, 0.3, 0.2]));
    let free = engine(1);
    shadow.see(&request(2), &free).unwrap().answered(&answer(&[[0.4, 0.3, 0.3], [0.2, 0.3, 0.5]]), free.clone());
    let tally = settled(&shadow).await;
    assert_eq!((tally.requests, tally.rows, tally.agreed, tally.failed, tally.shed), (1, 2, 1, 0, 0));
    assert!((tally.mean_distance - 0.2).abs() < 1e-6 && (tally.max_distance - 0.3).abs() < 1e-6, "{tally:?}");
    // The same answer as bytes.
    let mut raw = answer(&[[0.5, 0.3, 0.2]]);
    let contents = raw.outputs[0].contents.take().unwrap();
    raw.raw_output_contents =
        vec![contents.fp32_contents.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into()];
    shadow.see(&request(1), &free).unwrap().answered(&raw, free.clone());
    let tally = settled(&shadow).await;
    assert_eq!((tally.requests, tally.rows, tally.agreed), (2, 3, 2));
}

#[tokio::test]
async fn one_that_panics_is_counted_and_asked_again() {
    let (shadow, asked) = shadow(Way::Panics);
    let free = engine(1);
    for turn in 1..=3 {
        shadow.see(&request(1), &free).unwrap().answered(&answer(&[[1.0, 0.0, 0.0]]), free.clone());
        let tally = settled(&shadow).await;
        assert_eq!((tally.failed, tally.requests), (turn, 0), "{tally:?}");
        assert!(tally.last_failure.contains("the model failed"), "{tally:?}");
    }
    assert_eq!(asked.load(SeqCst), 3);
}

#[tokio::test]
async fn one_that_hangs_holds_its_own_places_only_and_everything_else_is_left_out() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (shadow, asked) = shadow(Way::Hangs(gate.clone()));
    let free = engine(1);
    let mut seen = 0_u64;
    for _ in 0..100 {
        if let Some(one) = shadow.see(&request(1), &free) {
            one.answered(&answer(&[[1.0, 0.0, 0.0]]), free.clone());
            seen += 1;
        }
    }
    assert_eq!((seen, shadow.tally().shed), (WAITING as u64, 100 - WAITING as u64));
    let tally = settled(&shadow).await;
    assert_eq!((tally.failed, asked.load(SeqCst)), (seen, 1), "one batch hangs, those behind it were never asked");
    assert!(tally.last_failure.contains("did not answer within"), "{tally:?}");
    assert!(free.has_room(), "the engine of those who want an answer never knew");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
}

#[tokio::test]
async fn it_is_left_out_while_somebody_waits_for_an_answer() {
    let (shadow, asked) = shadow(Way::Answers([1.0, 0.0, 0.0]));
    let none = engine(0);
    assert!(shadow.see(&request(1), &none).is_none());
    // There was room when it was asked, and none when it was answered.
    let free = engine(1);
    shadow.see(&request(1), &free).unwrap().answered(&answer(&[[1.0, 0.0, 0.0]]), none);
    let tally = settled(&shadow).await;
    assert_eq!((tally.shed, tally.requests, asked.load(SeqCst)), (2, 0, 0));
}

#[tokio::test]
async fn one_that_takes_or_gives_something_else_is_told_of() {
    let (shadow, _) = shadow(Way::Answers([1.0, 0.0, 0.0]));
    let free = engine(1);
    let mut other = request(1);
    other.inputs[0].name = "z".to_owned();
    shadow.see(&other, &free).unwrap().answered(&answer(&[[1.0, 0.0, 0.0]]), free.clone());
    assert!(settled(&shadow).await.last_failure.contains("does not take what the champion takes"));
    let mut named = answer(&[[1.0, 0.0, 0.0]]);
    named.outputs[0].name = "scores".to_owned();
    shadow.see(&request(1), &free).unwrap().answered(&named, free);
    let tally = settled(&shadow).await;
    assert!(tally.last_failure.contains("gives no output `scores`") && tally.failed == 2, "{tally:?}");
}
