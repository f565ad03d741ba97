//! What verifications found and nobody has put right since.

use super::NAME;
use loadline_domain::Timestamp;
use loadline_store::{JobRun, RunFilter, RunState, Store, StoreError};
use serde::Deserialize;
use std::fmt;

/// Verifications looked back over: a month of nights and some by hand.
const VERIFICATIONS: u32 = 50;

/// Account-hours that differ, as far as anybody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Start of the first hour that was compared.
    pub from: Timestamp,
    /// End of the last.
    pub to: Timestamp,
    /// Of this account only.
    pub account: Option<String>,
    /// How many.
    pub account_hours: u64,
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
/// range and accounts.
fn open(runs: &[JobRun]) -> Vec<Open> {
    let mut open: Vec<Open> = Vec::new();
    for told in runs.iter().rev().filter_map(|run| serde_json::from_str::<Told>(run.result.as_deref()?).ok()) {
        let (Ok(from), Ok(to)) = (told.from.parse(), told.to.parse()) else { continue };
        let found = Open { from, to, account: told.account, account_hours: told.different.saturating_sub(told.repaired) };
        if told.unknown == 0 {
            open.retain(|older| !found.covers(older));
        }
        if found.account_hours > 0 {
            open.retain(|older| *older != found);
            open.push(found);
        }
    }
    open
}

impl fmt::Display for Open {
    /// Such as `2026-11-20T00:00:00Z/2026-11-21T00:00:00Z`, and the account if it is of one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.from, self.to)?;
        self.account.as_ref().map_or(Ok(()), |account| write!(f, " {account}"))
    }
}

impl Open {
    fn covers(&self, other: &Self) -> bool {
        let accounts = self.account.is_none() || self.account == other.account;
        self.from <= other.from && self.to >= other.to && accounts
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
        let result = json!({ "from": day(day_of_month), "to": day(day_of_month + 1), "account": account,
                             "different": different, "repaired": repaired, "unknown": unknown });
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
        open(&runs).iter().map(|open| open.account_hours).collect()
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
    fn a_run_that_could_not_tell_settles_nothing() {
        assert_eq!(left(vec![run(20, None, [3, 0, 0]), run(20, None, [0, 0, 5])]), [3]);
    }
}
