//! Records that could not be counted: kept, listed, given up.

use super::{Owner, Payload, Subject, billing, events::wire, noon, receipt};
use crate::{DeadLetterFilter, DeadLetterState, StoredDeadLetter};
use loadline_domain::{AccountId, DeadLetterReason, StreamName, Timestamp};
use loadline_proto::event::{BillingEvent, DeliveryReceipt, DeliveryStatus};
use std::{collections::HashMap, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

/// Open letters of a filter.
pub(super) async fn open(subject: &Subject, filter: &DeadLetterFilter) -> Vec<StoredDeadLetter> {
    subject.dead_letters(filter, DeadLetterState::Open, 0, 1_000).await.unwrap()
}

pub async fn age_decides_who_is_late_and_who_is_ahead(subject: &Subject) {
    let mut billings = Owner::of(&subject.store, "BILLING").await;
    let ages = [HOUR, 47 * HOUR, 49 * HOUR, 97 * HOUR];
    let mut events: Vec<_> = ages.iter().map(|age| billing(&format!("{age:?}"), "acme", noon().minus(*age))).collect();
    events.push(billing("a little ahead", "acme", noon().plus(Duration::from_secs(299))));
    events.push(billing("ahead", "acme", noon().plus(Duration::from_secs(600))));
    billings.count(&events).await;
    assert_eq!(billings.counters(), (3, 0, 3, 0));

    let mut receipts = Owner::of(&subject.store, "DLR").await;
    let events: Vec<_> =
        ages.iter().map(|age| receipt(&format!("{age:?}"), "acme", noon().minus(*age), DeliveryStatus::Delivered)).collect();
    receipts.count(&events).await;
    assert_eq!(receipts.counters(), (3, 0, 1, 0));

    let reasons = subject.open_dead_letters(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!(reasons, HashMap::from([(DeadLetterReason::Late, 3), (DeadLetterReason::Future, 1)]));
    subject.assert_conserved().await;
}

pub async fn undecodable_records_are_kept_to_the_byte(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let large = "x".repeat(3 * 1024 * 1024);
    let payloads = ["\0\u{1}not an event\u{7f}\0", "", large.as_str()];
    owner.count(&payloads).await;
    assert_eq!(owner.counters(), (0, 0, 3, 0));
    let letters = open(subject, &DeadLetterFilter::default()).await;
    for ((letter, payload), sequence) in letters.iter().zip(payloads).zip(1..) {
        assert_eq!(letter.letter.payload, payload.as_bytes());
        assert_eq!((letter.letter.sequence, letter.letter.recorded_at), (sequence, noon()));
        assert_eq!(letter.letter.refusal.reason, DeadLetterReason::Undecodable);
        assert_eq!((letter.letter.refusal.account.as_ref(), letter.letter.refusal.event_time), (None, None));
        assert_eq!((letter.state, letter.resolved_at), (DeadLetterState::Open, None));
        assert_eq!((letter.stream.as_str(), letter.incarnation.as_str()), ("BILLING", "one"));
    }
    assert_eq!(letters.len(), 3);
}

pub async fn an_empty_record_alone_in_its_batch_is_kept_too(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[""]).await;
    assert_eq!(owner.counters(), (0, 0, 1, 0));
    assert!(open(subject, &DeadLetterFilter::default()).await[0].letter.payload.is_empty());
}

/// One event for each field that can break its contract.
fn invalid() -> Vec<Box<dyn Payload>> {
    let b = || billing("id", "acme", noon());
    let r = || receipt("id", "acme", noon(), DeliveryStatus::Delivered);
    vec![
        Box::new(BillingEvent { account: "a b".to_owned(), ..b() }),
        Box::new(BillingEvent { event_id: String::new(), ..b() }),
        Box::new(BillingEvent { occurred_at: None, ..b() }),
        Box::new(BillingEvent { channel: 99, ..b() }),
        Box::new(BillingEvent { country: "\"d'e\\".to_owned(), ..b() }),
        Box::new(BillingEvent { currency: "euro".to_owned(), ..b() }),
        Box::new(BillingEvent { messages: 0, ..b() }),
        Box::new(BillingEvent { segments: 0, ..b() }),
        Box::new(BillingEvent { amount_micros: -1, ..b() }),
        Box::new(DeliveryReceipt { account: String::new(), ..r() }),
        Box::new(DeliveryReceipt { message_id: "x".repeat(129), ..r() }),
        Box::new(DeliveryReceipt { submitted_at: Some(wire(Timestamp::from_micros(1))), ..r() }),
        Box::new(DeliveryReceipt { reported_at: Some(wire(noon().minus(HOUR))), ..r() }),
        Box::new(DeliveryReceipt { status: 0, ..r() }),
        Box::new(DeliveryReceipt { channel: 0, ..r() }),
        Box::new(DeliveryReceipt { country: "D\u{0}".to_owned(), ..r() }),
    ]
}

pub async fn a_letter_reads_back_as_it_was_judged(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let batch = owner.batch(&invalid());
    let judged = batch.dead().to_vec();
    owner.try_commit(&batch).await.unwrap();
    let stored = open(subject, &DeadLetterFilter::default()).await;
    assert_eq!(judged.len(), 16);
    assert_eq!(stored.iter().map(|stored| stored.letter.clone()).collect::<Vec<_>>(), judged);
    for letter in &stored {
        assert_eq!(letter.letter.refusal.reason, DeadLetterReason::Invalid);
        assert_eq!(subject.dead_letter(letter.id).await.unwrap().as_ref(), Some(letter));
    }
    assert_eq!(subject.dead_letter(i64::MAX).await.unwrap(), None);
}

/// Four letters: LATE of acme, FUTURE of other and an undecodable one at noon; LATE of other an hour later, in DLR.
async fn some(subject: &Subject) -> Vec<StoredDeadLetter> {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events: [Box<dyn Payload>; 3] = [
        Box::new(billing("late", "acme", noon().minus(50 * HOUR))),
        Box::new(billing("future", "other", noon().plus(HOUR))),
        Box::new("garbage"),
    ];
    owner.count(&events).await;
    let mut owner = Owner::of(&subject.store, "DLR").await;
    let late = receipt("late", "other", noon().minus(100 * HOUR), DeliveryStatus::Failed);
    owner.count_at(noon().plus(HOUR), &[late]).await;
    open(subject, &DeadLetterFilter::default()).await
}

pub async fn letters_are_found_by_what_is_asked(subject: &Subject) {
    let all = some(subject).await;
    assert_eq!(all.len(), 4);
    let everything = DeadLetterFilter::default;
    let account = |name| Some(AccountId::new(name).unwrap());
    let questions = [
        (DeadLetterFilter { stream: Some(StreamName::new("DLR").unwrap()), ..everything() }, vec![3]),
        (DeadLetterFilter { reason: Some(DeadLetterReason::Late), ..everything() }, vec![0, 3]),
        (DeadLetterFilter { account: account("other"), ..everything() }, vec![1, 3]),
        (DeadLetterFilter { account: account("other"), reason: Some(DeadLetterReason::Late), ..everything() }, vec![3]),
        (DeadLetterFilter { from: Some(noon().plus(HOUR)), ..everything() }, vec![3]),
        (DeadLetterFilter { to: Some(noon().plus(HOUR)), ..everything() }, vec![0, 1, 2]),
        (DeadLetterFilter { from: Some(noon()), to: Some(noon()), ..everything() }, vec![]),
        (DeadLetterFilter { ids: vec![all[2].id, all[0].id, 999_999], ..everything() }, vec![0, 2]),
        (DeadLetterFilter { ids: vec![all[2].id], account: account("acme"), ..everything() }, vec![]),
        (everything(), vec![0, 1, 2, 3]),
    ];
    for (filter, expected) in questions {
        let expected: Vec<_> = expected.into_iter().map(|at: usize| all[at].clone()).collect();
        assert_eq!(open(subject, &filter).await, expected, "{filter:?}");
        let by_reason = subject.open_dead_letters(&filter).await.unwrap();
        assert_eq!(by_reason.values().sum::<u64>(), expected.len() as u64, "{filter:?}");
        assert_eq!(subject.discard(&filter, "rehearsed", true).await.unwrap(), expected.len() as u64);
    }
    assert_eq!(open(subject, &everything()).await, all);
}

pub async fn letters_are_listed_by_pages(subject: &Subject) {
    let all = some(subject).await;
    let (mut paged, mut after) = (Vec::new(), 0);
    loop {
        let page = subject.dead_letters(&DeadLetterFilter::default(), DeadLetterState::Open, after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(last.id > after && page.len() <= 3);
        after = last.id;
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert!(all.is_sorted_by_key(|letter| letter.id));
}

pub async fn discarded_letters_stay_listed_and_counted(subject: &Subject) {
    let all = some(subject).await;
    let late = DeadLetterFilter { reason: Some(DeadLetterReason::Late), ..DeadLetterFilter::default() };
    let before = subject.now().await.unwrap();
    assert_eq!(subject.discard(&late, "agreed with the customer", false).await.unwrap(), 2);
    assert_eq!(subject.discard(&late, "again", false).await.unwrap(), 0);
    let rest = open(subject, &DeadLetterFilter::default()).await;
    assert_eq!(rest, [all[1].clone(), all[2].clone()]);
    let discarded = subject.dead_letters(&late, DeadLetterState::Discarded, 0, 10).await.unwrap();
    assert_eq!(discarded.iter().map(|letter| letter.id).collect::<Vec<_>>(), [all[0].id, all[3].id]);
    assert!(discarded.iter().all(|letter| letter.resolved_at.is_some_and(|at| at >= before)));
    let counts: Vec<_> = subject.all_progress().await.unwrap().iter().map(|progress| progress.dead_lettered).collect();
    assert_eq!(counts, [3, 1]);
    subject.assert_conserved().await;
}
