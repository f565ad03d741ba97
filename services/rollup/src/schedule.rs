//! When a job is due: a cron expression in a named time zone, jitter, and what happens to times that were missed.

use jiff::{Zoned, tz::TimeZone};
use loadline_domain::Timestamp;
use loadline_settings::{JobSettings, Missed};
use std::{fmt, time::Duration};

/// A job's schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: croner::Cron,
    zone: TimeZone,
    /// Runs start up to so long after their time, by chance, so that not everything starts on the minute.
    pub jitter: Duration,
    missed: Missed,
}

impl fmt::Display for Schedule {
    /// The cron expression.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why there is no such schedule.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSchedule(String);

impl Schedule {
    /// The schedule that the settings describe; `None` when they leave it empty: then the job runs on request only.
    ///
    /// # Errors
    /// An expression that names no time, or a zone that is not known. The configuration was checked for both before.
    pub fn of(settings: &JobSettings, zone: &str) -> Result<Option<Self>, BadSchedule> {
        let cron = settings.cron().map_err(|allowed| BadSchedule(format!("schedule = {}: {allowed}", settings.schedule)))?;
        let Some(cron) = cron else { return Ok(None) };
        let zone = TimeZone::get(zone).map_err(|error| BadSchedule(format!("rollup.time_zone = {zone}: {error}")))?;
        Ok(Some(Self { text: settings.schedule.clone(), cron, zone, jitter: *settings.jitter, missed: settings.missed }))
    }

    /// The first time after `time`; `None` when there will never be one.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&self.zoned(time)?, false).ok()?;
        Some(Timestamp::from_micros(found.timestamp().as_microsecond()))
    }

    /// The time that is due at `now` when `last` was the latest that was queued, or, before the first, when the job became
    /// known. Of several missed ones only the latest is made up for, or none, as the policy says: jobs do all there is to do.
    pub fn due(&self, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let latest = self.cron.find_previous_occurrence(&self.zoned(now)?, true).ok()?;
        let due = Timestamp::from_micros(latest.timestamp().as_microsecond());
        if due <= last {
            return None;
        }
        let late = now.since(due) > GRACE + self.jitter;
        (!late || self.missed == Missed::RunOnce).then_some(due)
    }

    /// From the time before `now` to the one after it.
    pub fn period(&self, now: Timestamp) -> Option<Duration> {
        let next = self.next_after(now)?;
        Some(self.next_after(next)?.since(next))
    }

    fn zoned(&self, time: Timestamp) -> Option<Zoned> {
        Some(jiff::Timestamp::from_microsecond(time.micros()).ok()?.to_zoned(self.zone.clone()))
    }
}

/// A time that passed so recently was not missed, only met late.
const GRACE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(cron: &str, zone: &str, missed: Missed) -> Schedule {
        let settings = JobSettings { schedule: cron.to_owned(), missed, ..JobSettings::default() };
        Schedule::of(&settings, zone).unwrap().unwrap()
    }

    #[test]
    fn a_time_is_due_from_its_minute_on_and_once() {
        let every_five = schedule("*/5 * * * *", "UTC", Missed::RunOnce);
        let last = at("2026-11-21T10:00:00Z");
        assert_eq!(every_five.due(last, at("2026-11-21T10:04:59Z")), None);
        let due = every_five.due(last, at("2026-11-21T10:05:00Z"));
        assert_eq!(due, Some(at("2026-11-21T10:05:00Z")));
        assert_eq!(every_five.due(due.unwrap(), at("2026-11-21T10:05:20Z")), None);
    }

    #[test]
    fn of_many_missed_times_the_latest_is_made_up_for_or_none() {
        let (last, now) = (at("2026-10-01T00:00:00Z"), at("2026-11-21T10:03:00Z"));
        assert_eq!(schedule("*/5 * * * *", "UTC", Missed::RunOnce).due(last, now), Some(at("2026-11-21T10:00:00Z")));
        assert_eq!(schedule("*/5 * * * *", "UTC", Missed::Skip).due(last, now), None);
        assert_eq!(schedule("0 3 * * *", "UTC", Missed::RunOnce).due(last, now), Some(at("2026-11-21T03:00:00Z")));
        assert_eq!(schedule("0 3 1 1 *", "UTC", Missed::RunOnce).due(last, now), None);
    }

    #[test]
    fn a_daily_time_follows_its_zone_over_the_change_of_clocks() {
        let daily = schedule("30 2 * * *", "Europe/Berlin", Missed::RunOnce);
        // 02:30 does not exist on 29 March 2026, and is there twice on 25 October.
        let before = daily.next_after(at("2026-03-27T12:00:00Z")).unwrap();
        assert_eq!(before, at("2026-03-28T01:30:00Z"));
        let spring = daily.next_after(before).unwrap();
        assert!(spring > before && spring.since(before) < Duration::from_secs(25 * 3600), "{spring}");
        let autumn = daily.next_after(at("2026-10-24T12:00:00Z")).unwrap();
        let next = daily.next_after(autumn).unwrap();
        assert_eq!(autumn.day().index() + 1, next.day().index(), "{autumn} then {next}: not twice in the night of two 02:30");
    }

    #[test]
    fn a_daily_time_is_due_once_a_day_over_the_changes_of_clocks() {
        let daily = schedule("30 2 * * *", "Europe/Berlin", Missed::RunOnce);
        for (from, to) in [("2026-03-26T12:00:00Z", "2026-04-01T12:00:00Z"), ("2026-10-22T12:00:00Z", "2026-10-28T12:00:00Z")] {
            let (mut now, mut last, mut dues) = (at(from), at(from), Vec::new());
            while now < at(to) {
                now = now.plus(Duration::from_secs(60));
                if let Some(due) = daily.due(last, now) {
                    dues.push(due.to_string());
                    last = due;
                }
            }
            assert_eq!(dues.len(), 6, "{dues:?}");
        }
    }

    #[test]
    fn what_names_no_time_is_refused_as_the_configuration_is() {
        for (cron, zone, field) in [
            ("0 0 30 2 *", "UTC", "schedule"),
            ("61 * * * *", "UTC", "schedule"),
            ("0 0 * * *", "Mars/Olympus", "rollup.time_zone"),
        ] {
            let settings = JobSettings { schedule: cron.to_owned(), ..JobSettings::default() };
            let refused = Schedule::of(&settings, zone).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{field} = ")), "{refused}");
        }
    }

    #[test]
    fn without_an_expression_there_is_no_schedule() {
        let none = JobSettings { schedule: String::new(), ..JobSettings::default() };
        assert!(Schedule::of(&none, "UTC").unwrap().is_none());
    }
}
