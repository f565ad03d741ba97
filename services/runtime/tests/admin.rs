//! The admin port, over real sockets.

use std::time::Duration;

use loadline_runtime::Shutdown;
use loadline_runtime::admin::{self, Readiness};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

struct Admin {
    addr: std::net::SocketAddr,
    readiness: Readiness,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

async fn start() -> Admin {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (readiness, shutdown) = (Readiness::new(&["log", "store"]), Shutdown::new());
    let metrics = || "loadline_test 1\n".to_owned();
    let serving = tokio::spawn(admin::serve(listener, readiness.clone(), metrics, shutdown.clone()));
    Admin { addr, readiness, shutdown, serving }
}

async fn get(addr: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(addr).await.expect("connected");
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.expect("written");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
}

#[tokio::test]
async fn ready_is_said_when_every_component_is_and_otherwise_why_not() {
    let admin = start().await;
    assert_eq!(get(admin.addr, "/readyz").await, (503, "not ready\nlog: starting\nstore: starting\n".to_owned()));
    admin.readiness.set("log", true, "");
    admin.readiness.set("store", false, "migrations are running");
    assert_eq!(get(admin.addr, "/readyz").await, (503, "not ready\nstore: migrations are running\n".to_owned()));
    admin.readiness.set("store", true, "");
    assert_eq!(get(admin.addr, "/readyz").await, (200, "ready\n".to_owned()));
    admin.readiness.set("store", false, "connection refused");
    assert_eq!(get(admin.addr, "/readyz").await.0, 503);
}

#[tokio::test]
async fn metrics_and_liveness_answer_whatever_is_ready() {
    let admin = start().await;
    assert_eq!(get(admin.addr, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(admin.addr, "/metrics").await, (200, "loadline_test 1\n".to_owned()));
    let (status, hint) = get(admin.addr, "/").await;
    assert_eq!(status, 404);
    assert!(hint.contains("/readyz"), "{hint}");
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_up_the_end() {
    let admin = start().await;
    let mut silent = TcpStream::connect(admin.addr).await.expect("connected");
    silent.write_all(b"GET /readyz HT").await.expect("written");
    get(admin.addr, "/livez").await;
    admin.shutdown.begin();
    tokio::time::timeout(Duration::from_secs(20), admin.serving).await.expect("it ends").expect("no panic");
}
