//! The network between a client and a server, in this process, with its faults.
//!
//! A lost request and a lost reply are different operations: after the first nothing has happened, after the second it has,
//! and the client cannot tell them apart.

use anyhow::Result;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time,
};

/// How a `COMMIT` of PostgreSQL looks on the wire, as a simple query or as a statement to parse, alone or last of several.
pub const POSTGRES_COMMIT: &[u8] = b"COMMIT\0";
/// How long the server may take to answer before a lost reply is cut all the same.
const REPLY_PATIENCE: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 64 * 1024;

/// What the network does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Everything passes.
    Fair,
    /// Everything passes, each piece later by this.
    Slow(Duration),
    /// Connections are cut, and new ones closed at once.
    Cut,
    /// Connections stay open, new ones are taken, and nothing passes.
    HalfOpen,
}

/// What happens to the next request that holds some bytes.
#[derive(Debug, Clone)]
enum Trap {
    /// It never reaches the server: cut before it is sent on.
    Request(Vec<u8>),
    /// The server does it, answers, and the answer is swallowed: cut then.
    Reply { request: Vec<u8>, answer: Vec<u8> },
}

impl Trap {
    fn request(&self) -> &[u8] {
        match self {
            Self::Request(request) | Self::Reply { request, .. } => request,
        }
    }
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    weather: watch::Sender<Weather>,
    trap: Mutex<Option<Trap>>,
    sprung: AtomicU64,
    connections: AtomicU64,
}

/// A TCP proxy on a free port before a server. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts before `upstream`, which need not listen yet; everything passes.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            weather: watch::Sender::new(Weather::Fair),
            trap: Mutex::new(None),
            sprung: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections taken so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Everything passes again. Connections that were held half-open go on where they stood.
    pub fn pass(&self) {
        self.shared.weather.send_replace(Weather::Fair);
    }

    /// Everything passes, each piece later by `by`.
    pub fn delay(&self, by: Duration) {
        self.shared.weather.send_replace(Weather::Slow(by));
    }

    /// Cuts all connections, and closes new ones at once, until [`Proxy::pass`].
    pub fn cut(&self) {
        self.shared.weather.send_replace(Weather::Cut);
    }

    /// Keeps connections open, and takes new ones, but lets nothing pass in either direction.
    pub fn half_open(&self) {
        self.shared.weather.send_replace(Weather::HalfOpen);
    }

    /// The next request that holds these bytes never arrives: its connection is cut first. Once.
    pub fn lose_request(&self, request: &[u8]) {
        *trap(&self.shared) = Some(Trap::Request(request.to_vec()));
    }

    /// The next request that holds these bytes arrives, and the server's answer to it does not: once the server has sent
    /// `answer` (anything, when empty) the connection is cut. Once.
    pub fn lose_reply(&self, request: &[u8], answer: &[u8]) {
        *trap(&self.shared) = Some(Trap::Reply { request: request.to_vec(), answer: answer.to_vec() });
    }

    /// The next COMMIT through here happens, and its client does not learn of it.
    pub fn lose_reply_to_commit(&self) {
        // The command tag; what earlier statements of the same message answer is not yet the commit's answer.
        self.lose_reply(POSTGRES_COMMIT, POSTGRES_COMMIT);
    }

    /// Requests or replies lost so far.
    pub fn lost(&self) -> u64 {
        self.shared.sprung.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

fn trap(shared: &Shared) -> MutexGuard<'_, Option<Trap>> {
    shared.trap.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if *shared.weather.borrow() != Weather::Cut {
            tokio::spawn(connection(client, shared.clone()));
        }
    }
}

/// Runs until either side closes, or the weather cuts it; dropping the sockets closes both sides.
async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let mut weather = shared.weather.subscribe();
    let work = async {
        let server = TcpStream::connect(shared.upstream).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (client, server) = (client.into_split(), server.into_split());
        let swallow = Swallow::default();
        tokio::select! {
            ended = requests(client.0, server.1, &shared, &swallow) => ended,
            ended = replies(server.0, client.1, &shared, &swallow) => ended,
        }
    };
    tokio::select! {
        _ = work => {}
        _ = weather.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

/// What a connection's two directions tell each other.
#[derive(Default)]
struct Swallow {
    on: AtomicBool,
    answer: Mutex<Vec<u8>>,
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, swallow: &Swallow) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    // The end of what went before, since a pattern may lie across two reads.
    let mut tail = Vec::new();
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        match sprung(shared, &mut tail, &buffer[..read]) {
            Some(Trap::Request(_)) => return Ok(()),
            Some(Trap::Reply { answer, .. }) => {
                *swallow.answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = answer;
                swallow.on.store(true, Ordering::SeqCst);
            }
            None => {}
        }
        weathered(shared).await;
        to.write_all(&buffer[..read]).await?;
        if swallow.on.load(Ordering::SeqCst) {
            time::sleep(REPLY_PATIENCE).await;
            return Ok(());
        }
    }
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, swallow: &Swallow) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut swallowed = Vec::new();
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if swallow.on.load(Ordering::SeqCst) {
            swallowed.extend_from_slice(&buffer[..read]);
            let answer = swallow.answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            if contains(&swallowed, &answer) {
                return Ok(());
            }
            continue;
        }
        weathered(shared).await;
        to.write_all(&buffer[..read]).await?;
    }
}

/// Takes the trap when this read completes its pattern.
fn sprung(shared: &Shared, tail: &mut Vec<u8>, read: &[u8]) -> Option<Trap> {
    let mut armed = trap(shared);
    let keep = armed.as_ref().map_or(64, |trap| trap.request().len().max(1)) - 1;
    tail.extend_from_slice(read);
    let hit = armed.as_ref().is_some_and(|trap| contains(tail, trap.request()));
    tail.drain(..tail.len().saturating_sub(keep));
    if !hit {
        return None;
    }
    tail.clear();
    shared.sprung.fetch_add(1, Ordering::SeqCst);
    armed.take()
}

fn contains(bytes: &[u8], pattern: &[u8]) -> bool {
    pattern.is_empty() || bytes.windows(pattern.len()).any(|window| window == pattern)
}

/// Waits while nothing may pass.
async fn weathered(shared: &Shared) {
    let mut weather = shared.weather.subscribe();
    let now = *weather.borrow();
    if let Weather::Slow(by) = now {
        return time::sleep(by).await;
    }
    // An error means the proxy is gone, and the connection with it.
    let _ = weather.wait_for(|weather| *weather != Weather::HalfOpen).await;
}
