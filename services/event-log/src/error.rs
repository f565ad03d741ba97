//! What can go wrong with a log.

use loadline_domain::{Incarnation, StreamName};

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
