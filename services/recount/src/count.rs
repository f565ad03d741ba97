//! Account-hours, counted again with the fold that counted them first.

use crate::Span;
use loadline_domain::{
    AccountId, DeadLetterReason, Hour, Record, Rules, Sequence,
    fold::Candidate,
    identity::{Fingerprint, Identity},
    usage::{Usage, UsageKey},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What rules alone refuse: when an event happened, against when its record was taken.
const UNTIMELY: [DeadLetterReason; 2] = [DeadLetterReason::Late, DeadLetterReason::Future];

/// An hour of an account.
pub type AccountHour = (AccountId, Hour);

/// Sums by row.
pub type Rows = BTreeMap<UsageKey, Usage>;

/// Counts the records of a span among all that it is shown.
///
/// Holds up to 100 bytes for each identity of the span, and half as much again while its table grows; so a span is as many
/// hours as memory allows. Spans that share no account-hour add up to the span of both.
#[derive(Debug)]
pub struct Recount {
    span: Span,
    rows: Rows,
    winners: HashMap<Identity, Winner>,
    keyless: BTreeMap<AccountHour, u64>,
    untimely: BTreeSet<AccountHour>,
    full: BTreeSet<AccountHour>,
    duplicates: u64,
    dead_letters: u64,
}

/// The content that counts for an identity, and whether it was met already.
#[derive(Debug, Clone, Copy)]
struct Winner {
    fingerprint: Fingerprint,
    keyed: bool,
    counted: bool,
}

/// What came of a recount.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Sums.
    pub rows: Rows,
    /// Records that were counted although the store has no key of them: past their horizon keys are purged.
    pub keyless: BTreeMap<AccountHour, u64>,
    /// Account-hours with records that are refused for their time alone, which under other rules counted.
    pub untimely: BTreeSet<AccountHour>,
    /// Account-hours with a sum past 64 bits.
    pub full: BTreeSet<AccountHour>,
    /// Records of the span that were counted before.
    pub duplicates: u64,
    /// Records of the span that were refused.
    pub dead_letters: u64,
}

impl Recount {
    /// Nothing is counted yet.
    pub fn new(span: Span) -> Self {
        Self {
            span,
            rows: Rows::new(),
            winners: HashMap::new(),
            keyless: BTreeMap::new(),
            untimely: BTreeSet::new(),
            full: BTreeSet::new(),
            duplicates: 0,
            dead_letters: 0,
        }
    }

    /// Judges records of one stream as of when the log took them, and returns those that count in this span unless they are
    /// known. Refused ones of the span are dead letters, and so are those at the positions of `refused`: their owner found
    /// that they fit into no total, which a record alone does not show.
    pub fn judge<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
        rules: &Rules,
        refused: &HashSet<Sequence>,
    ) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for record in records {
            match Candidate::judge(record, record.recorded_at, rules) {
                Ok(candidate) if self.span.holds(&candidate.effect.key.account, candidate.effect.key.hour) => {
                    if refused.contains(&record.sequence) {
                        self.dead_letters += 1;
                    } else {
                        candidates.push(candidate);
                    }
                }
                Ok(_) => {}
                Err(refusal) => {
                    let place = refusal.account.as_ref().zip(refusal.event_time);
                    let ours = place.is_some_and(|(account, time)| self.span.holds(account, time.hour()));
                    self.dead_letters += u64::from(ours);
                    if let Some((account, time)) = place.filter(|_| ours && UNTIMELY.contains(&refusal.reason)) {
                        self.untimely.insert((account.clone(), time.hour()));
                    }
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
    /// conflict. For a key the store does not have, the first content met decides.
    pub fn settle(&mut self, candidates: &[Candidate], known: &HashMap<Identity, Fingerprint>) {
        for candidate in candidates {
            let winner = self.winners.entry(candidate.identity).or_insert_with(|| {
                let key = known.get(&candidate.identity).copied();
                Winner { fingerprint: key.unwrap_or(candidate.fingerprint), keyed: key.is_some(), counted: false }
            });
            if winner.fingerprint != candidate.fingerprint {
                self.dead_letters += 1;
            } else if winner.counted {
                self.duplicates += 1;
            } else {
                winner.counted = true;
                let keyed = winner.keyed;
                self.count(candidate, keyed);
            }
        }
    }

    fn count(&mut self, candidate: &Candidate, keyed: bool) {
        let key = &candidate.effect.key;
        if !keyed {
            *self.keyless.entry((key.account.clone(), key.hour)).or_default() += 1;
        }
        let sum = self.rows.entry(key.clone()).or_default();
        match sum.checked_add(candidate.effect.usage) {
            Some(more) => *sum = more,
            // The store has refused one of its records; which one, its sums do not say.
            None => drop(self.full.insert((key.account.clone(), key.hour))),
        }
    }

    /// Identities held.
    pub fn identities(&self) -> usize {
        self.winners.len()
    }

    pub(crate) fn finish(self) -> Counted {
        let Self { rows, keyless, untimely, full, duplicates, dead_letters, .. } = self;
        Counted { rows, keyless, untimely, full, duplicates, dead_letters }
    }
}

#[cfg(test)]
mod tests;
