//! A private PostgreSQL. It writes to disk as production does: only a test that claims nothing about durability says otherwise.

use crate::{
    binaries, ports,
    ports::Ready,
    process::{self, Process},
};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running (or killed, or stopped) server. It keeps its port and its folder over restarts; both go with it.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    process: Process,
    folder: TempDir,
    settings: Vec<String>,
    databases: AtomicU32,
}

impl PostgresServer {
    /// Starts a server with an empty cluster on a free port and waits until it answers. As root it runs as `postgres`.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not get ready; with what it wrote.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with server settings, such as `("max_connections", "20")`.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadline-pg-").tempdir()?;
        let template = template().context("a fresh PostgreSQL cluster")?;
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(folder.path().join("data")))?;
        give_to_owner(folder.path())?;
        let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let port = ports::free()?;
        let process = spawn(&folder, port, &settings)?;
        let mut server = Self { port, process, folder, settings, databases: AtomicU32::new(0) };
        server.ready().await?;
        Ok(server)
    }

    /// Makes an empty database and returns its URL.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn create_database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = options(self.address()).connect().await?;
        // Safe: the name is made above.
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
        connection.close().await?;
        Ok(Self::url_at(self.address(), &name))
    }

    /// URL of a database on a server, or on a proxy before it.
    pub fn url_at(address: SocketAddr, database: &str) -> String {
        format!("postgres://postgres@{address}/{database}")
    }

    /// A database's URL, led through a proxy.
    ///
    /// # Errors
    /// When `url` is not one of this server.
    pub fn url_through(&self, url: &str, proxy: SocketAddr) -> Result<String> {
        let database = url.rsplit_once('/').filter(|(server, _)| server.ends_with(&format!(":{}", self.port)));
        Ok(Self::url_at(proxy, database.with_context(|| format!("{url} is not of this server"))?.1))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ports::local(self.port)
    }

    /// Process id of the postmaster; another one after a restart.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has written.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// SIGKILL to the postmaster and all its children at one moment, as a power cut would.
    ///
    /// # Errors
    /// When its children survive, which nothing should.
    pub fn kill(&mut self) -> Result<()> {
        // One that has ended by itself has no children to miss.
        let children = self.stand_still().unwrap_or_else(|_| self.process.children());
        for pid in &children {
            let _ = process::signal_pid(*pid, Signal::SIGKILL);
        }
        self.process.kill();
        ensure!(process::gone(&children, PATIENCE), "children of PostgreSQL survived SIGKILL");
        Ok(())
    }

    /// Starts it again, killed or not, on the same port and folder.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = spawn(&self.folder, self.port, &self.settings)?;
        self.ready().await
    }

    /// SIGSTOP to the postmaster and all its children: connections stay open and nobody answers.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        for pid in self.stand_still()? {
            // A child may just have ended by itself.
            let _ = process::signal_pid(pid, Signal::SIGSTOP);
        }
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        for pid in self.process.children() {
            let _ = process::signal_pid(pid, Signal::SIGCONT);
        }
        self.process.signal(Signal::SIGCONT)
    }

    /// Stops the postmaster; its children from then on. A signal takes a moment to stop a process, and one that forks meanwhile would
    /// have a child that nobody knows of.
    fn stand_still(&self) -> Result<Vec<u32>> {
        self.process.signal(Signal::SIGSTOP)?;
        ensure!(process::stopped(self.pid(), PATIENCE), "PostgreSQL does not stand still");
        Ok(self.process.children())
    }

    async fn ready(&mut self) -> Result<()> {
        let address = self.address();
        let process = &mut self.process;
        ports::wait_until("PostgreSQL", PATIENCE, || {
            let alive = process.ensure_alive();
            async move {
                alive?;
                let attempt = tokio::time::timeout(Duration::from_secs(1), options(address).connect()).await;
                Ok(attempt.map_or_else(|_| Ready::No("it is silent".to_owned()), Ready::from))
            }
        })
        .await
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn options(address: SocketAddr) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(address.port()).username("postgres").database("postgres")
}

fn spawn(folder: &TempDir, port: u16, settings: &[String]) -> Result<Process> {
    let mut command = as_owner(&binaries::postgres_folder()?.join("postgres"));
    command.arg("-D").arg(folder.path().join("data")).arg("-k").arg(folder.path());
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    // After a crash: sync the file system once rather than each of a thousand files.
    command.args(["-c", "recovery_init_sync_method=syncfs"]);
    command.args(settings.iter().flat_map(|setting| ["-c", setting]));
    Process::spawn("PostgreSQL", command, &folder.path().join("output"))
}

/// A cluster made once a machine and version, to be copied: `initdb` takes longer than all else a short test does.
fn template() -> Result<PathBuf> {
    let bin = binaries::postgres_folder()?;
    let version = Command::new(bin.join("postgres")).arg("--version").output()?.stdout;
    let version: String = String::from_utf8_lossy(&version).chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let cache = cache_folder()?;
    let template = cache.join(format!("cluster-{version}"));
    if template.join("PG_VERSION").is_file() {
        return Ok(template);
    }
    let made = tempfile::Builder::new().prefix("loadline-initdb-").tempdir()?;
    give_to_owner(made.path())?;
    let mut initdb = as_owner(&bin.join("initdb"));
    initdb.arg("-D").arg(made.path().join("data"));
    run(initdb.args(["-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8"]))?;
    let copy = cache.join(format!("cluster-{version}.{}", std::process::id()));
    run(Command::new("cp").arg("-a").arg(made.path().join("data")).arg(&copy))?;
    // Several processes may do this at once: the first to rename wins, the others use its cluster.
    if fs::rename(&copy, &template).is_err() {
        fs::remove_dir_all(&copy)?;
    }
    ensure!(template.join("PG_VERSION").is_file(), "{} could not be made", template.display());
    Ok(template)
}

fn cache_folder() -> Result<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache =
        env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    let folder = cache.join("loadline").join("postgres");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// PostgreSQL refuses to run as root, so root becomes `postgres` for it.
fn as_owner(program: &Path) -> Command {
    if !binaries::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program).current_dir("/");
    command
}

fn give_to_owner(folder: &Path) -> Result<()> {
    if binaries::is_root() { run(Command::new("chown").args(["-R", "postgres:"]).arg(folder)) } else { Ok(()) }
}

fn run(command: &mut Command) -> Result<()> {
    let started = Instant::now();
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{command:?} failed after {:?}: {}", started.elapsed(), process::last_lines(&said, 20));
    }
    Ok(())
}
