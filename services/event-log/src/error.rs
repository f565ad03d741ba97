//! What can go wrong with a log.

use loadline_domain::{Incarnation, Sequence, StreamName};

/// Why a call on the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be reached or does not answer in time. A retry can help; an append may have happened.
    #[error("event log unavailable: {0}")]
    Unavailable(String),
    /// There is no such stream. It may be made.
    #[error("the event log has no stream {0}")]
    StreamNotFound(StreamName),
    /// The stream was deleted and made again: positions in the old one mean nothing here.
    #[error("stream {stream} was made again; it is now incarnation {current}")]
    Recreated {
        /// The stream.
        stream: StreamName,
        /// What it is now.
        current: Incarnation,
    },
    /// The log, under the same incarnation, no longer holds what was read of it: a power cut or a backup took its end.
    #[error(
        "stream {stream} ends at {last} and {read} was read, but not from this log: it lost its end, and what was appended since \
         would be skipped; make the stream again, and publish again what was not counted"
    )]
    LostItsEnd {
        /// The stream.
        stream: StreamName,
        /// Last sequence there is now.
        last: Sequence,
        /// Sequence that was read once.
        read: Sequence,
    },
    /// A record is larger than the log takes.
    #[error("record of {bytes} bytes; the event log takes at most {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The log is not what the configuration says, or cannot be used at all. A retry cannot help.
    #[error("event log: {0}")]
    Misconfigured(String),
}

impl LogError {
    /// Whether trying again, unchanged, may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
