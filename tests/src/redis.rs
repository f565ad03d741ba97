//! A private Redis server that keeps nothing on disk.

use crate::{
    binaries, ports,
    ports::Ready,
    process::{self, Process},
};
use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use std::{net::SocketAddr, process::Command, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(15);

/// A running (or killed, or stopped) server. It keeps its port over restarts, and nothing else.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    process: Process,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one on a free port and waits until it answers.
    ///
    /// # Errors
    /// When the program is absent, ends, or does not get ready; with what it wrote.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadline-redis-").tempdir()?;
        let port = ports::free()?;
        let mut server = Self { port, process: spawn(&folder, port)?, folder };
        server.ready().await?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ports::local(self.port)
    }

    /// URL of the cache it is.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Sends one command in Redis's inline form and returns what comes back first.
    ///
    /// # Errors
    /// When nothing comes within the patience of this module.
    pub async fn command(&self, line: &str) -> Result<String> {
        let talking = async {
            let mut stream = TcpStream::connect(self.address()).await?;
            stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            let mut answer = vec![0; 64 << 10];
            let length = stream.read(&mut answer).await?;
            anyhow::Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        };
        timeout(PATIENCE, talking).await.context("Redis is silent")?
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When it has ended.
    pub fn stop(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// SIGCONT, after [`RedisServer::stop`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn go_on(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    /// Kills it, if it runs, and starts it on the same port, empty.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.process = spawn(&self.folder, self.port)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let (address, process) = (self.address(), &mut self.process);
        let ready = ports::wait_until("Redis", PATIENCE, || {
            let alive = process.ensure_alive();
            async move {
                alive?;
                Ok(match TcpStream::connect(address).await {
                    Ok(_) => Ready::Yes,
                    Err(error) => Ready::No(error.to_string()),
                })
            }
        });
        let ready = ready.await;
        ready.with_context(|| format!("it wrote:\n{}", process::last_lines(&self.process.output(), 40)))
    }
}

fn spawn(folder: &TempDir, port: u16) -> Result<Process> {
    let mut command = Command::new(binaries::redis()?);
    command.current_dir(folder.path()).args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    Process::spawn("redis-server", command, &folder.path().join("output"))
}
