//! Who is a duplicate of whom.

use super::{Owner, Payload, Subject, billing, commit::record, noon, receipt};
use crate::{DeadLetterFilter, DeadLetterState};
use loadline_domain::{
    DeadLetterReason, Rules,
    fold::Candidate,
    identity::{Identity, Kind, Partition},
};
use loadline_proto::event::{BillingEvent, DeliveryStatus};
use std::time::Duration;

const UUID: &str = "01958fd2-7c00-7abc-8def-0123456789ab";

fn identity(event: &impl Payload) -> Identity {
    Candidate::judge(&record(1, noon(), event), noon(), &Rules::default()).unwrap().identity
}

async fn assert_one_conflict(subject: &Subject, owner: &Owner) {
    assert_eq!(owner.counters(), (1, 0, 1, 0));
    let letters = subject.dead_letters(&DeadLetterFilter::default(), DeadLetterState::Open, 0, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].letter.refusal.reason, letters[0].letter.sequence), (DeadLetterReason::Conflict, 2));
    subject.assert_conserved().await;
}

pub async fn the_same_id_twice_in_a_batch_counts_once(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon()), billing("b", "acme", noon()), billing("a", "acme", noon())]).await;
    assert_eq!((owner.counters(), subject.total("acme").await.events), ((2, 1, 0, 0), 2));
}

pub async fn the_same_id_in_two_batches_counts_once(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing(UUID, "acme", noon()), billing("b", "acme", noon())]).await;
    owner.count(&[billing("b", "acme", noon()), billing(UUID, "acme", noon()), billing("c", "acme", noon())]).await;
    assert_eq!((owner.counters(), subject.total("acme").await.events), ((3, 2, 0, 0), 3));
    subject.assert_conserved().await;
}

pub async fn a_batch_of_nothing_but_duplicates_adds_nothing(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events = [billing("a", "acme", noon()), billing("b", "acme", noon())];
    owner.count(&events).await;
    owner.count(&events).await;
    assert_eq!((owner.counters(), subject.total("acme").await.messages), ((2, 2, 0, 0), 2));
    subject.assert_conserved().await;
}

pub async fn the_same_ids_in_concurrent_batches_of_two_streams_count_once(subject: &Subject) {
    let mut one = Owner::of(&subject.store, "BILLING-0").await;
    let mut two = Owner::of(&subject.store, "BILLING-1").await;
    for round in 0..10 {
        let events: Vec<_> = (0..300).map(|i| billing(&format!("{round}-{i}"), &format!("account-{}", i % 9), noon())).collect();
        let backwards: Vec<_> = events.iter().rev().cloned().collect();
        tokio::join!(one.count(&events), two.count(&backwards));
    }
    let ((counted_one, duplicates_one, ..), (counted_two, duplicates_two, ..)) = (one.counters(), two.counters());
    assert_eq!((counted_one + counted_two, duplicates_one + duplicates_two), (3_000, 3_000));
    assert_eq!(subject.conservation().await.unwrap().usage_events, 3_000);
    subject.assert_conserved().await;
}

pub async fn the_same_id_with_other_content_is_a_conflict(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    owner.count(&[BillingEvent { amount_micros: 1, ..billing("a", "acme", noon()) }]).await;
    assert_one_conflict(subject, &owner).await;
    assert_eq!(subject.total("acme").await.amount_micros, 75_000);
}

pub async fn a_conflict_within_a_batch_is_seen_too(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon()), BillingEvent { messages: 2, ..billing("a", "acme", noon()) }]).await;
    assert_one_conflict(subject, &owner).await;
    assert_eq!(subject.total("acme").await.messages, 1);
}

pub async fn the_same_id_on_another_day_is_a_conflict(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let yesterday = noon().minus(Duration::from_secs(24 * 3600));
    for id in [UUID, "text"] {
        owner.count(&[billing(id, "acme", yesterday)]).await;
        owner.count(&[billing(id, "acme", noon()), billing("other", "acme", noon())]).await;
        owner.count(&[billing(id, "acme", noon()), billing(id, "acme", yesterday)]).await;
    }
    assert_eq!((owner.counters(), subject.total("acme").await.events), ((3, 3, 4, 0), 3));
    subject.assert_conserved().await;
}

pub async fn the_same_id_on_two_days_of_a_batch_is_a_conflict(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let yesterday = noon().minus(Duration::from_secs(24 * 3600));
    owner.count(&[billing(UUID, "acme", yesterday), billing(UUID, "acme", noon())]).await;
    assert_one_conflict(subject, &owner).await;
}

pub async fn the_same_uuid_under_two_accounts_is_a_conflict(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing(UUID, "acme", noon())]).await;
    owner.count(&[billing(UUID, "other", noon())]).await;
    assert_one_conflict(subject, &owner).await;
    assert_eq!(subject.total("other").await.events, 0);
}

pub async fn the_same_text_under_two_accounts_counts_for_both(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("invoice-1", "acme", noon()), billing("invoice-1", "other", noon())]).await;
    assert_eq!(owner.counters(), (2, 0, 0, 0));
    assert_eq!((subject.total("acme").await.events, subject.total("other").await.events), (1, 1));
}

pub async fn an_event_and_a_receipt_may_share_an_id(subject: &Subject) {
    let events: [Box<dyn Payload>; 2] =
        [Box::new(billing(UUID, "acme", noon())), Box::new(receipt(UUID, "acme", noon(), DeliveryStatus::Delivered))];
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&events).await;
    assert_eq!(owner.counters(), (2, 0, 0, 0));
    let total = subject.total("acme").await;
    assert_eq!((total.events, total.messages, total.delivered), (2, 1, 1));
}

pub async fn a_final_receipt_reported_twice_is_a_duplicate(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "DLR").await;
    let first = receipt("m", "acme", noon(), DeliveryStatus::Delivered);
    let mut again = first.clone();
    again.reported_at = Some(super::events::wire(noon().plus(Duration::from_secs(60))));
    owner.count(&[first]).await;
    owner.count(&[again]).await;
    assert_eq!((owner.counters(), subject.total("acme").await.delivered), ((1, 1, 0, 0), 1));
}

pub async fn two_final_statuses_of_a_message_are_a_conflict(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "DLR").await;
    owner.count(&[receipt("m", "acme", noon(), DeliveryStatus::Undelivered)]).await;
    owner.count(&[receipt("m", "acme", noon(), DeliveryStatus::Delivered)]).await;
    assert_one_conflict(subject, &owner).await;
    let total = subject.total("acme").await;
    assert_eq!((total.undelivered, total.delivered), (1, 0));
}

pub async fn receipts_on_the_way_count_apart_once_a_status(subject: &Subject) {
    use DeliveryStatus::{Accepted, Delivered, Enroute};
    let mut owner = Owner::of(&subject.store, "DLR").await;
    for status in [Accepted, Enroute, Accepted, Delivered, Enroute] {
        owner.count(&[receipt("m", "acme", noon(), status)]).await;
    }
    assert_eq!(owner.counters(), (3, 2, 0, 0));
    let total = subject.total("acme").await;
    assert_eq!((total.not_final, total.delivered, total.final_receipts()), (2, 1, 1));
}

pub async fn known_tells_which_identities_were_counted(subject: &Subject) {
    let (a, b, c) = (billing("a", "acme", noon()), billing("b", "acme", noon()), billing("c", "acme", noon()));
    let yesterday = billing("a", "acme", noon().minus(Duration::from_secs(24 * 3600)));
    assert!(subject.known(&[identity(&a)]).await.unwrap().is_empty());
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[a.clone(), b.clone()]).await;
    let day = noon().minus(Duration::from_secs(20 * 24 * 3600)).day();
    let long_ago = Identity { partition: Partition { day, ..identity(&a).partition }, ..identity(&a) };
    let asked = [identity(&c), identity(&b), identity(&yesterday), identity(&a), identity(&b), long_ago];
    let known = subject.known(&asked).await.unwrap();
    let fingerprint = |event| Candidate::judge(&record(1, noon(), event), noon(), &Rules::default()).unwrap().fingerprint;
    assert_eq!(known.len(), 3);
    // Told with another time it is the same event, and a conflict, as a commit would find.
    assert_eq!(known.get(&identity(&yesterday)), Some(&fingerprint(&a)));
    assert_eq!(known.get(&identity(&a)), Some(&fingerprint(&a)));
    assert_eq!(known.get(&identity(&b)), Some(&fingerprint(&b)));
    assert!(subject.known(&[]).await.unwrap().is_empty());
    assert_eq!(identity(&a).partition, Partition { kind: Kind::Billing, day: noon().day() });
    // Asking makes no partition.
    assert_eq!(subject.partitions().await.unwrap(), [("dedup_billing_20260310".to_owned(), 2)]);
}

pub async fn many_identities_are_looked_up_at_once(subject: &Subject) {
    let events: Vec<_> =
        (0..4_000).map(|i| billing(&format!("event-{i}"), "acme", noon().minus(Duration::from_secs(3600 * (i % 47))))).collect();
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&events[..2_500]).await;
    let asked: Vec<_> = events.iter().map(identity).collect();
    let known = subject.known(&asked).await.unwrap();
    assert_eq!(known.len(), 2_500);
    assert!(asked[..2_500].iter().all(|identity| known.contains_key(identity)));
}
