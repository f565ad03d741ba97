//! One connection: a handshake in bounded time, HTTP/2 with limits, an orderly end.

use std::io::{self, Cursor};

use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;

use super::Settings;
use super::around::{Call, Inner};
use super::overload::Overload;
use crate::accept::Accepted;
use crate::identity::Peer;
use crate::lifecycle::Shutdown;

/// What an HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a browser or curl is told. The end of the connection is the end of the text.
const NOT_GRPC: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
This port speaks gRPC (HTTP/2): use a gRPC client such as grpcurl. Metrics are on the admin port.\n";

/// Streams locally reset on an error before the connection is closed (RUSTSEC-2024-0003); tonic's server would switch this off.
const MAX_LOCAL_RESETS: usize = 1_024;

/// Streams reset by the caller before they are looked at until the connection is closed (CVE-2023-44487). Callers whose time is over
/// together reset as many as they have in flight, and again before a busy server has looked; at the default of 20 all other calls of
/// their connection end with them.
const MAX_REMOTE_RESETS: usize = 1_024;

/// Serves a connection until its end; once `closing` begins, until its requests have ended. Its requests run as tasks of `closing`.
pub(super) async fn serve(accepted: Accepted, settings: Settings, overload: Overload, service: impl Inner, closing: Shutdown) {
    let Accepted { mut stream, peer, slot: _slot } = accepted;
    let local = stream.local_addr().ok();
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(settings.handshake_timeout.0, handshake(&mut stream)) => shaken,
        // A socket that has said nothing has nothing in flight.
        () = closing.cancelled() => return,
    };
    match shaken {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no HTTP/2 handshake"),
        Err(_) => return tracing::debug!(%peer, "silent until the handshake deadline"),
    }
    // Called where the request is read; what it returns is a task of its own, which may have to wait for a thread.
    let service = service_fn(move |request: Request<Incoming>| {
        let mut call = identified(request, peer, local);
        overload.arrives(&mut call);
        service.clone().oneshot(call)
    });
    let (read, write) = stream.into_split();
    let io = TokioIo::new(tokio::io::join(Cursor::new(&PREFACE[..]).chain(read), write));
    let serving = http(&settings, closing.clone()).serve_connection(io, service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = closing.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Reads the preface; hyper waits for it without a limit, also at shutdown.
async fn handshake(stream: &mut TcpStream) -> io::Result<()> {
    // Small messages go out at once: every gRPC call waits for one.
    stream.set_nodelay(true)?;
    let mut read = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < PREFACE.len() {
        match stream.read(&mut read[filled..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => filled += more,
        }
        if read[..filled] != PREFACE[..filled] {
            stream.write_all(NOT_GRPC).await?;
            stream.shutdown().await?;
            // Closing with bytes unread would reset the connection, and the answer with it.
            tokio::io::copy(stream, &mut tokio::io::sink()).await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not HTTP/2"));
        }
    }
    Ok(())
}

fn identified(request: Request<Incoming>, peer: std::net::SocketAddr, local: Option<std::net::SocketAddr>) -> Call {
    let mut call = request.map(Body::new);
    call.extensions_mut().insert(Peer { addr: peer });
    // What `tonic::Request::remote_addr` reads.
    call.extensions_mut().insert(TcpConnectInfo { local_addr: local, remote_addr: Some(peer) });
    call
}

fn http(settings: &Settings, tasks: Shutdown) -> http2::Builder<InFlight> {
    let mut http = http2::Builder::new(InFlight(tasks));
    http.timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_pending_accept_reset_streams(MAX_REMOTE_RESETS)
        .max_header_list_size(u32::try_from(settings.max_header_bytes.0).unwrap_or(u32::MAX))
        .keep_alive_interval(settings.keepalive_interval.0)
        .keep_alive_timeout(settings.keepalive_timeout.0);
    http
}

/// Runs a connection's requests as tasks that shutdown waits for, and cuts.
#[derive(Clone)]
struct InFlight(Shutdown);

impl<F> Executor<F> for InFlight
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, request: F) {
        self.0.spawn(request);
    }
}
