//! More than the service takes.

use crate::{
    onnx::slow,
    world::{Life, MODEL, World, rows},
};
use loadline_proto::inference::{InferTensorContents, ModelInferRequest, ModelStatisticsRequest};
use loadline_runtime::errors;
use std::time::{Duration, Instant};
use tonic::{Code, Request};

const WIDTH: usize = 256;

/// A model that takes some milliseconds a row, of which few may wait.
async fn busy(world: &mut World) -> Life {
    world.settings.serving.queued_rows = 8;
    world.settings.serving.threads = 1;
    let life = world.start().await;
    life.register(slow(WIDTH, 100)).await;
    life.promote(1, 0).await.unwrap();
    life
}

fn question() -> ModelInferRequest {
    let contents = InferTensorContents { fp32_contents: vec![1.0; WIDTH], ..InferTensorContents::default() };
    rows("FP32", &[1, WIDTH as i64], contents)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_shed_with_when_to_come_back_and_the_rest_is_answered() {
    let mut world = World::new();
    let life = busy(&mut world).await;
    let asking = (0..96).map(|_| {
        let mut client = life.inference();
        tokio::spawn(async move { client.model_infer(question()).await.map(|answer| answer.into_inner()) })
    });
    let (mut answered, mut shed) = (0, 0);
    for outcome in futures::future::join_all(asking).await {
        match outcome.unwrap() {
            Ok(answer) => {
                assert_eq!(answer.outputs[0].shape, [1, WIDTH as i64]);
                answered += 1;
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                let again = errors::retry_after(&status).expect("it says when to come back");
                assert!(again >= Duration::from_millis(10) && again <= Duration::from_secs(1), "{again:?}");
                shed += 1;
            }
        }
    }
    assert!(answered >= 8 && shed > 0, "{answered} answered, {shed} shed");
    let statistics = life.inference().model_statistics(ModelStatisticsRequest::default()).await.unwrap().into_inner();
    let sums = statistics.model_stats[0].inference_stats.unwrap();
    assert_eq!((sums.success.unwrap().count, sums.fail.unwrap().count), (answered, shed), "each is counted");
    life.end().await;
}

/// Callers that leave: what they asked is not worked on, and their places are free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_or_is_late_costs_the_model_nothing() {
    let mut world = World::new();
    let life = busy(&mut world).await;
    let mut first = life.inference();
    first.model_infer(question()).await.unwrap();
    let (mut impatient, began) = (Vec::new(), Instant::now());
    for _ in 0..40 {
        let mut client = life.inference();
        let mut request = Request::new(question());
        request.set_timeout(Duration::from_millis(1));
        impatient.push(tokio::spawn(async move { client.model_infer(request).await }));
    }
    for outcome in futures::future::join_all(impatient).await {
        if let Err(status) = outcome.unwrap() {
            let codes = [Code::DeadlineExceeded, Code::Cancelled, Code::ResourceExhausted];
            assert!(codes.contains(&status.code()), "{status} after {:?}", began.elapsed());
        }
    }
    first.model_infer(question()).await.expect("there is a place again");
    let request = ModelStatisticsRequest { name: MODEL.to_owned(), version: "1".to_owned() };
    let told = life.inference().model_statistics(request).await.unwrap().into_inner().model_stats.remove(0);
    assert!(told.inference_count < 42, "{} rows were worked on", told.inference_count);
    life.end().await;
}
