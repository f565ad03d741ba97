//! A private nats-server with JetStream, of either version we promise to work with.

use crate::{binaries, ports, ports::Ready, process::Process};
use anyhow::Result;
use nix::sys::signal::Signal;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(15);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatsVersion {
    /// 2.9, as distributions ship it: cannot be told to sync each message to disk.
    Nats29,
    /// 2.15: syncs each message before it acknowledges it, as production should.
    Nats215,
}

impl NatsVersion {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nats29, Self::Nats215];

    fn binary(self) -> Result<PathBuf> {
        match self {
            Self::Nats29 => binaries::nats_29(),
            Self::Nats215 => binaries::nats_215(),
        }
    }
}

/// A running (or killed, or stopped) server. It keeps its port and its folder over restarts; both go with it.
#[derive(Debug)]
pub struct NatsServer {
    version: NatsVersion,
    port: u16,
    monitor: u16,
    process: Process,
    folder: TempDir,
}

impl NatsServer {
    /// Starts a server on a free port, with an empty store, and waits until JetStream answers.
    ///
    /// # Errors
    /// When the server is not installed, or does not get ready; with what it wrote.
    pub async fn start(version: NatsVersion) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadline-nats-").tempdir()?;
        let (port, monitor) = (ports::free()?, ports::free()?);
        let sync = if version == NatsVersion::Nats29 { "" } else { "sync_interval: always" };
        let store = folder.path().join("store");
        let configuration = format!(
            "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\njetstream {{ store_dir: {store:?}, max_file_store: 4G, {sync} }}\n"
        );
        fs::write(folder.path().join("nats.conf"), configuration)?;
        let process = spawn(version, &folder)?;
        let mut server = Self { version, port, monitor, process, folder };
        server.ready().await?;
        Ok(server)
    }

    /// `nats://127.0.0.1:port`.
    pub fn url(&self) -> String {
        Self::url_at(self.address())
    }

    /// URL of a server, or of a proxy before it.
    pub fn url_at(address: SocketAddr) -> String {
        format!("nats://{address}")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ports::local(self.port)
    }

    /// Which version it is.
    pub fn version(&self) -> NatsVersion {
        self.version
    }

    /// Its process id; another one after a restart.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has written.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// SIGKILL: it has no chance to write anything more.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, killed or not, on the same port and folder.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = spawn(self.version, &self.folder)?;
        self.ready().await
    }

    /// Copies what it has stored to another folder. It must not run.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn back_up(&self, to: &Path) -> Result<()> {
        copy(&self.folder.path().join("store"), to)
    }

    /// Puts a copy in place of what it has stored. It must not run.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn restore(&self, from: &Path) -> Result<()> {
        let store = self.folder.path().join("store");
        fs::remove_dir_all(&store)?;
        copy(from, &store)
    }

    /// SIGSTOP: connections stay open and nobody answers.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    async fn ready(&mut self) -> Result<()> {
        let monitor = ports::local(self.monitor);
        let process = &mut self.process;
        ports::wait_until("nats-server", PATIENCE, || {
            let alive = process.ensure_alive();
            async move {
                alive?;
                Ok(match ports::http_get(monitor, "/healthz?js-enabled-only=true").await {
                    Ok((200, _)) => Ready::Yes,
                    Ok((status, body)) => Ready::No(format!("{status} {body}")),
                    Err(error) => Ready::No(error.to_string()),
                })
            }
        })
        .await
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

fn spawn(version: NatsVersion, folder: &TempDir) -> Result<Process> {
    let mut command = Command::new(version.binary()?);
    command.arg("--config").arg(folder.path().join("nats.conf"));
    Process::spawn("nats-server", command, &folder.path().join("output"))
}
