//! Message size: a request message over the limit is refused when its length is read, before its bytes are kept.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::{Code, Status};

use super::around::{Around, Call, Inner, Reply};
use crate::config::ByteSize;
use crate::errors;

/// A gRPC message begins with a compression flag and its length in four bytes.
const PREFIX: usize = 5;

#[derive(Clone)]
pub(super) struct MessageSize(pub(super) ByteSize);

impl Around for MessageSize {
    async fn around(self, call: Call, inner: impl Inner) -> Reply {
        inner.pass(call.map(|body| Body::new(Measured { body, lengths: Lengths::default(), limit: self.0 }))).await
    }
}

/// Reads the lengths out of a byte stream of messages, however it is cut into pieces.
#[derive(Default)]
struct Lengths {
    prefix: [u8; PREFIX],
    prefix_read: usize,
    payload_left: u64,
}

impl Lengths {
    /// The longest message that begins in `data`, if any does.
    fn longest(&mut self, mut data: &[u8]) -> Option<u64> {
        let mut longest = None;
        while data.has_remaining() {
            if self.payload_left > 0 {
                let skipped = data.len().min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
                data.advance(skipped);
                self.payload_left -= skipped as u64;
                continue;
            }
            let taken = data.len().min(PREFIX - self.prefix_read);
            data.copy_to_slice(&mut self.prefix[self.prefix_read..self.prefix_read + taken]);
            self.prefix_read += taken;
            if self.prefix_read == PREFIX {
                self.prefix_read = 0;
                self.payload_left = u64::from((&self.prefix[1..]).get_u32());
                longest = longest.max(Some(self.payload_left));
            }
        }
        longest
    }
}

pin_project! {
    struct Measured {
        #[pin]
        body: Body,
        lengths: Lengths,
        limit: ByteSize,
    }
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
        match data.and_then(|data| this.lengths.longest(data)) {
            Some(length) if length > this.limit.0 => Poll::Ready(Some(Err(too_large(length, *this.limit)))),
            _ => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_large(length: u64, limit: ByteSize) -> Status {
    errors::rich(
        Code::ResourceExhausted,
        "MESSAGE_TOO_LARGE",
        format!("a message of {length} bytes is over this server's limit of {limit}: send smaller messages or batches"),
        [("limit_bytes", limit.0.to_string()), ("message_bytes", length.to_string())],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_however_the_bytes_are_cut() {
        let wire = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[7; 256]].concat();
        for piece in 1..wire.len() {
            let mut lengths = Lengths::default();
            let longest = wire.chunks(piece).filter_map(|data| lengths.longest(data)).max();
            assert_eq!(longest, Some(256), "pieces of {piece}");
            assert_eq!((lengths.prefix_read, lengths.payload_left), (0, 0), "pieces of {piece}");
        }
    }
}
