//! A private MLflow server that serves artifacts itself, on SQLite.

use crate::{
    binaries, ports,
    ports::Ready,
    process::{self, Process},
};
use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use std::{net::SocketAddr, path::PathBuf, process::Command, time::Duration};
use tempfile::TempDir;

/// It imports for ten seconds and migrates its database for as long, on cores that others use too.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running (or killed, or stopped) server. It keeps its port and its folder over restarts; both go with it.
#[derive(Debug)]
pub struct MlflowServer {
    port: u16,
    process: Process,
    folder: TempDir,
}

impl MlflowServer {
    /// Starts one on a free port and waits until it answers.
    ///
    /// # Errors
    /// When the program is absent, ends, or does not get ready; with what it wrote.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadline-mlflow-").tempdir()?;
        let port = ports::free()?;
        let mut server = Self { port, process: spawn(&folder, port)?, folder };
        server.ready().await?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ports::local(self.port)
    }

    /// URL of the registry it is.
    pub fn url(&self) -> String {
        format!("mlflow+http://{}", self.address())
    }

    /// Where artifacts lie, by the path they are served under.
    pub fn artifacts(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    /// SIGKILL, to all of its processes.
    pub fn kill(&mut self) {
        let workers = self.process.descendants();
        self.process.kill();
        for worker in &workers {
            let _ = process::signal_pid(*worker, Signal::SIGKILL);
        }
        // Until they are gone, the port is not free for the next.
        process::gone(&workers, Duration::from_secs(10));
    }

    /// SIGSTOP: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When it has ended.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT, after [`MlflowServer::stop`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Kills it, if it runs, and starts it on the same port and folder.
    ///
    /// # Errors
    /// As [`MlflowServer::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.process = spawn(&self.folder, self.port)?;
        self.ready().await
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let workers = self.process.descendants();
        self.process.signal(signal)?;
        workers.into_iter().try_for_each(|worker| process::signal_pid(worker, signal))
    }

    async fn ready(&mut self) -> Result<()> {
        let (address, process) = (self.address(), &mut self.process);
        let ready = ports::wait_until("MLflow", PATIENCE, || {
            let alive = process.ensure_alive();
            async move {
                alive?;
                Ok(match ports::http_get(address, "/health").await {
                    Ok((200, _)) => Ready::Yes,
                    Ok((status, said)) => Ready::No(format!("{status} {said}")),
                    Err(error) => Ready::No(error.to_string()),
                })
            }
        });
        let ready = ready.await;
        ready.with_context(|| format!("it wrote:\n{}", process::last_lines(&self.process.output(), 40)))
    }
}

impl Drop for MlflowServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &TempDir, port: u16) -> Result<Process> {
    let folder = folder.path();
    let mut command = Command::new(binaries::mlflow()?);
    command.current_dir(folder);
    command
        .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("DO_NOT_TRACK", "true");
    command.arg("server").args(["--host", "127.0.0.1", "--port", &port.to_string(), "--workers", "1", "--serve-artifacts"]);
    command.arg("--backend-store-uri").arg(format!("sqlite:///{}", folder.join("mlflow.db").display()));
    command.arg("--artifacts-destination").arg(folder.join("artifacts"));
    Process::spawn("mlflow", command, &folder.join("output"))
}
