//! Records to a batch, a batch to the rows of one transaction.
//!
//! [`Batch`] holds what was read; [`Batch::settle`] is told which identities the store knew already and says exactly what to
//! write. Both are pure: splitting the same records into other batches gives the same sums.

mod narrow;

use crate::{
    account::AccountId,
    dead_letter::{DeadLetter, DeadLetterReason, Refusal},
    decode::decode,
    event::Event,
    identity::{self, Fingerprint, Identity, Key, Kind},
    progress::SET_BACK,
    stream::{Incarnation, Loss, Record, Sequence, StreamName},
    time::{Day, Hour, Timestamp},
    usage::{Effect, LatencyKey, Usage, UsageKey},
};
use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::Duration,
};

/// What may be counted straight from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How old a billing event may be when its record is appended. Dedup partitions are kept at least as long.
    pub billing_horizon: Duration,
    /// The same for receipts, by the submission of their message.
    pub receipt_horizon: Duration,
    /// How far ahead of its record an event may be.
    pub future_tolerance: Duration,
    /// Take late events all the same: only when an operator redrives knowingly.
    pub accept_late: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            billing_horizon: Duration::from_secs(48 * 3600),
            receipt_horizon: Duration::from_secs(96 * 3600),
            future_tolerance: Duration::from_secs(5 * 60),
            accept_late: false,
        }
    }
}

impl Rules {
    /// The horizon of a kind.
    pub fn horizon(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Billing => self.billing_horizon,
            Kind::Receipt => self.receipt_horizon,
        }
    }

    /// When the first record may have been appended that holds an event of `hour` or later.
    pub fn earliest_append(&self, hour: Hour) -> Timestamp {
        hour.start().minus(self.future_tolerance)
    }

    /// When the last record may have been appended that holds an event from before `hour`.
    pub fn latest_append(&self, hour: Hour) -> Timestamp {
        hour.start().plus(self.billing_horizon.max(self.receipt_horizon))
    }

    /// Judges an event against the time its record was appended.
    ///
    /// # Errors
    /// `FUTURE` or `LATE`.
    pub fn admit(&self, event: &Event, recorded_at: Timestamp) -> Result<Admission, Refusal> {
        let time = event.time();
        let kind = match event {
            Event::Billing(_) => Kind::Billing,
            Event::Receipt(_) => Kind::Receipt,
        };
        let horizon = self.horizon(kind);
        let late = time < recorded_at.minus(horizon);
        let (reason, detail) = if time > recorded_at.plus(self.future_tolerance) {
            let ahead = time.since(recorded_at).as_secs();
            (
                DeadLetterReason::Future,
                format!("is {ahead} s ahead of the log; at most {} s are allowed", self.future_tolerance.as_secs()),
            )
        } else if late && !self.accept_late {
            let hours = recorded_at.since(time).as_secs() / 3600;
            let horizon = horizon.as_secs() / 3600;
            (DeadLetterReason::Late, format!("was {hours} h old when it was appended; past the dedup horizon of {horizon} h"))
        } else {
            return Ok(Admission { late });
        };
        let field = match kind {
            Kind::Billing => "billing.occurred_at",
            Kind::Receipt => "receipt.submitted_at",
        };
        Err(Refusal { reason, field, detail, account: Some(event.account().clone()), event_time: Some(time) })
    }
}

/// An event was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// It is past its horizon and was accepted knowingly: its key must be kept for ever.
    pub late: bool,
}

/// A record that counts unless its identity is known.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name.
    pub identity: Identity,
    /// Its content.
    pub fingerprint: Fingerprint,
    /// What counting it adds.
    pub effect: Effect,
    /// See [`Admission::late`].
    pub late: bool,
    event_time: Timestamp,
    record: Record,
}

impl Candidate {
    /// Judges one record.
    ///
    /// # Errors
    /// Any reason but `CONFLICT`, which only others can tell.
    pub fn judge(record: &Record, recorded_at: Timestamp, rules: &Rules) -> Result<Self, Refusal> {
        let event = decode(&record.payload)?;
        let Admission { late } = rules.admit(&event, recorded_at)?;
        let (identity, fingerprint) = identity::identify(&event);
        Ok(Self { identity, fingerprint, effect: Effect::of(&event), late, event_time: event.time(), record: record.clone() })
    }

    /// Position of its record.
    pub fn sequence(&self) -> Sequence {
        self.record.sequence
    }

    fn conflict(&self) -> Refusal {
        Refusal {
            reason: DeadLetterReason::Conflict,
            field: match self.identity.partition.kind {
                Kind::Billing => "billing.event_id",
                Kind::Receipt => "receipt.message_id",
            },
            detail: "is known with other content; find out which is right, then discard or publish under a new id".to_owned(),
            account: Some(self.effect.key.account.clone()),
            event_time: Some(self.event_time),
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Counted now.
    Counted,
    /// Counted before.
    Duplicate,
    /// Refused.
    Dead(Refusal),
}

/// A run of one stream's records, read and judged, not yet written.
#[derive(Debug, Clone)]
pub struct Batch {
    stream: StreamName,
    incarnation: Incarnation,
    from: Sequence,
    to: Sequence,
    last_recorded_at: Option<Timestamp>,
    earliest_recorded_at: Option<Timestamp>,
    latest_recorded_at: Option<Timestamp>,
    set_back: Option<(Timestamp, Timestamp)>,
    /// First of each identity, in order of identity once sealed.
    candidates: Vec<Candidate>,
    /// Further records of an identity that is in the batch already.
    repeats: Vec<Candidate>,
    dead: Vec<DeadLetter>,
    losses: Vec<Loss>,
    /// Why the stream is to stop behind it.
    stop: Option<String>,
    usage: HashMap<UsageKey, Usage>,
    latency: HashMap<LatencyKey, i64>,
    /// The candidates by name: the same name on another day is the same event, told differently.
    firsts: HashMap<(Kind, Key), (Identity, Fingerprint)>,
    bytes: usize,
}

impl Batch {
    /// An empty batch after `applied`.
    pub fn new(stream: StreamName, incarnation: Incarnation, applied: Sequence) -> Self {
        Self {
            stream,
            incarnation,
            from: applied,
            to: applied,
            last_recorded_at: None,
            earliest_recorded_at: None,
            latest_recorded_at: None,
            set_back: None,
            candidates: Vec::new(),
            repeats: Vec::new(),
            dead: Vec::new(),
            losses: Vec::new(),
            stop: None,
            usage: HashMap::new(),
            latency: HashMap::new(),
            firsts: HashMap::new(),
            bytes: 0,
        }
    }

    /// Takes the next record, judged as of `recorded_at` (its own time when it comes from the log).
    /// Returns whether it could be decoded, for the breaker.
    ///
    /// # Panics
    /// When the record is not the next one: a hole must be told with [`Batch::push_loss`].
    pub fn push(&mut self, record: Record, recorded_at: Timestamp, rules: &Rules) -> bool {
        assert_eq!(record.sequence, self.to + 1, "records of {} must be contiguous", self.stream);
        self.to = record.sequence;
        self.note_time(record.recorded_at);
        self.bytes += record.payload.len();
        match Candidate::judge(&record, recorded_at, rules) {
            Ok(candidate) => self.take(candidate),
            Err(refusal) => {
                let undecodable = refusal.reason == DeadLetterReason::Undecodable;
                self.dead.push(DeadLetter {
                    sequence: record.sequence,
                    recorded_at: record.recorded_at,
                    refusal,
                    payload: record.payload,
                });
                return !undecodable;
            }
        }
        true
    }

    fn note_time(&mut self, at: Timestamp) {
        let latest = self.latest_recorded_at.map_or(at, |latest| latest.max(at));
        if at < latest.minus(SET_BACK) {
            self.set_back = Some(self.set_back.map_or((at, latest), |(to, from)| (to.min(at), from.max(latest))));
        }
        self.last_recorded_at = Some(at);
        self.earliest_recorded_at = Some(self.earliest_recorded_at.map_or(at, |earliest| earliest.min(at)));
        self.latest_recorded_at = Some(latest);
    }

    fn take(&mut self, candidate: Candidate) {
        match self.firsts.entry(candidate.identity.name()) {
            Entry::Occupied(_) => return self.repeats.push(candidate),
            Entry::Vacant(vacant) => vacant.insert((candidate.identity, candidate.fingerprint)),
        };
        *self.usage.entry(candidate.effect.key.clone()).or_default() += candidate.effect.usage;
        if let Some(key) = candidate.effect.latency_key() {
            *self.latency.entry(key).or_default() += 1;
        }
        self.candidates.push(candidate);
    }

    /// Takes a run of records that the log no longer has.
    ///
    /// # Panics
    /// When the run does not start at the next sequence.
    pub fn push_loss(&mut self, loss: Loss) {
        assert_eq!(loss.first, self.to + 1, "losses of {} must be contiguous with its records", self.stream);
        self.to = loss.last;
        self.losses.push(loss);
    }

    /// Stops the stream behind this batch, in its own transaction: an owner that began anew would take as many bad records again.
    pub fn stop(&mut self, why: String) {
        self.stop = Some(why);
    }

    /// Why the stream is to stop behind it; `None` to go on.
    pub fn stops(&self) -> Option<&str> {
        self.stop.as_deref()
    }

    /// Sorts for writing. Locks are taken in one order by everybody, so batches cannot deadlock.
    pub fn seal(mut self) -> Self {
        self.candidates.sort_unstable_by_key(|candidate| candidate.identity);
        self
    }

    /// The stream.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Its incarnation.
    pub fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// Applied before.
    pub fn from(&self) -> Sequence {
        self.from
    }

    /// Applied after.
    pub fn to(&self) -> Sequence {
        self.to
    }

    /// Log time of the last record, if there is one.
    pub fn last_recorded_at(&self) -> Option<Timestamp> {
        self.last_recorded_at
    }

    /// Earliest and latest log time of its records, if there are any.
    pub fn times(&self) -> Option<(Timestamp, Timestamp)> {
        self.earliest_recorded_at.zip(self.latest_recorded_at)
    }

    /// Between which times the log's clock went back within it, as in [`crate::progress::SetBack`].
    pub fn set_back(&self) -> Option<(Timestamp, Timestamp)> {
        self.set_back
    }

    /// Records and lost records.
    pub fn len(&self) -> u64 {
        self.to - self.from
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.to == self.from
    }

    /// Payload bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records refused whatever the store knows; conflicts come on top.
    pub fn dead(&self) -> &[DeadLetter] {
        &self.dead
    }

    /// Losses to write to the ledger.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// One candidate per identity; sorted by partition and key once sealed.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// What to write, given the identities of this batch that the store knew before, with their fingerprints.
    pub fn settle(&self, known: &HashMap<Identity, Fingerprint>) -> Settled {
        let mut settled = Settled { lost: self.losses.iter().map(Loss::count).sum(), ..Settled::default() };
        let mut usage = self.usage.clone();
        let mut latency = self.latency.clone();
        settled.dead_letters = self.dead.clone();
        settled.counted = (self.candidates.len() - known.len()) as u64;
        if !known.is_empty() {
            for candidate in &self.candidates {
                let Some(fingerprint) = known.get(&candidate.identity) else { continue };
                settled.refuse(candidate, *fingerprint);
                if let Some(sum) = usage.get_mut(&candidate.effect.key) {
                    *sum -= candidate.effect.usage;
                }
                if let Some(count) = candidate.effect.latency_key().and_then(|key| latency.get_mut(&key)) {
                    *count -= 1;
                }
            }
        }
        for repeat in &self.repeats {
            let (first, fingerprint) = self.firsts.get(&repeat.identity.name()).expect("a repeat has a first");
            settled.refuse(repeat, *known.get(first).unwrap_or(fingerprint));
        }
        settled.usage = usage.into_iter().filter(|(_, usage)| usage.events != 0).collect();
        settled.usage.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        settled.latency = latency.into_iter().filter(|(_, count)| *count != 0).collect();
        settled.latency.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        settled.dead_letters.sort_unstable_by_key(|letter| letter.sequence);
        settled
    }

    /// What became of each record, by sequence, given the same knowledge as [`Batch::settle`]. Lost records are left out.
    pub fn outcomes(&self, known: &HashMap<Identity, Fingerprint>) -> Vec<(Sequence, Outcome)> {
        let settled = self.settle(known);
        let mut outcomes: HashMap<Sequence, Outcome> =
            settled.dead_letters.into_iter().map(|letter| (letter.sequence, Outcome::Dead(letter.refusal))).collect();
        for candidate in &self.candidates {
            let outcome = if known.contains_key(&candidate.identity) { Outcome::Duplicate } else { Outcome::Counted };
            outcomes.entry(candidate.sequence()).or_insert(outcome);
        }
        for repeat in &self.repeats {
            outcomes.entry(repeat.sequence()).or_insert(Outcome::Duplicate);
        }
        let mut outcomes: Vec<_> = outcomes.into_iter().collect();
        outcomes.sort_unstable_by_key(|(sequence, _)| *sequence);
        outcomes
    }
}

/// The rows of one transaction, each list sorted by its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Records counted.
    pub counted: u64,
    /// Records counted before.
    pub duplicates: u64,
    /// Records refused.
    pub dead_letters: Vec<DeadLetter>,
    /// Records the log no longer had.
    pub lost: u64,
    /// Added to hourly usage.
    pub usage: Vec<(UsageKey, Usage)>,
    /// Added to hourly latency counts.
    pub latency: Vec<(LatencyKey, i64)>,
}

impl Settled {
    fn refuse(&mut self, candidate: &Candidate, known: Fingerprint) {
        if candidate.fingerprint == known {
            self.duplicates += 1;
        } else {
            self.dead_letters.push(DeadLetter {
                sequence: candidate.record.sequence,
                recorded_at: candidate.record.recorded_at,
                refusal: candidate.conflict(),
                payload: candidate.record.payload.clone(),
            });
        }
    }

    /// Records accounted for; equals the batch's length, or there is a bug.
    pub fn accounted(&self) -> u64 {
        self.counted + self.duplicates + self.dead_letters.len() as u64 + self.lost
    }

    /// Account-days whose roll-up is out of date after this.
    pub fn dirty_days(&self) -> BTreeSet<(AccountId, Day)> {
        self.usage.iter().map(|(key, _)| (key.account.clone(), key.hour.day())).collect()
    }
}
