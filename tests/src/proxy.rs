//! The network between a client and a server, in this process, with its faults.
//!
//! A lost request and a lost reply are different operations: after the first nothing has happened, after the second it has,
//! and the client cannot tell them apart.

use anyhow::{Context as _, Result};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
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

/// What waits for requests that hold some bytes.
#[derive(Debug, Clone)]
struct Trap {
    /// Tells it from the traps before.
    id: u64,
    /// Found one after another in what one connection sends; the last one springs it.
    requests: Vec<Vec<u8>>,
    /// The last request is served and its answer, once it holds this, is swallowed; without it the request never arrives.
    answer: Option<Vec<u8>>,
    then: Then,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is cut.
    Cut,
    /// It stays open, and nothing passes any more, until the client is gone.
    Hold,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    weather: watch::Sender<Weather>,
    trap: Mutex<Option<Trap>>,
    traps: AtomicU64,
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
            traps: AtomicU64::new(0),
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
        self.arm(&[request], None, Then::Cut);
    }

    /// The next request that holds these bytes arrives, and the server's answer to it does not: once the server has sent
    /// `answer` (anything, when empty) the connection is cut. Once.
    pub fn lose_reply(&self, request: &[u8], answer: &[u8]) {
        self.arm(&[request], Some(answer), Then::Cut);
    }

    /// Once a connection has sent these one after another, the last of them stands before the server and stays there: its
    /// sender waits until somebody ends it. Once; [`Proxy::sprung`] tells when.
    pub fn hold_request(&self, requests: &[&[u8]]) {
        self.arm(requests, None, Then::Hold);
    }

    /// The same, but that the server does it and its answer, once it holds `answer`, stays behind.
    pub fn hold_reply(&self, requests: &[&[u8]], answer: &[u8]) {
        self.arm(requests, Some(answer), Then::Hold);
    }

    /// Waits until so many requests or replies are lost or held, since the start.
    ///
    /// # Errors
    /// When it takes longer than `patience`.
    pub async fn sprung(&self, lost: u64, patience: Duration) -> Result<()> {
        let waiting = async {
            while self.lost() < lost {
                time::sleep(Duration::from_millis(2)).await;
            }
        };
        let what = || format!("nobody sent {:?}", trap(&self.shared).as_ref().map(Trap::told));
        time::timeout(patience, waiting).await.with_context(what)
    }

    fn arm(&self, requests: &[&[u8]], answer: Option<&[u8]>, then: Then) {
        let id = self.shared.traps.fetch_add(1, Ordering::SeqCst) + 1;
        let requests = requests.iter().map(|request| request.to_vec()).collect();
        *trap(&self.shared) = Some(Trap { id, requests, answer: answer.map(<[u8]>::to_vec), then });
    }

    /// The next COMMIT through here happens, and its client does not learn of it.
    pub fn lose_reply_to_commit(&self) {
        // The command tag; what earlier statements of the same message answer is not yet the commit's answer.
        self.lose_reply(POSTGRES_COMMIT, POSTGRES_COMMIT);
    }

    /// Requests or replies lost or held so far.
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

/// What a connection's two directions tell each other: the trap whose answer is swallowed.
type Swallow = Mutex<Option<Trap>>;

fn swallowed(swallow: &Swallow) -> Option<Trap> {
    swallow.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, swallow: &Swallow) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut track = Track::default();
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let sprung = track.sprung(shared, &buffer[..read]);
        if let Some(trap) = &sprung {
            match (&trap.answer, trap.then) {
                (None, Then::Cut) => return Ok(()),
                (None, Then::Hold) => return until_gone(&mut from).await,
                (Some(_), _) => {
                    *swallow.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(trap.clone());
                }
            }
        }
        weathered(shared).await;
        to.write_all(&buffer[..read]).await?;
        match sprung.map(|trap| trap.then) {
            Some(Then::Cut) => {
                time::sleep(REPLY_PATIENCE).await;
                return Ok(());
            }
            Some(Then::Hold) => return until_gone(&mut from).await,
            None => {}
        }
    }
}

/// Takes what still comes, for nobody, until the client has closed.
async fn until_gone(from: &mut OwnedReadHalf) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    while from.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, swallow: &Swallow) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut taken = Vec::new();
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if let Some(trap) = swallowed(swallow) {
            taken.extend_from_slice(&buffer[..read]);
            if contains(&taken, trap.answer.as_deref().unwrap_or_default()) {
                shared.sprung.fetch_add(1, Ordering::SeqCst);
                return match trap.then {
                    Then::Cut => Ok(()),
                    Then::Hold => std::future::pending().await,
                };
            }
            continue;
        }
        weathered(shared).await;
        to.write_all(&buffer[..read]).await?;
    }
}

/// How far what one connection sends is through a trap.
#[derive(Default)]
struct Track {
    trap: u64,
    found: usize,
    /// The end of what went before, since a pattern may lie across two reads.
    tail: Vec<u8>,
}

impl Track {
    /// Takes the trap when this read completes its last pattern.
    fn sprung(&mut self, shared: &Shared, read: &[u8]) -> Option<Trap> {
        let mut armed = trap(shared);
        if let Some(trap) = armed.as_ref().filter(|trap| trap.id != self.trap) {
            (self.trap, self.found) = (trap.id, 0);
            // What had passed whole before the trap was there does not spring it.
            self.keep(trap.requests[0].len());
        }
        self.tail.extend_from_slice(read);
        let Some(trap) = armed.as_ref() else {
            self.keep(64);
            return None;
        };
        while let Some(pattern) = trap.requests.get(self.found) {
            let Some(at) = position(&self.tail, pattern) else {
                self.keep(pattern.len());
                return None;
            };
            self.tail.drain(..at + pattern.len());
            self.found += 1;
        }
        self.tail.clear();
        if trap.answer.is_none() {
            shared.sprung.fetch_add(1, Ordering::SeqCst);
        }
        armed.take()
    }

    fn keep(&mut self, pattern: usize) {
        self.tail.drain(..self.tail.len().saturating_sub(pattern.max(1) - 1));
    }
}

impl Trap {
    fn told(&self) -> Vec<String> {
        self.requests.iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect()
    }
}

/// Where a pattern begins.
fn position(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    if pattern.is_empty() { Some(0) } else { bytes.windows(pattern.len()).position(|window| window == pattern) }
}

fn contains(bytes: &[u8], pattern: &[u8]) -> bool {
    position(bytes, pattern).is_some()
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
