//! What answers while something is down.

use crate::{
    onnx::plus,
    world::{MODEL, World, until},
};
use loadline_proto::{
    inference::{ModelMetadataRequest, ServerReadyRequest},
    serving::ListModelsRequest,
};
use loadline_runtime::config::SecretUrl;
use std::fs;
use tonic::Code;

/// A registry whose folder is none.
fn nobody(world: &World) -> SecretUrl {
    let file = world.registry().with_extension("none");
    fs::write(&file, "no folder").unwrap();
    SecretUrl::new(format!("file:{}", file.display()))
}

#[tokio::test]
async fn a_start_without_the_registry_answers_with_what_answered_last_and_says_how_old_that_is() {
    let mut world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.register(plus(2.0)).await;
    life.promote(1, 0).await.unwrap();
    life.promote(2, 1).await.unwrap();
    life.end().await;
    let none = nobody(&world);
    let there = std::mem::replace(&mut world.settings.serving.registry, none);
    let life = world.start().await;
    let answer = life.ask([1.0, 1.0]).await.unwrap();
    assert_eq!((answer.version, &answer.y[..]), (2, &[4.0; 3][..]));
    assert!(answer.registry_age.is_some_and(|age| age < 600), "{answer:?}");
    let request = ModelMetadataRequest { name: MODEL.to_owned(), ..ModelMetadataRequest::default() };
    let properties = life.inference().model_metadata(request.clone()).await.unwrap().into_inner().properties;
    assert!(properties["state"].starts_with("READY_STALE("), "{properties:?}");
    assert_eq!((properties["version"].as_str(), &properties["sha256"]), ("2", &answer.sha256));
    let refused = life.promote(1, 2).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let listed = life.models().list(ListModelsRequest {}).await.unwrap().into_inner();
    assert!(!listed.registry_problem.is_empty());
    life.end().await;
    world.settings.serving.registry = there;
    let life = world.start().await;
    until("it is fresh again", async || life.ask([1.0, 1.0]).await.unwrap().registry_age.is_none()).await;
    let properties = life.inference().model_metadata(request).await.unwrap().into_inner().properties;
    assert_eq!(properties["state"], "READY");
    life.end().await;
}

#[tokio::test]
async fn a_registry_whose_folder_is_not_mounted_at_the_start_is_missed_and_not_made_anew() {
    let world = World::new();
    let life = world.with(&[plus(1.0)]).await;
    life.end().await;
    let away = world.registry().with_extension("away");
    fs::rename(world.registry(), &away).unwrap();
    let life = world.start().await;
    let problem = async || life.models().list(ListModelsRequest {}).await.unwrap().into_inner().registry_problem;
    until("it is missed", async || problem().await.contains("is it mounted?")).await;
    assert!(life.ask([1.0, 1.0]).await.unwrap().registry_age.is_some(), "what answered last still does, and says so");
    assert!(!world.registry().exists());
    fs::rename(&away, world.registry()).unwrap();
    until("it is found", async || problem().await.is_empty()).await;
    until("it is fresh again", async || life.ask([1.0, 1.0]).await.unwrap().registry_age.is_none()).await;
    life.register(plus(2.0)).await;
    life.end().await;
}

#[tokio::test]
async fn without_registry_and_without_a_last_good_it_is_not_ready_and_says_why() {
    let mut world = World::new();
    world.settings.serving.registry = nobody(&world);
    let life = world.begin().await;
    until("the registry was asked", async || life.readiness.reasons().iter().any(|why| why.contains("registry"))).await;
    let ready = life.inference().server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready;
    assert!(!ready);
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap_err().code(), Code::NotFound);
    life.end().await;
}

#[tokio::test]
async fn a_registry_that_is_lost_while_it_runs_takes_nothing_out_of_memory() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    let away = world.registry().with_extension("away");
    fs::rename(world.registry(), &away).unwrap();
    fs::write(world.registry(), "no folder").unwrap();
    until("the answers say how old they are", async || life.ask([0.0, 0.0]).await.unwrap().registry_age.is_some()).await;
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap().version, 1);
    fs::remove_file(world.registry()).unwrap();
    fs::rename(&away, world.registry()).unwrap();
    until("they are fresh again", async || life.ask([0.0, 0.0]).await.unwrap().registry_age.is_none()).await;
    life.end().await;
}

#[tokio::test]
async fn a_registry_that_has_forgotten_everything_takes_nothing_out_of_memory() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    fs::remove_dir_all(world.registry()).unwrap();
    fs::create_dir(world.registry()).unwrap();
    until("the registry knows of nothing, or says that it is not what it was", async || {
        let listed = life.models().list(ListModelsRequest {}).await.unwrap().into_inner();
        listed.models.is_empty() || !listed.registry_problem.is_empty()
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap().version, 1);
    life.end().await;
}

/// The file of a version is changed in the registry's folder: it has another sha256 than was registered.
#[tokio::test]
async fn a_file_that_is_not_what_was_registered_is_never_served_and_the_champion_stays() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    life.register(plus(2.0)).await;
    let changed = replaced(&world.registry(), &plus(2.0));
    assert_eq!(changed, 1, "the file of version 2 was found and changed");
    let refused = life.promote(2, 1).await.unwrap_err();
    assert!([Code::DataLoss, Code::FailedPrecondition].contains(&refused.code()), "{refused}");
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap().version, 1);
    let listed = life.models().list(ListModelsRequest {}).await.unwrap().into_inner();
    assert!(!listed.models[0].versions[0].problem.is_empty(), "{:?}", listed.models[0].versions[0]);
    assert_eq!(listed.models[0].aliases[0].version, 1);
    life.end().await;
}

/// Flips a bit in the last byte of every file that is as long as `of` became when it was registered, the newest only.
fn replaced(folder: &std::path::Path, of: &[u8]) -> usize {
    let registered = loadline_models::onnx::check(of).unwrap().bytes;
    let mut changed = 0;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            changed += replaced(&path, of);
        } else if fs::read(&path).unwrap() == registered {
            let mut bytes = registered.clone();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            changed += 1;
        }
    }
    changed
}

#[tokio::test]
async fn a_damaged_artifact_on_disk_comes_from_the_registry_again() {
    let world = World::new();
    let life = world.start().await;
    life.register(plus(1.0)).await;
    life.promote(1, 0).await.unwrap();
    let sha256 = life.ask([0.0, 0.0]).await.unwrap().sha256;
    life.end().await;
    let artifact = world.settings.serving.artifacts.join("sha256").join(&sha256[..2]).join(&sha256);
    fs::write(&artifact, "damaged").unwrap();
    let life = world.start().await;
    until("it answers", async || life.ask([0.0, 0.0]).await.is_ok()).await;
    assert_eq!(life.ask([0.0, 0.0]).await.unwrap().sha256, sha256);
    assert_ne!(fs::read(&artifact).unwrap(), b"damaged", "and it is whole on disk again");
    life.end().await;
}
