//! The rest of the protocol, as its clients use it.

use crate::{
    onnx::plus,
    world::{MODEL, World, row, until},
};
use loadline_proto::inference::{
    ModelInferRequest, ModelMetadataRequest, ModelStatisticsRequest, ServerLiveRequest, ServerMetadataRequest,
    ServerReadyRequest, model_infer_request::InferRequestedOutputTensor,
};

#[tokio::test]
async fn a_client_finds_out_what_there_is_and_asks_with_bytes() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(0.5)).await;
    life.promote(1, 0).await.unwrap();
    let mut client = life.inference();
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (server.name.as_str(), server.extensions),
        ("loadline", vec!["model_repository".to_owned(), "statistics".to_owned()])
    );
    let request = ModelMetadataRequest { name: MODEL.to_owned(), ..ModelMetadataRequest::default() };
    let metadata = client.model_metadata(request).await.unwrap().into_inner();
    assert_eq!((metadata.platform.as_str(), metadata.versions), ("onnx_onnxv1", vec!["1".to_owned()]));
    let port = |port: &loadline_proto::inference::model_metadata_response::TensorMetadata| {
        (port.name.clone(), port.datatype.clone(), port.shape.clone())
    };
    assert_eq!(port(&metadata.inputs[0]), ("x".to_owned(), "FP32".to_owned(), vec![-1, 2]));
    assert_eq!(port(&metadata.outputs[0]), ("y".to_owned(), "FP32".to_owned(), vec![-1, 3]));
    assert_eq!((metadata.properties["aliases"].as_str(), metadata.properties["state"].as_str()), ("champion", "READY"));

    let mut request = ModelInferRequest { id: "q-1".to_owned(), ..row([0.0, 0.0]) };
    request.inputs[0].contents = None;
    request.inputs[0].shape = vec![2, 2];
    request.raw_input_contents = vec![[1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>().into()];
    request.outputs = vec![InferRequestedOutputTensor { name: "y".to_owned(), ..Default::default() }];
    let answer = client.model_infer(request).await.unwrap().into_inner();
    assert_eq!((answer.id.as_str(), answer.model_name.as_str(), answer.model_version.as_str()), ("q-1", MODEL, "1"));
    assert_eq!((&answer.outputs[0].shape[..], &answer.outputs[0].contents), (&[2, 3][..], &None));
    let expected: Vec<u8> = [3.5_f32, 3.5, 3.5, 7.5, 7.5, 7.5].iter().flat_map(|y| y.to_le_bytes()).collect();
    assert_eq!(answer.raw_output_contents, [expected]);
    life.end().await;
}

#[tokio::test]
async fn what_was_asked_is_counted_by_version() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    for _ in 0..5 {
        life.ask([1.0, 1.0]).await.unwrap();
    }
    let mut wrong = row([0.0, 0.0]);
    wrong.inputs[0].name = "z".to_owned();
    life.inference().model_infer(wrong).await.unwrap_err();
    // An answer is given before it is counted.
    let asked = async || life.inference().model_statistics(ModelStatisticsRequest::default()).await.unwrap().into_inner();
    until("all are counted", async || asked().await.model_stats[0].inference_count == 5).await;
    let statistics = asked().await;
    let [told] = &statistics.model_stats[..] else { panic!("one version is in memory: {statistics:?}") };
    assert_eq!((told.name.as_str(), told.version.as_str()), (MODEL, "1"));
    assert_eq!((told.inference_count, told.execution_count), (5, 5));
    let sums = told.inference_stats.as_ref().unwrap();
    let counts = [&sums.success, &sums.fail, &sums.queue, &sums.compute_infer].map(|sum| sum.as_ref().unwrap().count);
    assert_eq!(counts, [5, 1, 5, 5]);
    assert!(told.last_inference > 1_700_000_000_000, "milliseconds since 1970");
    life.end().await;
}
