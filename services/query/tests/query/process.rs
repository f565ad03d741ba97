//! The program `loadline-query` by itself.

use crate::world::{HOUR, MINUTE, Published as _, World, bill, noon, time};
use loadline_proto::query::{GetUsageRequest, GetUsageResponse, period::State, usage_service_client::UsageServiceClient};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{net::SocketAddr, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};
use tonic::{Code, transport::Endpoint};

struct Program {
    child: Child,
    listen: SocketAddr,
    admin: SocketAddr,
}

async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// On the world's store, with a log that is down.
async fn start(world: &World) -> Program {
    let (listen, admin, nobody) = (free_port().await, free_port().await, free_port().await);
    let child = Command::new(env!("CARGO_BIN_EXE_loadline-query"))
        .env("LOADLINE_STORE__URL", world.store_url())
        .env("LOADLINE_LOG__URL", format!("nats://{nobody}"))
        .env("LOADLINE_QUERY__LISTEN", listen.to_string())
        .env("LOADLINE_QUERY__ADMIN", admin.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    Program { child, listen, admin }
}

impl Program {
    /// Asks until there is an answer; the test runner's own limit ends a wait for nothing.
    async fn ask(&self) -> GetUsageResponse {
        let request = GetUsageRequest {
            account: "acme".to_owned(),
            from: Some(time(noon().minus(HOUR))),
            to: Some(time(noon())),
            ..GetUsageRequest::default()
        };
        loop {
            let channel = Endpoint::from_shared(format!("http://{}", self.listen)).unwrap().connect_lazy();
            match UsageServiceClient::new(channel).get_usage(request.clone()).await {
                Ok(answer) => return answer.into_inner(),
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The status line of `/readyz`.
    async fn ready(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }

    async fn errors(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
        text
    }
}

#[tokio::test]
async fn it_answers_from_the_store_while_the_log_is_down_and_ends_when_told() {
    let world = World::new().await;
    world.count([bill("1", noon().minus(MINUTE)).event()]).await;
    let mut program = start(&world).await;
    let answer = program.ask().await;
    assert_eq!(answer.totals[0].events, 1);
    assert_eq!(answer.periods[0].state(), State::Pending, "receipts were never counted");
    assert!(answer.completeness.unwrap().streams.iter().all(|stream| stream.lag.is_none()));
    while program.ready().await != "HTTP/1.1 200 OK" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kill(Pid::from_raw(program.child.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(program.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn it_refuses_a_store_that_a_newer_build_has_migrated() {
    let world = World::new().await;
    world.tamper("UPDATE _sqlx_migrations SET version = 9999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    let mut program = start(&world).await;
    let errors = program.errors().await;
    assert!(!program.child.wait().await.unwrap().success());
    assert!(errors.contains("schema is version 9999") && errors.contains("knows up to"), "{errors}");
}
