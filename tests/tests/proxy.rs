//! The proxy's faults, before a server that answers every line with its upper case.

use anyhow::Result;
use loadline_tests::proxy::Proxy;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time,
};

/// Long enough for what should happen, and for what should not to be seen.
const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(200);

async fn echo() -> Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, served) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
    let lines = served.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let lines = lines.clone();
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut read = BufReader::new(read).lines();
                while let Ok(Some(line)) = read.next_line().await {
                    lines.fetch_add(1, Ordering::SeqCst);
                    let _ = write.write_all(format!("{}\n", line.to_uppercase()).as_bytes()).await;
                }
            });
        }
    });
    Ok((address, served))
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(proxy: &Proxy) -> Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(proxy.address()).await?)))
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.0.write_all(text.as_bytes()).await?)
    }

    /// The next line; empty when the connection was closed.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = time::timeout(SOON, self.0.read_line(&mut line)).await.expect("an answer or an end");
        line
    }

    async fn is_silent(&mut self) -> bool {
        time::timeout(A_WHILE, self.0.read_u8()).await.is_err()
    }
}

#[tokio::test]
async fn everything_passes_in_fair_weather() {
    let (server, _) = echo().await.unwrap();
    let proxy = Proxy::start(server).await.unwrap();
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("hello\n").await.unwrap();
    assert_eq!(client.line().await, "HELLO\n");
    assert_eq!((proxy.connections(), proxy.lost()), (1, 0));
}

#[tokio::test]
async fn a_delay_holds_each_piece_and_loses_none() {
    let (server, _) = echo().await.unwrap();
    let proxy = Proxy::start(server).await.unwrap();
    proxy.delay(A_WHILE * 2);
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("hello\n").await.unwrap();
    assert!(client.is_silent().await);
    assert_eq!(client.line().await, "HELLO\n");
}

#[tokio::test]
async fn a_cut_ends_connections_and_refuses_new_ones_until_it_passes() {
    let (server, _) = echo().await.unwrap();
    let proxy = Proxy::start(server).await.unwrap();
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("a\n").await.unwrap();
    assert_eq!(client.line().await, "A\n");
    proxy.cut();
    assert_eq!(client.line().await, "");
    assert_eq!(Client::connect(&proxy).await.unwrap().line().await, "");
    proxy.pass();
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("b\n").await.unwrap();
    assert_eq!(client.line().await, "B\n");
}

#[tokio::test]
async fn a_half_open_connection_is_silent_and_goes_on_later() {
    let (server, served) = echo().await.unwrap();
    let proxy = Proxy::start(server).await.unwrap();
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("a\n").await.unwrap();
    assert_eq!(client.line().await, "A\n");
    proxy.half_open();
    client.send("b\n").await.unwrap();
    assert!(client.is_silent().await);
    assert_eq!(served.load(Ordering::SeqCst), 1);
    proxy.pass();
    assert_eq!(client.line().await, "B\n");
}

#[tokio::test]
async fn a_lost_request_is_never_served() {
    let (server, served) = echo().await.unwrap();
    let proxy = Proxy::start(server).await.unwrap();
    proxy.lose_request(b"pay");
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("look\n").await.unwrap();
    assert_eq!(client.line().await, "LOOK\n");
    client.send("pay\n").await.unwrap();
    assert_eq!(client.line().await, "");
    assert_eq!((served.load(Ordering::SeqCst), proxy.lost()), (1, 1));
}

#[tokio::test]
async fn a_lost_reply_is_served_and_not_seen_even_when_the_request_comes_in_pieces() {
    let (server, served) = echo().await.unwrap();
    let proxy = Proxy::start(server).await.unwrap();
    proxy.lose_reply(b"pay\n", b"PAY\n");
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("look\np").await.unwrap();
    assert_eq!(client.line().await, "LOOK\n");
    client.send("ay\n").await.unwrap();
    assert_eq!(client.line().await, "");
    assert_eq!((served.load(Ordering::SeqCst), proxy.lost()), (2, 1));
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("pay\n").await.unwrap();
    assert_eq!(client.line().await, "PAY\n", "the trap springs once");
}

#[tokio::test]
async fn a_held_request_waits_before_the_server_until_its_sender_is_gone() {
    let (server, served) = echo().await.unwrap();
    let proxy = Proxy::start(server).await.unwrap();
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("pay\n").await.unwrap();
    assert_eq!(client.line().await, "PAY\n");
    proxy.hold_request(&[b"begin", b"pay"]);
    client.send("pay\n").await.unwrap();
    assert_eq!(client.line().await, "PAY\n", "out of turn");
    client.send("begin\n").await.unwrap();
    assert_eq!(client.line().await, "BEGIN\n");
    assert_eq!(proxy.lost(), 0);
    client.send("pay\n").await.unwrap();
    proxy.sprung(1, SOON).await.unwrap();
    assert!(client.is_silent().await);
    assert_eq!(served.load(Ordering::SeqCst), 3);
    let mut other = Client::connect(&proxy).await.unwrap();
    other.send("pay\n").await.unwrap();
    assert_eq!(other.line().await, "PAY\n", "others go on");
}

#[tokio::test]
async fn a_held_reply_was_served_and_its_reader_waits() {
    let (server, served) = echo().await.unwrap();
    let proxy = Proxy::start(server).await.unwrap();
    proxy.hold_reply(&[b"pay"], b"PAY");
    let mut client = Client::connect(&proxy).await.unwrap();
    client.send("pay\n").await.unwrap();
    proxy.sprung(1, SOON).await.unwrap();
    assert!(client.is_silent().await);
    assert_eq!((served.load(Ordering::SeqCst), proxy.lost()), (1, 1));
}
