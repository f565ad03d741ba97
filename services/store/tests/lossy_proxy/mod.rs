//! A TCP proxy in front of PostgreSQL that loses one COMMIT, or the reply to it, and the connection with it.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What the next COMMIT meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The server never hears of it.
    Request,
    /// The server does it, the client never hears of that.
    Reply,
}

/// Listens until the test ends.
pub struct LossyProxy {
    port: u16,
    next: Arc<Mutex<Option<Loss>>>,
}

impl LossyProxy {
    /// In front of a port on 127.0.0.1.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), next: Arc::default() };
        let next = Arc::clone(&proxy.next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&next)));
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Loses the next COMMIT, or its reply.
    pub fn lose(&self, what: Loss) {
        *self.next.lock().unwrap() = Some(what);
    }
}

/// Until either side ends or something is to be lost.
async fn forward(mut client: TcpStream, mut server: TcpStream, next: Arc<Mutex<Option<Loss>>>) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Some(bytes) = some(read, &from_client) else { return };
                let lost = is_commit(bytes).then(|| next.lock().unwrap().take()).flatten();
                if lost == Some(Loss::Request) || server.write_all(bytes).await.is_err() {
                    return;
                }
                if lost == Some(Loss::Reply) {
                    // By now it is done; nobody is told.
                    let _ = server.read(&mut from_server).await;
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Some(bytes) = some(read, &from_server) else { return };
                if client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn some(read: std::io::Result<usize>, buffer: &[u8]) -> Option<&[u8]> {
    read.ok().filter(|size| *size > 0).map(|size| &buffer[..size])
}

/// The driver sends COMMIT alone, as a simple query.
fn is_commit(bytes: &[u8]) -> bool {
    bytes.starts_with(b"Q") && bytes[5..].starts_with(b"COMMIT")
}
