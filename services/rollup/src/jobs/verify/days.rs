//! Daily rows held against the hours they are made of. The log is not asked: days are made of nothing but their hours, and are
//! repaired by another roll-up. Not so while an hour of theirs is known to be wrong: then the day may be what is right.

use super::{
    asked::Repairs,
    findings::{Open, Sighting, What},
};
use crate::job::{JobError, Running};
use loadline_domain::{AccountId, Day};
use loadline_store::{Store, StoreError, WrongDay};
use serde::Serialize;
use std::collections::HashSet;

/// Most account-days of a day that one run tells of.
const MOST: u32 = 10_000;
/// Accounts of a day that are named.
const NAMED: usize = 10;

/// What the days of a run showed, as it is told.
#[derive(Debug, Serialize)]
pub struct Days {
    /// Start of the first day that was looked at.
    pub from: String,
    /// End of the last.
    pub to: String,
    /// Account-days that are not what their hours add up to.
    pub different: u64,
    /// Of these, marked for the next roll-up.
    pub repaired: u64,
    /// The days that have some.
    pub wrong: Vec<WrongAccounts>,
    /// Days of which nobody can tell, with the reason.
    pub unknown: Vec<String>,
    /// What this shows of older findings.
    #[serde(skip)]
    pub sighting: Sighting,
}

/// A day that is wrong for some accounts.
#[derive(Debug, Serialize)]
pub struct WrongAccounts {
    /// Its start.
    pub from: String,
    /// How many account-days.
    pub different: u64,
    /// Of these, marked for the next roll-up.
    pub repaired: u64,
    /// Names of the first few.
    pub accounts: Vec<String>,
}

impl Days {
    /// Nothing yet, of the days from one to before another, after these findings.
    pub fn between(from: Day, to: Day, account: Option<&AccountId>, older: &[Open]) -> Self {
        let (from, to) = (from.start(), to.start());
        Self {
            from: from.to_string(),
            to: to.to_string(),
            different: 0,
            repaired: 0,
            wrong: Vec::new(),
            unknown: Vec::new(),
            sighting: Sighting::over(What::Days, (from, to), account, older),
        }
    }

    /// Looks at a day, and marks for the next roll-up what is wrong and allowed to be repaired after `done` others; account-days
    /// whose hours are `suspect`, or were found wrong before and are `open`, are left alone.
    pub async fn look(
        &mut self,
        store: &dyn Store,
        run: &Running,
        account: Option<&AccountId>,
        day: Day,
        (suspect, open): (&HashSet<(AccountId, Day)>, &[Open]),
        (repairs, done): (Repairs, u64),
    ) -> Result<(), JobError> {
        let wrong = match store.wrong_days(account, day, MOST).await {
            Ok(wrong) => wrong,
            Err(StoreError::Overflow(_)) => {
                self.unknown.push(format!("{day}: sums of an account leave 64 bits; verify its hours"));
                self.sighting.cannot_tell(None, day.start());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if wrong.is_empty() {
            return Ok(());
        }
        if wrong.len() >= MOST as usize {
            self.sighting.cannot_tell(None, day.start());
        }
        let mut repaired = 0;
        for wrong in &wrong {
            let doubtful = suspect.contains(&(wrong.account.clone(), day));
            let is_found = self.sighting.lists(&wrong.account, day.start());
            let allowed = repairs.allow(What::Days, done + repaired, is_found);
            if !allowed || doubtful || open.iter().any(|open| open.may_be_of(&wrong.account, day)) {
                self.sighting.wrong_day(&wrong.account, day.start());
                continue;
            }
            let reason = format!("verify run {}: its daily rows are not what its hours add up to", run.run.id);
            store.mark(&run.leadership, wrong, &reason, &run.run.asked.requested_by).await?;
            repaired += 1;
        }
        self.different += wrong.len() as u64;
        self.repaired += repaired;
        self.wrong.push(accounts(day, &wrong, repaired));
        Ok(())
    }
}

fn accounts(day: Day, wrong: &[WrongDay], repaired: u64) -> WrongAccounts {
    WrongAccounts {
        from: day.start().to_string(),
        different: wrong.len() as u64,
        repaired,
        accounts: wrong.iter().take(NAMED).map(|wrong| wrong.account.to_string()).collect(),
    }
}
