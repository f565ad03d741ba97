//! A private PostgreSQL: its own folder, its own port, gone with its owner.
//!
//! `initdb` runs once a machine and its result is copied, so a start costs a fraction of a second. PostgreSQL refuses to
//! run as root, so there it runs as the user `postgres`. `LOADLINE_POSTGRES_BIN` names the folder of its programs when it
//! is not found, `LOADLINE_TEST_FSYNC=off` trades durability for speed.
#![allow(dead_code, clippy::unwrap_used)] // each user needs its own part

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use sqlx::{Connection as _, PgConnection};
use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);

/// A running PostgreSQL that nobody else uses. Dropping it ends it and removes its folder.
pub struct PostgresServer {
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    postmaster: Child,
}

impl PostgresServer {
    /// Starts one with the server's own defaults.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with settings such as `shared_buffers=1GB`.
    pub async fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("loadline-postgres-").tempdir().unwrap();
        give_to_postgres(folder.path());
        run(as_postgres("cp").arg("-a").arg(template().join("data")).arg(folder.path().join("data")));
        let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
        let port = free_port();
        let postmaster = launch(folder.path(), port, &settings);
        let mut server = Self { folder, port, settings, postmaster };
        server.ready().await;
        let mut connection = PgConnection::connect(&server.url()).await.unwrap();
        let role = "CREATE ROLE loadline LOGIN; ALTER DATABASE postgres OWNER TO loadline";
        sqlx::raw_sql(role).execute(&mut connection).await.unwrap();
        server
    }

    /// Where it listens, for whoever may do everything: a superuser.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same for a service: an ordinary role that owns the database, and is held to row-level security.
    pub fn service_url(&self) -> String {
        self.service_url_at(self.port)
    }

    /// The same through another port, such as a proxy's.
    pub fn service_url_at(&self, port: u16) -> String {
        format!("postgres://loadline@127.0.0.1:{port}/postgres")
    }

    /// The same database through another port, such as a proxy's.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops every process of it in its tracks: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    /// Kills every process of it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.signal_all(Signal::SIGKILL);
        self.postmaster.wait().unwrap();
    }

    /// Starts it again after [`PostgresServer::kill`], on the same port and data.
    pub async fn restart(&mut self) {
        self.postmaster = launch(self.folder.path(), self.port, &self.settings);
        self.ready().await;
    }

    fn signal_all(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = kill(pid, signal);
        }
    }

    /// The postmaster and, as each backend makes its own process group, its children by name.
    fn processes(&self) -> Vec<Pid> {
        let postmaster = self.postmaster.id() as i32;
        let listed = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
        let children = listed.split_whitespace().map(|pid| pid.parse().unwrap());
        std::iter::once(postmaster).chain(children).map(Pid::from_raw).collect()
    }

    async fn ready(&mut self) {
        let deadline = Instant::now() + START_LIMIT;
        while PgConnection::connect(&self.url()).await.is_err() {
            let ended = self.postmaster.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("PostgreSQL did not start ({ended:?}):\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.thaw();
        // Immediate shutdown: the folder goes too, so there is nothing to write down.
        let _ = kill(Pid::from_raw(self.postmaster.id() as i32), Signal::SIGQUIT);
        let _ = self.postmaster.wait();
    }
}

fn launch(folder: &Path, port: u16, settings: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    // Should the test be killed, the kernel ends the server.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]).args(identity()).arg(programs().join("postgres"));
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    if std::env::var("LOADLINE_TEST_FSYNC").is_ok_and(|fsync| fsync == "off") {
        command.arg("-F");
    }
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().expect("setpriv of util-linux starts")
}

/// A freshly initialised data folder to copy, made by whoever needs it first.
fn template() -> PathBuf {
    let version = programs().parent().and_then(Path::file_name).map_or("path".into(), |name| name.to_string_lossy().into_owned());
    let template = std::env::temp_dir().join(format!("loadline-postgres-template-{version}-{}", geteuid()));
    if !template.exists() {
        let making = tempfile::Builder::new().prefix("loadline-postgres-making-").tempdir().unwrap();
        give_to_postgres(making.path());
        let mut initdb = as_postgres(programs().join("initdb"));
        initdb.arg("-D").arg(making.path().join("data")).args(["-U", "postgres", "-A", "trust", "--no-sync"]);
        run(initdb.args(["--no-instructions", "--locale=C", "--encoding=UTF8"]));
        // Renaming onto a folder that has become full fails: then another process was first, and its template serves.
        let made = making.keep();
        if fs::rename(&made, &template).is_err() {
            fs::remove_dir_all(&made).unwrap();
        }
    }
    template
}

fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("LOADLINE_POSTGRES_BIN") {
        return folder.into();
    }
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = installed.max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    newest.map(|version| version.join("bin")).expect("PostgreSQL is installed, or LOADLINE_POSTGRES_BIN names its programs")
}

fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(identity()).arg(program);
    command
}

fn identity() -> &'static [&'static str] {
    match geteuid().is_root() {
        true => &["--reuid=postgres", "--regid=postgres", "--clear-groups"],
        false => &["--no-new-privs"],
    }
}

fn give_to_postgres(folder: &Path) {
    if geteuid().is_root() {
        run(Command::new("chown").arg("postgres:").arg(folder));
    }
}

fn run(command: &mut Command) {
    let output = command.current_dir("/").output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn free_port() -> u16 {
    // Below what the system gives to outgoing connections: a server started again finds its port still free.
    let by_chance = || 15_000 + (uuid::Uuid::new_v4().as_u128() % 17_000) as u16;
    std::iter::repeat_with(by_chance).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
