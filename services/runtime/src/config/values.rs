//! Values with units: durations and sizes as people write them.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected};
use serde::ser::{Serialize, Serializer};

/// What a duration may look like, in messages.
const DURATIONS: &str = "a duration such as 250ms, 5s, 15m, 48h or 7d";
/// What a size may look like, in messages.
const SIZES: &str = "a size such as 512B, 64KiB, 64MiB or 10GiB";

/// Units of a duration in nanoseconds, largest first.
const DURATION_UNITS: &[(&str, u128)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of a size in bytes, largest first.
const SIZE_UNITS: &[(&str, u128)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A duration written with its unit: `250ms`, `5s`, `15m`, `48h`, `7d`; parts may be joined (`1h30m`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

/// A number of bytes written with its unit: `512B`, `64KiB`, `64MiB` (powers of two) or `kB`, `MB` (powers of ten).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A value that is not what its type allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {allowed}")]
pub struct BadValue {
    value: String,
    allowed: &'static str,
}

impl HumanDuration {
    /// So many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// So many microseconds.
    pub const fn micros(microseconds: u64) -> Self {
        Self(Duration::from_micros(microseconds))
    }
}

impl ByteSize {
    /// So many KiB.
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// So many MiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// As a length in memory; what does not fit is the largest length.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Deref for HumanDuration {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<HumanDuration> for Duration {
    fn from(value: HumanDuration) -> Duration {
        value.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(value: Duration) -> Self {
        Self(value)
    }
}

impl FromStr for HumanDuration {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad = || BadValue { value: text.to_owned(), allowed: DURATIONS };
        let nanos = sum_of_parts(text, DURATION_UNITS).ok_or_else(bad)?;
        // Longer than that is a typing mistake, and would overflow an Instant.
        u64::try_from(nanos).map(|n| Self(Duration::from_nanos(n))).map_err(|_| bad())
    }
}

impl FromStr for ByteSize {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bytes = sum_of_parts(text, SIZE_UNITS).and_then(|n| u64::try_from(n).ok());
        bytes.map(Self).ok_or_else(|| BadValue { value: text.to_owned(), allowed: SIZES })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0.as_nanos(), DURATION_UNITS, "s")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, u128::from(self.0), SIZE_UNITS, "B")
    }
}

/// `1h30m` in the smallest unit; `None` when it is anything else than numbers with known units.
fn sum_of_parts(text: &str, units: &[(&str, u128)]) -> Option<u128> {
    let mut rest = text.trim();
    let mut total: u128 = 0;
    while !rest.is_empty() || text.trim().is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
        total = total.checked_add(number.parse::<u128>().ok()?.checked_mul(*factor)?)?;
        rest = next;
    }
    Some(total)
}

/// The value in the largest unit that divides it.
fn write_exact(f: &mut fmt::Formatter<'_>, value: u128, units: &[(&str, u128)], zero: &str) -> fmt::Result {
    match units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "0{zero}"),
    }
}

macro_rules! serde_as_text {
    ($type:ty, $allowed:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($allowed)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

serde_as_text!(HumanDuration, DURATIONS);
serde_as_text!(ByteSize, SIZES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        for (text, millis) in
            [("250ms", 250), ("5s", 5_000), ("15m", 900_000), ("7d", 604_800_000), ("1h30m", 5_400_000), ("0s", 0)]
        {
            assert_eq!(text.parse::<HumanDuration>().map(|d| d.as_millis()), Ok(millis), "{text}");
        }
    }

    #[test]
    fn durations_print_as_they_read() {
        for text in ["250ms", "5s", "15m", "7d", "90m", "0s", "1us"] {
            assert_eq!(text.parse::<HumanDuration>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_no_duration() {
        for text in ["5", "", " ", "s", "-5s", "1.5s", "5 weeks", "99999999999d", "5s!"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1KiB", 1024), ("10B", 10), ("1TiB", 1 << 40), ("0B", 0)] {
            assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!("1MB".parse::<ByteSize>(), Ok(ByteSize(1_000_000)));
        assert!("64".parse::<ByteSize>().is_err());
        assert!("99999999TiB".parse::<ByteSize>().is_err());
    }
}
