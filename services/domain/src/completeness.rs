//! Whether an hour is not counted yet, counted, or final.

use crate::{
    fold::Rules,
    time::{Hour, Timestamp},
};
use std::time::Duration;

/// A stream that is this little behind is taken to be read up to now: under traffic something is always in flight.
pub const IN_FLIGHT: Duration = Duration::from_secs(60);

/// State of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeriodState {
    /// Some stream has not been read that far: no usage does not mean zero.
    Pending,
    /// Counted; later events may still add to it.
    Provisional,
    /// Past the horizon on every stream: only accepted dead letters can change it.
    Final,
}

/// What is known of one stream's reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Log time of the last applied record.
    pub applied_at: Option<Timestamp>,
    /// The log was asked and has nothing unapplied.
    pub caught_up: bool,
}

/// Clocks of the log and of whoever asks may differ by this much before an hour is called final too early.
pub const SKEW: Duration = Duration::from_secs(60);

/// Up to which log time every stream is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Through {
    /// Leaving out what is in flight.
    pub nearly: Timestamp,
    /// To the record; never after `nearly`.
    pub fully: Timestamp,
}

/// Up to which log time every stream is counted; `now` at most. No stream at all means nothing is counted.
pub fn counted_through(readings: impl IntoIterator<Item = Reading>, now: Timestamp) -> Through {
    let through = readings.into_iter().map(|reading| {
        let fully = match reading.applied_at {
            _ if reading.caught_up => now.minus(SKEW),
            Some(applied_at) => applied_at.min(now.minus(SKEW)),
            None => Timestamp::default(),
        };
        let in_flight = reading.applied_at.is_some_and(|applied_at| now.since(applied_at) <= IN_FLIGHT);
        Through { nearly: if reading.caught_up || in_flight { now } else { fully }, fully }
    });
    through.reduce(|a, b| Through { nearly: a.nearly.min(b.nearly), fully: a.fully.min(b.fully) }).unwrap_or_default()
}

/// State of an hour when all streams are counted through `through`.
pub fn state(hour: Hour, through: Through, now: Timestamp, rules: &Rules) -> PeriodState {
    let horizon = rules.billing_horizon.max(rules.receipt_horizon);
    if through.fully >= hour.end().plus(horizon) {
        PeriodState::Final
    } else if through.nearly >= hour.end().min(now) {
        PeriodState::Provisional
    } else {
        PeriodState::Pending
    }
}

/// Cuts `from..to` where the state changes.
pub fn periods(from: Hour, to: Hour, through: Through, now: Timestamp, rules: &Rules) -> Vec<(Hour, Hour, PeriodState)> {
    let mut periods: Vec<(Hour, Hour, PeriodState)> = Vec::new();
    for index in from.index()..to.index() {
        let hour = Hour::from_index(index);
        let state = state(hour, through, now, rules);
        match periods.last_mut() {
            Some((_, end, last)) if *last == state => *end = hour.next(),
            _ => periods.push((hour, hour.next(), state)),
        }
    }
    periods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_pending_then_provisional_then_final() {
        let rules = Rules::default();
        let hour = Hour::from_index(500_000);
        let during = hour.start().plus(Duration::from_secs(1_800));
        let through = |time| Through { nearly: time, fully: time };
        assert_eq!(state(hour, through(hour.start()), during, &rules), PeriodState::Pending);
        assert_eq!(state(hour, through(during), during, &rules), PeriodState::Provisional);
        let later = hour.end().plus(Duration::from_secs(96 * 3600));
        assert_eq!(state(hour, through(during), later, &rules), PeriodState::Pending);
        assert_eq!(state(hour, through(later), later, &rules), PeriodState::Final);
        let nearly = Through { nearly: later, fully: later.minus(Duration::from_secs(1)) };
        assert_eq!(state(hour, nearly, later, &rules), PeriodState::Provisional);
    }

    #[test]
    fn the_slowest_stream_decides() {
        let now = Timestamp::from_micros(1_000_000_000_000_000);
        let behind = now.minus(Duration::from_secs(600));
        let readings = [Reading { applied_at: Some(behind), caught_up: false }, Reading { applied_at: None, caught_up: true }];
        assert_eq!(counted_through(readings, now), Through { nearly: behind, fully: behind });
        assert_eq!(counted_through([], now), Through::default());
    }
}
