//! A collector of telemetry, as far as a process can tell: it takes every export over OTLP and counts them.

use anyhow::Result;
use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

/// A running collector; it ends with this.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    taken: Taken,
    serving: JoinHandle<()>,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, taken) = (listener.local_addr()?, Taken::default());
        let serving = Server::builder().serve_with_incoming(taken.clone(), TcpIncoming::from(listener));
        let serving = tokio::spawn(async move { drop(serving.await) });
        Ok(Self { address, taken, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Exports taken until now.
    pub fn exports(&self) -> u64 {
        self.taken.0.load(Ordering::SeqCst)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers whatever is called. An empty message is every message as far as its reader goes, and every answer is one.
#[derive(Debug, Clone, Default)]
struct Taken(Arc<AtomicU64>);

impl UnaryService<()> for Taken {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.0.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::new(())))
    }
}

impl Service<http::Request<Body>> for Taken {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let taken = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::<(), ()>::default()).unary(taken, request).await) })
    }
}
