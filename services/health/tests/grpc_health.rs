//! `grpc.health.v1` over a real socket, point by point of its specification.

#![allow(clippy::unwrap_used)] // a test may panic, its helpers too

mod server;

use loadline_health::{
    HealthReporter,
    ServingStatus::{NotServing, Serving},
    grpc_health::health,
};
use loadline_proto::grpc_health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, health_check_response::ServingStatus as Wire,
    health_client::HealthClient,
};
use server::Server;
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming, transport::Channel};

const EVENTS: &str = "loadline.ingest.v1.EventService";
/// Only so that a stream that says nothing fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    reporter: HealthReporter,
    client: HealthClient<Channel>,
    _server: Server,
}

async fn scene() -> Scene {
    let (reporter, service) = health(&[EVENTS]);
    let server = Server::start(|routes| routes.add_service(service)).await;
    let client = HealthClient::new(server.endpoint().connect().await.unwrap());
    Scene { reporter, client, _server: server }
}

impl Scene {
    async fn check(&mut self, service: &str) -> Result<Wire, Status> {
        let response = self.client.check(HealthCheckRequest { service: service.to_owned() }).await?;
        Ok(response.into_inner().status())
    }

    async fn watch(&mut self, service: &str) -> Streaming<HealthCheckResponse> {
        self.client.watch(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner()
    }
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<Wire> {
    let message = timeout(PATIENCE, watch.message()).await.expect("an update");
    message.unwrap().map(|response| response.status())
}

#[tokio::test]
async fn everything_known_is_not_serving_until_it_is_set() {
    let mut scene = scene().await;
    assert_eq!(scene.check("").await.unwrap(), Wire::NotServing);
    assert_eq!(scene.check(EVENTS).await.unwrap(), Wire::NotServing);
    scene.reporter.set(EVENTS, Serving);
    assert_eq!(scene.check(EVENTS).await.unwrap(), Wire::Serving);
    assert_eq!(scene.check("").await.unwrap(), Wire::NotServing, "one service does not speak for the server");
    scene.reporter.set_overall(Serving);
    assert_eq!(scene.check("").await.unwrap(), Wire::Serving);
}

#[tokio::test]
async fn checking_an_unknown_service_is_not_found() {
    let mut scene = scene().await;
    let status = scene.check("loadline.v9.Nothing").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("loadline.v9.Nothing"));
}

#[tokio::test]
async fn list_has_every_service_and_the_server() {
    let mut scene = scene().await;
    scene.reporter.set(EVENTS, Serving);
    let statuses = scene.client.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
    let mut statuses: Vec<_> = statuses.iter().map(|(name, response)| (name.as_str(), response.status())).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [("", Wire::NotServing), (EVENTS, Wire::Serving)]);
}

#[tokio::test]
async fn a_watch_begins_with_the_status_of_now_and_not_with_the_past() {
    let mut scene = scene().await;
    scene.reporter.set(EVENTS, Serving);
    scene.reporter.set(EVENTS, NotServing);
    scene.reporter.set(EVENTS, Serving);
    let mut watch = scene.watch(EVENTS).await;
    assert_eq!(next(&mut watch).await, Some(Wire::Serving));
    scene.reporter.set(EVENTS, NotServing);
    assert_eq!(next(&mut watch).await, Some(Wire::NotServing));
}

#[tokio::test]
async fn watching_an_unknown_service_stays_open_and_tells_when_it_becomes_known() {
    let mut scene = scene().await;
    let mut watch = scene.watch("loadline.later.v1.Late").await;
    assert_eq!(next(&mut watch).await, Some(Wire::ServiceUnknown));
    scene.reporter.set(EVENTS, Serving);
    scene.reporter.set("loadline.later.v1.Late", Serving);
    assert_eq!(next(&mut watch).await, Some(Wire::Serving), "neither repeated nor disturbed by another service");
    assert_eq!(scene.check("loadline.later.v1.Late").await.unwrap(), Wire::Serving);
}

#[tokio::test]
async fn watching_an_unknown_service_does_not_make_it_known() {
    let mut scene = scene().await;
    assert_eq!(next(&mut scene.watch("made.up").await).await, Some(Wire::ServiceUnknown));
    assert_eq!(scene.check("made.up").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(scene.client.list(HealthListRequest {}).await.unwrap().into_inner().statuses.len(), 2);
}

#[tokio::test]
async fn a_watch_hears_of_changes_only() {
    let mut scene = scene().await;
    let mut watch = scene.watch(EVENTS).await;
    assert_eq!(next(&mut watch).await, Some(Wire::NotServing));
    for status in [NotServing, NotServing, Serving, Serving, NotServing] {
        scene.reporter.set(EVENTS, status);
    }
    assert_eq!(next(&mut watch).await, Some(Wire::Serving));
    assert_eq!(next(&mut watch).await, Some(Wire::NotServing));
}

#[tokio::test]
async fn a_flap_is_seen_and_the_final_state_comes_last() {
    let mut scene = scene().await;
    scene.reporter.set(EVENTS, Serving);
    let mut watch = scene.watch(EVENTS).await;
    assert_eq!(next(&mut watch).await, Some(Wire::Serving));
    // Both before the watcher can run: a channel that keeps the newest value would show neither.
    scene.reporter.set(EVENTS, NotServing);
    scene.reporter.set(EVENTS, Serving);
    assert_eq!(next(&mut watch).await, Some(Wire::NotServing));
    assert_eq!(next(&mut watch).await, Some(Wire::Serving));
}

#[tokio::test]
async fn shutdown_is_told_and_ends_watches_and_nothing_serves_again() {
    let mut scene = scene().await;
    scene.reporter.set(EVENTS, Serving);
    scene.reporter.set_overall(Serving);
    let mut watch = scene.watch(EVENTS).await;
    let mut unknown = scene.watch("made.up").await;
    assert_eq!(next(&mut watch).await, Some(Wire::Serving));
    assert_eq!(next(&mut unknown).await, Some(Wire::ServiceUnknown));
    scene.reporter.shut_down();
    scene.reporter.set(EVENTS, Serving);
    scene.reporter.set_overall(Serving);
    assert_eq!(next(&mut watch).await, Some(Wire::NotServing));
    assert_eq!(next(&mut watch).await, None);
    assert_eq!(next(&mut unknown).await, None);
    assert_eq!(scene.check("").await.unwrap(), Wire::NotServing);
    assert_eq!(scene.check(EVENTS).await.unwrap(), Wire::NotServing);
}
