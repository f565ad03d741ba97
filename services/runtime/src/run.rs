//! The twenty lines around a service's own: configuration or a list of mistakes, runtime, telemetry, signals, drain, flush.

use std::fmt::Display;
use std::future::Future;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::config::{self, Check, Loaded};
use crate::lifecycle::{self, Drained, Shutdown};
use crate::telemetry::{self, Telemetry};

/// Exit code of a service that failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of a configuration that cannot be used.
pub const EXIT_CONFIGURATION: u8 = 2;

/// How much longer than the grace a service's own code may take to return.
const SLACK: Duration = Duration::from_secs(2);

/// The configuration from file, environment and flags; or, printed to stderr, everything that is wrong with it.
///
/// # Errors
/// The exit code to end with.
pub fn configuration<T>(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<Loaded<T>, ExitCode>
where
    T: Default + Serialize + DeserializeOwned + Check,
{
    config::load(file, &config::environment(), flags).map_err(|problems| {
        eprintln!("error: {problems}");
        ExitCode::from(EXIT_CONFIGURATION)
    })
}

/// What a process that replaces itself leaves for the one it becomes. No key of the configuration: it has no section.
const LEFT: &str = "LOADLINE_PREDECESSOR";

/// Runs a service to its end: `body` gets telemetry and a [`Shutdown`] that signals begin, and returns when it has served.
///
/// Whatever happens, telemetry is flushed, and the process ends within the grace and a few seconds of the first signal; after
/// [`Shutdown::restart`] it becomes its own successor instead.
pub fn run<F, Fut, E>(service: &str, build: &str, settings: &telemetry::Settings, grace: Duration, body: F) -> ExitCode
where
    F: FnOnce(Telemetry, Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(service, &error),
    };
    let telemetry = match telemetry::init(settings, service, build) {
        Ok(telemetry) => telemetry,
        Err(error) => return failed(service, &error),
    };
    let (code, successor) = runtime.block_on(supervise(service, grace, telemetry.clone(), body));
    if !telemetry.shutdown() {
        tracing::warn!("telemetry was not exported to the end");
    }
    runtime.shutdown_timeout(SLACK);
    match successor {
        Some(left) => failed(service, &become_successor(&left)),
        None => code,
    }
}

/// Replaces this process by one of the same executable, arguments and environment, under the same process id: whoever supervises
/// it sees no end. Returns only when that is not possible.
fn become_successor(left: &str) -> std::io::Error {
    use std::os::unix::process::CommandExt as _;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // Of an executable that was replaced meanwhile, the path leads to the new one; of one that is gone, the old one is still there.
    let executable = std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into());
    tracing::info!(executable = %executable.display(), "starting again");
    std::process::Command::new(executable).arg0(name).args(arguments).env(LEFT, left).exec()
}

async fn supervise<F, Fut, E>(service: &str, grace: Duration, telemetry: Telemetry, body: F) -> (ExitCode, Option<String>)
where
    F: FnOnce(Telemetry, Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    let shutdown = match lifecycle::signals(std::env::var(LEFT).ok()) {
        Ok(shutdown) => shutdown,
        Err(error) => return (failed(service, &error), None),
    };
    let overdue = {
        let shutdown = shutdown.clone();
        async move {
            shutdown.cancelled().await;
            tokio::time::sleep(grace + SLACK).await;
        }
    };
    let code = tokio::select! {
        result = body(telemetry, shutdown.clone()) => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(service, &error),
        },
        () = overdue => failed(service, &"it did not end within the grace and was cut"),
    };
    if let Drained::Cut(tasks) = shutdown.drain(grace).await {
        tracing::warn!(tasks, "ended with work cut");
    }
    (code, shutdown.successor())
}

/// Says why, once: to a person as a line, to a collector of logs as an event. Alternate form: an `anyhow::Error` prints its causes too.
fn failed(service: &str, error: &impl Display) -> ExitCode {
    if std::io::stderr().is_terminal() || !tracing::dispatcher::has_been_set() {
        eprintln!("error: {service}: {error:#}");
    } else {
        tracing::error!(service, error = format!("{error:#}"), "ended with an error");
    }
    ExitCode::from(EXIT_FAILED)
}

/// A port that could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source}; stop what listens there, or set {key} to another address")]
pub struct BindError {
    addr: SocketAddr,
    key: String,
    source: std::io::Error,
}

/// Takes a port early, so that a second copy fails before it touches anything. `key` is the configuration key of the address.
///
/// # Errors
/// When the port cannot be taken; the message names the key to change.
pub async fn bind(addr: SocketAddr, key: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| BindError { addr, key: key.to_owned(), source })
}
