//! Whether the store holds exactly what was published: each record counted once, known as a duplicate, dead-lettered or in the
//! loss ledger, and nothing else counted.
//!
//! It does not depend on the order in which streams were applied: of each identity, at least one record must have passed,
//! all that passed must say the same, and the sums are those of one record an identity.

use crate::{
    journal::{Journal, Placed, Position},
    model::{self, Identity, Numbers, RowKey, Verdict, Worth},
    snapshot::{Counters, Key, LatencyKey, Letter, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The store has passed a place that nobody published to.
    ForeignRecord(Position),
    /// The log goes on past what the store has applied; drain it before checking.
    NotApplied(Position),
    /// A place is both a dead letter and lost, or either of them twice.
    AccountedTwice(Position),
    /// A dead letter or a loss past what is applied.
    Premature(Position),
    /// A record was counted or taken for a duplicate that must be dead for this reason.
    CountedThough(Position, &'static str),
    /// A record is dead for the first reason, and should be counted or dead for the second.
    WronglyDead(Position, String, &'static str),
    /// A dead letter holds other bytes than were published.
    PayloadChanged(Position),
    /// Records of one identity passed, and they say different things.
    ConflictCounted(Identity),
    /// All sound records of an identity are dead letters: it is counted nowhere.
    NeverCounted(Identity),
    /// Acknowledged publications that are neither in the log nor covered by the loss ledger.
    AcceptedAndGone(u64),
    /// A stream's counter: what it is called, what it is, what it must be.
    Counter(String, &'static str, u64, u64),
    /// Counted records over all streams, and the number of identities that passed.
    CountedSum(u64, u64),
    /// A row of usage as it is, and as it must be.
    Usage(RowKey, Numbers, Numbers),
    /// Deliveries in the latency sketch, and in usage.
    Latency(LatencyKey, i64, i64),
    /// A counted identity has no dedup key: a retry would count it again.
    KeyAbsent(Identity),
    /// A dedup key that belongs to nothing counted: its event would be dropped when it comes.
    KeyForeign(Key),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(row, is, must) => write!(f, "usage of {row:?}: is {is:?}, must be {must:?}"),
            Self::Counter(stream, counter, is, must) => write!(f, "{counter} of {stream}: is {is}, must be {must}"),
            Self::WronglyDead(position, is, must) => write!(f, "{position} is dead as {is}, must be {must}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Everything wrong; empty when all is well.
pub fn check(journal: &Journal, store: &Snapshot) -> Vec<Violation> {
    let mut checker = Checker { journal, store, violations: Vec::new() };
    let fates = checker.fates();
    let passed = checker.passed(&fates);
    checker.dead(&fates, &passed);
    checker.counters(&fates, &passed);
    checker.sums(&passed);
    checker.keys(&passed);
    checker.accepted(&fates);
    checker.violations
}

/// The same, as text for a failing test: the first few in full, and how many there are.
///
/// # Errors
/// When there is any.
pub fn ensure_exact(journal: &Journal, store: &Snapshot) -> anyhow::Result<()> {
    let violations = check(journal, store);
    let shown: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
    anyhow::ensure!(violations.is_empty(), "{} violations:\n{}", violations.len(), shown.join("\n"));
    Ok(())
}

/// What the store says of a place; a place it says nothing of has passed.
enum Fate<'a> {
    Lost,
    Dead(&'a Letter),
}

/// One of those that passed stands for all of its identity.
type Passed = HashMap<Identity, (Worth, Placed)>;

struct Checker<'a> {
    journal: &'a Journal,
    store: &'a Snapshot,
    violations: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn fates(&mut self) -> BTreeMap<Position, Fate<'a>> {
        let mut fates = BTreeMap::new();
        for loss in &self.store.losses {
            for sequence in loss.first.sequence..=loss.last {
                self.settle(&mut fates, Position { sequence, ..loss.first.clone() }, Fate::Lost);
            }
        }
        for letter in &self.store.letters {
            self.settle(&mut fates, letter.position.clone(), Fate::Dead(letter));
        }
        fates
    }

    fn settle(&mut self, fates: &mut BTreeMap<Position, Fate<'a>>, position: Position, fate: Fate<'a>) {
        if position.sequence == 0 || position.sequence > self.applied(&position) {
            self.violations.push(Violation::Premature(position.clone()));
        }
        if fates.insert(position.clone(), fate).is_some() {
            self.violations.push(Violation::AccountedTwice(position));
        }
    }

    fn applied(&self, position: &Position) -> u64 {
        let stream = (position.stream.clone(), position.incarnation.clone());
        self.store.counters.get(&stream).map_or(0, |counters| counters.applied)
    }

    /// Judges what passed, and groups it by identity.
    fn passed(&mut self, fates: &BTreeMap<Position, Fate<'a>>) -> Passed {
        let mut passed = Passed::new();
        for (position, placed) in self.journal.placed() {
            if position.sequence > self.applied(position) {
                self.violations.push(Violation::NotApplied(position.clone()));
                continue;
            }
            let recorded_at = match fates.get(position) {
                None => placed.recorded_at,
                // An operator took it in knowingly, whatever its age.
                Some(Fate::Dead(letter)) if letter.redriven => None,
                Some(_) => continue,
            };
            match model::judge(&placed.payload, recorded_at) {
                Verdict::Dead(reason) => self.violations.push(Violation::CountedThough(position.clone(), reason)),
                Verdict::Countable(worth) => {
                    let (first, _) = passed.entry(worth.identity.clone()).or_insert_with(|| ((*worth).clone(), placed.clone()));
                    if first.content != worth.content {
                        self.violations.push(Violation::ConflictCounted(worth.identity));
                    }
                }
            }
        }
        passed
    }

    fn dead(&mut self, fates: &BTreeMap<Position, Fate<'a>>, passed: &Passed) {
        for (position, fate) in fates {
            let (Fate::Dead(letter), Some(placed)) = (fate, self.journal.placed().get(position)) else { continue };
            if letter.payload != placed.payload {
                self.violations.push(Violation::PayloadChanged(position.clone()));
            }
            if letter.redriven {
                continue;
            }
            let must = match model::judge(&placed.payload, placed.recorded_at) {
                Verdict::Dead(reason) => reason,
                Verdict::Countable(worth) => match passed.get(&worth.identity) {
                    None => {
                        self.violations.push(Violation::NeverCounted(worth.identity));
                        continue;
                    }
                    Some((first, _)) if first.content == worth.content => "a duplicate",
                    Some(_) => "CONFLICT",
                },
            };
            if letter.reason != must {
                self.violations.push(Violation::WronglyDead(position.clone(), letter.reason.clone(), must));
            }
        }
    }

    /// Every place up to `applied` is lost, dead or published, and the counters say how many of each.
    fn counters(&mut self, fates: &BTreeMap<Position, Fate<'a>>, passed: &Passed) {
        for ((stream, incarnation), is) in &self.store.counters {
            let mut must = Counters { applied: is.applied, ..Counters::default() };
            for sequence in 1..=is.applied {
                let position = Position::new(stream, incarnation, sequence);
                match fates.get(&position) {
                    Some(Fate::Lost) => must.lost += 1,
                    Some(Fate::Dead(letter)) if !letter.redriven => must.dead_lettered += 1,
                    _ => must.counted += 1,
                }
                let lost = matches!(fates.get(&position), Some(Fate::Lost));
                if !lost && !self.journal.placed().contains_key(&position) {
                    self.violations.push(Violation::ForeignRecord(position));
                }
            }
            let pairs = [
                ("lost", is.lost, must.lost),
                ("dead_lettered", is.dead_lettered, must.dead_lettered),
                ("counted + duplicates", is.counted + is.duplicates, must.counted),
            ];
            for (name, is, must) in pairs {
                if is != must {
                    self.violations.push(Violation::Counter(format!("{stream}[{incarnation}]"), name, is, must));
                }
            }
        }
        let counted = self.store.counters.values().map(|counters| counters.counted).sum();
        if counted != passed.len() as u64 {
            self.violations.push(Violation::CountedSum(counted, passed.len() as u64));
        }
    }

    fn sums(&mut self, passed: &Passed) {
        let mut must: BTreeMap<&RowKey, Numbers> = BTreeMap::new();
        for (worth, _) in passed.values() {
            model::add(must.entry(&worth.row).or_default(), &worth.numbers);
        }
        let rows: BTreeSet<&RowKey> = must.keys().copied().chain(self.store.usage.keys()).collect();
        let mut delivered: BTreeMap<LatencyKey, i64> = BTreeMap::new();
        for row in rows {
            let is = self.store.usage.get(row).copied().unwrap_or_default();
            let must = must.get(row).copied().unwrap_or_default();
            if is != must {
                self.violations.push(Violation::Usage(row.clone(), is, must));
            }
            let key = (row.account.clone(), row.hour, row.channel, row.country.clone());
            *delivered.entry(key).or_default() += must[model::DELIVERED];
        }
        let sketches = self.store.latency.keys().cloned().map(|key| (key, 0));
        for (key, must) in sketches.chain(delivered).collect::<BTreeMap<_, _>>() {
            let is = self.store.latency.get(&key).copied().unwrap_or_default();
            if is != must {
                self.violations.push(Violation::Latency(key, is, must));
            }
        }
    }

    /// How an identity is spelled as a key is the code's own affair; that each has one is not.
    fn keys(&mut self, passed: &Passed) {
        let mut must = BTreeMap::new();
        for (identity, (_, placed)) in passed {
            if let Ok(event) = loadline_domain::decode::decode(&placed.payload) {
                let (named, _) = loadline_domain::identity::identify(&event);
                must.insert(Key { kind: identity.kind.to_owned(), day: identity.day, key: named.key }, identity);
            }
        }
        let absent = must.iter().filter(|(key, _)| !self.store.keys.contains_key(key));
        self.violations.extend(absent.map(|(_, identity)| Violation::KeyAbsent((*identity).clone())));
        let foreign = self.store.keys.keys().filter(|key| !must.contains_key(key));
        self.violations.extend(foreign.map(|key| Violation::KeyForeign(key.clone())));
    }

    /// Which of the lost records held which payload cannot be told any more; how many there are can.
    fn accepted(&mut self, fates: &BTreeMap<Position, Fate<'a>>) {
        let unseen =
            fates.iter().filter(|(position, fate)| matches!(fate, Fate::Lost) && !self.journal.placed().contains_key(position));
        let gone = self.journal.homeless().saturating_sub(unseen.count() as u64);
        if gone > 0 {
            self.violations.push(Violation::AcceptedAndGone(gone));
        }
    }
}
