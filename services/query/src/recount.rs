//! One account-hour, counted again with the fold that counted it first.

use loadline_domain::{
    AccountId, Hour, Record, Rules,
    event::{Channel, Country, Currency},
    fold::Candidate,
    identity::{Fingerprint, Identity},
    usage::Usage,
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What rows of one account-hour are kept apart by.
pub type RowKey = (Channel, Country, Currency);

/// Sums by row.
pub type Rows = BTreeMap<RowKey, Usage>;

/// Counts the records of an account-hour among all that it is shown. Holds some 50 bytes for each identity counted.
#[derive(Debug)]
pub struct Recount {
    account: AccountId,
    hour: Hour,
    rows: Rows,
    winners: HashMap<Identity, Winner>,
    duplicates: u64,
    dead_letters: u64,
}

/// The content that counts for an identity, and whether it was met already.
#[derive(Debug, Clone, Copy)]
struct Winner {
    fingerprint: Fingerprint,
    counted: bool,
}

impl Recount {
    /// Nothing is counted yet.
    pub fn new(account: AccountId, hour: Hour) -> Self {
        Self { account, hour, rows: Rows::new(), winners: HashMap::new(), duplicates: 0, dead_letters: 0 }
    }

    /// Judges records as of when the log took them, and returns those that count in this account-hour unless they are
    /// known; refused ones of the account-hour are counted as dead letters.
    pub fn judge<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>, rules: &Rules) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for record in records {
            match Candidate::judge(record, record.recorded_at, rules) {
                Ok(candidate) if candidate.effect.key.account == self.account && candidate.effect.key.hour == self.hour => {
                    candidates.push(candidate);
                }
                Ok(_) => {}
                Err(refusal) => {
                    let hour = refusal.event_time.map(|time| time.hour());
                    let ours = refusal.account.as_ref() == Some(&self.account) && hour == Some(self.hour);
                    self.dead_letters += u64::from(ours);
                }
            }
        }
        candidates
    }

    /// Identities met for the first time, each once.
    pub fn strangers(&self, candidates: &[Candidate]) -> Vec<Identity> {
        let strangers: HashSet<_> = candidates.iter().map(|candidate| candidate.identity).collect();
        let mut strangers: Vec<_> = strangers.into_iter().filter(|identity| !self.winners.contains_key(identity)).collect();
        strangers.sort_unstable();
        strangers
    }

    /// Counts candidates. `known` are the keys the store has for the strangers among them: what it counted for an identity
    /// may lie outside the records shown here, so its content decides which of several is the duplicate and which the
    /// conflict. For a key the store no longer has, the first content met decides.
    pub fn settle(&mut self, candidates: &[Candidate], known: &HashMap<Identity, Fingerprint>) {
        for candidate in candidates {
            let winner = self.winners.entry(candidate.identity).or_insert_with(|| Winner {
                fingerprint: known.get(&candidate.identity).copied().unwrap_or(candidate.fingerprint),
                counted: false,
            });
            if winner.fingerprint != candidate.fingerprint {
                self.dead_letters += 1;
            } else if winner.counted {
                self.duplicates += 1;
            } else {
                winner.counted = true;
                let key = &candidate.effect.key;
                *self.rows.entry((key.channel, key.country, key.currency)).or_default() += candidate.effect.usage;
            }
        }
    }

    /// Sums so far.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Records of the account-hour that were counted before.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Records of the account-hour that were refused.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::Timestamp;
    use loadline_proto::event as wire;
    use prost::Message as _;

    fn start() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn record(sequence: u64, account: &str, id: &str, second: i64, amount_micros: i64) -> Record {
        let billing = wire::BillingEvent {
            event_id: id.to_owned(),
            account: account.to_owned(),
            occurred_at: Some(prost_types::Timestamp { seconds: start().parts().0 + second, nanos: 0 }),
            channel: 1,
            country: "DE".to_owned(),
            currency: "EUR".to_owned(),
            messages: 1,
            segments: 1,
            amount_micros,
        };
        let payload = wire::Event { body: Some(wire::event::Body::Billing(billing)) }.encode_to_vec().into();
        Record { sequence, recorded_at: start().plus(std::time::Duration::from_secs(1_800)), payload }
    }

    fn recount(records: &[Record], known: &HashMap<Identity, Fingerprint>) -> Recount {
        let mut recount = Recount::new(AccountId::new("acme").unwrap(), start().hour());
        let candidates = recount.judge(records, &Rules::default());
        recount.settle(&candidates, known);
        recount
    }

    fn sum(recount: &Recount) -> (i64, i64) {
        recount.rows().values().fold((0, 0), |(events, amount), usage| (events + usage.events, amount + usage.amount_micros))
    }

    #[test]
    fn only_the_account_and_the_hour_count() {
        let records = [
            record(1, "acme", "a", 0, 5),
            record(2, "acme", "b", -1, 5),
            record(3, "acme", "c", 3_600, 5),
            record(4, "bolt", "a", 0, 5),
        ];
        // The third is ahead of its record by more than the tolerance and belongs to another hour: not ours either.
        let recount = recount(&records, &HashMap::new());
        assert_eq!((sum(&recount), recount.dead_letters()), ((1, 5), 0));
    }

    #[test]
    fn a_repeat_is_a_duplicate_and_other_content_a_dead_letter() {
        let records = [record(1, "acme", "a", 0, 5), record(2, "acme", "a", 0, 5), record(3, "acme", "a", 0, 6)];
        let recount = recount(&records, &HashMap::new());
        assert_eq!((sum(&recount), recount.duplicates(), recount.dead_letters()), ((1, 5), 1, 1));
    }

    #[test]
    fn the_content_the_store_counted_wins_over_the_first_one_met() {
        let records = [record(1, "acme", "a", 0, 5), record(2, "acme", "a", 0, 6)];
        let second = Candidate::judge(&records[1], records[1].recorded_at, &Rules::default()).unwrap();
        let recount = recount(&records, &[(second.identity, second.fingerprint)].into());
        assert_eq!((sum(&recount), recount.dead_letters()), ((1, 6), 1));
    }

    #[test]
    fn a_refused_record_of_the_hour_is_a_dead_letter() {
        let recount = recount(&[record(1, "acme", "a", 0, -5)], &HashMap::new());
        assert_eq!((sum(&recount), recount.dead_letters()), ((0, 0), 1));
    }

    #[test]
    fn identities_are_asked_for_once() {
        let mut recount = Recount::new(AccountId::new("acme").unwrap(), start().hour());
        let records = [record(1, "acme", "a", 0, 5), record(2, "acme", "a", 0, 5), record(3, "acme", "b", 0, 5)];
        let candidates = recount.judge(&records, &Rules::default());
        assert_eq!(recount.strangers(&candidates).len(), 2);
        recount.settle(&candidates, &HashMap::new());
        assert!(recount.strangers(&candidates).is_empty());
    }
}
