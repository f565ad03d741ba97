use super::*;
use loadline_domain::{Batch, Hour, Incarnation, StreamName, Timestamp, identity::Key, identity::Kind};
use loadline_proto::event as wire;
use proptest::prelude::*;
use prost::Message as _;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// The last hour of a day: the next one is of another.
fn start() -> Timestamp {
    "2026-11-21T23:00:00Z".parse().unwrap()
}

fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

fn billing(account: &str, id: &str, at: Timestamp, amount_micros: i64) -> wire::event::Body {
    let (seconds, nanos) = at.parts();
    wire::event::Body::Billing(wire::BillingEvent {
        event_id: id.to_owned(),
        account: account.to_owned(),
        occurred_at: Some(prost_types::Timestamp { seconds, nanos }),
        channel: 1,
        country: "DE".to_owned(),
        currency: "EUR".to_owned(),
        messages: 1,
        segments: 1,
        amount_micros,
    })
}

fn receipt(account: &str, id: &str, at: Timestamp, status: i32) -> wire::event::Body {
    let (seconds, nanos) = at.parts();
    let at = Some(prost_types::Timestamp { seconds, nanos });
    wire::event::Body::Receipt(wire::DeliveryReceipt {
        message_id: id.to_owned(),
        account: account.to_owned(),
        submitted_at: at,
        reported_at: at,
        channel: 1,
        country: "DE".to_owned(),
        status,
    })
}

fn taken(sequence: u64, recorded_at: Timestamp, body: wire::event::Body) -> Record {
    Record { sequence, recorded_at, payload: wire::Event { body: Some(body) }.encode_to_vec().into() }
}

/// Of the hour, taken in its middle.
fn record(sequence: u64, account: &str, id: &str, second: i64, amount_micros: i64) -> Record {
    let at = Timestamp::from_micros(start().micros() + second * 1_000_000);
    taken(sequence, start().plus(MINUTE * 30), billing(account, id, at, amount_micros))
}

fn recount(records: &[Record], known: &HashMap<Identity, Fingerprint>, refused: &[Sequence]) -> Counted {
    let mut recount = Recount::new(Span::of(account("acme"), start().hour()));
    let candidates = recount.judge(records, &Rules::default(), &refused.iter().copied().collect());
    recount.settle(&candidates, known);
    recount.finish()
}

fn sum(counted: &Counted) -> (i64, i64) {
    counted.rows.values().fold((0, 0), |(events, amount), usage| (events + usage.events, amount + usage.amount_micros))
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
    let counted = recount(&records, &HashMap::new(), &[]);
    assert_eq!((sum(&counted), counted.dead_letters), ((1, 5), 0));
}

#[test]
fn a_repeat_is_a_duplicate_and_other_content_a_dead_letter() {
    let records = [record(1, "acme", "a", 0, 5), record(2, "acme", "a", 0, 5), record(3, "acme", "a", 0, 6)];
    let counted = recount(&records, &HashMap::new(), &[]);
    assert_eq!((sum(&counted), counted.duplicates, counted.dead_letters), ((1, 5), 1, 1));
}

#[test]
fn the_content_the_store_counted_wins_over_the_first_one_met() {
    let records = [record(1, "acme", "a", 0, 5), record(2, "acme", "a", 0, 6)];
    let second = Candidate::judge(&records[1], records[1].recorded_at, &Rules::default()).unwrap();
    let counted = recount(&records, &[(second.identity, second.fingerprint)].into(), &[]);
    assert_eq!((sum(&counted), counted.dead_letters), ((1, 6), 1));
    assert!(counted.keyless.is_empty());
}

#[test]
fn what_counts_without_a_key_is_told() {
    let counted = recount(&[record(1, "acme", "a", 0, 5), record(2, "acme", "b", 0, 5)], &HashMap::new(), &[]);
    assert_eq!(counted.keyless, [((account("acme"), start().hour()), 2)].into());
}

#[test]
fn a_refused_record_of_the_hour_is_a_dead_letter() {
    let counted = recount(&[record(1, "acme", "a", 0, -5)], &HashMap::new(), &[]);
    assert_eq!((sum(&counted), counted.dead_letters), ((0, 0), 1));
}

#[test]
fn a_record_that_its_owner_refused_for_its_total_is_not_counted_and_its_repeat_is() {
    let records = [record(1, "acme", "a", 0, 5), record(2, "acme", "b", 0, 7), record(3, "acme", "b", 0, 7)];
    let counted = recount(&records, &HashMap::new(), &[2]);
    assert_eq!((sum(&counted), counted.duplicates, counted.dead_letters), ((2, 12), 0, 1));
}

#[test]
fn a_total_past_64_bits_is_told_and_nothing_wraps() {
    let mut counter = Recount::new(Span::of(account("acme"), start().hour()));
    let records: Vec<_> = (0..3).map(|i| record(i + 1, "acme", &i.to_string(), 0, 1_000_000)).collect();
    let mut candidates = counter.judge(&records, &Rules::default(), &HashSet::new());
    // No event is so large; ten million million of them would be.
    candidates.iter_mut().for_each(|candidate| candidate.effect.usage.amount_micros = i64::MAX / 2);
    counter.settle(&candidates, &HashMap::new());
    let counted = counter.finish();
    assert_eq!(counted.full, [(account("acme"), start().hour())].into());
    assert_eq!(sum(&counted), (2, i64::MAX / 2 * 2));
}

#[test]
fn identities_are_asked_for_once() {
    let mut recount = Recount::new(Span::of(account("acme"), start().hour()));
    let records = [record(1, "acme", "a", 0, 5), record(2, "acme", "a", 0, 5), record(3, "acme", "b", 0, 5)];
    let candidates = recount.judge(&records, &Rules::default(), &HashSet::new());
    assert_eq!((recount.strangers(&candidates).len(), recount.identities()), (2, 0));
    recount.settle(&candidates, &HashMap::new());
    assert!(recount.strangers(&candidates).is_empty());
    assert_eq!(recount.identities(), 2);
}

#[test]
fn an_identity_takes_the_memory_that_is_told() {
    // A table is at least 7/16 full and has a byte of its own for each place.
    assert!((size_of::<(Identity, Winner)>() + 1) * 16 / 7 <= 100);
}

const ACCOUNTS: [&str; 3] = ["acme", "bolt", "core"];
const HOURS: i32 = 6;

/// One of few ids, so that repeats and conflicts are many; some too late, some ahead, some broken.
fn some_record() -> impl Strategy<Value = (wire::event::Body, Duration)> {
    let event = (0..3_usize, 0..20_u8, 0..(HOURS as u64 * 60), 0..3_i64, any::<bool>());
    let age = prop_oneof![8 => 0..60_u64, 1 => 3_000..6_000_u64];
    (event, age, 0..30_u8).prop_map(|((who, id, minute, content, bills), age, luck)| {
        // Mostly the same minute for an id: then only its content differs. Otherwise it moves over hours and midnight.
        let minute = if id % 4 == 0 { minute } else { u64::from(id) * 17 % (HOURS as u64 * 60) };
        let at = start().plus(MINUTE * minute as u32);
        let at = if luck == 0 { at.plus(MINUTE * 200) } else { at };
        let body = match (bills, luck) {
            (_, 1) => billing(ACCOUNTS[who], &id.to_string(), at, -1),
            (true, _) => billing(ACCOUNTS[who], &id.to_string(), at, content),
            (false, _) => receipt(ACCOUNTS[who], &id.to_string(), at, 10 + content as i32),
        };
        (body, MINUTE * (minute + age) as u32)
    })
}

/// What a batch of all records writes, and the keys it leaves behind.
fn truth(records: &[Record]) -> (Rows, HashMap<(Kind, Key), Fingerprint>) {
    let mut batch = Batch::new(StreamName::new("BILLING").unwrap(), Incarnation::new("one"), 0);
    for record in records {
        batch.push(record.clone(), record.recorded_at, &Rules::default());
    }
    let batch = batch.seal();
    let keys = batch.candidates().iter().map(|candidate| (candidate.identity.name(), candidate.fingerprint)).collect();
    (batch.settle(&HashMap::new()).usage.into_iter().collect(), keys)
}

fn recounted(span: Span, records: &[Record], chunk: usize, keys: &HashMap<(Kind, Key), Fingerprint>) -> Counted {
    let mut recount = Recount::new(span);
    for chunk in records.chunks(chunk) {
        let candidates = recount.judge(chunk, &Rules::default(), &HashSet::new());
        let strangers = recount.strangers(&candidates).into_iter();
        let known = strangers.filter_map(|identity| Some((identity, *keys.get(&identity.name())?))).collect();
        recount.settle(&candidates, &known);
    }
    recount.finish()
}

proptest! {
    #[test]
    fn however_hours_and_accounts_are_parted_the_sum_is_what_was_counted(
        bodies in prop::collection::vec(some_record(), 1..150),
        cuts in prop::collection::btree_set(1..HOURS, 0..4),
        apart in any::<bool>(),
        chunk in 1..40_usize,
    ) {
        let mut bodies = bodies;
        bodies.sort_by_key(|(_, after)| *after);
        let records: Vec<_> =
            bodies.into_iter().zip(1..).map(|((body, after), at)| taken(at, start().plus(after), body)).collect();
        let (counted, keys) = truth(&records);
        let first = start().hour().index();
        let edges: Vec<_> = [0].into_iter().chain(cuts).chain([HOURS]).map(|at| Hour::from_index(first + at)).collect();
        let accounts: Vec<_> = if apart { ACCOUNTS.iter().map(|name| Some(account(name))).collect() } else { vec![None] };
        let mut sum = Rows::new();
        for window in edges.windows(2) {
            for account in &accounts {
                let part = recounted(Span { account: account.clone(), from: window[0], to: window[1] }, &records, chunk, &keys);
                prop_assert!(part.keyless.is_empty() && part.full.is_empty());
                let (rows, before) = (part.rows.len(), sum.len());
                sum.extend(part.rows);
                prop_assert_eq!(sum.len(), before + rows, "no row is in two parts");
            }
        }
        let inside = |key: &UsageKey| (edges[0]..edges[edges.len() - 1]).contains(&key.hour);
        prop_assert_eq!(sum, counted.into_iter().filter(|(key, _)| inside(key)).collect::<Rows>());
    }

    #[test]
    fn every_account_hour_by_itself_is_what_it_is_among_all(bodies in prop::collection::vec(some_record(), 1..100)) {
        let records: Vec<_> =
            bodies.into_iter().zip(1..).map(|((body, after), at)| taken(at, start().plus(after), body)).collect();
        let (_, keys) = truth(&records);
        let first = start().hour();
        let whole = Span { account: None, from: first, to: Hour::from_index(first.index() + HOURS) };
        let whole = recounted(whole, &records, 7, &keys);
        let mut one_by_one = Counted::default();
        for (name, hour) in ACCOUNTS.iter().flat_map(|name| (0..HOURS).map(move |hour| (name, hour))) {
            let single = recounted(Span::of(account(name), Hour::from_index(first.index() + hour)), &records, 7, &keys);
            one_by_one.rows.extend(single.rows);
            one_by_one.untimely.extend(single.untimely);
            one_by_one.duplicates += single.duplicates;
            one_by_one.dead_letters += single.dead_letters;
        }
        prop_assert_eq!(one_by_one, whole);
    }
}
