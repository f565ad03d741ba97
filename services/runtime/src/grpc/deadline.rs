//! Deadline: `grpc-timeout`, capped, and held until the reply's body ends.
//!
//! When time is over the call's work is dropped by a timer of its own, not when the body is next asked for: a client that stops
//! reading would otherwise hold what it uses for as long as it likes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use super::around::{Around, Call, Inner, Reply};
use crate::errors;

/// When a request's time is over; in its extensions, for handlers that can answer with what they have by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The deadline of a request, if it has one.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Deadline> {
        request.extensions().get().copied()
    }

    /// How much time is left; zero when it is over.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Paths of methods whose streams live as long as their client wants.
pub(super) type LongLived = Arc<[&'static str]>;

#[derive(Clone)]
pub(super) struct Deadlines {
    pub(super) max: Duration,
    pub(super) long_lived: LongLived,
}

impl Deadlines {
    /// How long this call may take. Long-lived streams are not capped, but keep to what their client asks for.
    fn limit(&self, call: &Call) -> Result<Option<Duration>, Status> {
        let asked = call.headers().get("grpc-timeout").map(parse).transpose()?;
        match self.long_lived.contains(&call.uri().path()) {
            true => Ok(asked),
            false => Ok(Some(asked.map_or(self.max, |asked| asked.min(self.max)))),
        }
    }
}

impl Around for Deadlines {
    async fn around(self, mut call: Call, inner: impl Inner) -> Reply {
        let limit = match self.limit(&call) {
            Ok(Some(limit)) => limit,
            Ok(None) => return inner.pass(call).await,
            Err(status) => return status.into_http(),
        };
        let deadline = Instant::now() + limit;
        call.extensions_mut().insert(Deadline(deadline));
        match tokio::time::timeout_at(deadline, inner.pass(call)).await {
            Ok(reply) => reply.map(|body| Timed::wrap(body, deadline, limit)),
            Err(_) => over(limit).into_http(),
        }
    }
}

fn over(limit: Duration) -> Status {
    errors::deadline_exceeded(
        limit,
        "ask for less at once, or allow more time with grpc-timeout (up to the server's max_deadline)",
    )
}

/// `TimeoutValue TimeoutUnit` of the gRPC specification: up to eight digits and one of `H M S m u n`.
fn parse(value: &HeaderValue) -> Result<Duration, Status> {
    let refused = || errors::invalid("grpc-timeout", "must be up to eight digits and a unit of H, M, S, m, u or n, such as 500m");
    let text = value.to_str().map_err(|_| refused())?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refused)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refused());
    }
    let number: u64 = digits.parse().map_err(|_| refused())?;
    match unit {
        "H" => Ok(Duration::from_secs(number * 3_600)),
        "M" => Ok(Duration::from_secs(number * 60)),
        "S" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_millis(number)),
        "u" => Ok(Duration::from_micros(number)),
        "n" => Ok(Duration::from_nanos(number)),
        _ => Err(refused()),
    }
}

/// A body with a deadline.
struct Timed {
    shared: Arc<Mutex<State>>,
    timer: AbortHandle,
}

enum State {
    Running { body: Body, reader: Option<Waker> },
    Over(Status),
    Ended,
}

impl Timed {
    fn wrap(body: Body, deadline: Instant, limit: Duration) -> Body {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        let shared = Arc::new(Mutex::new(State::Running { body, reader: None }));
        let timer = tokio::spawn(end_at(deadline, limit, shared.clone())).abort_handle();
        Body::new(Timed { shared, timer })
    }
}

async fn end_at(deadline: Instant, limit: Duration, shared: Arc<Mutex<State>>) {
    tokio::time::sleep_until(deadline).await;
    let ended = {
        let mut state = lock(&shared);
        match &*state {
            State::Running { .. } => std::mem::replace(&mut *state, State::Over(over(limit))),
            State::Over(_) | State::Ended => State::Ended,
        }
    };
    // Outside the lock: dropping the body runs the service's own destructors.
    if let State::Running { body, reader } = ended {
        drop(body);
        reader.into_iter().for_each(Waker::wake);
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut state = lock(&self.shared);
        match &mut *state {
            State::Running { body, reader } => {
                *reader = Some(cx.waker().clone());
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if frame.is_none() {
                    *state = State::Ended;
                }
                Poll::Ready(frame)
            }
            State::Over(status) => {
                let mut trailers = HeaderMap::new();
                let written = status.add_header(&mut trailers);
                *state = State::Ended;
                Poll::Ready(Some(written.map(|()| Frame::trailers(trailers))))
            }
            State::Ended => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Duration> {
        parse(&HeaderValue::from_str(text).expect("a header")).ok()
    }

    #[test]
    fn timeouts_are_read_as_the_specification_writes_them() {
        assert_eq!(parsed("500m"), Some(Duration::from_millis(500)));
        assert_eq!(parsed("3S"), Some(Duration::from_secs(3)));
        assert_eq!(parsed("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for text in ["", "S", "5", "5s", "+5S", "123456789S", "-1S", "1.5S"] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }
}
