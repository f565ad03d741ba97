//! The limits of the gRPC stack, over real sockets.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loadline_runtime::config::ByteSize;
use loadline_runtime::errors;
use loadline_runtime::grpc::Settings;
use loadline_runtime::identity::{Identity, IdentityProvider, Peer};
use support::{Client, PATIENCE, eventually, millis, next, start, start_with, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request, Status};

fn nothing() -> Request<String> {
    Request::new(String::new())
}

#[tokio::test]
async fn a_deadline_ends_a_body_that_never_ends() {
    let server = start(Settings { max_deadline: millis(200), ..Settings::default() }).await;
    let mut stream = server.client().await.stream("/test.Echo/Endless", nothing()).await.expect("a stream");
    assert_eq!(next(&mut stream).await.expect("a message").as_deref(), Some("first"));
    let status = next(&mut stream).await.expect_err("the end of the time");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("grpc-timeout"), "{}", status.message());
    eventually("the stream's work is dropped", || server.probe.streams.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_deadline_ends_a_handler_that_never_answers() {
    let server = start(Settings { max_deadline: millis(200), ..Settings::default() }).await;
    let status = server.client().await.call("/test.Echo/Hold", nothing()).await.expect_err("too late");
    assert_eq!((status.code(), errors::reason(&status).as_deref()), (Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED")));
}

#[tokio::test]
async fn a_callers_timeout_counts_up_to_the_cap() {
    let server = start(Settings { max_deadline: millis(60_000), ..Settings::default() }).await;
    let client = server.client().await;
    let mut left = Vec::new();
    for request in [nothing(), within(Duration::from_secs(3_600)), within(Duration::from_secs(30))] {
        let answer = client.call("/test.Echo/TimeLeft", request).await.expect("an answer");
        left.push(answer.parse::<u64>().expect("milliseconds"));
    }
    assert!((30_001..=60_000).contains(&left[0]), "no timeout: the cap, not {}", left[0]);
    assert!((30_001..=60_000).contains(&left[1]), "an hour: the cap, not {}", left[1]);
    assert!((1..=30_000).contains(&left[2]), "half a minute: itself, not {}", left[2]);
}

#[tokio::test]
async fn a_broken_timeout_is_refused_with_what_is_allowed() {
    let server = start(Settings::default()).await;
    let mut request = nothing();
    request.metadata_mut().insert("grpc-timeout", "soon".parse().expect("a value"));
    let status = server.client().await.call("/test.Echo/Say", request).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("500m"), "{}", status.message());
}

#[tokio::test]
async fn a_long_lived_stream_outlives_the_cap_but_keeps_to_its_own_timeout() {
    let server = start(Settings { max_deadline: millis(100), ..Settings::default() }).await;
    let client = server.client().await;
    let mut watch = client.stream("/test.Echo/Watch", nothing()).await.expect("a stream");
    next(&mut watch).await.expect("a message");
    let outlived = tokio::time::timeout(Duration::from_millis(400), watch.message()).await;
    assert!(outlived.is_err(), "ended with {outlived:?}");

    // Asked for by hand, so that it is the server that ends the stream.
    let mut request = nothing();
    request.metadata_mut().insert("grpc-timeout", "300m".parse().expect("a value"));
    let mut bounded = client.stream("/test.Echo/Watch", request).await.expect("a stream");
    next(&mut bounded).await.expect("a message");
    assert_eq!(next(&mut bounded).await.expect_err("over").code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_no_slot_beyond_the_deadline() {
    let server = start(Settings { max_deadline: millis(300), max_in_flight: 1, ..Settings::default() }).await;
    let _unread = server.client().await.stream("/test.Echo/Flood", nothing()).await.expect("a stream");
    let other = server.client().await;
    assert_eq!(other.say("x").await.expect_err("the slot is taken").code(), Code::ResourceExhausted);
    eventually("the flood is dropped", || server.probe.streams.load(Ordering::SeqCst) == 0).await;
    other.say("x").await.expect("the slot is free");
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused_at_once_and_its_slot_freed_at_the_bodys_end() {
    let server = start(Settings { max_in_flight: 1, ..Settings::default() }).await;
    let client = server.client().await;
    let mut stream = client.stream("/test.Echo/Endless", nothing()).await.expect("a stream");
    next(&mut stream).await.expect("a message");

    // The head is long gone; the slot is not.
    let status = client.say("x").await.expect_err("no slot");
    assert_eq!((status.code(), errors::reason(&status).as_deref()), (Code::ResourceExhausted, Some("TOO_MANY_REQUESTS")));
    assert!(errors::retry_after(&status).is_some_and(|after| !after.is_zero()), "says when to try again");
    client.call("/grpc.health.v1.Health/Check", nothing()).await.expect("health answers under load");

    drop(stream);
    eventually("the stream is cancelled", || server.probe.streams.load(Ordering::SeqCst) == 0).await;
    client.say("x").await.expect("a slot");
}

#[tokio::test]
async fn past_saturation_what_waited_too_long_is_refused_until_nothing_waits() {
    // One thread of its own that takes a thousand calls a second at most, and four times as many come, on as many connections as a busy
    // server has.
    let (address, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = start(Settings { max_concurrent_streams: 1_000, target_wait: millis(5), ..Settings::default() }).await;
            address.send(server.addr).expect("somebody who asked");
            tokio::time::sleep(PATIENCE).await;
        });
    });
    let address = told.await.expect("an address");
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(Client::to(address).await);
    }
    let client = clients[0].clone();
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..4_000 {
        let client = clients[at % clients.len()].clone();
        calls.spawn(async move { client.call("/test.Echo/Toil", nothing()).await });
        if at % 4 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    client.call("/grpc.health.v1.Health/Check", nothing()).await.expect("health answers under load");
    let (mut refused, mut answered) = (0, 0);
    for outcome in calls.join_all().await {
        match outcome {
            Ok(_) => answered += 1,
            Err(status) => {
                let told = (status.code(), errors::reason(&status));
                assert_eq!(told, (Code::ResourceExhausted, Some("OVERLOADED".to_owned())), "{status}");
                assert!(errors::retry_after(&status).is_some_and(|after| !after.is_zero()), "says when to try again");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && answered > 0, "{refused} refused, {answered} answered");
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.say("x").await.expect("an answer, now that nothing waits");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_with_both_sizes() {
    let server = start(Settings { max_message_bytes: ByteSize::kib(64), ..Settings::default() }).await;
    let client = server.client().await;
    for size in [65 << 10, 10 << 20] {
        let status = client.say(&"x".repeat(size)).await.expect_err("refused");
        assert_eq!((status.code(), errors::reason(&status).as_deref()), (Code::ResourceExhausted, Some("MESSAGE_TOO_LARGE")));
        assert!(status.message().contains("64KiB"), "{}", status.message());
    }
    let text = "x".repeat(63 << 10);
    assert_eq!(client.say(&text).await.expect("within the limit"), format!("local: {} from true", text.len()));
}

#[tokio::test]
async fn headers_over_the_limit_harm_nobody_else() {
    let server = start(Settings { max_header_bytes: ByteSize::kib(2), ..Settings::default() }).await;
    let client = server.client().await;
    let mut request = nothing();
    request.metadata_mut().insert("x-long", "y".repeat(8 << 10).parse().expect("a value"));
    client.call("/test.Echo/Say", request).await.expect_err("refused");
    server.client().await.say("x").await.expect("an answer");
}

#[tokio::test]
async fn a_silent_socket_is_closed_at_the_handshake_deadline() {
    let server = start(Settings { handshake_timeout: millis(150), ..Settings::default() }).await;
    for first_bytes in [&b""[..], b"PRI * HT"] {
        let mut socket = TcpStream::connect(server.addr).await.expect("connected");
        socket.write_all(first_bytes).await.expect("written");
        assert_eq!(read_to_end(&mut socket).await, b"");
    }
}

#[tokio::test]
async fn a_peer_that_goes_silent_after_the_handshake_is_closed_by_keepalive() {
    let settings = Settings { keepalive_interval: millis(100), keepalive_timeout: millis(100), ..Settings::default() };
    let server = start(settings).await;
    let mut socket = TcpStream::connect(server.addr).await.expect("connected");
    let empty_settings_frame = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
    socket.write_all(&empty_settings_frame).await.expect("written");
    read_to_end(&mut socket).await;
}

#[tokio::test]
async fn callers_that_give_up_together_do_not_cost_their_connection_its_other_calls() {
    let server = start(Settings::default()).await;
    let mut socket = TcpStream::connect(server.addr).await.expect("connected");
    // All in one piece, as a server finds it that had no time to look: each call is given up before it is looked at.
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    for call in 0..500 {
        said.extend(frame(HEADERS, END_HEADERS, 2 * call + 1, b"\x83\x86\x04\x0e/test.Echo/Say\x0f\x10\x10application/grpc"));
        said.extend(frame(RST_STREAM, 0, 2 * call + 1, &CANCEL.to_be_bytes()));
    }
    said.extend(frame(PING, 0, 0, &[7; 8]));
    socket.write_all(&said).await.expect("written");
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        socket.read_exact(&mut payload).await.expect("all of it");
        match head[3] {
            PING if payload == [7; 8] => break,
            GO_AWAY => panic!("the connection is closed: {}", String::from_utf8_lossy(&payload[8..])),
            _ => {}
        }
    }
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn an_http_1_client_is_told_what_the_port_speaks() {
    let server = start(Settings::default()).await;
    let mut socket = TcpStream::connect(server.addr).await.expect("connected");
    socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    socket.shutdown().await.expect("nothing more to say");
    let answer = String::from_utf8(read_to_end(&mut socket).await).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(body.contains("grpcurl"), "{answer}");
    assert!(head.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_connection_beyond_the_cap_is_closed_and_the_others_are_served() {
    let server = start(Settings { max_connections: 1, ..Settings::default() }).await;
    let client = server.client().await;
    client.say("x").await.expect("an answer");
    let mut beyond = TcpStream::connect(server.addr).await.expect("the backlog takes it");
    assert_eq!(read_to_end(&mut beyond).await, b"");
    client.say("x").await.expect("an answer");
    assert!(server.telemetry.metrics_text().contains("loadline_grpc_connections_refused_total 1"));
}

#[tokio::test]
async fn a_method_is_denied_unless_it_is_listed_and_the_caller_may() {
    let server = start(Settings::default()).await;
    let client = server.client().await;
    let unlisted = client.call("/test.Echo/Hidden", nothing()).await.expect_err("denied");
    assert_eq!(unlisted.code(), Code::PermissionDenied);

    client.call("/test.Echo/Repair", nothing()).await.expect("the operator may");
    let mut narrowed = nothing();
    narrowed.metadata_mut().insert("x-loadline-account", "acme".parse().expect("a value"));
    let status = client.call("/test.Echo/Repair", narrowed).await.expect_err("a service may not");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("operator"), "{}", status.message());
}

/// Knows nobody, as a provider does that sees no credentials.
struct Nobody;

#[async_trait::async_trait]
impl IdentityProvider for Nobody {
    async fn identify(&self, _: &Peer, _: &http::HeaderMap) -> Result<Identity, Status> {
        Err(Status::unauthenticated("show a certificate"))
    }
}

#[tokio::test]
async fn an_unknown_caller_reaches_only_what_is_open_to_anyone() {
    let server = start_with(Settings::default(), Arc::new(Nobody)).await;
    let client = server.client().await;
    client.call("/test.Echo/Open", nothing()).await.expect("open to anyone");
    let status = client.say("x").await.expect_err("refused");
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "show a certificate"));
}

#[tokio::test]
async fn requests_are_measured_by_method_and_code() {
    let server = start(Settings { max_deadline: millis(100), ..Settings::default() }).await;
    let client = server.client().await;
    client.say("x").await.expect("an answer");
    client.call("/test.Echo/Hold", nothing()).await.expect_err("too late");
    let mut stream = client.stream("/test.Echo/Endless", nothing()).await.expect("a stream");
    while next(&mut stream).await.is_ok() {}
    client.call("/made.Up/Path", nothing()).await.expect_err("denied");

    let counted = |method: &str, code: &str| format!("loadline_grpc_requests_total{{code=\"{code}\",method=\"{method}\"}} 1");
    let expected = [
        counted("/test.Echo/Say", "OK"),
        counted("/test.Echo/Hold", "DEADLINE_EXCEEDED"),
        counted("/test.Echo/Endless", "DEADLINE_EXCEEDED"),
        counted("unlisted", "PERMISSION_DENIED"),
        "loadline_grpc_requests_in_flight{method=\"/test.Echo/Endless\"} 0".to_owned(),
        "loadline_grpc_request_duration_seconds_count{method=\"/test.Echo/Say\"} 1".to_owned(),
    ];
    eventually("all of it is counted", || {
        let text = server.telemetry.metrics_text();
        expected.iter().all(|line| text.contains(line))
    })
    .await;
}

async fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.expect("the server closes the connection");
    bytes
}
