//! The server: accepts until shutdown begins, then drains.

use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::service::Routes;

use super::Settings;
use super::connection;
use super::metrics::Instruments;
use super::overload::Overload;
use super::stack::stack;
use crate::accept::Acceptor;
use crate::access::{AccessRules, AccessTable};
use crate::identity::IdentityProvider;
use crate::lifecycle::{Drained, Shutdown};
use crate::telemetry::Telemetry;

/// Streams of every server that live as long as their client wants.
const LONG_LIVED: [&str; 3] = [
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// A gRPC server, ready to serve.
pub struct Server {
    settings: Settings,
    rules: Arc<AccessRules>,
    provider: Arc<dyn IdentityProvider>,
    long_lived: Vec<&'static str>,
    instruments: Instruments,
}

impl Server {
    /// A server with these limits. What is in none of the access tables, nor standard (health, reflection), is denied.
    pub fn new(settings: Settings, access: &[AccessTable], provider: Arc<dyn IdentityProvider>, telemetry: &Telemetry) -> Self {
        Self {
            settings,
            rules: Arc::new(AccessRules::new(access)),
            provider,
            long_lived: LONG_LIVED.to_vec(),
            instruments: Instruments::new(&telemetry.meter("loadline_grpc")),
        }
    }

    /// Names methods (by full path) whose streams the default deadline does not end; an explicit `grpc-timeout` still does.
    pub fn long_lived(mut self, methods: &[&'static str]) -> Self {
        self.long_lived.extend_from_slice(methods);
        self
    }

    /// Serves `routes` until `shutdown` begins; then requests in flight get [`Settings::grace`], and what is left is cut.
    ///
    /// Dropping the future cuts everything at once.
    pub async fn serve(self, listener: TcpListener, routes: Routes, shutdown: Shutdown) -> Drained {
        let Self { settings, rules, provider, long_lived, instruments } = self;
        let overload = Overload::new(settings.target_wait.0);
        let service = stack(&settings, rules, provider, long_lived.into(), instruments.clone(), overload.clone(), routes);
        let connections = CutOnDrop(Shutdown::new());
        let refused = || instruments.connections_refused.add(1, &[]);
        let mut acceptor = Acceptor::new(listener, settings.max_connections as usize, refused);
        loop {
            let accepted = tokio::select! {
                accepted = acceptor.next() => accepted,
                () = shutdown.cancelled() => break,
            };
            let open = Open::one_more(instruments.clone());
            let serving = connection::serve(accepted, settings.clone(), overload.clone(), service.clone(), connections.0.clone());
            connections.0.spawn(async move {
                let _open = open;
                serving.await;
            });
        }
        drop(acceptor);
        connections.0.drain(settings.grace.0).await
    }
}

/// Ends all connections with the server's future.
struct CutOnDrop(Shutdown);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// One open connection, counted while it lives.
struct Open(Instruments);

impl Open {
    fn one_more(instruments: Instruments) -> Self {
        instruments.connections.add(1, &[]);
        Self(instruments)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.add(-1, &[]);
    }
}
