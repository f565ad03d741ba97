//! What callers get wrong, and what they are told. The forms of tensors are tried one by one beside the code that reads them; here is
//! what a caller sees.

use crate::{
    onnx::plus,
    world::{Life, MODEL, World, ask, row, rows},
};
use loadline_proto::{
    inference::{InferTensorContents, ModelInferRequest, ModelMetadataRequest, ModelStatisticsRequest, RepositoryIndexRequest},
    serving::{PromoteRequest, RegisterHeader, RegisterRequest, RollbackRequest, register_request::Part},
};
use loadline_runtime::errors;
use std::time::Duration;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

async fn life(world: &World) -> Life {
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    life
}

fn floats(values: &[f32]) -> InferTensorContents {
    InferTensorContents { fp32_contents: values.to_vec(), ..InferTensorContents::default() }
}

async fn refused(life: &Life, request: ModelInferRequest) -> Status {
    life.inference().model_infer(request).await.expect_err("refused")
}

#[tokio::test]
async fn each_mistake_has_its_code_its_field_and_what_is_taken() {
    let mut world = World::new();
    world.settings.serving.request_rows = 4;
    let life = life(&world).await;
    let named = |model: &str, version: &str| ModelInferRequest {
        model_name: model.to_owned(),
        model_version: version.to_owned(),
        ..row([1.0, 2.0])
    };
    let five = rows("FP32", &[5, 2], floats(&[0.0; 10]));
    let mixed = ModelInferRequest { raw_input_contents: vec![vec![0; 8].into()], ..row([1.0, 2.0]) };
    let other_name = {
        let mut request = row([1.0, 2.0]);
        request.inputs[0].name = "features".to_owned();
        request
    };
    let table = [
        (named("beer", ""), Code::NotFound, "", "RepositoryIndex lists"),
        (named("", ""), Code::NotFound, "", "not served"),
        (named(&"beer".repeat(5_000), ""), Code::NotFound, "", "beerbeer"),
        (named(MODEL, "7"), Code::NotFound, "", "ask for 1 or champion"),
        (named(MODEL, "challenger"), Code::NotFound, "", "no version `challenger`"),
        (other_name, Code::InvalidArgument, "inputs[0].name", "takes `x`"),
        (rows("FP64", &[1, 2], floats(&[0.0; 2])), Code::InvalidArgument, "inputs[0].datatype", "FP32 [rows, 2]"),
        (rows("FP32", &[1, 3], floats(&[0.0; 3])), Code::InvalidArgument, "inputs[0].shape", "[rows, 2]"),
        (rows("FP32", &[0, 2], floats(&[])), Code::InvalidArgument, "inputs[0].shape", "holds nothing"),
        (rows("FP32", &[1, 2], floats(&[0.0; 3])), Code::InvalidArgument, "inputs[0].contents", "the shape has 2"),
        (five, Code::InvalidArgument, "inputs[0].shape", "one request may have 4"),
        (mixed, Code::InvalidArgument, "inputs[0].contents", "both"),
        (ModelInferRequest { inputs: vec![], ..row([0.0; 2]) }, Code::InvalidArgument, "inputs", "lack `x`"),
        (row([f32::NAN, 1.0]), Code::InvalidArgument, "inputs[0]", "value 0 of row 0 is NaN"),
    ];
    for (request, code, field, part) in table {
        let status = refused(&life, request).await;
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(part), "{status} lacks {part}");
        assert!(errors::reason(&status).is_some(), "{status}");
        let violation = status.get_details_bad_request().map(|request| request.field_violations[0].field.clone());
        assert_eq!(violation.unwrap_or_default(), field);
    }
    assert_eq!(life.ask([1.0, 2.0]).await.unwrap().y, [4.0; 3], "nothing of it harmed anybody");
    life.end().await;
}

/// Infinity is a number like any other; a batch with a gap in one request answers the others.
#[tokio::test]
async fn what_is_no_number_in_one_request_is_not_the_fault_of_others() {
    let world = World::new();
    let life = life(&world).await;
    let mut clients: Vec<_> = (0..8).map(|_| life.inference()).collect();
    let asking = clients.iter_mut().enumerate().map(|(index, client)| {
        let x = if index == 3 { f32::NAN } else { index as f32 };
        async move { (index, ask(client, [x, 0.0]).await) }
    });
    for (index, answer) in futures::future::join_all(asking).await {
        match (index, answer) {
            (3, answer) => assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument),
            (index, answer) => assert_eq!(answer.unwrap().y, [index as f32 + 1.0; 3]),
        }
    }
    assert_eq!(life.ask([f32::INFINITY, 0.0]).await.unwrap().y, [f32::INFINITY; 3]);
    life.end().await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_said_so() {
    let world = World::new();
    let life = life(&world).await;
    let mut request = Request::new(row([0.0, 0.0]));
    request.metadata_mut().insert("grpc-timeout", "1n".parse().unwrap());
    let status = life.inference().model_infer(request).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status}");
    life.end().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_served_is_never_registered() {
    let mut world = World::new();
    world.settings.serving.file_bytes = loadline_runtime::config::ByteSize::kib(64);
    let life = world.start().await;
    let cut = { plus(1.0)[..40].to_vec() };
    for (file, part) in
        [(b"GIF89a".to_vec(), "cannot be served"), (vec![], ""), (cut, "cannot be served"), (vec![0; 70_000], "larger")]
    {
        let status = life.try_register(MODEL, file).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(part), "{status}");
    }
    for name in ["", "..", "a/b", "a\0b", &"x".repeat(1_000)] {
        let status = life.try_register(name, plus(1.0)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}: {status}");
        assert!(status.message().starts_with("header.model: "), "{status}");
    }
    let header = || Part::Header(RegisterHeader { model: MODEL.to_owned(), ..RegisterHeader::default() });
    let chunk = || Part::Chunk(plus(1.0).into());
    for parts in [vec![], vec![chunk()], vec![header(), header()], vec![header(), chunk(), header()]] {
        let parts: Vec<_> = parts.into_iter().map(|part| RegisterRequest { part: Some(part) }).collect();
        let status = life.models().register(tokio_stream::iter(parts)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let index = life.inference().repository_index(RepositoryIndexRequest::default()).await.unwrap().into_inner();
    assert_eq!(index.models, []);
    life.end().await;
}

#[tokio::test]
async fn a_promotion_needs_a_version_that_is_there_and_a_reason() {
    let world = World::new();
    let life = life(&world).await;
    let promote = async |model: &str, version, expected_version, reason: &str| {
        let (model, reason) = (model.to_owned(), reason.to_owned());
        let request = PromoteRequest { model, version, expected_version, reason, ..PromoteRequest::default() };
        life.models().promote(request).await.unwrap_err()
    };
    let long = "x".repeat(1_001);
    for (status, code, part) in [
        (promote(MODEL, 2, 1, "why").await, Code::NotFound, "version 2"),
        (promote("beer", 1, 0, "why").await, Code::NotFound, "beer"),
        (promote(MODEL, 0, 1, "why").await, Code::InvalidArgument, "version"),
        (promote(MODEL, 1, 1, "why").await, Code::FailedPrecondition, "already"),
        (promote(MODEL, 1, 0, "why").await, Code::Aborted, "look again"),
        (promote(MODEL, 1, 1, " ").await, Code::InvalidArgument, "reason"),
        (promote(MODEL, 1, 1, &long).await, Code::InvalidArgument, "reason"),
        (promote("a/b", 1, 0, "why").await, Code::InvalidArgument, "model: "),
    ] {
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(part), "{status}");
    }
    let rollback =
        RollbackRequest { model: MODEL.to_owned(), expected_version: 1, reason: "why".to_owned(), ..Default::default() };
    assert_eq!(life.models().rollback(rollback).await.unwrap_err().code(), Code::FailedPrecondition);
    life.end().await;
}

#[tokio::test]
async fn questions_about_what_is_not_there_say_so() {
    let world = World::new();
    let life = life(&world).await;
    let metadata = ModelMetadataRequest { name: "beer".to_owned(), ..ModelMetadataRequest::default() };
    assert_eq!(life.inference().model_metadata(metadata).await.unwrap_err().code(), Code::NotFound);
    for (name, version) in [("beer", ""), (MODEL, "9")] {
        let request = ModelStatisticsRequest { name: name.to_owned(), version: version.to_owned() };
        assert_eq!(life.inference().model_statistics(request).await.unwrap_err().code(), Code::NotFound);
    }
    let other = RepositoryIndexRequest { repository_name: "other".to_owned(), ready: false };
    assert_eq!(life.inference().repository_index(other).await.unwrap_err().code(), Code::InvalidArgument);
    tokio::time::timeout(Duration::from_secs(20), life.end()).await.expect("it ends");
}
