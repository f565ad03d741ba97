//! Free ports on the loopback.

use anyhow::{Context as _, Result, bail};
use rand::RngExt as _;
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, time};

/// Below what the system gives to outgoing connections: a server that is killed and started again finds its port still free.
const RANGE: Range<u16> = 15_000..32_000;
/// Locks of the ports this process was given, until it ends.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nobody listens on, and that no other test is given while this process lives.
///
/// # Errors
/// When none is found.
pub fn free() -> Result<u16> {
    let folder = std::env::temp_dir().join("loadline-ports");
    fs::create_dir_all(&folder)?;
    for _ in 0..1_000 {
        let port = rand::rng().random_range(RANGE);
        let lock = File::options().create(true).write(true).truncate(false).open(folder.join(port.to_string()))?;
        if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 from {} to {}", RANGE.start, RANGE.end)
}

/// `127.0.0.1:port`.
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Asks with `probe` until it says yes.
///
/// # Errors
/// After `patience`, with the last reason not to be ready; or at once when `probe` fails for good.
pub async fn wait_until<F>(what: &str, patience: Duration, mut probe: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<Ready>>,
{
    let started = Instant::now();
    loop {
        let why = match probe().await? {
            Ready::Yes => return Ok(()),
            Ready::No(why) => why,
        };
        anyhow::ensure!(started.elapsed() < patience, "{what} was not ready within {patience:?}: {why}");
        time::sleep(Duration::from_millis(20)).await;
    }
}

/// Answer of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// Go on.
    Yes,
    /// Not yet, because.
    No(String),
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Ready {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Yes,
            Err(error) => Self::No(error.to_string()),
        }
    }
}

/// Status and body of a plain HTTP GET, waiting at most a second: enough for health pages, so no HTTP client is needed.
///
/// # Errors
/// When nothing listens, or what listens does not speak HTTP.
pub async fn http_get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let asking = http(address, "GET", path);
    time::timeout(Duration::from_secs(1), asking).await.with_context(|| format!("{address}{path} is silent"))?
}

/// Status and body of a plain HTTP request without a body, however long it takes.
///
/// # Errors
/// As [`http_get`].
pub async fn http(address: SocketAddr, method: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).context("not an HTTP answer")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_bound() {
        let port = free().unwrap();
        assert!(TcpListener::bind(local(port)).is_ok());
    }

    #[tokio::test]
    async fn waiting_ends_with_the_reason() {
        let never = || async { Ok(Ready::No("it sleeps".to_owned())) };
        let error = wait_until("the server", Duration::from_millis(50), never).await.unwrap_err().to_string();
        assert!(error.contains("the server") && error.contains("it sleeps"), "{error}");
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error() {
        assert!(http_get(local(free().unwrap()), "/").await.is_err());
    }
}
