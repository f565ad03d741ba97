//! An HTTP server that answers whatever a test wants, byte for byte.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// The first, then the second again and again; where that is nothing, the connection stays open.
    Endless(Vec<u8>, Vec<u8>),
    /// The first, then a blank again and again, after a pause each.
    Drip(Vec<u8>, Duration),
    /// Nothing, and the connection stays open.
    Silent,
}

impl Reply {
    pub fn raw(text: &str) -> Self {
        Self::Raw(text.as_bytes().to_vec())
    }

    pub fn of(status: u16, kind: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            if status == 200 { "OK" } else { "Not so" },
            body.len()
        );
        Self::Raw([head.as_bytes(), body].concat())
    }

    pub fn json(body: serde_json::Value) -> Self {
        Self::of(200, "application/json", body.to_string())
    }
}

type Answers = dyn Fn(&str) -> Reply + Send + Sync;

/// A server on a free port, until it is dropped.
pub struct Fake {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Fake {
    /// Answers each request by its first line.
    pub async fn start(answers: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answers): (_, Arc<Answers>) = (heads.clone(), Arc::new(answers));
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, seen.clone(), answers.clone()));
            }
        });
        Self { address, heads, serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// It serves as long as the test runs.
    pub fn kept(self) -> &'static Self {
        Box::leak(Box::new(self))
    }

    /// The whole heads of what was asked.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The first lines of what was asked.
    pub fn requests(&self) -> Vec<String> {
        self.heads().iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One request; whatever else comes is not looked at.
async fn serve(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>, answers: Arc<Answers>) {
    let mut came = Vec::new();
    let end = loop {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => came.extend_from_slice(&buffer[..read]),
        }
        if let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&came[..end]).into_owned();
    heads.lock().unwrap().push(head.clone());
    match answers(head.lines().next().unwrap_or_default()) {
        Reply::Raw(bytes) => drop(stream.write_all(&bytes).await),
        Reply::Silent => std::future::pending().await,
        Reply::Drip(first, pause) => {
            let mut going = stream.write_all(&first).await;
            while going.is_ok() {
                tokio::time::sleep(pause).await;
                going = stream.write_all(b" ").await;
            }
        }
        Reply::Endless(first, again) => {
            let mut going = stream.write_all(&first).await;
            if again.is_empty() {
                std::future::pending::<()>().await;
            }
            while going.is_ok() {
                going = stream.write_all(&again).await;
            }
        }
    }
    let _ = stream.shutdown().await;
    // What it still sends is taken: a reset would take our answer away from it.
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}
