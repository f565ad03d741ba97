//! How far a stream is counted, what it cost, and how long until retention catches up.

use crate::{
    stream::{Incarnation, Sequence, StreamName},
    time::Timestamp,
};
use std::time::Duration;

/// A log's clock that goes back by no more than this is not noted. Whoever seeks by time allows for it.
pub const SET_BACK: Duration = Duration::from_secs(60);

/// Between which times the clock of a log went back: there, records are not in the order of their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetBack {
    /// The earliest it went back to.
    pub to: Timestamp,
    /// The latest it went back from.
    pub from: Timestamp,
    /// What was applied when that was last noted. From there on times rise.
    pub applied: Sequence,
}

/// One stream's counters. `counted + duplicates + dead_lettered + lost = applied` at every commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The stream.
    pub stream: StreamName,
    /// Which making of it.
    pub incarnation: Incarnation,
    /// Last sequence whose effect is in the store.
    pub applied: Sequence,
    /// Records counted.
    pub counted: u64,
    /// Records counted before.
    pub duplicates: u64,
    /// Records in the dead letters, discarded ones included, redriven ones not.
    pub dead_lettered: u64,
    /// Records in the loss ledger.
    pub lost: u64,
    /// Log time of the last applied record.
    pub applied_at: Option<Timestamp>,
    /// Where the log's clock went back, if it ever did by more than [`SET_BACK`].
    pub set_back: Option<SetBack>,
    /// When the store last committed for it.
    pub committed_at: Option<Timestamp>,
    /// Last sequence ever seen in the log: what is known lost when the stream vanishes.
    pub head: Sequence,
    /// Why its breaker stopped it, if it did.
    pub stopped: Option<String>,
    /// Undecodable records are taken without tripping the breaker up to here.
    pub resume_through: Sequence,
    /// Who may commit: epoch of the lease that opened it.
    pub epoch: u64,
}

impl Progress {
    /// `applied` less the sum of the rest: 0, or there is a bug.
    pub fn unaccounted(&self) -> i64 {
        self.applied as i64 - (self.counted + self.duplicates + self.dead_lettered + self.lost) as i64
    }
}

/// The right to apply a stream, until it expires or somebody takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The stream.
    pub stream: StreamName,
    /// Process that holds it.
    pub holder: String,
    /// Rises with every change of holder.
    pub epoch: u64,
    /// By the store's clock.
    pub expires_at: Timestamp,
}

/// What retention leaves to the oldest unapplied record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Headroom {
    /// Until it is discarded by age; `None` when age has no limit.
    pub time: Option<Duration>,
    /// Scarcer of time and bytes, 0 to 1.
    pub ratio: f64,
}

impl Headroom {
    /// Nothing is unapplied.
    pub const FULL: Self = Self { time: None, ratio: 1.0 };

    /// Headroom of a backlog whose oldest record was appended at `oldest`. `bytes` are (used by the stream, its limit): the
    /// backlog is the younger end, so what can still be appended before it is touched is the limit less its own bytes.
    pub fn of(now: Timestamp, oldest: Timestamp, max_age: Option<Duration>, backlog_bytes: u64, max_bytes: Option<u64>) -> Self {
        let time = max_age.map(|age| age.saturating_sub(now.since(oldest)));
        let by_age = max_age.zip(time).map_or(1.0, |(age, left)| ratio(left.as_secs_f64(), age.as_secs_f64()));
        let by_bytes = max_bytes.map_or(1.0, |limit| ratio(limit.saturating_sub(backlog_bytes) as f64, limit as f64));
        Self { time, ratio: by_age.min(by_bytes) }
    }
}

fn ratio(left: f64, all: f64) -> f64 {
    if all > 0.0 { (left / all).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headroom_is_the_scarcer_of_age_and_bytes() {
        let now = Timestamp::from_micros(1_000_000_000_000);
        let hour = Duration::from_secs(3600);
        let headroom = Headroom::of(now, now.minus(hour), Some(hour * 4), 90, Some(100));
        assert_eq!(headroom.time, Some(hour * 3));
        assert!((headroom.ratio - 0.1).abs() < 1e-9);
        assert_eq!(Headroom::of(now, now.minus(hour * 9), Some(hour), 0, None).ratio, 0.0);
        assert_eq!(Headroom::of(now, now, None, 0, None), Headroom::FULL);
    }
}
