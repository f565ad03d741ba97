//! What a recount found, and what it cannot tell.

use crate::count::{AccountHour, Rows};
use loadline_domain::{
    AccountId, Hour, Incarnation, Sequence, StreamName, Timestamp,
    event::{Channel, Country, Currency},
    usage::{Usage, UsageKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Part of a stream that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// The stream.
    pub stream: StreamName,
    /// Which making of it.
    pub incarnation: Incarnation,
    /// First sequence.
    pub first: Sequence,
    /// Last sequence.
    pub last: Sequence,
}

/// Why nothing can be told about some hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// First hour.
    pub from: Hour,
    /// Hour after the last.
    pub to: Hour,
    /// For operators.
    pub why: String,
}

/// Account-hours as the log tells them.
#[derive(Debug, Default)]
pub struct Recounted {
    /// Sums by row.
    pub rows: Rows,
    /// Records of the span that were counted before.
    pub duplicates: u64,
    /// Records of the span that were refused.
    pub dead_letters: u64,
    /// What was read of each stream.
    pub scanned: Vec<Scanned>,
    /// Records read.
    pub read: u64,
    pub(crate) doubts: Vec<Doubt>,
    pub(crate) surplus_doubts: Vec<Doubt>,
    pub(crate) redriven: BTreeMap<AccountHour, u64>,
    pub(crate) keyless: BTreeMap<AccountHour, u64>,
    pub(crate) untimely: BTreeSet<AccountHour>,
    pub(crate) full: BTreeSet<AccountHour>,
}

impl Recounted {
    /// Whether everything that the log ever had of the span was counted again.
    pub fn is_beyond_doubt(&self) -> bool {
        self.doubts.is_empty()
    }

    /// Why comparing these rows of an account-hour proves nothing; empty when it does. Some doubts are about any finding,
    /// some only about a difference, some only about more in the store than in the log, or nothing in either.
    pub fn doubts(&self, account: &AccountId, hour: Hour, stored: &Rows) -> Vec<String> {
        let place = (account.clone(), hour);
        let mut doubts = about(&self.doubts, hour);
        if let Some(letters) = self.redriven.get(&place) {
            doubts.push(format!("at least {letters} dead letters of the hour were redriven and counted"));
        }
        let is_equal = stored.iter().eq(rows_of(&self.rows, account, hour));
        if !is_equal && let Some(records) = self.keyless.get(&place) {
            doubts.push(format!(
                "the store has no key of {records} records of the hour: past their horizon keys are purged, and before it they \
                 were refused or never counted"
            ));
        }
        if !is_equal && self.full.contains(&place) {
            doubts.push("a total of the hour passes 64 bits, and which record was refused is not known".to_owned());
        }
        let more = stored.iter().any(|(key, stored)| exceeds(stored, self.rows.get(key)));
        if more || is_equal && stored.is_empty() {
            doubts.extend(self.may_lack(account, hour));
        }
        doubts
    }

    /// Why the log may have less of an account-hour than happened; empty when it has all.
    pub fn may_lack(&self, account: &AccountId, hour: Hour) -> Vec<String> {
        let mut reasons = about(&self.surplus_doubts, hour);
        if self.untimely.contains(&(account.clone(), hour)) {
            reasons.push(
                "records of the hour are too late or too early by the present rules: under others they were counted".to_owned(),
            );
        }
        reasons
    }
}

fn about(doubts: &[Doubt], hour: Hour) -> Vec<String> {
    doubts.iter().filter(|doubt| (doubt.from..doubt.to).contains(&hour)).map(|doubt| doubt.why.clone()).collect()
}

/// Rows of an account-hour, by key.
pub(crate) fn rows_of<'a>(
    rows: &'a Rows,
    account: &AccountId,
    hour: Hour,
) -> impl Iterator<Item = (&'a UsageKey, &'a Usage)> + use<'a> {
    let account = account.clone();
    // The least key there is of it.
    let first = UsageKey {
        account: account.clone(),
        hour,
        channel: Channel::SMS,
        country: Country::UNKNOWN,
        currency: Currency::UNKNOWN,
    };
    rows.range(first..).take_while(move |(key, _)| key.account == account && key.hour == hour)
}

/// Whether any number of `stored` is larger than recounted.
fn exceeds(stored: &Usage, recounted: Option<&Usage>) -> bool {
    let recounted = recounted.copied().unwrap_or_default();
    stored.columns().into_iter().zip(recounted.columns()).any(|(stored, recounted)| stored > recounted)
}

/// What was resolved before may no longer be among the dead letters: such hours may hold more than the log tells.
pub(crate) fn forgotten_letters(hours: (Hour, Hour), since: Timestamp, tolerance: Duration) -> Option<Doubt> {
    let known = since.plus(tolerance).hour().next().min(hours.1);
    (known > hours.0).then(|| Doubt {
        from: hours.0,
        to: known,
        why: format!(
            "dead letters redriven and counted before {since} may have been deleted since, by the policy for resolved ones"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(account: &str, hour: i32, usage: Usage) -> (UsageKey, Usage) {
        let account = AccountId::new(account).unwrap();
        let (channel, currency) = (Channel::SMS, Currency::parse("EUR").unwrap());
        (UsageKey { account, hour: Hour::from_index(hour), channel, country: Country::UNKNOWN, currency }, usage)
    }

    fn doubt(from: i32, to: i32, why: &str) -> Doubt {
        Doubt { from: Hour::from_index(from), to: Hour::from_index(to), why: why.to_owned() }
    }

    fn acme() -> AccountId {
        AccountId::new("acme").unwrap()
    }

    fn one() -> Usage {
        Usage { events: 1, delivered: 1, ..Usage::default() }
    }

    fn five() -> Hour {
        Hour::from_index(5)
    }

    #[test]
    fn a_doubt_about_some_hours_is_none_about_others() {
        let recounted = Recounted { doubts: vec![doubt(5, 7, "gone")], ..Recounted::default() };
        let told = |hour| recounted.doubts(&acme(), Hour::from_index(hour), &Rows::new()).len();
        assert_eq!([told(4), told(5), told(6), told(7)], [0, 1, 1, 0]);
    }

    #[test]
    fn more_in_the_log_is_proof_where_more_in_the_store_is_none() {
        let rows = Rows::from([row("acme", 5, one())]);
        let recounted = Recounted { rows: rows.clone(), surplus_doubts: vec![doubt(0, 9, "young")], ..Recounted::default() };
        assert!(recounted.doubts(&acme(), five(), &Rows::new()).is_empty());
        assert!(recounted.doubts(&acme(), five(), &rows).is_empty());
        assert_eq!(recounted.doubts(&acme(), Hour::from_index(6), &Rows::new()), ["young"], "neither side has anything");
        let swapped = Usage { failed: 1, delivered: 0, ..one() };
        assert_eq!(recounted.doubts(&acme(), five(), &[row("acme", 5, swapped)].into()), ["young"]);
    }

    #[test]
    fn a_record_without_a_key_proves_no_difference_and_doubts_no_agreement() {
        let rows = Rows::from([row("acme", 5, one())]);
        let keyless = [((acme(), five()), 1)].into();
        let recounted = Recounted { rows: rows.clone(), keyless, ..Recounted::default() };
        assert!(recounted.doubts(&acme(), five(), &rows).is_empty());
        let told = recounted.doubts(&acme(), five(), &Rows::new());
        assert!(told.len() == 1 && told[0].contains("no key of 1 record"), "{told:?}");
    }

    #[test]
    fn rows_of_other_accounts_and_hours_are_not_of_this_one() {
        let rows = [row("acme", 4, one()), row("acme", 5, one()), row("acme", 6, one()), row("acme2", 5, one())].into();
        assert_eq!(rows_of(&rows, &acme(), five()).count(), 1);
    }

    #[test]
    fn letters_that_may_be_gone_doubt_the_hours_they_may_have_counted_in() {
        let (from, to) = (Hour::from_index(100), Hour::from_index(110));
        let tolerance = Duration::from_secs(300);
        let until = |since| forgotten_letters((from, to), since, tolerance).map(|doubt| (doubt.from, doubt.to));
        assert_eq!(until(from.start().minus(tolerance * 2)), None);
        assert_eq!(until(from.start()), Some((from, from.next())));
        assert_eq!(until(to.end()), Some((from, to)));
    }
}
