//! The end of a server, over real sockets.

mod support;

use std::sync::atomic::Ordering;

use loadline_runtime::grpc::Settings;
use loadline_runtime::lifecycle::Drained;
use support::{eventually, millis, next, start};
use tokio::net::TcpStream;
use tonic::Request;

fn nothing() -> Request<String> {
    Request::new(String::new())
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_a_new_connection_refused() {
    let server = start(Settings::default()).await;
    let client = server.client().await;
    let held = tokio::spawn(async move { client.call("/test.Echo/Hold", nothing()).await });
    eventually("the request is in flight", || server.probe.held.load(Ordering::SeqCst) == 1).await;

    server.shutdown.begin();
    let addr = server.addr;
    let refused = async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::time::sleep(millis(5).0).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, refused).await.expect("the port is closed");
    server.probe.release.notify_waiters();
    assert_eq!(held.await.expect("no panic").expect("an answer"), "held");
    assert_eq!(server.ended().await, Drained::Clean);
}

#[tokio::test]
async fn an_open_stream_and_a_silent_socket_do_not_outlive_the_grace() {
    let server = start(Settings { grace: millis(300), ..Settings::default() }).await;
    let mut stream = server.client().await.stream("/test.Echo/Watch", nothing()).await.expect("a stream");
    next(&mut stream).await.expect("a message");
    let _silent = TcpStream::connect(server.addr).await.expect("connected");
    let probe = server.probe.clone();

    server.shutdown.begin();
    let drained = server.ended().await;
    assert!(matches!(drained, Drained::Cut(tasks) if tasks > 0), "{drained:?}");
    assert_eq!(probe.streams.load(Ordering::SeqCst), 0, "the stream's work is dropped, not abandoned");
    next(&mut stream).await.expect_err("the client learns of it");
}

#[tokio::test]
async fn silent_and_idle_connections_alone_need_no_grace() {
    let server = start(Settings { grace: millis(3_600_000), handshake_timeout: millis(3_600_000), ..Settings::default() }).await;
    let idle = server.client().await;
    idle.say("x").await.expect("an answer");
    let _silent = TcpStream::connect(server.addr).await.expect("connected");
    server.shutdown.begin();
    assert_eq!(server.ended().await, Drained::Clean);
}

#[tokio::test]
async fn a_request_in_flight_that_never_ends_is_cut() {
    let server = start(Settings { grace: millis(200), ..Settings::default() }).await;
    let client = server.client().await;
    let held = tokio::spawn(async move { client.call("/test.Echo/Hold", nothing()).await });
    eventually("the request is in flight", || server.probe.held.load(Ordering::SeqCst) == 1).await;
    server.shutdown.begin();
    assert!(matches!(server.ended().await, Drained::Cut(_)));
    held.await.expect("no panic").expect_err("cut");
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_nothing_running() {
    let server = start(Settings::default()).await;
    let mut stream = server.client().await.stream("/test.Echo/Watch", nothing()).await.expect("a stream");
    next(&mut stream).await.expect("a message");
    let probe = server.probe.clone();
    drop(server);
    next(&mut stream).await.expect_err("cut");
    eventually("the stream's work is dropped", || probe.streams.load(Ordering::SeqCst) == 0).await;
}
