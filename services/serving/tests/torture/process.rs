//! `loadline-serving` as a process of its own, to be killed.

use crate::onnx::plus;
use loadline_proto::serving::{
    PromoteRequest, RegisterHeader, RegisterRequest, model_service_client::ModelServiceClient, register_request::Part,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

pub const MODEL: &str = "wine";

/// A process with its folder; a new one after each kill, on the same port.
pub struct Serving {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Serving {
    /// Starts it on a store and a queue.
    pub fn new(store: &str, queue: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, admin, path) = (free_port(), free_port(), folder.path().display());
        let configuration = format!(
            "[store]\nurl = \"{store}\"\n[serving]\nlisten = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:{admin}\"\n\
             registry = \"file:{path}/models\"\nartifacts = \"{path}/artifacts\"\nqueue = \"{queue}\"\n\
             [serving.jobs]\nlease = \"2s\"\nattempts = 100\n"
        );
        std::fs::write(folder.path().join("loadline.toml"), configuration).unwrap();
        let child = spawn(&folder);
        Self { folder, port, child }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Until it has a champion.
    pub async fn prepared(&self) {
        let preparing = async {
            while self.register().await.is_err() {
                sleep(Duration::from_millis(100)).await;
            }
            while let Err(status) = self.promote().await {
                if status.code() == tonic::Code::FailedPrecondition || status.code() == tonic::Code::Aborted {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(60), preparing).await.unwrap_or_else(|_| panic!("it does not start:\n{}", self.log()));
    }

    async fn register(&self) -> Result<(), tonic::Status> {
        let header = Part::Header(RegisterHeader { model: MODEL.to_owned(), ..RegisterHeader::default() });
        let parts = [header, Part::Chunk(plus(1.0).into())].map(|part| RegisterRequest { part: Some(part) });
        self.models().register(tokio_stream::iter(parts)).await.map(drop)
    }

    async fn promote(&self) -> Result<(), tonic::Status> {
        let (model, reason) = (MODEL.to_owned(), "the only one".to_owned());
        self.models().promote(PromoteRequest { model, version: 1, reason, ..PromoteRequest::default() }).await.map(drop)
    }

    fn models(&self) -> ModelServiceClient<tonic::transport::Channel> {
        ModelServiceClient::new(tonic::transport::Endpoint::from_shared(self.address()).unwrap().connect_lazy())
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start(&mut self) {
        self.child = spawn(&self.folder);
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

fn spawn(folder: &TempDir) -> Child {
    let log = File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadline-serving"));
    command.arg("--config").arg(folder.path().join("loadline.toml")).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn free_port() -> u16 {
    // Below what the system gives to outgoing connections: a process started again finds its port still free.
    let by_chance = || 15_000 + (uuid::Uuid::new_v4().as_u128() % 17_000) as u16;
    std::iter::repeat_with(by_chance).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
