//! What was published: every record by its place in the log, and every payload that was acknowledged.

use bytes::Bytes;
use loadline_domain::{Sequence, Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The stream.
    pub stream: String,
    /// Which making of it.
    pub incarnation: String,
    /// From 1.
    pub sequence: Sequence,
}

impl Position {
    /// A place.
    pub fn new(stream: &str, incarnation: &str, sequence: Sequence) -> Self {
        Self { stream: stream.to_owned(), incarnation: incarnation.to_owned(), sequence }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]#{}", self.stream, self.incarnation, self.sequence)
    }
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Log time; `None` when only the acknowledgement was seen, and the record is gone by now.
    pub recorded_at: Option<Timestamp>,
    /// The bytes.
    pub payload: Bytes,
}

/// Everything published by a test.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    placed: BTreeMap<Position, Placed>,
    accepted: HashMap<Bytes, u64>,
}

impl Journal {
    /// A publication of this payload was acknowledged: it must be somewhere in the log, or among what the log lost.
    pub fn accept(&mut self, payload: Bytes) {
        *self.accepted.entry(payload).or_default() += 1;
    }

    /// This payload stands at this place, says an acknowledgement or the log itself. What the log says is kept.
    pub fn place(&mut self, position: Position, recorded_at: Option<Timestamp>, payload: Bytes) {
        let placed = self.placed.entry(position).or_insert_with(|| Placed { recorded_at, payload });
        placed.recorded_at = placed.recorded_at.or(recorded_at);
    }

    /// All places known, in order.
    pub fn placed(&self) -> &BTreeMap<Position, Placed> {
        &self.placed
    }

    /// Acknowledged publications.
    pub fn accepted(&self) -> u64 {
        self.accepted.values().sum()
    }

    /// Acknowledged publications that stand at no known place.
    pub fn homeless(&self) -> u64 {
        let mut found: HashMap<&Bytes, u64> = HashMap::new();
        self.placed.values().for_each(|placed| *found.entry(&placed.payload).or_default() += 1);
        let missing = |(payload, times): (&Bytes, &u64)| times.saturating_sub(found.get(payload).copied().unwrap_or_default());
        self.accepted.iter().map(missing).sum()
    }
}
