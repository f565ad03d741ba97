//! Points and lengths of time as people type and read them.

use jiff::{SignedDuration, Span, SpanRelativeTo, civil, tz::TimeZone};
use loadline_domain::Timestamp;
use std::{str::FromStr, time::Duration};

/// `2026-11-21T10:00:00Z`, `2026-11-21` (midnight UTC), `24h` or `7d` (so long ago), `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// An instant.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl When {
    /// The instant meant at `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => now.minus(duration),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self::Ago(Duration::ZERO));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::At(time));
        }
        if let Some(time) = civil_in_utc(text) {
            return Ok(Self::At(time));
        }
        ago(text).map(Self::Ago).ok_or_else(|| {
            format!("{text:?} is no time; write 2026-11-21T10:00:00Z, 2026-11-21, or how long ago: 90m, 24h, 7d, 2w")
        })
    }
}

/// A date or a date with time but without a zone.
fn civil_in_utc(text: &str) -> Option<Timestamp> {
    let time = text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp::from_micros(time.timestamp().as_microsecond()))
}

/// A span of hours, days of 24 hours and weeks; months and years are of no fixed length and are refused.
fn ago(text: &str) -> Option<Duration> {
    let span = text.parse::<Span>().ok()?;
    Some(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.unsigned_abs())
}

/// As the contracts have it.
pub fn to_proto(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}

/// `2026-11-21 10:00`, UTC; a dash when absent.
pub fn minute(time: Option<&prost_types::Timestamp>) -> String {
    shown(time, "%Y-%m-%d %H:%M")
}

/// `2026-11-21 10:00:04`, UTC; a dash when absent.
pub fn second(time: Option<&prost_types::Timestamp>) -> String {
    shown(time, "%Y-%m-%d %H:%M:%S")
}

fn shown(time: Option<&prost_types::Timestamp>, format: &str) -> String {
    let instant = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    instant.map_or_else(|| "–".to_owned(), |instant| instant.strftime(format).to_string())
}

/// `350 ms`, `4.2 s`, `3m 20s`, `2d 5h`: two units are enough for people.
pub fn length(duration: &prost_types::Duration) -> String {
    let seconds = duration.seconds as f64 + f64::from(duration.nanos) / 1e9;
    match seconds.abs() {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..60.0 => format!("{seconds:.1} s"),
        ..3_600.0 => format!("{:#}", SignedDuration::from_secs(duration.seconds)),
        ..86_400.0 => format!("{:#}", SignedDuration::from_mins(duration.seconds / 60)),
        _ => format!("{}d {}h", duration.seconds / 86_400, duration.seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        let shown = |seconds, nanos| length(&prost_types::Duration { seconds, nanos });
        assert_eq!(shown(0, 0), "0 ms");
        assert_eq!(shown(0, 350_000_000), "350 ms");
        assert_eq!(shown(4, 200_000_000), "4.2 s");
        assert_eq!(shown(200, 0), "3m 20s");
        assert_eq!(shown(7_530, 0), "2h 5m");
        assert_eq!(shown(190_800, 0), "2d 5h");
    }

    #[test]
    fn an_absent_time_is_a_dash_and_not_1970() {
        assert_eq!(minute(None), "–");
        let (seconds, nanos) = (1_795_255_204, 900_000_000);
        assert_eq!(second(Some(&prost_types::Timestamp { seconds, nanos })), "2026-11-21 10:00:04");
    }

    fn micros(text: &str) -> i64 {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        text.parse::<When>().unwrap().at(now).micros()
    }

    #[test]
    fn instants_and_spans_mean_what_they_say() {
        assert_eq!(micros("now"), micros("2026-11-21T12:00:00Z"));
        assert_eq!(micros("24h"), micros("2026-11-20T12:00:00Z"));
        assert_eq!(micros("7d"), micros("2026-11-14T12:00:00Z"));
        assert_eq!(micros("1d 2h"), micros("26h"));
        assert_eq!(micros("90m"), micros("2026-11-21T10:30:00Z"));
        assert_eq!(micros("2026-11-21T13:00:00+01:00"), micros("now"));
    }

    #[test]
    fn without_a_zone_it_is_utc() {
        assert_eq!(micros("2026-11-21"), micros("2026-11-21T00:00:00Z"));
        assert_eq!(micros("2026-11-21T10:30"), micros("2026-11-21T10:30:00Z"));
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in ["", "24", "yesterday", "1 month", "7x", "2026-13-01"] {
            let error = text.parse::<When>().unwrap_err();
            assert!(error.contains("24h"), "{error}");
        }
    }
}
