//! Days, weeks and months in a time zone, cut from UTC hours.

use crate::request::{Invalid, round_up};
use jiff::{ToSpan as _, Zoned, civil::Weekday, tz::TimeZone};
use loadline_domain::{Hour, Timestamp, question::Grain};
use loadline_proto::query::Granularity;

/// What rows are kept apart by in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    granularity: Granularity,
    zone: TimeZone,
}

impl Calendar {
    /// As asked: a granularity, and the name of a zone, empty for UTC.
    ///
    /// # Errors
    /// A granularity or a zone that is not known.
    pub fn parse(granularity: i32, zone: &str) -> Result<Self, Invalid> {
        let invalid = |field: &str, detail: String| Invalid { field: field.to_owned(), detail };
        let granularity = match Granularity::try_from(granularity) {
            Ok(Granularity::Unspecified) => Granularity::Hour,
            Ok(known) => known,
            Err(_) => return Err(invalid("granularity", format!("{granularity} is none; use HOUR, DAY, WEEK or MONTH"))),
        };
        let zone = match zone {
            "" | "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| {
                invalid("time_zone", format!("{name:?} is not known; use an IANA name such as Europe/Berlin, or nothing for UTC"))
            })?,
        };
        Ok(Self { granularity, zone })
    }

    /// Whether days of UTC are what is to be read.
    pub fn grain(&self) -> Grain {
        if self.granularity != Granularity::Hour && self.zone == TimeZone::UTC { Grain::Day } else { Grain::Hour }
    }

    /// Whether rows are hours, as they are read.
    pub fn is_hourly(&self) -> bool {
        self.granularity == Granularity::Hour
    }

    /// The first hour of the period that `hour` lies in.
    ///
    /// # Errors
    /// Where the zone's day begins within an hour of UTC.
    pub fn start(&self, hour: Hour) -> Result<Hour, Invalid> {
        if self.granularity == Granularity::Hour {
            return Ok(hour);
        }
        let day = self.midnight(hour)?;
        let first = match self.granularity {
            Granularity::Week => day.checked_sub(i64::from(day.weekday().since(Weekday::Monday)).days()),
            Granularity::Month => day.first_of_month(),
            _ => Ok(day),
        };
        self.on_the_hour(&first.and_then(|first| first.start_of_day()).map_err(out_of_range)?)
    }

    /// Rounded down to what is read whole: the hour, or the zone's day.
    ///
    /// # Errors
    /// As [`Calendar::start`].
    pub fn floor(&self, hour: Hour) -> Result<Hour, Invalid> {
        if self.is_hourly() { Ok(hour) } else { self.on_the_hour(&self.midnight(hour)?) }
    }

    /// Rounded up likewise.
    ///
    /// # Errors
    /// As [`Calendar::start`].
    pub fn ceil(&self, hour: Hour) -> Result<Hour, Invalid> {
        let floor = self.floor(hour)?;
        if floor == hour {
            return Ok(hour);
        }
        self.on_the_hour(&self.next_midnight(hour)?)
    }

    /// Whether each of these hours, `to` exclusive, has a period that begins on the hour: where a zone is half an hour off for a
    /// part of the year, days between the ends may not, nor the month before `from`. Looks once a day.
    ///
    /// # Errors
    /// As [`Calendar::start`].
    pub fn check(&self, from: Hour, to: Hour) -> Result<(), Invalid> {
        // Hours, and days of UTC, always do.
        if self.is_hourly() || self.grain() == Grain::Day {
            return Ok(());
        }
        let mut hour = from;
        while hour < to {
            self.start(hour)?;
            hour = round_up(instant(&self.next_midnight(hour)?)).max(hour.next());
        }
        Ok(())
    }

    fn midnight(&self, hour: Hour) -> Result<Zoned, Invalid> {
        let instant = jiff::Timestamp::from_microsecond(hour.start().micros()).map_err(out_of_range)?;
        instant.to_zoned(self.zone.clone()).start_of_day().map_err(out_of_range)
    }

    fn next_midnight(&self, hour: Hour) -> Result<Zoned, Invalid> {
        self.midnight(hour)?.tomorrow().and_then(|next| next.start_of_day()).map_err(out_of_range)
    }

    fn on_the_hour(&self, time: &Zoned) -> Result<Hour, Invalid> {
        let start = instant(time);
        if start.hour().start() == start {
            return Ok(start.hour());
        }
        let detail = format!(
            "{time}: a day there begins within an hour of UTC, and usage is kept by hours; ask by hours, or in another zone"
        );
        Err(Invalid { field: "time_zone".to_owned(), detail })
    }
}

fn instant(time: &Zoned) -> Timestamp {
    Timestamp::from_micros(time.timestamp().as_microsecond())
}

fn out_of_range(error: jiff::Error) -> Invalid {
    Invalid { field: "from".to_owned(), detail: format!("is outside of the calendar: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(text: &str) -> Hour {
        text.parse::<Timestamp>().unwrap().hour()
    }

    fn calendar(granularity: Granularity, zone: &str) -> Calendar {
        Calendar::parse(granularity.into(), zone).unwrap()
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let saturday = hour("2026-11-21T15:00:00Z");
        assert_eq!(calendar(Granularity::Week, "").start(saturday), Ok(hour("2026-11-16T00:00:00Z")));
        assert_eq!(calendar(Granularity::Month, "").start(saturday), Ok(hour("2026-11-01T00:00:00Z")));
        assert_eq!(calendar(Granularity::Day, "").start(saturday), Ok(hour("2026-11-21T00:00:00Z")));
        assert_eq!(calendar(Granularity::Hour, "").start(saturday), Ok(saturday));
    }

    #[test]
    fn a_day_of_a_zone_has_23_to_25_hours_where_its_clocks_change() {
        let berlin = calendar(Granularity::Day, "Europe/Berlin");
        let spring = hour("2026-03-29T12:00:00Z");
        assert_eq!(
            (berlin.floor(spring).unwrap(), berlin.ceil(spring).unwrap()),
            (hour("2026-03-28T23:00:00Z"), hour("2026-03-29T22:00:00Z"))
        );
        let autumn = hour("2026-10-25T12:00:00Z");
        assert_eq!(
            (berlin.floor(autumn).unwrap(), berlin.ceil(autumn).unwrap()),
            (hour("2026-10-24T22:00:00Z"), hour("2026-10-25T23:00:00Z"))
        );
    }

    #[test]
    fn only_whole_days_of_utc_are_read_as_days() {
        assert_eq!(calendar(Granularity::Month, "UTC").grain(), Grain::Day);
        assert_eq!(calendar(Granularity::Month, "Europe/Berlin").grain(), Grain::Hour);
        assert_eq!(calendar(Granularity::Hour, "").grain(), Grain::Hour);
    }

    #[test]
    fn a_zone_whose_days_begin_within_an_hour_is_refused_for_days_only() {
        let noon = hour("2026-11-21T12:00:00Z");
        assert_eq!(calendar(Granularity::Day, "Asia/Kolkata").start(noon).unwrap_err().field, "time_zone");
        assert_eq!(calendar(Granularity::Hour, "Asia/Kolkata").start(noon), Ok(noon));
        assert_eq!(Calendar::parse(2, "Mars/Olympus").unwrap_err().field, "time_zone");
        assert_eq!(Calendar::parse(9, "").unwrap_err().field, "granularity");
    }

    #[test]
    fn a_range_between_whole_hours_is_refused_for_a_period_that_does_not_begin_on_one() {
        // Eleven hours ahead of UTC, ten and a half from 5 April to 4 October.
        let lord_howe = |granularity| calendar(granularity, "Australia/Lord_Howe");
        let (from, to) = (hour("2026-10-09T13:00:00Z"), hour("2026-10-19T13:00:00Z"));
        let month = lord_howe(Granularity::Month);
        assert_eq!((month.floor(from), month.ceil(to)), (Ok(from), Ok(to)));
        assert_eq!(month.check(from, to).unwrap_err().field, "time_zone");
        assert_eq!(lord_howe(Granularity::Week).check(from, to), Ok(()));
        assert_eq!(lord_howe(Granularity::Day).check(from, to), Ok(()));
        let (from, to) = (hour("2025-12-31T13:00:00Z"), hour("2026-12-31T13:00:00Z"));
        let day = lord_howe(Granularity::Day);
        assert_eq!((day.floor(from), day.ceil(to)), (Ok(from), Ok(to)));
        assert!(day.check(from, to).unwrap_err().detail.starts_with("2026-04-06T00:00:00+10:30"));
        assert_eq!(lord_howe(Granularity::Hour).check(from, to), Ok(()));
    }

    #[test]
    fn a_range_is_refused_exactly_when_one_of_its_hours_is() {
        let (year, mut refused) = (hour("2026-01-01T00:00:00Z").index(), 0);
        for zone in ["Australia/Lord_Howe", "America/Havana", "Europe/Berlin"] {
            for granularity in [Granularity::Day, Granularity::Week, Granularity::Month] {
                let calendar = calendar(granularity, zone);
                for from in (year..year + 365 * 24).step_by(13 * 24 + 7) {
                    let hours = from..from + 8 * 24 + 5;
                    let (from, to) = (Hour::from_index(hours.start), Hour::from_index(hours.end));
                    let answered = hours.map(Hour::from_index).all(|hour| calendar.start(hour).is_ok());
                    assert_eq!(calendar.check(from, to).is_ok(), answered, "{zone} {granularity:?} {}", from.start());
                    refused += u32::from(!answered);
                }
            }
        }
        assert!(refused > 0);
    }
}
