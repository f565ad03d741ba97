//! Streams of the event log, positions in them, records, and records that were lost.

use crate::time::Timestamp;
use bytes::Bytes;
use std::{fmt, sync::Arc};

/// Position of a record: 1, 2, 3 … within one incarnation. 0 is "before the first".
pub type Sequence = u64;

/// Name of a stream: 1 to 64 of `A-Z a-z 0-9 _ -`, as NATS allows.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

/// A text that is no stream name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no stream name; use 1 to 64 letters, digits, `_` or `-`, such as BILLING or DLR-0")]
pub struct StreamNameError(String);

impl StreamName {
    /// Checks and wraps a name.
    pub fn new(text: &str) -> Result<Self, StreamNameError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
            return Err(StreamNameError(text.chars().take(80).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// Which making of a stream: a stream that was deleted and made again has another one, and starts at 1 again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    /// Wraps the log's own mark.
    pub fn new(mark: impl AsRef<str>) -> Self {
        Self(mark.as_ref().into())
    }

    /// The mark as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the stream.
    pub sequence: Sequence,
    /// When the log took it, by the log's clock. Never goes back within an incarnation by more than clock adjustment.
    pub recorded_at: Timestamp,
    /// An encoded `loadline.event.v1.Event`, if the producer kept to the contract.
    pub payload: Bytes,
}

/// Why records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// Retention discarded them unread.
    Retention,
    /// Somebody deleted them from the middle.
    Deleted,
    /// The stream was deleted or made again.
    Recreated,
}

/// A run of records that left the log before they were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// First lost sequence.
    pub first: Sequence,
    /// Last lost sequence, inclusive.
    pub last: Sequence,
    /// Why.
    pub cause: LossCause,
    /// They were appended not before this.
    pub after: Option<Timestamp>,
    /// They were appended not after this.
    pub before: Option<Timestamp>,
}

impl Loss {
    /// Number of lost records.
    pub fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl LossCause {
    /// Stable name, as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Deleted => "deleted",
            Self::Recreated => "recreated",
        }
    }

    /// From the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Retention, Self::Deleted, Self::Recreated].into_iter().find(|cause| cause.as_str() == text)
    }
}
