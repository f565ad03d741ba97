//! The event log: ordered, durable streams with contiguous sequence numbers.
//!
//! ```text
//!                 ┌─ embedded   one SQLite file, one machine
//! dyn EventLog ───┤
//!                 └─ jetstream  NATS JetStream, file storage
//! ```
//!
//! [`EventLog`] is the specification; [`contract`] is its test, one function a behaviour, run on every backend. [`open`]
//! chooses the backend by URL, once.
//!
//! The nasty invariant: **a reader never steps over a hole by itself.** Every sequence from `from` on is either a record or
//! part of a [`Loss`] that the backend has looked up in the log, never guessed from an absent delivery.

pub mod contract;
pub mod embedded;
mod error;
mod faulty;
mod held;
pub mod jetstream;
mod late;
mod open;
mod seek;

pub use error::LogError;
pub use faulty::behind;
pub use held::ensure_held;
pub use late::LateLog;
pub use open::open;

use async_trait::async_trait;
use bytes::Bytes;
use loadline_domain::{Incarnation, Loss, Record, Sequence, StreamName, Timestamp};
use std::time::Duration;

/// How long a stream keeps its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Records older than this are discarded; `None` keeps them for ever.
    pub max_age: Option<Duration>,
    /// The oldest records are discarded when the stream is larger; `None` sets no limit.
    pub max_bytes: Option<u64>,
}

/// A stream as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name, such as `BILLING`.
    pub name: StreamName,
    /// First token of the subjects it takes, such as `billing` for `billing.>`. The embedded log has no subjects.
    pub subject: String,
    /// Used when the stream is made; an existing stream keeps its own.
    pub retention: Retention,
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// What subjects are made of: the account. Records of one key stay in order.
    pub key: String,
    /// The bytes.
    pub payload: Bytes,
    /// W3C `traceparent` of the request that brought it, carried as a header where the log has headers.
    pub traceparent: Option<String>,
}

/// What a stream holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Which making of the stream.
    pub incarnation: Incarnation,
    /// First sequence still there; `last + 1` when nothing is.
    pub first: Sequence,
    /// Last sequence ever appended; 0 before the first.
    pub last: Sequence,
    /// Size.
    pub bytes: u64,
    /// When the first record still there was appended.
    pub oldest_at: Option<Timestamp>,
    /// How long it keeps records.
    pub retention: Retention,
}

/// Most to read at once. At least one record is read, however large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Records and losses.
    pub records: usize,
    /// Payload bytes.
    pub bytes: usize,
}

/// One step of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The record at the next sequence.
    Record(Record),
    /// A run from the next sequence on that the log no longer has: it is before `first`, or was deleted.
    Lost(Loss),
}

impl Entry {
    /// The last sequence it covers.
    pub fn last(&self) -> Sequence {
        match self {
            Self::Record(record) => record.sequence,
            Self::Lost(loss) => loss.last,
        }
    }
}

/// Ordered, durable streams.
///
/// - Sequences of a stream's incarnation are contiguous from 1. A stream that is deleted and made again has another
///   [`Incarnation`] and starts at 1 again; it never continues under the same one.
/// - Record times rise with the sequence, as far as the log's clock does: where it was set back, they may fall once.
/// - Every method may be called at the same time by any number of tasks. Cancelling a call leaves the log usable; a
///   cancelled `append` may or may not have happened.
/// - Every call is bounded in time by the backend (a few seconds) and fails with [`LogError::Unavailable`] rather than hang.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Makes the stream if it is not there. An existing stream is left as it is.
    async fn ensure(&self, spec: &StreamSpec) -> Result<(), LogError>;

    /// Appends in order and returns the sequences, one a record, rising. The records are durable, as far as the backend can
    /// promise (see [`EventLog::caveats`]), when this returns. On an error some may have been appended all the same: append
    /// again, the store recognises duplicates. Appending nothing is fine.
    ///
    /// # Errors
    /// [`LogError::StreamNotFound`], [`LogError::TooLarge`] (nothing was appended), [`LogError::Unavailable`].
    async fn append(&self, stream: &StreamName, records: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError>;

    /// Reads on from `from`: records and losses, without holes, in order. Waits up to `wait` for the first and returns what
    /// is there then; nothing when `from` is past the end. The sequence after the last entry is where to go on. A position
    /// beyond `last + 1` is not an error by itself: a log that lost its end (a power cut, see [`EventLog::caveats`]) shows it in
    /// its bounds, to whoever remembers how far it has read.
    ///
    /// # Errors
    /// [`LogError::Recreated`] when the stream has another incarnation, [`LogError::LostItsEnd`] when that happened between two
    /// reads and this backend can tell, [`LogError::StreamNotFound`], [`LogError::Unavailable`].
    async fn read(
        &self,
        stream: &StreamName,
        incarnation: &Incarnation,
        from: Sequence,
        limit: ReadLimit,
        wait: Duration,
    ) -> Result<Vec<Entry>, LogError>;

    /// What the stream holds now. The first call after a deletion by age may still show what is about to be discarded.
    ///
    /// # Errors
    /// [`LogError::StreamNotFound`], [`LogError::Unavailable`].
    async fn bounds(&self, stream: &StreamName) -> Result<Bounds, LogError>;

    /// Sequence and time of the first record at or after `sequence` that is still there; `None` past the end.
    ///
    /// # Errors
    /// As [`EventLog::bounds`].
    async fn peek(&self, stream: &StreamName, sequence: Sequence) -> Result<Option<(Sequence, Timestamp)>, LogError>;

    /// Sequence of the first record appended at or after `time` that is still there; `last + 1` when there is none. Where the
    /// log's clock was ahead for a while, it may be an earlier one; where it went back, any.
    ///
    /// # Errors
    /// As [`EventLog::bounds`].
    async fn seek(&self, stream: &StreamName, time: Timestamp) -> Result<Sequence, LogError>;

    /// Changes how long the stream keeps its records, at once.
    ///
    /// # Errors
    /// As [`EventLog::bounds`].
    async fn set_retention(&self, stream: &StreamName, retention: Retention) -> Result<(), LogError>;

    /// What this backend, as it runs now, cannot promise; shown to operators at start. Empty is good.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn caveats(&self) -> Result<Vec<String>, LogError>;

    /// Whether the log can be reached now, without side effect.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn probe(&self) -> Result<(), LogError>;
}
