//! A batch that the store cannot take whole: in halves, down to the one record that it cannot take at all.

use super::{Batch, Candidate, Rules};
use crate::{
    dead_letter::{DeadLetter, DeadLetterReason, Refusal},
    identity::Kind,
    stream::{Loss, Record, Sequence},
};

/// What a batch was made of.
enum Entry {
    Record(Record),
    Lost(Loss),
}

impl Entry {
    fn first(&self) -> Sequence {
        match self {
            Self::Record(record) => record.sequence,
            Self::Lost(loss) => loss.first,
        }
    }
}

impl Batch {
    /// Two sealed batches that are this one when they are written one after the other; `None` when it holds one record, or one
    /// run of lost ones. Records are judged again, by `rules`, as of the time they were appended.
    pub fn halves(&self, rules: &Rules) -> Option<[Self; 2]> {
        let mut first = self.entries();
        if first.len() < 2 {
            return None;
        }
        let second = first.split_off(first.len() / 2);
        let first = self.of(self.from, first, rules);
        let mut second = self.of(first.to, second, rules);
        second.stop = self.stop.clone();
        Some([first, second])
    }

    /// A batch of one record that would be counted, with that record refused instead: the sums it belongs to are full. `None` for
    /// any other batch.
    pub fn refused_as_too_much(mut self) -> Option<Self> {
        if self.len() > 1 {
            return None;
        }
        let candidate = self.candidates.pop()?;
        self.usage.clear();
        self.latency.clear();
        self.firsts.clear();
        let refusal = candidate.too_much();
        let Record { sequence, recorded_at, payload } = candidate.record;
        self.dead.push(DeadLetter { sequence, recorded_at, refusal, payload });
        Some(self)
    }

    fn entries(&self) -> Vec<Entry> {
        let candidates = self.candidates.iter().chain(&self.repeats).map(|candidate| candidate.record.clone());
        let dead = self.dead.iter().map(|letter| Record {
            sequence: letter.sequence,
            recorded_at: letter.recorded_at,
            payload: letter.payload.clone(),
        });
        let losses = self.losses.iter().cloned().map(Entry::Lost);
        let mut entries: Vec<_> = candidates.chain(dead).map(Entry::Record).chain(losses).collect();
        entries.sort_unstable_by_key(Entry::first);
        entries
    }

    fn of(&self, applied: Sequence, entries: Vec<Entry>, rules: &Rules) -> Self {
        let mut part = Self::new(self.stream.clone(), self.incarnation.clone(), applied);
        for entry in entries {
            match entry {
                Entry::Record(record) => {
                    let recorded_at = record.recorded_at;
                    part.push(record, recorded_at, rules);
                }
                Entry::Lost(loss) => part.push_loss(loss),
            }
        }
        part.seal()
    }
}

impl Candidate {
    fn too_much(&self) -> Refusal {
        Refusal {
            reason: DeadLetterReason::Invalid,
            field: match self.identity.partition.kind {
                Kind::Billing => "billing.amount_micros",
                Kind::Receipt => "receipt.status",
            },
            detail: "would take the total of its account and hour past 64 bits; find out what filled it, then redrive or discard"
                .to_owned(),
            account: Some(self.effect.key.account.clone()),
            event_time: Some(self.event_time),
        }
    }
}
