//! Instants, hours and days in UTC, and the clock as a parameter.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, time::Duration};

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// Hours since 1970-01-01T00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hour(i32);

/// Days since 1970-01-01, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(i32);

/// Where "now" comes from.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since_epoch.map_or(0, |elapsed| elapsed.as_micros() as i64))
    }
}

impl Timestamp {
    /// Before every event: 2000-01-01. Anything older is a mistake of units.
    pub const EARLIEST: Self = Self(946_684_800_000_000);
    /// After every event: 10000-01-01, exclusive.
    pub const END: Self = Self(253_402_300_800_000_000);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From the parts of a protobuf timestamp; `None` outside years 1970 to 9999 or with broken nanoseconds.
    pub fn from_parts(seconds: i64, nanos: i32) -> Option<Self> {
        if !(0..1_000_000_000).contains(&nanos) || !(0..253_402_300_800).contains(&seconds) {
            return None;
        }
        Some(Self(seconds * 1_000_000 + i64::from(nanos) / 1_000))
    }

    /// Parts of a protobuf timestamp: seconds, nanoseconds.
    pub fn parts(self) -> (i64, i32) {
        (self.0.div_euclid(1_000_000), (self.0.rem_euclid(1_000_000) * 1_000) as i32)
    }

    /// Time from `earlier` to here; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// Later by.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Earlier by.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The hour it lies in.
    pub fn hour(self) -> Hour {
        Hour(self.0.div_euclid(MICROS_PER_HOUR) as i32)
    }

    /// The UTC day it lies in.
    pub fn day(self) -> Day {
        self.hour().day()
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

/// As RFC 3339.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_microsecond()))
    }
}

impl Hour {
    /// From hours since the epoch.
    pub const fn from_index(index: i32) -> Self {
        Self(index)
    }

    /// Hours since the epoch.
    pub const fn index(self) -> i32 {
        self.0
    }

    /// Its first instant.
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0 as i64 * MICROS_PER_HOUR)
    }

    /// The first instant after it.
    pub const fn end(self) -> Timestamp {
        Timestamp((self.0 as i64 + 1) * MICROS_PER_HOUR)
    }

    /// The hour after.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The UTC day it lies in.
    pub const fn day(self) -> Day {
        Day(self.0.div_euclid(24))
    }
}

impl Day {
    /// From days since the epoch.
    pub const fn from_index(index: i32) -> Self {
        Self(index)
    }

    /// Days since the epoch.
    pub const fn index(self) -> i32 {
        self.0
    }

    /// Its first hour.
    pub const fn first_hour(self) -> Hour {
        Hour(self.0 * 24)
    }

    /// Its first instant.
    pub const fn start(self) -> Timestamp {
        self.first_hour().start()
    }

    /// The first instant after it.
    pub const fn end(self) -> Timestamp {
        Day(self.0 + 1).start()
    }
}

impl fmt::Display for Day {
    /// `2026-11-21`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.start().0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%d")),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_days_break_at_utc_boundaries() {
        let last: Timestamp = "2026-11-20T23:59:59.999999Z".parse().unwrap();
        let first: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        assert_eq!(last.hour().next(), first.hour());
        assert_eq!(last.day().end(), first);
        assert_eq!(first.day().to_string(), "2026-11-21");
        assert_eq!(last.hour().end(), first.hour().start());
    }

    #[test]
    fn broken_protobuf_timestamps_are_refused() {
        assert_eq!(Timestamp::from_parts(0, -1), None);
        assert_eq!(Timestamp::from_parts(i64::MAX, 0), None);
        assert_eq!(Timestamp::from_parts(-1, 0), None);
        assert_eq!(Timestamp::from_parts(1, 1_000), Some(Timestamp(1_000_001)));
    }
}
