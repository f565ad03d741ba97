//! What verifications found and nobody has put right since. Each run takes up what was open before it, and tells what is open after
//! it: the last run knows everything.

use super::NAME;
use loadline_domain::{AccountId, Day, Timestamp};
use loadline_recount::{AccountHour, Span};
use loadline_store::{JobRun, RunFilter, RunState, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, time::Duration};

/// Most account-hours or account-days of a finding that are listed. The others are settled only together.
const LISTED: usize = 200;
/// Most of all findings: every later run hands them on.
const LISTED_TOGETHER: usize = 2_000;

/// Runs among which the last one is: ids and ends are of clocks that may disagree or go back, and older builds told nothing.
const LOOKED_THROUGH: u32 = 50;

/// Account-hours that differ from the log, or account-days that differ from their hours, as far as anybody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// What differs.
    pub what: What,
    /// Start of the first hour that was compared, or of the day.
    pub from: Timestamp,
    /// End of the last.
    pub to: Timestamp,
    /// Of this account only.
    pub account: Option<String>,
    /// How many.
    pub count: u64,
    /// Which, as far as they are listed.
    pub places: BTreeSet<Place>,
}

/// An account-hour or account-day: the account, and the start of the hour or the day.
pub type Place = (String, Timestamp);

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Account-hours, from the log.
    Hours,
    /// Account-days, from their hours.
    Days,
}

impl What {
    fn lasts(self) -> Duration {
        Duration::from_secs(if self == Self::Hours { 3_600 } else { 86_400 })
    }
}

/// What the last run knew.
#[derive(Debug, Default, Deserialize)]
pub struct Known {
    /// Number of the run; rises by one from run to run, whatever clocks do.
    #[serde(default)]
    pub turn: u64,
    /// What was open after it.
    pub open: Vec<Open>,
    /// To where runs without a range have looked.
    #[serde(skip)]
    pub through: Option<Timestamp>,
}

/// The part of a result that says how far a run looked.
#[derive(Deserialize)]
struct Range {
    to: Timestamp,
}

/// What is open now.
///
/// # Errors
/// Those of the store.
pub async fn open_now(store: &dyn Store) -> Result<Vec<Open>, StoreError> {
    known_now(store).await.map(|known| known.open)
}

/// What is known now.
///
/// # Errors
/// Those of the store.
pub async fn known_now(store: &dyn Store) -> Result<Known, StoreError> {
    let done = RunFilter { job: Some(NAME.to_owned()), state: Some(RunState::Succeeded) };
    let runs = store.job_runs(&done, None, LOOKED_THROUGH).await?;
    let told = |run: &JobRun| Some((serde_json::from_str::<Known>(run.result.as_deref()?).ok()?, (run.finished_at, run.id)));
    let last = runs.iter().filter_map(told).max_by_key(|(known, ended)| (known.turn, *ended));
    let by_default = runs.iter().filter(|run| run.asked.parameters == "{}");
    let range = |run: &JobRun| serde_json::from_str::<Range>(run.result.as_deref()?).ok();
    let through = by_default.filter_map(range).map(|range| range.to).max();
    Ok(Known { through, ..last.map(|(known, _)| known).unwrap_or_default() })
}

/// What a run shows of account-hours, or of account-days: it goes over a range, and what it finds neither wrong nor untold is right.
#[derive(Debug)]
pub struct Sighting {
    over: Open,
    /// What older findings list.
    known: BTreeSet<Place>,
    /// Of these, what nobody could tell.
    untold: BTreeSet<Place>,
    /// What is not listed was told as well.
    pub all_told: bool,
    wrong: Vec<Open>,
}

impl Sighting {
    /// Nothing yet, of this range, after these findings.
    pub fn over(what: What, (from, to): (Timestamp, Timestamp), account: Option<&AccountId>, older: &[Open]) -> Self {
        let known = older.iter().filter(|older| older.what == what).flat_map(|older| older.places.clone()).collect();
        let account = account.map(ToString::to_string);
        let over = Open { what, from, to, account, count: 0, places: BTreeSet::new() };
        Self { over, known, untold: BTreeSet::new(), all_told: true, wrong: Vec::new() }
    }

    /// Of what starts then, of one account or of all, nobody can tell whether it is right.
    pub fn cannot_tell(&mut self, account: Option<&AccountId>, start: Timestamp) {
        self.all_told = false;
        let meant = |(of, at): &&Place| *at == start && account.is_none_or(|account| account.as_str() == of);
        self.untold.extend(self.known.iter().filter(meant).cloned());
    }

    /// Account-hours of a span that older findings list.
    pub fn known_hours(&self, span: &Span) -> Vec<AccountHour> {
        let of_span = |(account, start): &Place| {
            let (account, hour) = (AccountId::new(account).ok()?, start.hour());
            let meant = (span.from..span.to).contains(&hour) && span.account.as_ref().is_none_or(|of| *of == account);
            meant.then_some((account, hour))
        };
        self.known.iter().filter_map(of_span).collect()
    }

    /// Whether an older finding lists an account-hour or account-day.
    pub fn lists(&self, account: &AccountId, start: Timestamp) -> bool {
        self.known.contains(&(account.to_string(), start))
    }

    /// An account-hour is wrong and stays so.
    pub fn wrong_hour(&mut self, account: &AccountId, start: Timestamp) {
        self.wrong((self.over.from, self.over.to), account, start);
    }

    /// An account-day is wrong and stays so. Each day is a finding of its own.
    pub fn wrong_day(&mut self, account: &AccountId, start: Timestamp) {
        self.wrong((start, start.plus(self.over.what.lasts())), account, start);
    }

    fn wrong(&mut self, (from, to): (Timestamp, Timestamp), account: &AccountId, start: Timestamp) {
        let same = |wrong: &Open| (wrong.from, wrong.to) == (from, to);
        let at = self.wrong.iter().position(same).unwrap_or_else(|| {
            self.wrong.push(Open { from, to, ..self.over.clone() });
            self.wrong.len() - 1
        });
        self.wrong[at].add((account.to_string(), start));
    }

    /// What of an older finding this leaves open.
    fn leaves(&self, older: &mut Open) {
        if older.what != self.over.what {
            return;
        }
        let unlisted = older.count - older.places.len() as u64;
        // Found again over the same range, what is not listed is among what this found and the older one does not list.
        let again = |wrong: &Open| wrong.count.saturating_sub(wrong.places.intersection(&older.places).count() as u64);
        let again = self.wrong.iter().find(|wrong| wrong.is_about_the_same(older)).map_or(0, again);
        let settled = if self.all_told && self.over.covers(older) { unlisted } else { again.min(unlisted) };
        older.places.retain(|place| !self.over.has(place) || self.untold.contains(place));
        older.count = older.places.len() as u64 + unlisted - settled;
    }
}

/// What older runs found, less what this one settles.
pub fn left_open(mut open: Vec<Open>, sighting: &Sighting) -> Vec<Open> {
    open.iter_mut().for_each(|older| sighting.leaves(older));
    open.retain(|open| open.count > 0);
    open
}

/// What is open after a run: what older ones found, less what this one settles, and what it found.
pub fn open_after(mut open: Vec<Open>, sightings: &[&Sighting]) -> Vec<Open> {
    for sighting in sightings {
        open = left_open(open, sighting);
        for wrong in &sighting.wrong {
            let mut found = wrong.clone();
            open.extract_if(.., |older| older.is_about_the_same(wrong)).for_each(|older| found.join(older));
            open.push(found);
        }
    }
    let mut room = LISTED_TOGETHER;
    for open in &mut open {
        open.places = std::mem::take(&mut open.places).into_iter().take(room).collect();
        room -= open.places.len();
    }
    open
}

impl fmt::Display for Open {
    /// Such as `2026-11-20T00:00:00Z/2026-11-21T00:00:00Z`, ` days` if it is about days, and the account if it is of one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.what == What::Days { " days" } else { "" };
        write!(f, "{}/{}{what}", self.from, self.to)?;
        self.account.as_ref().map_or(Ok(()), |account| write!(f, " {account}"))
    }
}

impl Open {
    /// Whether it lists all that it is about.
    pub fn is_listed(&self) -> bool {
        self.count == self.places.len() as u64
    }

    fn covers(&self, other: &Self) -> bool {
        let accounts = self.account.is_none() || self.account == other.account;
        self.what == other.what && self.from <= other.from && self.to >= other.to && accounts
    }

    fn has(&self, (account, start): &Place) -> bool {
        let accounts = self.account.as_ref().is_none_or(|of| of == account);
        self.from <= *start && start.plus(self.what.lasts()) <= self.to && accounts
    }

    /// Whether an hour of an account-day may be among what this is about.
    pub fn may_be_of(&self, account: &AccountId, day: Day) -> bool {
        let listed = self.places.iter().any(|(of, start)| of == account.as_str() && start.day() == day);
        let accounts = self.account.as_ref().is_none_or(|of| of == account.as_str());
        let unlisted = !self.is_listed() && self.from < day.end() && day.start() < self.to && accounts;
        self.what == What::Hours && (listed || unlisted)
    }

    fn is_about_the_same(&self, other: &Self) -> bool {
        (self.what, self.from, self.to, &self.account) == (other.what, other.from, other.to, &other.account)
    }

    fn add(&mut self, place: Place) {
        if self.places.contains(&place) {
            return;
        }
        self.count += 1;
        if self.places.len() < LISTED {
            self.places.insert(place);
        }
    }

    fn join(&mut self, other: Self) {
        let unlisted = other.count - other.places.len() as u64;
        other.places.into_iter().for_each(|place| self.add(place));
        self.count += unlisted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: u32) -> Timestamp {
        format!("2026-11-{number:02}T00:00:00Z").parse().unwrap()
    }

    fn account(name: &str) -> AccountId {
        AccountId::new(name).unwrap()
    }

    /// A run over a day's hours, of all accounts unless one is named, and what it does with them.
    fn run(open: Vec<Open>, of_day: u32, of: Option<&str>, look: impl FnOnce(&mut Sighting)) -> Vec<Open> {
        let of = of.map(account);
        let mut hours = Sighting::over(What::Hours, (day(of_day), day(of_day + 1)), of.as_ref(), &open);
        look(&mut hours);
        open_after(open, &[&hours])
    }

    /// A run over the days from one to the 25th.
    fn days(open: Vec<Open>, first: u32, look: impl FnOnce(&mut Sighting)) -> Vec<Open> {
        let mut days = Sighting::over(What::Days, (day(first), day(26)), None, &open);
        look(&mut days);
        open_after(open, &[&days])
    }

    /// Three account-hours at the start of a day.
    fn three(of_day: u32) -> Vec<Open> {
        run(vec![], of_day, None, |hours| {
            ["acme", "bolt", "core"].iter().for_each(|name| hours.wrong_hour(&account(name), day(of_day)));
        })
    }

    fn counts(open: &[Open]) -> Vec<u64> {
        open.iter().map(|open| open.count).collect()
    }

    #[test]
    fn a_clean_run_about_another_day_settles_nothing() {
        assert_eq!(counts(&run(three(20), 21, None, |_| {})), [3]);
        assert_eq!(counts(&run(three(20), 20, None, |_| {})), [0; 0]);
    }

    #[test]
    fn a_run_about_an_account_settles_what_was_found_of_it_among_all() {
        assert_eq!(counts(&run(three(20), 20, Some("acme"), |_| {})), [2]);
        assert_eq!(counts(&run(three(20), 20, Some("zeta"), |_| {})), [3]);
        let of_acme = run(vec![], 20, Some("acme"), |hours| hours.wrong_hour(&account("acme"), day(20)));
        assert_eq!(counts(&run(of_acme, 20, None, |_| {})), [0; 0]);
    }

    #[test]
    fn what_is_found_again_is_open_once() {
        let again = run(three(20), 20, Some("acme"), |hours| hours.wrong_hour(&account("acme"), day(20)));
        assert_eq!(
            again.iter().map(|open| (open.to_string(), open.count)).collect::<Vec<_>>(),
            [
                ("2026-11-20T00:00:00Z/2026-11-21T00:00:00Z".to_owned(), 2),
                ("2026-11-20T00:00:00Z/2026-11-21T00:00:00Z acme".to_owned(), 1),
            ]
        );
        assert_eq!(counts(&run(again, 20, None, |hours| hours.wrong_hour(&account("acme"), day(20)))), [1]);
    }

    #[test]
    fn what_cannot_be_told_keeps_only_itself_open() {
        let bolt = account("bolt");
        let left = run(three(20), 20, None, |hours| hours.cannot_tell(Some(&bolt), day(20)));
        assert_eq!(left[0].places, BTreeSet::from([("bolt".to_owned(), day(20))]));
        assert_eq!(counts(&run(three(20), 20, None, |hours| hours.cannot_tell(None, day(20)))), [3]);
        assert_eq!(counts(&run(three(20), 20, None, |hours| hours.cannot_tell(Some(&account("zeta")), day(20)))), [0; 0]);
        let both = run(three(20), 20, None, |hours| {
            hours.cannot_tell(Some(&bolt), day(20));
            hours.wrong_hour(&account("zeta"), day(20));
        });
        assert_eq!(counts(&both), [2], "of the same range, one finding");
    }

    #[test]
    fn what_is_not_listed_is_settled_together() {
        let many = |hours: &mut Sighting| (0..LISTED + 50).for_each(|i| hours.wrong_hour(&account(&format!("a{i:04}")), day(20)));
        let found = run(vec![], 20, None, many);
        assert_eq!((counts(&found), found[0].places.len()), (vec![250], LISTED));
        assert_eq!(counts(&run(found.clone(), 20, None, many)), [250]);
        assert_eq!(counts(&run(found.clone(), 20, None, |hours| hours.cannot_tell(Some(&account("zeta")), day(20)))), [50]);
        assert_eq!(counts(&run(found.clone(), 20, Some("a0000"), |_| {})), [249]);
        let partly = run(found.clone(), 20, None, |hours| {
            (0..LISTED + 50).for_each(|i| hours.cannot_tell(Some(&account(&format!("a{i:04}"))), day(20)));
            hours.wrong_hour(&account("zeta"), day(20));
        });
        assert_eq!(counts(&partly), [250], "zeta may be one of those that are not listed");
        assert_eq!(counts(&run(found, 20, None, |_| {})), [0; 0]);
    }

    #[test]
    fn of_many_findings_only_so_many_places_are_handed_on_and_all_are_counted() {
        let many = |days: &mut Sighting| {
            let places = (1..21).flat_map(|of_day| (0..LISTED).map(move |i| (of_day, format!("a{i:04}"))));
            places.for_each(|(of_day, name)| days.wrong_day(&account(&name), day(of_day)));
        };
        let found = days(vec![], 1, many);
        assert_eq!(found.iter().map(|open| open.places.len()).sum::<usize>(), LISTED_TOGETHER);
        assert_eq!(found.iter().map(|open| open.count).sum::<u64>(), 20 * LISTED as u64);
        assert_eq!(counts(&days(found, 1, |_| {})), [0; 0]);
    }

    #[test]
    fn wrong_days_are_open_until_they_were_marked_or_found_right() {
        let two = |days: &mut Sighting| ["acme", "bolt"].iter().for_each(|name| days.wrong_day(&account(name), day(20)));
        let found = days(vec![], 1, two);
        assert_eq!(found[0].to_string(), "2026-11-20T00:00:00Z/2026-11-21T00:00:00Z days");
        assert_eq!(days(found.clone(), 1, two), found);
        assert_eq!(counts(&days(found.clone(), 1, |_| {})), [0; 0]);
        assert_eq!(days(found.clone(), 1, |days| days.cannot_tell(None, day(20))), found);
        assert_eq!(days(found.clone(), 21, |_| {}), found, "it was not looked at");
        assert_eq!(run(found.clone(), 20, None, |_| {}), found, "only its hours were");
    }
}
