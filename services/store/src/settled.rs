//! Hours of settled days, kept in memory.
//!
//! A day is settled while its roll-up is up to date. Every write of hours marks its day, and only a roll-up takes the mark off
//! and notes its version, so a settled day of one version has the same hours whenever it is read. Which days are settled, and
//! in which version, is said by the statement that reads the others: what is kept is never trusted without it.

use crate::{StoreError, rows::damaged};
use loadline_domain::{
    AccountId, Day, Hour,
    question::{UsageQuery, UsageRow},
};
use quick_cache::{Weighter, sync::Cache};
use std::{collections::BTreeMap, sync::Arc};

/// Longer ranges are read as they are: looking for each of their days would cost more than it saves.
const MOST_DAYS: i32 = 400;
/// Days of few rows cost more than their rows.
const ROWS_A_DAY_COSTS: u64 = 4;

/// Days of all accounts, those asked for last, up to a number of rows.
pub(crate) struct SettledDays(Cache<(AccountId, Day), Arc<Kept>, ByRows>);

/// All hours of a day, in one version.
#[derive(Debug)]
struct Kept {
    version: i64,
    /// In the order of hour, channel, country and currency.
    rows: Box<[UsageRow]>,
}

#[derive(Clone)]
struct ByRows;

impl Weighter<(AccountId, Day), Arc<Kept>> for ByRows {
    fn weight(&self, _: &(AccountId, Day), kept: &Arc<Kept>) -> u64 {
        kept.rows.len() as u64 + ROWS_A_DAY_COSTS
    }
}

/// What is kept of the days that a question touches, before it is asked.
pub(crate) struct Known<'c> {
    all: &'c SettledDays,
    account: &'c AccountId,
    from: Hour,
    to: Hour,
    days: BTreeMap<Day, Arc<Kept>>,
}

impl SettledDays {
    /// At most so many rows are kept; each costs some 100 bytes.
    pub fn new(rows: u64) -> Self {
        let days = usize::try_from(rows / 24).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(days, rows, ByRows))
    }

    /// What is kept of the days that a question touches.
    pub fn known<'c>(&'c self, query: &'c UsageQuery) -> Known<'c> {
        let UsageQuery { account, from, to, .. } = query;
        let (from, to) = (*from, *to);
        let days = touched(from, to);
        let kept = |day| Some((day, self.0.get(&(account.clone(), day))?));
        let days =
            if days.len() > MOST_DAYS as usize { BTreeMap::new() } else { days.map(Day::from_index).filter_map(kept).collect() };
        Known { all: self, account, from, to, days }
    }
}

fn touched(from: Hour, to: Hour) -> std::ops::Range<i32> {
    let end = if from < to { Hour::from_index(to.index() - 1).day().index() + 1 } else { from.day().index() };
    from.day().index()..end
}

impl Known<'_> {
    /// Days that need not be read if they are still of these versions.
    pub fn versions(&self) -> impl Iterator<Item = (Day, i64)> {
        self.days.iter().map(|(day, kept)| (*day, kept.version))
    }

    /// All rows of the question, in order: those `read`, and those kept of days that are still `settled` in their version, given
    /// as lines of day and version. Settled days that were read whole are kept from now on.
    pub fn completed(mut self, settled: &str, mut read: Vec<UsageRow>) -> Result<Vec<UsageRow>, StoreError> {
        let settled = settled.lines().map(day_and_version).collect::<Result<BTreeMap<_, _>, _>>()?;
        self.days.retain(|day, kept| settled.get(day) == Some(&kept.version));
        read.sort_unstable_by_key(|row| (row.hour, row.channel, row.country, row.currency));
        let of_day = |row: &UsageRow| row.hour.map(Hour::day);
        for rows in read.chunk_by(|one, next| of_day(one) == of_day(next)) {
            if let Some(day) = of_day(&rows[0])
                && let Some(version) = settled.get(&day)
                && self.is_whole(day)
            {
                self.all.0.insert((self.account.clone(), day), Arc::new(Kept { version: *version, rows: rows.into() }));
            }
        }
        Ok(if self.days.is_empty() { read } else { self.joined(read) })
    }

    /// Whether the question asks for all hours of a day.
    fn is_whole(&self, day: Day) -> bool {
        self.from <= day.first_hour() && day.end().hour() <= self.to
    }

    fn joined(&self, read: Vec<UsageRow>) -> Vec<UsageRow> {
        let asked = |row: &&UsageRow| row.hour.is_some_and(|hour| hour >= self.from && hour < self.to);
        let kept = self.days.values().map(|kept| kept.rows.len()).sum::<usize>();
        let mut rows = Vec::with_capacity(read.len() + kept);
        let mut read = read.into_iter().peekable();
        for (day, kept) in &self.days {
            while let Some(row) = read.next_if(|row| row.hour < Some(day.first_hour())) {
                rows.push(row);
            }
            rows.extend(kept.rows.iter().filter(asked).cloned());
        }
        rows.extend(read);
        rows
    }
}

fn day_and_version(line: &str) -> Result<(Day, i64), StoreError> {
    let parsed =
        line.split_once(' ').and_then(|(day, version)| Some((Day::from_index(day.parse().ok()?), version.parse().ok()?)));
    parsed.ok_or_else(|| damaged("day and version", line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::{
        question::{Grain, GroupBy, UsageFilter},
        usage::Usage,
    };

    fn asked(from: i32, to: i32) -> UsageQuery {
        UsageQuery {
            account: AccountId::new("acme").unwrap(),
            from: Hour::from_index(from),
            to: Hour::from_index(to),
            filter: UsageFilter::default(),
            group_by: GroupBy::default(),
            grain: Grain::Hour,
        }
    }

    fn row(hour: i32, events: i64) -> UsageRow {
        let usage = Usage { events, ..Usage::default() };
        UsageRow { hour: Some(Hour::from_index(hour)), channel: None, country: None, currency: None, usage }
    }

    /// Days 10, 11 and 12, read once, all settled but day 12.
    fn kept() -> SettledDays {
        let days = SettledDays::new(1_000);
        let query = asked(240, 312);
        days.known(&query).completed("10 7\n11 8", vec![row(290, 4), row(241, 1), row(250, 2), row(270, 3)]).unwrap();
        days
    }

    fn versions(days: &SettledDays, query: &UsageQuery) -> Vec<(i32, i64)> {
        days.known(query).versions().map(|(day, version)| (day.index(), version)).collect()
    }

    #[test]
    fn a_settled_day_is_kept_in_its_version_and_another_one_is_not() {
        let days = kept();
        assert_eq!(versions(&days, &asked(240, 312)), [(10, 7), (11, 8)]);
        assert_eq!(versions(&days, &asked(264, 265)), [(11, 8)]);
        assert_eq!(versions(&days, &asked(264, 264)), []);
        let mut other = asked(240, 312);
        other.account = AccountId::new("other").unwrap();
        assert_eq!(versions(&days, &other), []);
    }

    #[test]
    fn kept_rows_stand_in_for_what_was_not_read_within_the_hours_asked() {
        let days = kept();
        let query = asked(245, 312);
        let rows = days.known(&query).completed("10 7\n11 8", vec![row(300, 9), row(290, 4)]).unwrap();
        assert_eq!(rows, [row(250, 2), row(270, 3), row(290, 4), row(300, 9)]);
    }

    #[test]
    fn a_day_that_is_no_longer_settled_or_in_another_version_is_taken_from_what_was_read() {
        let days = kept();
        let query = asked(240, 312);
        let rows = days.known(&query).completed("11 9", vec![row(241, 5), row(270, 6)]).unwrap();
        assert_eq!(rows, [row(241, 5), row(270, 6)]);
        assert_eq!(
            versions(&days, &query),
            [(10, 7), (11, 9)],
            "day 10 may become settled in version 7 no more, but is harmless"
        );
    }

    #[test]
    fn a_day_read_in_part_is_not_kept() {
        let days = SettledDays::new(1_000);
        let query = asked(241, 300);
        days.known(&query).completed("10 7\n11 8\n12 9", vec![row(241, 1), row(270, 3), row(290, 4)]).unwrap();
        assert_eq!(versions(&days, &asked(240, 312)), [(11, 8)]);
    }

    #[test]
    fn rows_are_kept_up_to_their_number() {
        let days = SettledDays::new(100);
        let query = asked(0, 24 * 100);
        let settled = (0..100).map(|day| format!("{day} 1")).collect::<Vec<_>>().join("\n");
        let rows = (0..100).flat_map(|day| [row(day * 24, 1), row(day * 24 + 1, 1)]).collect::<Vec<_>>();
        assert_eq!(days.known(&query).completed(&settled, rows.clone()).unwrap(), rows);
        let kept = versions(&days, &query).len();
        assert!(kept > 5 && kept <= 16, "{kept} days");
    }

    #[test]
    fn a_line_that_is_no_day_and_version_is_damage() {
        for line in ["10", "10 x", "x 7", "10 7 8"] {
            let (days, query) = (SettledDays::new(10), asked(0, 24));
            assert!(matches!(days.known(&query).completed(line, Vec::new()), Err(StoreError::Broken(_))), "{line}");
        }
    }
}
