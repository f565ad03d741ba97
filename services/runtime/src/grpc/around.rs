//! A tower layer as one async function around the rest of the stack.

use std::convert::Infallible;
use std::future::Future;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};

/// A request on its way in.
pub(super) type Call = http::Request<Body>;
/// A reply on its way out; a refusal is a reply too.
pub(super) type Reply = http::Response<Body>;

/// What is left of the stack, further in.
pub(super) trait Inner:
    Service<Call, Response = Reply, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    /// Lets the call go further in.
    fn pass(self, call: Call) -> impl Future<Output = Reply> + Send {
        async {
            match self.oneshot(call).await {
                Ok(reply) => reply,
                Err(never) => match never {},
            }
        }
    }
}

impl<S> Inner for S where S: Service<Call, Response = Reply, Error = Infallible, Future: Send> + Clone + Send + 'static {}

/// One layer's behaviour. Cloned for every call.
pub(super) trait Around: Clone + Send + Sync + 'static {
    /// Answers a call, usually by passing it on.
    fn around(self, call: Call, inner: impl Inner) -> impl Future<Output = Reply> + Send;
}

/// An [`Around`] as a tower layer.
#[derive(Clone)]
pub(super) struct AroundLayer<A>(pub(super) A);

impl<A: Clone, S> Layer<S> for AroundLayer<A> {
    type Service = Wrapped<A, S>;

    fn layer(&self, inner: S) -> Wrapped<A, S> {
        Wrapped { around: self.0.clone(), inner }
    }
}

/// A service with something around it.
#[derive(Clone)]
pub(super) struct Wrapped<A, S> {
    around: A,
    inner: S,
}

impl<A: Around, S: Inner> Service<Call> for Wrapped<A, S> {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Readiness is asked for by `pass`, on the clone that serves the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let (around, inner) = (self.around.clone(), self.inner.clone());
        Box::pin(async move { Ok(around.around(call, inner).await) })
    }
}
