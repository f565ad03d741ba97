//! The checker finds what is planted, and nothing when nothing is.

use loadline_domain::{
    Batch, Incarnation, Loss, LossCause, Record, Rules, StreamName, Timestamp,
    identity::{Fingerprint, Identity},
};
use loadline_tests::{
    checker::{Violation, check, ensure_exact},
    events,
    journal::{Journal, Position},
    model::{Numbers, RowKey},
    snapshot::{Counters, Key, Letter, Lost, Snapshot},
    workload::{Item, Mix, Topic, Workload},
};
use std::collections::HashMap;

const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);
const INCARNATION: &str = "first";

fn stream(topic: Topic) -> &'static str {
    match topic {
        Topic::Billing => "BILLING",
        Topic::Receipts => "DLR",
    }
}

/// Publishes items to a journal and counts them into a snapshot with the product's own fold, in batches of 100. The records of
/// `lost` sequences of BILLING are gone before they are read.
fn counted(items: &[Item], lost: std::ops::RangeInclusive<u64>) -> (Journal, Snapshot) {
    let (mut journal, mut store) = (Journal::default(), Snapshot::default());
    let mut known: HashMap<Identity, Fingerprint> = HashMap::new();
    for topic in [Topic::Billing, Topic::Receipts] {
        let name = stream(topic);
        let mut counters = Counters::default();
        let items: Vec<&Item> = items.iter().filter(|item| item.topic == topic).collect();
        let mut batch = fresh(name, 0);
        for (sequence, item) in (1..).zip(&items) {
            journal.accept(item.payload.clone());
            journal.place(Position::new(name, INCARNATION, sequence), Some(NOW), item.payload.clone());
            if topic == Topic::Billing && lost.contains(&sequence) {
                batch.push_loss(Loss { first: sequence, last: sequence, cause: LossCause::Retention, after: None, before: None });
                store.losses.push(Lost { first: Position::new(name, INCARNATION, sequence), last: sequence });
            } else {
                batch.push(Record { sequence, recorded_at: NOW, payload: item.payload.clone() }, NOW, &Rules::default());
            }
            if batch.len() == 100 || sequence == items.len() as u64 {
                settle(batch.seal(), &mut known, &mut counters, &mut store);
                batch = fresh(name, sequence);
            }
        }
        store.counters.insert((name.to_owned(), INCARNATION.to_owned()), counters);
    }
    (journal, store)
}

fn fresh(name: &str, applied: u64) -> Batch {
    Batch::new(StreamName::new(name).expect("a name"), Incarnation::new(INCARNATION), applied)
}

/// What a store does with a batch.
fn settle(batch: Batch, known: &mut HashMap<Identity, Fingerprint>, counters: &mut Counters, store: &mut Snapshot) {
    let meets: HashMap<_, _> =
        batch.candidates().iter().filter_map(|item| Some((item.identity, *known.get(&item.identity)?))).collect();
    let settled = batch.settle(&meets);
    for candidate in batch.candidates() {
        known.entry(candidate.identity).or_insert(candidate.fingerprint);
        let Identity { partition, key } = candidate.identity;
        store.keys.insert(Key { kind: partition.kind.as_str().into(), day: partition.day.index(), key }, candidate.fingerprint);
    }
    counters.applied = batch.to();
    counters.counted += settled.counted;
    counters.duplicates += settled.duplicates;
    counters.dead_lettered += settled.dead_letters.len() as u64;
    counters.lost += settled.lost;
    for (key, usage) in settled.usage {
        let row = RowKey {
            account: key.account.to_string(),
            hour: key.hour.index(),
            channel: key.channel.number(),
            country: key.country.as_str().into(),
            currency: key.currency.as_str().into(),
        };
        loadline_tests::model::add(store.usage.entry(row).or_default(), &usage.columns());
    }
    for (key, count) in settled.latency {
        let key = (key.account.to_string(), key.hour.index(), key.channel.number(), key.country.as_str().to_owned());
        *store.latency.entry(key).or_default() += count;
    }
    store.letters.extend(settled.dead_letters.into_iter().map(|letter| Letter {
        position: Position::new(batch.stream().as_str(), INCARNATION, letter.sequence),
        reason: letter.refusal.reason.as_str().into(),
        redriven: false,
        payload: letter.payload.to_vec(),
    }));
}

fn nothing_lost() -> std::ops::RangeInclusive<u64> {
    u64::MAX..=u64::MAX
}

fn sound() -> (Journal, Snapshot) {
    counted(&Workload::new(11, Mix::default()).batch(NOW, 2_000), nothing_lost())
}

fn billing_counters(store: &mut Snapshot) -> &mut Counters {
    store.counters.get_mut(&("BILLING".to_owned(), INCARNATION.to_owned())).expect("BILLING was counted")
}

#[test]
fn an_exact_store_has_no_violation_and_the_workload_knew_its_totals() {
    for seed in 0..5 {
        let mut workload = Workload::new(seed, Mix::default());
        let (journal, store) = counted(&workload.batch(NOW, 3_000), nothing_lost());
        ensure_exact(&journal, &store).unwrap();
        assert_eq!(store.usage, workload.totals().usage);
    }
}

#[test]
fn a_missing_event_is_found() {
    let (journal, mut store) = sound();
    let row = store.usage.iter().find(|(_, numbers)| numbers[0] > 1).unwrap().0.clone();
    let is = store.usage.get_mut(&row).unwrap();
    let must = *is;
    (is[0], is[1]) = (must[0] - 1, must[1] - 1);
    let is = *is;
    assert_eq!(check(&journal, &store), [Violation::Usage(row, is, must)]);
}

#[test]
fn an_event_that_was_never_applied_is_found_even_when_all_counters_agree() {
    let mut items = Workload::new(11, Mix::sound()).batch(NOW, 500);
    let (_, store) = counted(&items, nothing_lost());
    items.push(Item { payload: events::payload(events::billing("acct-000", "one-more", NOW)), ..items[0].clone() });
    let (journal, _) = counted(&items, nothing_lost());
    let violations = check(&journal, &store);
    assert!(matches!(violations[..], [Violation::NotApplied(_)]), "{violations:?}");
}

#[test]
fn a_doubled_event_is_found() {
    let (journal, mut store) = sound();
    let (row, numbers) = store.usage.iter_mut().next().unwrap();
    let (row, must) = (row.clone(), *numbers);
    loadline_tests::model::add(numbers, &must);
    assert!(check(&journal, &store).iter().any(|violation| matches!(violation, Violation::Usage(found, ..) if *found == row)));
}

#[test]
fn a_duplicate_counted_as_new_is_found_by_its_counters_too() {
    let (journal, mut store) = sound();
    let counters = billing_counters(&mut store);
    assert!(counters.duplicates > 0);
    counters.counted += 1;
    counters.duplicates -= 1;
    assert!(matches!(check(&journal, &store)[..], [Violation::CountedSum(is, must)] if is == must + 1));
}

#[test]
fn a_foreign_event_is_found() {
    let (journal, mut store) = sound();
    let row = RowKey { account: "nobody".into(), hour: 498_611, channel: 1, country: "DE".into(), currency: "EUR".into() };
    let numbers = [1, 1, 1, 75_000, 0, 0, 0, 0, 0, 0];
    store.usage.insert(row.clone(), numbers);
    let key = Key { kind: "billing".into(), day: 20_775, key: [9; 16] };
    store.keys.insert(key.clone(), 1);
    let counters = billing_counters(&mut store);
    (counters.applied, counters.counted) = (counters.applied + 1, counters.counted + 1);
    let foreign = Position::new("BILLING", INCARNATION, counters.applied);
    let violations = check(&journal, &store);
    assert!(violations.contains(&Violation::Usage(row, numbers, Numbers::default())), "{violations:?}");
    assert!(violations.contains(&Violation::KeyForeign(key)) && violations.contains(&Violation::ForeignRecord(foreign)));
}

#[test]
fn an_absent_key_is_found() {
    let (journal, mut store) = sound();
    let key = store.keys.keys().next().unwrap().clone();
    store.keys.remove(&key);
    assert!(matches!(check(&journal, &store)[..], [Violation::KeyAbsent(_)]));
}

#[test]
fn lost_records_are_allowed_by_the_ledger_and_by_nothing_else() {
    let items = Workload::new(5, Mix { duplicates: 0, conflicts: 0, ..Mix::default() }).batch(NOW, 1_000);
    let (journal, mut store) = counted(&items, 100..=140);
    ensure_exact(&journal, &store).unwrap();
    store.losses.pop();
    let violations = check(&journal, &store);
    assert!(violations.iter().any(|violation| matches!(violation, Violation::Counter(_, "lost", 41, 40))), "{violations:?}");
}

#[test]
fn an_acknowledged_event_that_is_nowhere_is_found() {
    let (mut journal, store) = sound();
    journal.accept(events::payload(events::billing("acct-000", "vanished", NOW)));
    assert_eq!(check(&journal, &store), [Violation::AcceptedAndGone(1)]);
}

#[test]
fn an_acknowledged_event_may_be_one_of_the_lost_that_nobody_saw() {
    let (mut journal, mut store) = sound();
    let counters = billing_counters(&mut store);
    (counters.applied, counters.lost) = (counters.applied + 1, counters.lost + 1);
    let last = counters.applied;
    store.losses.push(Lost { first: Position::new("BILLING", INCARNATION, last), last });
    journal.accept(events::payload(events::billing("acct-000", "vanished", NOW)));
    ensure_exact(&journal, &store).unwrap();
    journal.accept(events::payload(events::billing("acct-000", "another", NOW)));
    assert_eq!(check(&journal, &store), [Violation::AcceptedAndGone(1)]);
}

#[test]
fn dead_letters_must_have_the_right_reason_the_right_bytes_and_be_there_once() {
    let (journal, store) = sound();
    for reason in ["UNDECODABLE", "INVALID", "LATE", "FUTURE", "CONFLICT"] {
        let at = store.letters.iter().position(|letter| letter.reason == reason).unwrap();
        let (letter, mut wrong) = (&store.letters[at], store.clone());
        wrong.letters[at].reason = if letter.reason == "LATE" { "FUTURE" } else { "LATE" }.into();
        assert!(matches!(check(&journal, &wrong)[..], [Violation::WronglyDead(..)]));
    }
    let mut changed = store.clone();
    changed.letters[0].payload.push(0);
    assert!(matches!(check(&journal, &changed)[..], [Violation::PayloadChanged(_)]));
    let mut twice = store.clone();
    twice.letters.push(twice.letters[0].clone());
    assert!(check(&journal, &twice).iter().any(|violation| matches!(violation, Violation::AccountedTwice(_))));
    let mut gone = store;
    let letter = gone.letters.iter().position(|letter| letter.reason == "UNDECODABLE").unwrap();
    gone.letters.remove(letter);
    assert!(check(&journal, &gone).iter().any(|violation| matches!(violation, Violation::CountedThough(_, "UNDECODABLE"))));
}

#[test]
fn a_sound_event_in_the_dead_letters_is_found() {
    let items: Vec<Item> = Workload::new(2, Mix { duplicates: 0, ..Mix::sound() }).batch(NOW, 50);
    let (journal, mut store) = counted(&items, nothing_lost());
    let position = Position::new("BILLING", INCARNATION, 1);
    let payload = journal.placed()[&position].payload.to_vec();
    store.letters.push(Letter { position, reason: "INVALID".into(), redriven: false, payload });
    assert!(check(&journal, &store).iter().any(|violation| matches!(violation, Violation::NeverCounted(_))));
}

#[test]
fn a_wrong_latency_count_is_found() {
    let (journal, mut store) = sound();
    *store.latency.values_mut().next().unwrap() += 1;
    assert!(matches!(check(&journal, &store)[..], [Violation::Latency(..)]));
}

#[test]
fn the_order_in_which_contradictions_were_applied_does_not_matter() {
    let at = |amount| {
        let event = loadline_proto::event::BillingEvent { amount_micros: amount, ..events::billing("a", "same", NOW) };
        Item {
            topic: Topic::Billing,
            account: "a".into(),
            payload: events::payload(event),
            nature: loadline_tests::workload::Nature::New,
        }
    };
    for items in [[at(1), at(2)], [at(2), at(1)]] {
        let (journal, store) = counted(&items, nothing_lost());
        ensure_exact(&journal, &store).unwrap();
        let mut both = store;
        both.letters.clear();
        assert!(check(&journal, &both).iter().any(|violation| matches!(violation, Violation::ConflictCounted(_))));
    }
}
