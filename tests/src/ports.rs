//! Free ports on the loopback.

use anyhow::{Context, Result};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, time};

/// A port that was free a moment ago. Some other process may still take it first: a server that cannot bind fails its test.
///
/// # Errors
/// When the loopback has no free port.
pub fn free() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
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
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await?;
        let mut answer = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer =
        time::timeout(Duration::from_secs(1), exchange).await.with_context(|| format!("{address}{path} is silent"))??;
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
