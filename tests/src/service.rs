//! Our binaries, run as an operator runs them: a configuration file, a port, signals.

use crate::{
    binaries,
    client::Clients,
    ports,
    ports::Ready,
    process::{self, Process},
};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::{fs, net::SocketAddr, path::Path, process::Command, process::ExitStatus, time::Duration};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// Which binary, and where it listens by its section of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `loadline-ingest`.
    Ingest,
    /// `loadline-query`.
    Query,
    /// `loadline-rollup`.
    Rollup,
    /// `loadline-serving`.
    Serving,
    /// `loadline up --headless`: all of them, without simulated traffic.
    Node,
}

impl Program {
    fn binary(self) -> &'static str {
        match self {
            Self::Ingest => "loadline-ingest",
            Self::Query => "loadline-query",
            Self::Rollup => "loadline-rollup",
            Self::Serving => "loadline-serving",
            Self::Node => "loadline",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Node => &["up", "--headless"],
            Self::Ingest | Self::Query | Self::Rollup | Self::Serving => &[],
        }
    }
}

/// What a process is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which binary.
    pub program: Program,
    /// `nats://…` or `sqlite:…`.
    pub log: String,
    /// `postgres://…` or `sqlite:…`.
    pub store: String,
    /// Further TOML, such as tables of streams.
    pub further: String,
    /// Further environment.
    pub environment: Vec<(String, String)>,
    /// A program, with its arguments, that becomes the binary; none when empty.
    pub within: Vec<String>,
}

impl Settings {
    /// Only where the log and the store are.
    pub fn new(program: Program, log: &str, store: &str) -> Self {
        let (further, environment, within) = Default::default();
        Self { program, log: log.to_owned(), store: store.to_owned(), further, environment, within }
    }

    /// With further TOML.
    pub fn with(mut self, toml: &str) -> Self {
        self.further.push_str(toml);
        self.further.push('\n');
        self
    }

    /// Started through a program that then becomes the binary named after its arguments.
    pub fn within(self, program: &[&str]) -> Self {
        Self { within: program.iter().map(ToString::to_string).collect(), ..self }
    }

    /// The same of another program.
    pub fn of(self, program: Program) -> Self {
        Self { program, ..self }
    }

    /// With another value of a key, such as `ingest.lease_ttl`; it goes through the environment.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let name = format!("LOADLINE_{}", key.replace('.', "__").to_uppercase());
        self.environment.push((name, value.to_owned()));
        self
    }
}

/// A running (or killed, or stopped) process of ours. It keeps its ports and its folder over restarts.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    process: Process,
    ingest: Ports,
    query: Ports,
    rollup: Ports,
    serving: Ports,
    folder: TempDir,
}

/// Where one service listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    grpc: u16,
    admin: u16,
}

impl Ports {
    fn free() -> Result<Self> {
        Ok(Self { grpc: ports::free()?, admin: ports::free()? })
    }
}

impl Service {
    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// When the binary is not built, ends, or does not get ready; with what it wrote.
    pub async fn start(settings: Settings) -> Result<Self> {
        let mut service = Self::start_unready(settings)?;
        service.ready().await?;
        Ok(service)
    }

    /// Starts it without waiting: for tests in which something it needs is down.
    ///
    /// # Errors
    /// When the binary is not built or cannot be started.
    pub fn start_unready(settings: Settings) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadline-service-").tempdir()?;
        let [ingest, query, rollup, serving] = [Ports::free()?, Ports::free()?, Ports::free()?, Ports::free()?];
        let sections = [("ingest", ingest), ("query", query), ("rollup", rollup), ("serving", serving)];
        fs::write(folder.path().join("loadline.toml"), configuration(&settings, &sections))?;
        let process = spawn(&settings, folder.path())?;
        Ok(Self { settings, process, ingest, query, rollup, serving, folder })
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// When it ends or is not ready in time; with its reasons and what it wrote.
    pub async fn ready(&mut self) -> Result<()> {
        let admin = self.admin_address();
        let process = &mut self.process;
        let waited = ports::wait_until(self.settings.program.binary(), PATIENCE, || {
            let alive = process.ensure_alive();
            async move {
                alive?;
                Ok(match ports::http_get(admin, "/readyz").await {
                    Ok((200, _)) => Ready::Yes,
                    Ok((status, why)) => Ready::No(format!("{status} {why}")),
                    Err(error) => Ready::No(error.to_string()),
                })
            }
        });
        let waited = waited.await;
        waited.with_context(|| format!("it wrote:\n{}", process::last_lines(&self.process.output(), 40)))
    }

    /// Clients of ingest that survive its restarts.
    ///
    /// # Errors
    /// Never for an address.
    pub fn ingest(&self) -> Result<Clients> {
        Clients::lazy(self.ingest_address())
    }

    /// Clients of query that survive its restarts.
    ///
    /// # Errors
    /// Never for an address.
    pub fn query(&self) -> Result<Clients> {
        Clients::lazy(self.query_address())
    }

    /// Clients of rollup that survive its restarts.
    ///
    /// # Errors
    /// Never for an address.
    pub fn rollup(&self) -> Result<Clients> {
        Clients::lazy(self.rollup_address())
    }

    /// gRPC of rollup.
    pub fn rollup_address(&self) -> SocketAddr {
        ports::local(self.rollup.grpc)
    }

    /// gRPC of serving.
    pub fn serving_address(&self) -> SocketAddr {
        ports::local(self.serving.grpc)
    }

    /// gRPC of ingest.
    pub fn ingest_address(&self) -> SocketAddr {
        ports::local(self.ingest.grpc)
    }

    /// gRPC of query.
    pub fn query_address(&self) -> SocketAddr {
        ports::local(self.query.grpc)
    }

    /// Its `/metrics`, `/livez` and `/readyz`. A node has one port for all, that of ingest.
    pub fn admin_address(&self) -> SocketAddr {
        let Ports { admin, .. } = match self.settings.program {
            Program::Query => self.query,
            Program::Rollup => self.rollup,
            Program::Serving => self.serving,
            Program::Ingest | Program::Node => self.ingest,
        };
        ports::local(admin)
    }

    /// Its folder: the configuration, and whatever it writes to relative paths.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id; another one after a restart.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has written.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.wait(patience).await
    }

    /// Waits for an end of its own.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.process.wait(patience).await
    }

    /// SIGSTOP.
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

    /// Starts it again, killed or not, with the same configuration and ports; [`Service::ready`] waits for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = spawn(&self.settings, self.folder.path())?;
        Ok(())
    }
}

fn spawn(settings: &Settings, folder: &Path) -> Result<Process> {
    let binary = binaries::ours(settings.program.binary())?;
    let mut command = match &settings.within[..] {
        [] => Command::new(binary),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
    };
    command.args(settings.program.arguments()).arg("--config").arg(folder.join("loadline.toml")).current_dir(folder);
    command.envs(settings.environment.iter().cloned());
    Process::spawn(settings.program.binary(), command, &folder.join("output"))
}

fn configuration(settings: &Settings, sections: &[(&str, Ports)]) -> String {
    let Settings { log, store, further, .. } = settings;
    let section = |(name, ports): &(&str, Ports)| {
        format!("[{name}]\nlisten = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\n", ports.grpc, ports.admin)
    };
    // Only what a test publishes is to be counted.
    let services = sections.iter().map(section).collect::<String>() + "[simulate]\nenabled = false\n";
    format!("[log]\nurl = {log:?}\n[store]\nurl = {store:?}\n{services}{further}")
}
