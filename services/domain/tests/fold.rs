//! Properties of the fold: however records are split, repeated, interleaved or damaged, the sums are the same and nothing is lost.

use bytes::Bytes;
use loadline_domain::{
    Batch, Day, DeadLetter, Incarnation, Loss, LossCause, Record, Rules, Settled, StreamName, Timestamp,
    fold::Outcome,
    identity::{Fingerprint, Identity, Key, Kind},
    usage::{LatencyKey, Usage, UsageKey},
};
use loadline_proto::event::{BillingEvent, DeliveryReceipt, Event, event::Body};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// 23:59:30 of a day, so that seconds move events over hours and days.
const NOW: Timestamp = Timestamp::from_micros(1_795_305_570_000_000);

/// What a store holds after some batches: its part of the bargain, in memory.
#[derive(Debug, Clone, Default, PartialEq)]
struct Ledger {
    counted: u64,
    duplicates: u64,
    lost: u64,
    usage: BTreeMap<UsageKey, Usage>,
    latency: BTreeMap<LatencyKey, i64>,
    dead: BTreeMap<(String, u64), DeadLetter>,
    /// By name: the store looks an id up on the days before and after, too.
    keys: HashMap<(Kind, Key), Fingerprint>,
    dirty: BTreeSet<(String, Day)>,
}

impl Ledger {
    fn known(&self, batch: &Batch) -> HashMap<Identity, Fingerprint> {
        let identities = batch.candidates().iter().map(|candidate| candidate.identity);
        identities.filter_map(|identity| Some((identity, *self.keys.get(&identity.name())?))).collect()
    }

    fn apply(&mut self, batch: &Batch) -> Settled {
        let settled = batch.settle(&self.known(batch));
        for candidate in batch.candidates() {
            self.keys.entry(candidate.identity.name()).or_insert(candidate.fingerprint);
        }
        self.counted += settled.counted;
        self.duplicates += settled.duplicates;
        self.lost += settled.lost;
        for (key, usage) in settled.usage.clone() {
            *self.usage.entry(key).or_default() += usage;
        }
        for (key, count) in settled.latency.clone() {
            *self.latency.entry(key).or_default() += count;
        }
        self.dirty.extend(settled.dirty_days().into_iter().map(|(account, day)| (account.to_string(), day)));
        for letter in settled.dead_letters.clone() {
            let stood = self.dead.insert((batch.stream().to_string(), letter.sequence), letter);
            assert_eq!(stood, None, "a place has one letter");
        }
        settled
    }
}

/// A stream being read.
struct Reader {
    name: &'static str,
    applied: u64,
}

impl Reader {
    fn new(name: &'static str) -> Self {
        Self { name, applied: 0 }
    }

    fn batch(&mut self, payloads: &[Bytes], sealed: bool) -> Batch {
        let mut batch = Batch::new(StreamName::new(self.name).expect("a name"), Incarnation::new("one"), self.applied);
        for payload in payloads {
            self.applied += 1;
            batch.push(Record { sequence: self.applied, recorded_at: NOW, payload: payload.clone() }, NOW, &Rules::default());
        }
        if sealed { batch.seal() } else { batch }
    }
}

/// Reads payloads as one stream, cut after the given numbers of records, the rest in one.
fn folded(payloads: &[Bytes], cuts: &[usize]) -> Ledger {
    let (mut ledger, mut reader, mut rest) = (Ledger::default(), Reader::new("A"), payloads);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (now, later) = rest.split_at(cut.min(rest.len()));
        if !now.is_empty() {
            ledger.apply(&reader.batch(now, true));
        }
        rest = later;
    }
    ledger
}

/// Few ids and accounts, so that events meet each other.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..6_u8).prop_map(|n| format!("018f0000-0000-7000-8000-0000000000{n:02}")),
        (0..6_u8).prop_map(|n| format!("text-{n}")),
        Just(String::new()),
    ]
}

fn account() -> impl Strategy<Value = String> {
    prop_oneof![9 => (0..3_u8).prop_map(|n| format!("account-{n}")), 1 => Just("with space".to_owned())]
}

/// Mostly about now, across the day's end; some late, some in the future.
fn time() -> impl Strategy<Value = Option<prost_types::Timestamp>> {
    let near = (-90_i64..90).prop_map(Some);
    let far =
        prop_oneof![Just(-49 * 3600_i64), Just(-97 * 3600), Just(-47 * 3600), Just(3600), Just(299), Just(301)].prop_map(Some);
    prop_oneof![12 => near, 3 => far, 1 => Just(None)].prop_map(|offset| {
        let (seconds, nanos) = NOW.parts();
        offset.map(|offset| prost_types::Timestamp { seconds: seconds + offset, nanos })
    })
}

fn billing() -> impl Strategy<Value = Body> {
    let amounts = prop_oneof![8 => 0..3_i64, 1 => Just(1_000_000_000_000_i64), 1 => Just(-1), 1 => Just(i64::MAX)];
    (id(), account(), time(), 0..9_i32, 0..3_u32, 0..3_u32, amounts).prop_map(
        |(event_id, account, occurred_at, channel, messages, more, amount_micros)| {
            let (country, currency) = ("DE".to_owned(), "EUR".to_owned());
            let segments = messages + more;
            Body::Billing(BillingEvent {
                event_id,
                account,
                occurred_at,
                channel,
                country,
                currency,
                messages,
                segments,
                amount_micros,
            })
        },
    )
}

fn receipt() -> impl Strategy<Value = Body> {
    let statuses = prop_oneof![1..3_i32, 10..15_i32, Just(99)];
    (id(), account(), time(), -1..300_i64, 1..3_i32, statuses).prop_map(
        |(message_id, account, submitted_at, took, channel, status)| {
            let reported_at = submitted_at.map(|time| prost_types::Timestamp { seconds: time.seconds + took, ..time });
            let country = "US".to_owned();
            Body::Receipt(DeliveryReceipt { message_id, account, submitted_at, reported_at, channel, country, status })
        },
    )
}

fn encode(body: Body) -> Bytes {
    Event { body: Some(body) }.encode_to_vec().into()
}

/// Events of all kinds, some damaged, some noise.
fn payload() -> impl Strategy<Value = Bytes> {
    let event = || prop_oneof![3 => billing(), 2 => receipt()].prop_map(encode);
    let damaged = (event(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(payload, at, byte)| {
        let mut bytes = payload.to_vec();
        let at = at.index(bytes.len().max(1));
        if let Some(place) = bytes.get_mut(at) {
            *place ^= byte;
        }
        bytes.into()
    });
    let cut = (event(), any::<prop::sample::Index>()).prop_map(|(payload, at)| payload.slice(..at.index(payload.len().max(1))));
    let noise = vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    prop_oneof![12 => event(), 1 => damaged, 1 => cut, 1 => noise]
}

fn payloads() -> impl Strategy<Value = Vec<Bytes>> {
    vec(payload(), 1..80)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(1..12_usize, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_into_batches_gives_the_same_rows(payloads in payloads(), cuts in cuts()) {
        prop_assert_eq!(folded(&payloads, &cuts), folded(&payloads, &[]));
    }

    #[test]
    fn records_that_come_again_change_no_sum(payloads in payloads(), cuts in cuts()) {
        let once = folded(&payloads, &[]);
        let twice = folded(&[&payloads[..], &payloads[..]].concat(), &cuts);
        prop_assert_eq!(&twice.usage, &once.usage);
        prop_assert_eq!(&twice.latency, &once.latency);
        prop_assert_eq!(&twice.keys, &once.keys);
        prop_assert_eq!(twice.counted, once.counted);
        prop_assert_eq!(twice.duplicates, once.counted + 2 * once.duplicates);
        prop_assert_eq!(twice.dead.len(), 2 * once.dead.len());
    }

    #[test]
    fn a_batch_settled_against_its_own_keys_writes_no_usage(payloads in payloads()) {
        let ledger = folded(&payloads, &[]);
        let batch = Reader::new("A").batch(&payloads, true);
        let again = batch.settle(&ledger.known(&batch));
        prop_assert!(again.usage.is_empty() && again.latency.is_empty() && again.dirty_days().is_empty());
        prop_assert_eq!(again.counted, 0);
        prop_assert_eq!(again.accounted(), batch.len());
    }

    #[test]
    fn any_interleaving_of_streams_gives_the_same_sums(
        payloads in payloads(),
        streams in vec(any::<bool>(), 80),
        turns in vec((any::<bool>(), 1..10_usize), 0..40),
    ) {
        // The same identity with other content is decided by who comes first, so such are left out; duplicates are not.
        let consistent = consistent(&payloads);
        let one = folded(&consistent, &[]);
        let of = |which: bool| -> Vec<Bytes> {
            consistent.iter().zip(&streams).filter(|(_, stream)| **stream == which).map(|(payload, _)| payload.clone()).collect()
        };
        let mut two = Ledger::default();
        let mut readers = [(Reader::new("A"), of(true)), (Reader::new("B"), of(false))];
        for (which, count) in turns.into_iter().chain([(true, 80), (false, 80)]) {
            let (reader, rest) = &mut readers[usize::from(which)];
            let now: Vec<Bytes> = rest.drain(..count.min(rest.len())).collect();
            if !now.is_empty() {
                two.apply(&reader.batch(&now, true));
            }
        }
        prop_assert_eq!(&two.usage, &one.usage);
        prop_assert_eq!(&two.keys, &one.keys);
        prop_assert_eq!(&two.dirty, &one.dirty);
        prop_assert_eq!((two.counted, two.duplicates, two.dead.len()), (one.counted, one.duplicates, one.dead.len()));
        // Which of two receipts of one message gives the latency is decided by who comes first; that one does is not.
        prop_assert_eq!(two.latency.values().sum::<i64>(), one.latency.values().sum::<i64>());
    }

    #[test]
    fn every_record_is_accounted_for_once_and_no_dead_payload_is_lost(payloads in payloads(), before in payloads()) {
        let known = folded(&before, &[]);
        let mut reader = Reader::new("A");
        let batch = reader.batch(&payloads, true);
        let settled = batch.settle(&known.known(&batch));
        prop_assert_eq!(settled.accounted(), batch.len());
        let outcomes = batch.outcomes(&known.known(&batch));
        prop_assert!(outcomes.iter().map(|(sequence, _)| *sequence).eq(1..=payloads.len() as u64));
        let count = |wanted: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| wanted(outcome)).count() as u64;
        prop_assert_eq!(count(&|outcome| *outcome == Outcome::Counted), settled.counted);
        prop_assert_eq!(count(&|outcome| *outcome == Outcome::Duplicate), settled.duplicates);
        let dead: Vec<u64> = settled.dead_letters.iter().map(|letter| letter.sequence).collect();
        let told: Vec<u64> = outcomes.iter().filter(|(_, o)| matches!(o, Outcome::Dead(_))).map(|(sequence, _)| *sequence).collect();
        prop_assert_eq!(dead, told);
        for letter in &settled.dead_letters {
            prop_assert_eq!(&letter.payload, &payloads[letter.sequence as usize - 1]);
        }
        prop_assert_eq!(settled.usage.iter().map(|(_, usage)| usage.events).sum::<i64>(), settled.counted as i64);
    }

    #[test]
    fn rows_come_sorted_and_once_and_sealing_changes_none(payloads in payloads()) {
        let (open, sealed) = (Reader::new("A").batch(&payloads, false), Reader::new("A").batch(&payloads, true));
        let settled = sealed.settle(&HashMap::new());
        prop_assert_eq!(&open.settle(&HashMap::new()), &settled);
        prop_assert!(settled.usage.is_sorted_by(|(a, _), (b, _)| a < b));
        prop_assert!(settled.latency.is_sorted_by(|(a, _), (b, _)| a < b));
        prop_assert!(settled.dead_letters.is_sorted_by(|a, b| a.sequence < b.sequence));
        prop_assert!(sealed.candidates().is_sorted_by(|a, b| a.identity < b.identity));
    }

    #[test]
    fn losses_between_records_are_counted_and_move_no_sum(payloads in payloads(), gaps in vec(0..50_u64, 80)) {
        let mut batch = Batch::new(StreamName::new("A").unwrap(), Incarnation::new("one"), 0);
        let mut lost = 0;
        for (payload, gap) in payloads.iter().zip(gaps) {
            if gap > 0 {
                let first = batch.to() + 1;
                batch.push_loss(Loss { first, last: first + gap - 1, cause: LossCause::Retention, after: None, before: None });
                lost += gap;
            }
            let record = Record { sequence: batch.to() + 1, recorded_at: NOW, payload: payload.clone() };
            batch.push(record, NOW, &Rules::default());
        }
        let mut ledger = Ledger::default();
        let settled = ledger.apply(&batch.seal());
        let whole = folded(&payloads, &[]);
        prop_assert_eq!(ledger.lost, lost);
        prop_assert_eq!(settled.accounted(), payloads.len() as u64 + lost);
        prop_assert_eq!((ledger.usage, ledger.latency, ledger.counted), (whole.usage, whole.latency, whole.counted));
    }

    #[test]
    fn a_batch_in_halves_of_halves_writes_the_same(payloads in payloads(), gaps in vec(0..3_u64, 80)) {
        let mut batch = Batch::new(StreamName::new("A").unwrap(), Incarnation::new("one"), 7);
        for (payload, gap) in payloads.iter().zip(gaps) {
            if gap > 0 {
                let first = batch.to() + 1;
                batch.push_loss(Loss { first, last: first + gap - 1, cause: LossCause::Deleted, after: None, before: None });
            }
            let record = Record { sequence: batch.to() + 1, recorded_at: NOW, payload: payload.clone() };
            batch.push(record, NOW, &Rules::default());
        }
        batch.stop("enough".to_owned());
        let batch = batch.seal();
        let (mut whole, mut parts) = (Ledger::default(), Ledger::default());
        whole.apply(&batch);
        let (mut waiting, mut applied) = (vec![batch.clone()], batch.from());
        while let Some(part) = waiting.pop() {
            match part.halves(&Rules::default()) {
                Some([first, second]) => waiting.extend([second, first]),
                None => {
                    prop_assert_eq!(part.from(), applied);
                    // Behind the last and nowhere else.
                    prop_assert_eq!(part.stops().is_some(), part.to() == batch.to());
                    parts.apply(&part);
                    applied = part.to();
                }
            }
        }
        prop_assert_eq!(applied, batch.to());
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn one_record_too_much_is_dead_instead_of_counted(payload in payload()) {
        let batch = Reader::new("A").batch(std::slice::from_ref(&payload), true);
        let counted = batch.settle(&HashMap::new()).counted;
        let refused = batch.refused_as_too_much();
        prop_assert_eq!(refused.is_some() as u64, counted);
        if let Some(refused) = refused {
            let settled = refused.settle(&HashMap::new());
            prop_assert_eq!((settled.accounted(), settled.counted, settled.dead_letters.len()), (1, 0, 1));
            prop_assert!(settled.usage.is_empty() && settled.latency.is_empty() && refused.candidates().is_empty());
            prop_assert_eq!(&settled.dead_letters[0].payload, &payload);
            prop_assert!(refused.refused_as_too_much().is_none());
        }
    }

    #[test]
    fn hostile_bytes_never_panic_and_are_kept(bytes in vec(any::<u8>(), 0..4_096)) {
        let payload = Bytes::from(bytes);
        let batch = Reader::new("A").batch(std::slice::from_ref(&payload), true);
        let settled = batch.settle(&HashMap::new());
        prop_assert_eq!(settled.accounted(), 1);
        prop_assert!(settled.dead_letters.iter().all(|letter| letter.payload == payload));
    }

    #[test]
    fn the_age_of_an_event_is_judged_by_its_record_and_by_nothing_else(payload in payload(), minutes in 0..10_000_u64) {
        let record = |at| Record { sequence: 1, recorded_at: at, payload: payload.clone() };
        let judged = |at| {
            let mut batch = Batch::new(StreamName::new("A").unwrap(), Incarnation::new("one"), 0);
            batch.push(record(at), at, &Rules::default());
            batch.seal().settle(&HashMap::new())
        };
        let (now, later) = (judged(NOW), judged(NOW.plus(Duration::from_secs(60 * minutes))));
        // Time only ever makes a sound event late, or a future one sound: the row it counts in stays.
        if now.counted == 1 && later.counted == 1 {
            prop_assert_eq!(now.usage, later.usage);
        }
    }
}

/// Without those that contradict an earlier one of the same identity.
fn consistent(payloads: &[Bytes]) -> Vec<Bytes> {
    let mut reader = Reader::new("A");
    let batch = reader.batch(payloads, true);
    let outcomes = batch.outcomes(&HashMap::new());
    let contradicts = |outcome: &Outcome| matches!(outcome, Outcome::Dead(refusal) if refusal.reason == loadline_domain::DeadLetterReason::Conflict);
    outcomes
        .iter()
        .filter(|(_, outcome)| !contradicts(outcome))
        .map(|(sequence, _)| payloads[*sequence as usize - 1].clone())
        .collect()
}
