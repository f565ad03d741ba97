//! What verifications found and nobody has put right since.

use super::{NAME, days::Days};
use loadline_domain::Timestamp;
use loadline_store::{JobRun, RunFilter, RunState, Store, StoreError};
use serde::Deserialize;
use std::{fmt, time::Duration};

const DAY: Duration = Duration::from_secs(86_400);
/// Verifications looked back over: a month of nights and some by hand.
const VERIFICATIONS: u32 = 50;

/// Account-hours that differ from the log, or account-days that differ from their hours, as far as anybody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Start of the first hour that was compared, or of the day.
    pub from: Timestamp,
    /// End of the last.
    pub to: Timestamp,
    /// Of this account only.
    pub account: Option<String>,
    /// What differs.
    pub what: What,
    /// How many.
    pub count: u64,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Account-hours, from the log.
    Hours,
    /// Account-days, from their hours.
    Days,
}

/// The part of a run's result that matters here.
#[derive(Deserialize)]
struct Told {
    from: String,
    to: String,
    account: Option<String>,
    different: u64,
    repaired: u64,
    unknown: u64,
    /// Not told by older builds.
    #[serde(default)]
    days: Days,
}

/// What is open now.
///
/// # Errors
/// Those of the store.
pub async fn open_now(store: &dyn Store) -> Result<Vec<Open>, StoreError> {
    let done = RunFilter { job: Some(NAME.to_owned()), state: Some(RunState::Succeeded) };
    Ok(open(&store.job_runs(&done, None, VERIFICATIONS).await?))
}

/// What is open after these runs, newest first. A run that could tell everything settles what older ones found within its
/// range and accounts; of hours and of days by themselves.
fn open(runs: &[JobRun]) -> Vec<Open> {
    let mut open: Vec<Open> = Vec::new();
    for told in runs.iter().rev().filter_map(|run| serde_json::from_str::<Told>(run.result.as_deref()?).ok()) {
        let hours = told.hours();
        let settling =
            [hours.clone().filter(|_| told.unknown == 0), told.days_looked_at().filter(|_| told.days.unknown.is_empty())];
        open.retain(|older| !settling.iter().flatten().any(|looked_at| looked_at.covers(older)));
        for found in hours.into_iter().chain(told.wrong_days()).filter(|found| found.count > 0) {
            open.retain(|older| !older.is_about_the_same(&found));
            open.push(found);
        }
    }
    open
}

impl Told {
    fn hours(&self) -> Option<Open> {
        let (from, to) = (self.from.parse().ok()?, self.to.parse().ok()?);
        let count = self.different.saturating_sub(self.repaired);
        Some(Open { from, to, account: self.account.clone(), what: What::Hours, count })
    }

    fn days_looked_at(&self) -> Option<Open> {
        let (from, to) = (self.days.from.parse().ok()?, self.days.to.parse().ok()?);
        Some(Open { from, to, account: self.account.clone(), what: What::Days, count: 0 })
    }

    fn wrong_days(&self) -> impl Iterator<Item = Open> {
        self.days.wrong.iter().filter_map(|wrong| {
            let from: Timestamp = wrong.from.parse().ok()?;
            let count = wrong.different.saturating_sub(wrong.repaired);
            Some(Open { from, to: from.plus(DAY), account: self.account.clone(), what: What::Days, count })
        })
    }
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
    fn covers(&self, other: &Self) -> bool {
        let accounts = self.account.is_none() || self.account == other.account;
        self.what == other.what && self.from <= other.from && self.to >= other.to && accounts
    }

    fn is_about_the_same(&self, other: &Self) -> bool {
        (self.what, self.from, self.to, &self.account) == (other.what, other.from, other.to, &other.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_store::{NewRun, RunProgress, Trigger};
    use serde_json::json;
    use uuid::Uuid;

    fn day(number: u32) -> String {
        format!("2026-11-{number:02}T00:00:00Z")
    }

    fn run(day_of_month: u32, account: Option<&str>, [different, repaired, unknown]: [u64; 3]) -> JobRun {
        told(json!({ "from": day(day_of_month), "to": day(day_of_month + 1), "account": account,
                     "different": different, "repaired": repaired, "unknown": unknown }))
    }

    /// A run about the 25th that held the days up to then against their hours, and found two of the 20th wrong.
    fn with_days(first: u32, repaired: u64, unknown_hours: u64) -> JobRun {
        let wrong = json!([{ "from": day(20), "different": 2, "repaired": repaired, "accounts": ["acme", "bolt"] }]);
        let wrong = if first > 20 { json!([]) } else { wrong };
        let days =
            json!({ "from": day(first), "to": day(26), "different": 2, "repaired": repaired, "wrong": wrong, "unknown": [] });
        told(json!({ "from": day(25), "to": day(26), "account": null, "different": 0, "repaired": 0, "unknown": unknown_hours,
                     "days": days }))
    }

    fn told(result: serde_json::Value) -> JobRun {
        JobRun {
            id: Uuid::nil(),
            asked: NewRun {
                job: "verify".to_owned(),
                idempotency_key: String::new(),
                trigger: Trigger::Schedule,
                parameters: "{}".to_owned(),
                requested_by: "schedule".to_owned(),
                scheduled_for: None,
                attempt: 1,
            },
            state: RunState::Succeeded,
            queued_at: Timestamp::default(),
            started_at: None,
            finished_at: None,
            holder: None,
            epoch: None,
            progress: RunProgress::default(),
            cancel_requested: false,
            result: Some(result.to_string()),
            error: None,
        }
    }

    /// Of runs in the order they ran.
    fn left(mut runs: Vec<JobRun>) -> Vec<u64> {
        runs.reverse();
        open(&runs).iter().map(|open| open.count).collect()
    }

    #[test]
    fn a_clean_run_about_another_day_or_account_settles_nothing() {
        assert_eq!(left(vec![run(20, None, [3, 0, 0]), run(21, None, [0, 0, 0])]), [3]);
        assert_eq!(left(vec![run(20, None, [3, 0, 0]), run(20, Some("acme"), [0, 0, 0])]), [3]);
        assert_eq!(left(vec![run(20, Some("bolt"), [3, 0, 0]), run(20, Some("acme"), [0, 0, 0])]), [3]);
    }

    #[test]
    fn what_was_repaired_or_found_equal_since_is_settled() {
        assert_eq!(left(vec![run(20, None, [3, 0, 0]), run(20, None, [3, 3, 0])]), [0; 0]);
        assert_eq!(left(vec![run(20, Some("acme"), [3, 0, 0]), run(20, None, [0, 0, 0])]), [0; 0]);
        assert_eq!(left(vec![run(20, None, [3, 0, 0]), run(20, None, [3, 2, 0])]), [1]);
    }

    #[test]
    fn wrong_days_are_open_until_they_were_marked_or_found_right() {
        let open_after = |runs: Vec<JobRun>| {
            let open = open(&runs.into_iter().rev().collect::<Vec<_>>());
            open.iter().map(|open| (open.to_string(), open.what, open.count)).collect::<Vec<_>>()
        };
        let found = ("2026-11-20T00:00:00Z/2026-11-21T00:00:00Z days".to_owned(), What::Days, 2);
        assert_eq!(open_after(vec![with_days(1, 0, 0)]), std::slice::from_ref(&found));
        assert_eq!(open_after(vec![with_days(1, 0, 0), with_days(1, 0, 0)]), std::slice::from_ref(&found));
        assert_eq!(open_after(vec![with_days(1, 0, 0), with_days(1, 2, 7)]), [], "whatever the hours of another day are");
        assert_eq!(
            open_after(vec![with_days(1, 0, 0), with_days(25, 0, 0)]),
            std::slice::from_ref(&found),
            "it was not looked at"
        );
        assert_eq!(open_after(vec![with_days(1, 0, 0), run(20, None, [0, 0, 0])]), [found], "only its hours were");
    }

    #[test]
    fn a_run_that_could_not_tell_settles_nothing() {
        assert_eq!(left(vec![run(20, None, [3, 0, 0]), run(20, None, [0, 0, 5])]), [3]);
    }
}
