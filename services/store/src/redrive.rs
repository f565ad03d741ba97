//! Dead letters judged again, without I/O: what both backends do between reading the letters and writing the verdicts.

use crate::{DeadLetterState, Redriven, StoredDeadLetter};
use loadline_domain::{
    Batch, DeadLetterReason, Incarnation, Record, Rules, Settled, StreamName, Timestamp,
    dead_letter::Refusal,
    fold::{Candidate, Outcome},
    identity::{Fingerprint, Identity},
};
use std::collections::{BTreeMap, HashMap};

/// Letters in order of id, judged as far as that is possible without knowing which identities are counted.
pub(crate) struct Retrial {
    /// By position of the scratch batch, less one.
    tried: Vec<StoredDeadLetter>,
    /// Conflicts past their horizon: what they conflicted with may have been purged, so they are not tried at all.
    barred: u64,
    scratch: Option<Batch>,
}

/// What to write.
#[derive(Default)]
pub(crate) struct Verdicts {
    /// Usage and latency to add.
    pub settled: Settled,
    /// Letters that are no longer open: counted or duplicate.
    pub resolved: Vec<(i64, DeadLetterState)>,
    /// Letters that stay open for another reason or with another detail.
    pub refused: Vec<(i64, Refusal)>,
    /// Moved out of `dead_lettered`, by stream: into `counted`, into `duplicates`.
    pub moved: BTreeMap<(StreamName, Incarnation), (u64, u64)>,
    /// The answer.
    pub redriven: Redriven,
}

impl Retrial {
    /// Judges letters as if they had been appended at `now`. They go through a scratch batch under made-up sequences, since
    /// letters of several streams may be duplicates of each other.
    pub fn new(letters: Vec<StoredDeadLetter>, rules: &Rules, now: Timestamp) -> Self {
        let mut retrial = Self { tried: Vec::with_capacity(letters.len()), barred: 0, scratch: None };
        for stored in letters {
            let record = Record {
                sequence: retrial.tried.len() as u64 + 1,
                recorded_at: stored.letter.recorded_at,
                payload: stored.letter.payload.clone(),
            };
            if stored.letter.refusal.reason == DeadLetterReason::Conflict && is_late(&record, rules, now) {
                retrial.barred += 1;
                continue;
            }
            let empty = || Batch::new(stored.stream.clone(), stored.incarnation.clone(), 0);
            retrial.scratch.get_or_insert_with(empty).push(record, now, rules);
            retrial.tried.push(stored);
        }
        retrial.scratch = retrial.scratch.map(Batch::seal);
        retrial
    }

    /// Letters looked at.
    pub fn matched(&self) -> u64 {
        self.barred + self.tried.len() as u64
    }

    /// Those that count unless their identity is known, sorted by identity.
    pub fn candidates(&self) -> &[Candidate] {
        self.scratch.as_ref().map_or(&[], Batch::candidates)
    }

    /// The verdicts, given the candidates' identities that are known.
    pub fn verdicts(self, known: &HashMap<Identity, Fingerprint>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        verdicts.redriven.matched = self.matched();
        if self.barred > 0 {
            verdicts.redriven.dead_again.insert(DeadLetterReason::Conflict, self.barred);
        }
        let Some(scratch) = &self.scratch else { return verdicts };
        verdicts.settled = scratch.settle(known);
        for (stored, (_, outcome)) in self.tried.into_iter().zip(scratch.outcomes(known)) {
            verdicts.add(stored, outcome);
        }
        verdicts
    }
}

impl Verdicts {
    fn add(&mut self, stored: StoredDeadLetter, outcome: Outcome) {
        let state = match outcome {
            Outcome::Dead(refusal) => {
                *self.redriven.dead_again.entry(refusal.reason).or_default() += 1;
                if refusal != stored.letter.refusal {
                    self.refused.push((stored.id, refusal));
                }
                return;
            }
            Outcome::Counted => DeadLetterState::Counted,
            Outcome::Duplicate => DeadLetterState::Duplicate,
        };
        self.resolved.push((stored.id, state));
        let moved = self.moved.entry((stored.stream, stored.incarnation)).or_default();
        let (sum, total) = match state {
            DeadLetterState::Counted => (&mut moved.0, &mut self.redriven.counted),
            _ => (&mut moved.1, &mut self.redriven.duplicates),
        };
        *sum += 1;
        *total += 1;
    }
}

impl Redriven {
    /// Adds what another chunk did.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.matched += other.matched;
        self.counted += other.counted;
        self.duplicates += other.duplicates;
        for (reason, count) in other.dead_again {
            *self.dead_again.entry(reason).or_default() += count;
        }
    }
}

fn is_late(record: &Record, rules: &Rules, now: Timestamp) -> bool {
    let strict = Rules { accept_late: false, ..*rules };
    matches!(Candidate::judge(record, now, &strict), Err(refusal) if refusal.reason == DeadLetterReason::Late)
}
