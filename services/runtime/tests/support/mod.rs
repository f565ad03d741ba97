//! A small gRPC service without contracts (messages are strings), a server around it, and clients.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use loadline_runtime::access::{Access, AccessTable};
use loadline_runtime::config::HumanDuration;
use loadline_runtime::grpc::{Deadline, Server, Settings};
use loadline_runtime::identity::{Identity, IdentityProvider, LocalProvider};
use loadline_runtime::lifecycle::{Drained, Shutdown};
use loadline_runtime::telemetry::{self, Telemetry};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Nothing here takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const TABLE: AccessTable = AccessTable(&[
    ("/test.Echo/Say", Access::Authenticated),
    ("/test.Echo/Open", Access::Anyone),
    ("/test.Echo/Hold", Access::Authenticated),
    ("/test.Echo/Toil", Access::Authenticated),
    ("/test.Echo/TimeLeft", Access::Authenticated),
    ("/test.Echo/Endless", Access::Authenticated),
    ("/test.Echo/Watch", Access::Authenticated),
    ("/test.Echo/Flood", Access::Authenticated),
    ("/test.Echo/Repair", Access::Operator),
]);

/// What the tests and the service share.
#[derive(Clone, Default)]
pub struct Probe {
    /// Streams that are being produced.
    pub streams: Arc<AtomicUsize>,
    /// Calls of `Hold` that have arrived.
    pub held: Arc<AtomicUsize>,
    /// Ends the calls of `Hold`.
    pub release: Arc<Notify>,
}

/// One stream being produced.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Probe {
    async fn answer(self, method: String, request: Request<String>) -> Result<Response<String>, Status> {
        match method.as_str() {
            "Hold" => {
                let released = self.release.notified();
                self.held.fetch_add(1, Ordering::SeqCst);
                released.await;
                Ok(Response::new("held".to_owned()))
            }
            "Toil" => {
                // A thread that is busy, as one is that computes.
                std::thread::sleep(Duration::from_millis(1));
                Ok(Response::new("tired".to_owned()))
            }
            "TimeLeft" => {
                let left = Deadline::of(&request).map_or("none".to_owned(), |deadline| deadline.left().as_millis().to_string());
                Ok(Response::new(left))
            }
            "Say" => {
                let name = Identity::of(&request).map(|identity| identity.name.clone()).unwrap_or_default();
                Ok(Response::new(format!("{name}: {} from {}", request.get_ref().len(), request.remote_addr().is_some())))
            }
            _ => Ok(Response::new("done".to_owned())),
        }
    }

    /// A first message at once; then nothing (`Endless`, `Watch`), or messages as fast as they are taken (`Flood`).
    fn produce(self, method: &str) -> BoxStream<'static, Result<String, Status>> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(self.streams.clone());
        let flood = method == "Flood";
        let messages = stream::once(async { "first".to_owned() });
        let rest = if flood { stream::repeat("x".repeat(64 << 10)).boxed() } else { stream::pending().boxed() };
        messages
            .chain(rest)
            .map(move |message| {
                let _ = &alive;
                Ok(message)
            })
            .boxed()
    }
}

macro_rules! service {
    ($type:ident, $name:literal) => {
        #[derive(Clone)]
        pub struct $type(pub Probe);

        impl tonic::server::NamedService for $type {
            const NAME: &'static str = $name;
        }

        impl tower::Service<http::Request<Body>> for $type {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

            fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                Box::pin(serve(self.0.clone(), request))
            }
        }
    };
}

service!(Echo, "test.Echo");
service!(Health, "grpc.health.v1.Health");

async fn serve(probe: Probe, request: http::Request<Body>) -> Result<http::Response<Body>, Infallible> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default()).max_decoding_message_size(64 << 20);
    if matches!(method.as_str(), "Endless" | "Watch" | "Flood") {
        let stream = tower::service_fn(move |_: Request<String>| {
            let produced = probe.clone().produce(&method);
            async move { Ok::<_, Status>(Response::new(produced)) }
        });
        return Ok(grpc.server_streaming(stream, request).await);
    }
    let answer = tower::service_fn(move |request: Request<String>| probe.clone().answer(method.clone(), request));
    Ok(grpc.unary(answer, request).await)
}

/// A server of its own, stopped when dropped.
pub struct Running {
    pub addr: SocketAddr,
    pub probe: Probe,
    pub shutdown: Shutdown,
    pub telemetry: Telemetry,
    serving: Option<JoinHandle<Drained>>,
}

pub async fn start(settings: Settings) -> Running {
    start_with(settings, Arc::new(LocalProvider)).await
}

pub async fn start_with(settings: Settings, provider: Arc<dyn IdentityProvider>) -> Running {
    let (probe, shutdown) = (Probe::default(), Shutdown::new());
    let telemetry = telemetry::init(&telemetry::Settings::default(), "test", "0").expect("telemetry");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let routes = Routes::new(Echo(probe.clone())).add_service(Health(probe.clone()));
    let server = Server::new(settings, &[TABLE], provider, &telemetry).long_lived(&["/test.Echo/Watch"]);
    let serving = tokio::spawn(server.serve(listener, routes, shutdown.clone()));
    Running { addr, probe, shutdown, telemetry, serving: Some(serving) }
}

impl Running {
    pub async fn channel(&self) -> Channel {
        self.client().await.0
    }

    pub async fn client(&self) -> Client {
        Client::to(self.addr).await
    }

    /// How the server ended.
    pub async fn ended(mut self) -> Drained {
        let serving = self.serving.take().expect("asked once");
        tokio::time::timeout(PATIENCE, serving).await.expect("the server ends").expect("the server does not panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

#[derive(Clone)]
pub struct Client(pub Channel);

impl Client {
    pub async fn to(addr: SocketAddr) -> Self {
        let endpoint = Channel::from_shared(format!("http://{addr}")).expect("a URI");
        Self(endpoint.connect_timeout(PATIENCE).connect().await.expect("connected"))
    }

    pub async fn call(&self, method: &str, request: Request<String>) -> Result<String, Status> {
        let mut grpc = tonic::client::Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = method.parse().expect("a path");
        let call = grpc.unary(request, path, ProstCodec::<String, String>::default());
        tokio::time::timeout(PATIENCE, call).await.expect("an answer, whichever").map(Response::into_inner)
    }

    pub async fn say(&self, text: &str) -> Result<String, Status> {
        self.call("/test.Echo/Say", Request::new(text.to_owned())).await
    }

    pub async fn stream(&self, method: &str, request: Request<String>) -> Result<tonic::Streaming<String>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = method.parse().expect("a path");
        let call = grpc.server_streaming(request, path, ProstCodec::<String, String>::default());
        tokio::time::timeout(PATIENCE, call).await.expect("an answer, whichever").map(Response::into_inner)
    }
}

/// The next message of a stream.
pub async fn next(stream: &mut tonic::Streaming<String>) -> Result<Option<String>, Status> {
    tokio::time::timeout(PATIENCE, stream.message()).await.expect("a message or an end")
}

/// A request that asks for a deadline.
pub fn within(limit: Duration) -> Request<String> {
    let mut request = Request::new(String::new());
    request.set_timeout(limit);
    request
}

/// Waits for something that is bound to happen.
pub async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub fn millis(millis: u64) -> HumanDuration {
    HumanDuration::millis(millis)
}
