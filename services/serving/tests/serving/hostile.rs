//! Files that would end the process that loads them, registered here or put into the registry by somebody else.

use crate::{
    onnx::{bomb, plus},
    world::{Life, MODEL, World, put, until},
};
use loadline_models::onnx;
use tonic::Code;

async fn answers_by(life: &Life, version: u64) {
    assert_eq!(life.ask([1.0, 1.0]).await.unwrap().version, version);
}

#[tokio::test]
async fn a_file_of_absurd_size_is_refused_when_it_is_registered_and_when_somebody_else_put_it_there() {
    let world = World::new();
    let life = world.with(&[plus(1.0)]).await;
    let refused = life.try_register(MODEL, bomb()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let version = put(&world, bomb()).await;
    let refused = life.promote(version, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    answers_by(&life, 1).await;
    life.end().await;
}

#[tokio::test]
async fn a_file_that_ends_the_process_which_looks_at_it_is_refused_and_the_champion_answers_on() {
    let mut world = World::new();
    world.with(&[plus(1.0)]).await.end().await;
    // Whatever the file is, the process that looks at it dies of it.
    world.settings.serving.check_with = "/bin/false".into();
    let life = world.start().await;
    until("the champion is back from disk", async || life.ask([1.0, 1.0]).await.is_ok()).await;
    let refused = life.try_register(MODEL, plus(2.0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("the process that checked it"), "{refused}");
    let version = put(&world, onnx::check(&plus(2.0)).unwrap().bytes).await;
    let refused = life.promote(version, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("the process that checked it"), "{refused}");
    answers_by(&life, 1).await;
    life.end().await;
}

#[tokio::test]
async fn a_file_that_somebody_put_into_the_registry_in_our_form_is_served() {
    let world = World::new();
    let life = world.with(&[plus(1.0)]).await;
    let version = put(&world, onnx::check(&plus(2.0)).unwrap().bytes).await;
    life.promote(version, 1).await.unwrap();
    answers_by(&life, version).await;
    life.end().await;
}

#[tokio::test]
async fn a_good_file_in_another_form_than_ours_is_refused_with_what_to_do() {
    let world = World::new();
    let life = world.with(&[plus(1.0)]).await;
    let raw = plus(3.0);
    assert_ne!(raw, onnx::check(&raw).unwrap().bytes, "registering changes its form");
    let version = put(&world, raw).await;
    let refused = life.promote(version, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("register it through this service"), "{refused}");
    answers_by(&life, 1).await;
    life.end().await;
}

#[tokio::test]
async fn a_program_that_cannot_be_started_refuses_files_for_now_and_says_so() {
    let mut world = World::new();
    world.settings.serving.check_with = "/nowhere/loadline-serving".into();
    let life = world.start().await;
    let refused = life.try_register(MODEL, plus(1.0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("cannot be started"), "{refused}");
    life.end().await;
}
