//! The admin port: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever starts and routes to the process.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::accept::{Accepted, Acceptor};
use crate::lifecycle::Shutdown;

/// Connections at once; scrapers and probes need a handful.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may take to send a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a request may take to finish once shutdown has begun.
const GRACE: Duration = Duration::from_secs(1);

/// Which parts of the process are ready; cheap to clone, all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    components: Arc<RwLock<BTreeMap<String, Option<String>>>>,
}

impl Readiness {
    /// Not ready until each of these components has said so.
    pub fn new(components: &[&str]) -> Self {
        let readiness = Self::default();
        components.iter().for_each(|component| readiness.set(component, false, "starting"));
        readiness
    }

    /// Not ready until each of its components has said so again.
    pub fn start_again(&self) {
        let mut components = self.components.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        components.values_mut().for_each(|state| *state = Some("starting".to_owned()));
    }

    /// Says whether a component is ready, and if not, why.
    pub fn set(&self, component: &str, ready: bool, why: impl Into<String>) {
        let state = (!ready).then(|| why.into());
        self.components.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(component.to_owned(), state);
    }

    /// Whether every component is ready.
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// `component: why`, for each that is not ready.
    pub fn reasons(&self) -> Vec<String> {
        let components = self.components.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        components.iter().filter_map(|(component, why)| why.as_ref().map(|why| format!("{component}: {why}"))).collect()
    }
}

/// Serves the admin port until shutdown begins; then requests under way get a second.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: impl Fn() -> String + Clone + Send + Sync + 'static,
    shutdown: Shutdown,
) {
    let router = router(readiness, metrics, shutdown.clone());
    let connections = Shutdown::new();
    let mut acceptor = Acceptor::new(listener, MAX_CONNECTIONS, || {});
    loop {
        let accepted = tokio::select! {
            accepted = acceptor.next() => accepted,
            () = shutdown.cancelled() => break,
        };
        connections.spawn(connection(accepted, router.clone(), connections.clone()));
    }
    drop(acceptor);
    connections.drain(GRACE).await;
}

async fn connection(accepted: Accepted, router: Router, closing: Shutdown) {
    let Accepted { stream, slot: _slot, .. } = accepted;
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = closing.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin connection ended");
    }
}

fn router(readiness: Readiness, metrics: impl Fn() -> String + Clone + Send + Sync + 'static, shutdown: Shutdown) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { ready(&readiness, &shutdown) }))
        .route(
            "/metrics",
            get(move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics()) }),
        )
        .fallback(|| async { (StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n") })
}

fn ready(readiness: &Readiness, shutdown: &Shutdown) -> Response {
    let mut reasons = readiness.reasons();
    if shutdown.is_begun() {
        reasons.push("process: shutting down".to_owned());
    }
    match reasons.is_empty() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n"))).into_response(),
    }
}
