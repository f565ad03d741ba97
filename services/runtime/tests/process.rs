//! A service as a process: the example `service`, started, called, signalled and stopped.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

const PATIENCE: Duration = Duration::from_secs(20);

/// The process; killed when dropped.
struct Service {
    child: Child,
    grpc: String,
    admin: String,
}

/// Examples are built with the tests, two folders up from them.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let program = test.ancestors().nth(2).expect("the profile's folder").join("examples/service");
    assert!(program.exists(), "{} is missing: cargo build -p loadline-runtime --example service", program.display());
    program
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("-").args(flags).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(flags: &[&str]) -> Service {
    let mut child = command(flags).stderr(Stdio::null()).spawn().expect("started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let (grpc, admin) = line.trim().split_once(' ').expect("two addresses");
    Service { grpc: grpc.to_owned(), admin: admin.to_owned(), child }
}

/// How a process that ends by itself ended, and what it said.
fn refused(flags: &[&str]) -> (Option<i32>, String) {
    let output = command(flags).output().expect("started");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Service {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(pid, signal).expect("signalled");
    }

    /// Waits without blocking: the clients of this test must go on answering, or a drain waits for them.
    async fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the process does not end");
    }

    fn get(&self, path: &str) -> String {
        let mut socket = std::net::TcpStream::connect(&self.admin).expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        std::io::Write::write_all(&mut socket, request.as_bytes()).expect("written");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).expect("a URI").connect().await.expect("connected")
    }

    /// A reflection stream that stays open until it is dropped, with its first answer.
    async fn reflect(&self) -> (Open, ServerReflectionResponse) {
        let list =
            ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
        let (requests, outgoing) = tokio::sync::mpsc::channel(1);
        requests.send(list).await.expect("room for one");
        let mut client = ServerReflectionClient::new(self.channel().await);
        let answers = client.server_reflection_info(tokio_stream::wrappers::ReceiverStream::new(outgoing)).await;
        let mut answers = answers.expect("an answer").into_inner();
        let first = answers.message().await.expect("a message").expect("not the end");
        (Open { _requests: requests, _answers: answers }, first)
    }
}

/// Both directions of a stream: with one of them alive, it is open.
struct Open {
    _requests: tokio::sync::mpsc::Sender<ServerReflectionRequest>,
    _answers: tonic::Streaming<ServerReflectionResponse>,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_service_reflects_is_ready_and_ends_on_sigterm() {
    let mut service = start(&[]);
    let (stream, answer) = service.reflect().await;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    assert!(list.service.iter().any(|s| s.name == "grpc.reflection.v1.ServerReflection"), "{list:?}");
    drop(stream);

    use tonic_reflection::pb::v1alpha;
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut older = v1alpha::server_reflection_client::ServerReflectionClient::new(service.channel().await);
    let mut answers = older.server_reflection_info(tokio_stream::once(request)).await.expect("an answer").into_inner();
    assert!(answers.message().await.expect("a message").is_some());

    assert!(service.get("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = service.get("/metrics");
    assert!(metrics.contains("loadline_grpc_requests_total") && metrics.contains("process_resident_memory_bytes"), "{metrics}");
    service.signal(Signal::SIGTERM);
    assert_eq!(service.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_process_with_an_open_stream_ends_within_its_grace() {
    let mut service = start(&["grpc.grace=300ms"]);
    let (_open, _) = service.reflect().await;
    service.signal(Signal::SIGINT);
    assert_eq!(service.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut service = start(&["grpc.grace=1h"]);
    let (_open, _) = service.reflect().await;
    service.signal(Signal::SIGTERM);
    // The first must be seen as the first: its effect is that the port is closed.
    let begun = Instant::now();
    while std::net::TcpStream::connect(&service.grpc).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the port stays open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    service.signal(Signal::SIGTERM);
    assert_eq!(service.ended().await.code(), Some(130));
}

#[tokio::test]
async fn a_process_ends_with_its_collector_dead() {
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("telemetry.otlp_endpoint=http://{}", dead.local_addr().expect("an address"));
    let mut service = start(&[&endpoint]);
    drop(service.reflect().await);
    service.signal(Signal::SIGTERM);
    assert_eq!(service.ended().await.code(), Some(0));
}

#[test]
fn a_configuration_that_cannot_be_used_ends_with_code_2_and_all_problems() {
    let (code, said) = refused(&["grpc.max_deadline=soon", "telemetry.log=loud=9"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("grpc.max_deadline") && said.contains("telemetry.log"), "{said}");
}

#[test]
fn a_port_that_is_taken_ends_with_code_1_and_the_key_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (code, said) = refused(&[&format!("service.listen={}", taken.local_addr().expect("an address"))]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("set service.listen to another address"), "{said}");
}
