//! The life of dedup tables.

use super::{Owner, Subject, billing, noon, receipt};
use crate::{Purgeable, Store, StoreError};
use loadline_domain::{
    Day, Rules, Timestamp,
    identity::{Kind, Partition},
};
use loadline_proto::event::DeliveryStatus;
use std::{sync::Arc, time::Duration};

const HOUR: Duration = Duration::from_secs(3_600);

fn today() -> Day {
    noon().day()
}

fn days_later(days: u64) -> Timestamp {
    noon().plus(24 * HOUR * u32::try_from(days).unwrap())
}

async fn tables(subject: &Subject) -> Vec<String> {
    subject.partitions().await.unwrap().into_iter().map(|(name, _)| name).collect()
}

async fn purgeable(subject: &Subject, through: Timestamp) -> Vec<Purgeable> {
    subject.purgeable(&Rules::default(), through).await.unwrap()
}

pub async fn tables_are_made_ahead_once(subject: &Subject) {
    let tomorrow = Day::from_index(today().index() + 1);
    assert_eq!(subject.prepare_partitions(today(), tomorrow).await.unwrap(), 4);
    assert_eq!(subject.prepare_partitions(today(), tomorrow).await.unwrap(), 0);
    let made = ["dedup_billing_20260310", "dedup_billing_20260311", "dedup_receipt_20260310", "dedup_receipt_20260311"];
    assert_eq!(tables(subject).await, made);
    assert_eq!(subject.prepare_partitions(tomorrow, today()).await.unwrap(), 0);
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon()), billing("a", "acme", noon())]).await;
    assert_eq!((owner.counters(), tables(subject).await.len()), ((1, 1, 0, 0), 4));
}

pub async fn a_table_is_purgeable_when_no_record_to_come_can_need_it(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon()), billing("b", "acme", noon())]).await;
    owner.count(&[receipt("m", "acme", noon(), DeliveryStatus::Delivered)]).await;
    let named = |tables: Vec<Purgeable>| tables.into_iter().map(|table| table.name).collect::<Vec<_>>();
    // The day ends twelve hours after noon: billing is past two days after that, receipts four.
    assert_eq!(named(purgeable(subject, days_later(2)).await), [""; 0]);
    assert_eq!(named(purgeable(subject, days_later(3)).await), ["dedup_billing_20260310"]);
    let both = purgeable(subject, days_later(5)).await;
    assert_eq!(both[0].partition, Partition { kind: Kind::Billing, day: today() });
    assert_eq!(named(both), ["dedup_billing_20260310", "dedup_receipt_20260310"]);
    // A stream that is known to be behind keeps them, whatever the caller believes.
    subject.note_head(&owner.lease, &owner.progress.incarnation, 9).await.unwrap();
    assert_eq!(named(purgeable(subject, days_later(5)).await), [""; 0]);
}

pub async fn a_purged_table_is_gone_and_counting_goes_on(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    owner.count(&[billing("b", "acme", noon().minus(24 * HOUR))]).await;
    let leadership = subject.leader().await;
    let yesterday = Partition { kind: Kind::Billing, day: Day::from_index(today().index() - 1) };
    assert!(subject.purge(&leadership, yesterday).await.unwrap());
    assert!(!subject.purge(&leadership, yesterday).await.unwrap());
    assert_eq!(tables(subject).await, ["dedup_billing_20260310"]);
    // The store still remembers the table; a batch that needs it makes it anew.
    owner.count(&[billing("c", "acme", noon().minus(24 * HOUR)), billing("a", "acme", noon())]).await;
    assert_eq!((owner.counters(), tables(subject).await.len()), ((3, 1, 0, 0), 2));
    subject.assert_conserved().await;
}

pub async fn an_old_leader_purges_nothing(subject: &Subject) {
    Owner::of(&subject.store, "BILLING").await.count(&[billing("a", "acme", noon())]).await;
    let old = subject.leader().await;
    subject.leader().await;
    let refused = subject.purge(&old, Partition { kind: Kind::Billing, day: today() }).await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    assert_eq!(tables(subject).await.len(), 1);
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    assert_eq!(owner.counters(), (1, 1, 0, 0));
}

pub async fn a_purge_that_was_cut_short_is_listed_again_and_a_late_event_may_claim_the_table(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    subject.tamper("UPDATE dedup_partition SET purging = TRUE").await;
    let billing_day = Partition { kind: Kind::Billing, day: today() };
    assert_eq!(purgeable(subject, days_later(3)).await.len(), 1);
    let other = crate::open(&subject.url, crate::Options::default()).await.unwrap();
    let mut owner = Owner::of(&other, "BILLING").await;
    owner.count(&[billing("a", "acme", noon()), billing("b", "acme", noon())]).await;
    assert_eq!(owner.counters(), (2, 1, 0, 0));
    assert_eq!(subject.peek("SELECT name FROM dedup_partition WHERE NOT purging").await.len(), 1);
    subject.tamper("UPDATE dedup_partition SET purging = TRUE").await;
    let leadership = subject.leader().await;
    assert!(subject.purge(&leadership, billing_day).await.unwrap());
    assert_eq!(tables(subject).await, [""; 0]);
}

/// Batches of this day and the day before, each looking for its ids on the other.
fn busy(store: &Arc<dyn Store>, stream: &'static str) -> tokio::task::JoinHandle<u64> {
    let store = Arc::clone(store);
    tokio::spawn(async move {
        let mut owner = Owner::of(&store, stream).await;
        for batch in 0..60_u32 {
            let event = |i: u32| billing(&format!("{stream}-{batch}-{i}"), "acme", noon().minus(12 * HOUR * (i % 3)));
            owner.count(&(0..12).map(event).collect::<Vec<_>>()).await;
        }
        owner.progress.counted
    })
}

pub async fn no_batch_fails_while_tables_that_it_uses_are_purged(subject: &Subject) {
    let writing = [busy(&subject.store, "BILLING-0"), busy(&subject.store, "BILLING-1")];
    let leadership = subject.leader().await;
    let mut purged = 0;
    while purged == 0 || !writing.iter().all(|task| task.is_finished()) {
        // Three days back as well: looked into, never written.
        for back in 0..4 {
            let day = Day::from_index(today().index() - back);
            subject.prepare_partitions(day, day).await.unwrap();
            match subject.purge(&leadership, Partition { kind: Kind::Billing, day }).await {
                Ok(gone) => purged += u64::from(gone),
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for task in writing {
        assert_eq!(task.await.unwrap(), 720);
    }
    subject.assert_conserved().await;
}
