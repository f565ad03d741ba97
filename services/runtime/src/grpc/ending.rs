//! Following a reply to the end of its body: the place where a gRPC call really ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::{Code, Status};

use super::around::Reply;

/// Calls `then` once, with the status the call ended with: from the head, from the trailers, or `Cancelled` when the body was dropped.
pub(super) fn at_end(reply: Reply, then: impl FnOnce(Code) + Send + 'static) -> Reply {
    let (head, body) = reply.into_parts();
    if let Some(code) = code_of(&head.headers) {
        then(code);
        return Reply::from_parts(head, body);
    }
    Reply::from_parts(head, Body::new(Ending { body, then: Some(then) }))
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

pin_project! {
    struct Ending<F: FnOnce(Code)> {
        #[pin]
        body: Body,
        then: Option<F>,
    }

    impl<F: FnOnce(Code)> PinnedDrop for Ending<F> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(then) = this.project().then.take() {
                then(Code::Cancelled);
            }
        }
    }
}

impl<F: FnOnce(Code)> http_body::Body for Ending<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let code = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(|trailers| code_of(trailers).unwrap_or(Code::Unknown)),
            Some(Err(status)) => Some(status.code()),
            None => Some(Code::Unknown),
        };
        if let Some(code) = code
            && let Some(then) = this.then.take()
        {
            then(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
