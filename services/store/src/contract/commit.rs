//! One batch, one transaction.

use super::{Owner, Subject, always, billing, noon, receipt};
use crate::StoreError;
use loadline_domain::{AccountScope, Hour, Incarnation, Loss, LossCause, Record, Rules, StreamName, Timestamp, progress::Lease};
use loadline_proto::event::DeliveryStatus;
use std::{sync::Arc, time::Duration};

fn assert_stale<T: std::fmt::Debug>(refused: Result<T, StoreError>) {
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
}

pub async fn a_batch_counts_once_and_again_is_stale(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let batch = owner.batch(&[billing("a", "acme", noon()), billing("b", "acme", noon())]);
    owner.try_commit(&batch).await.unwrap();
    assert_eq!((owner.progress.applied, owner.progress.head, owner.counters()), (2, 2, (2, 0, 0, 0)));
    assert_eq!(owner.progress.applied_at, Some(noon()));
    assert_eq!(subject.progress(&owner.lease.stream).await.unwrap().as_ref(), Some(&owner.progress));

    assert_stale(owner.try_commit(&batch).await);
    assert_eq!(owner.refresh().await, (2, 0, 0, 0));
    let total = subject.total("acme").await;
    assert_eq!((total.events, total.messages, total.segments, total.amount_micros), (2, 2, 4, 150_000));
    subject.assert_conserved().await;
}

pub async fn a_stale_batch_changes_nothing(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events = [billing("a", "acme", noon()), billing("a", "acme", noon())];
    let elsewhere = loadline_domain::Batch::new(owner.lease.stream.clone(), Incarnation::new("two"), 0);
    let gap = loadline_domain::Batch::new(owner.lease.stream.clone(), Incarnation::new("one"), 4);
    for mut batch in [elsewhere, gap] {
        let sequence = batch.to() + 1;
        batch.push(record(sequence, noon(), &events[0]), noon(), &Rules::default());
        assert_stale(owner.try_commit(&batch.seal()).await);
    }
    let good = owner.batch(&events);
    let epoch = owner.lease.epoch + 1;
    let other_epoch = Lease { epoch, ..owner.lease.clone() };
    assert_stale(subject.commit(&other_epoch, &good).await);
    let other_stream = Lease { stream: StreamName::new("DLR").unwrap(), ..owner.lease.clone() };
    assert_stale(subject.commit(&other_stream, &good).await);

    assert_eq!(owner.refresh().await, (0, 0, 0, 0));
    assert_eq!(subject.total("acme").await.events, 0);
    assert!(subject.partitions().await.unwrap().iter().all(|(_, rows)| *rows == 0));
    owner.try_commit(&good).await.unwrap();
    assert_eq!(owner.counters(), (1, 1, 0, 0));
}

pub async fn a_batch_that_stops_its_stream_does_so_in_its_transaction(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let mut batch = owner.batch(&["garbage", "garbage"]);
    batch.stop("2 undecodable\0 records in a row".to_owned());
    let stale = Lease { epoch: owner.lease.epoch + 1, ..owner.lease.clone() };
    assert_stale(subject.commit(&stale, &batch).await);
    owner.refresh().await;
    assert_eq!(owner.progress.stopped, None, "a batch that is fenced off stops nothing");
    owner.try_commit(&batch).await.unwrap();
    let why = owner.progress.stopped.clone().unwrap();
    assert!(why.contains("2 undecodable"), "{why}");
    // Whoever comes next finds it stopped, also when the owner has crashed at once.
    let next = Owner::of(&subject.store, "BILLING").await;
    assert_eq!((next.progress.stopped, next.progress.applied), (Some(why), 2));
    assert!(subject.resume(&owner.lease.stream, 2).await.unwrap());
    let mut next = Owner::of(&subject.store, "BILLING").await;
    next.count(&[billing("a", "acme", noon())]).await;
    assert_eq!(next.progress.stopped, None);
    subject.assert_conserved().await;
}

pub async fn an_old_owner_is_fenced_off(subject: &Subject) {
    let mut old = Owner::of(&subject.store, "BILLING").await;
    let late = old.batch(&[billing("a", "acme", noon())]);
    let mut new = Owner::of(&subject.store, "BILLING").await;
    assert_stale(old.try_commit(&late).await);
    new.count(&[billing("a", "acme", noon())]).await;
    assert_stale(old.try_commit(&late).await);
    assert_eq!((new.refresh().await, subject.total("acme").await.events), ((1, 0, 0, 0), 1));
}

pub async fn an_owner_of_a_stream_made_again_is_fenced_off(subject: &Subject) {
    let mut old = Owner::of(&subject.store, "BILLING").await;
    let batch = old.batch(&[billing("a", "acme", noon())]);
    let new = Owner::of_incarnation(&subject.store, "BILLING", "two").await;
    old.lease = new.lease.clone();
    assert_stale(old.try_commit(&batch).await);
    assert_eq!(subject.total("acme").await.events, 0);
    subject.assert_conserved().await;
}

pub async fn an_empty_batch_is_refused(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let refused = owner.try_commit(&owner.empty()).await;
    assert!(matches!(refused, Err(StoreError::Broken(_))), "{refused:?}");
    assert_eq!(subject.progress(&owner.lease.stream).await.unwrap(), Some(owner.progress));
}

pub async fn hours_and_days_break_at_their_boundaries(subject: &Subject) {
    let midnight = noon().day().start();
    let times = [
        midnight.minus(Duration::from_micros(1)),
        midnight,
        midnight.plus(Duration::from_micros(3_599_999_999)),
        midnight.plus(Duration::from_secs(3600)),
    ];
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events: Vec<_> = times.iter().map(|at| billing(&format!("at-{at}"), "acme", *at)).collect();
    owner.count(&events).await;
    let (rows, _) = subject.usage(&AccountScope::All, &always("acme")).await.unwrap();
    let hours: Vec<_> = rows.iter().map(|row| (row.hour.unwrap(), row.usage.events)).collect();
    let first = midnight.hour();
    assert_eq!(hours, [(Hour::from_index(first.index() - 1), 1), (first, 2), (first.next(), 1)]);
    // Keys live in the partition of the event's own day.
    assert_eq!(
        subject.partitions().await.unwrap(),
        [("dedup_billing_20260309".to_owned(), 1), ("dedup_billing_20260310".to_owned(), 3)]
    );
}

pub async fn days_whose_usage_changed_are_marked_for_the_roll_up(subject: &Subject) {
    let day = Duration::from_secs(24 * 3600);
    let marks = "SELECT account || ' ' || CAST(day AS TEXT) FROM dirty_day ORDER BY 1";
    let versions = "SELECT CAST(version AS TEXT) FROM dirty_day WHERE account = 'acme' ORDER BY day";
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let today = [billing("a", "acme", noon()), billing("b", "acme", noon()), billing("c", "other", noon())];
    owner.count(&today).await;
    owner.count(&[billing("d", "acme", noon().minus(day))]).await;
    let index = noon().day().index();
    let expected = [format!("acme {}", index - 1), format!("acme {index}"), format!("other {index}")];
    assert_eq!(subject.peek(marks).await, expected);

    // A duplicate changes no usage, so it marks nothing; what counts does, under a greater version.
    let before = subject.peek(versions).await;
    owner.count(&today).await;
    assert_eq!(subject.peek(versions).await, before);
    owner.count(&[billing("e", "acme", noon())]).await;
    let after = subject.peek(versions).await;
    assert_eq!(after[0], before[0]);
    let version = |texts: &[String]| texts[1].parse::<i64>().unwrap();
    assert!(version(&after) > version(&before), "{after:?} {before:?}");

    // Deleted by a roll-up and marked again, a day never comes by a version it had.
    subject.tamper("DELETE FROM dirty_day").await;
    owner.count(&[billing("f", "acme", noon().minus(day)), billing("g", "acme", noon())]).await;
    assert!(version(&subject.peek(versions).await) > version(&after));
}

pub async fn losses_of_a_batch_go_to_the_ledger(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let hour = Duration::from_secs(3600);
    let gone = Loss { first: 1, last: 40, cause: LossCause::Retention, after: None, before: Some(noon().minus(hour)) };
    let cut = Loss { first: 42, last: 42, cause: LossCause::Deleted, after: Some(noon()), before: Some(noon().plus(hour)) };
    let mut batch = owner.empty();
    batch.push_loss(gone.clone());
    batch.push(record(41, noon(), &billing("a", "acme", noon())), noon(), &Rules::default());
    batch.push_loss(cut.clone());
    owner.try_commit(&batch.seal()).await.unwrap();
    assert_eq!((owner.progress.applied, owner.counters()), (42, (1, 0, 0, 41)));

    let losses = subject.losses(Some(&owner.lease.stream), 0, 10).await.unwrap();
    assert_eq!(losses.iter().map(|stored| stored.loss.clone()).collect::<Vec<_>>(), [gone, cut]);
    assert!(losses[0].id < losses[1].id);
    // By pages, and by stream.
    assert_eq!(subject.losses(None, 0, 1).await.unwrap(), losses[..1]);
    assert_eq!(subject.losses(None, losses[0].id, 10).await.unwrap(), losses[1..]);
    assert_eq!(subject.losses(Some(&StreamName::new("DLR").unwrap()), 0, 10).await.unwrap(), []);
    subject.assert_conserved().await;
}

pub async fn a_batch_of_losses_alone_moves_on(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    let mut batch = owner.empty();
    batch.push_loss(Loss { first: 2, last: 10, cause: LossCause::Retention, after: None, before: None });
    owner.try_commit(&batch.seal()).await.unwrap();
    assert_eq!((owner.progress.applied, owner.progress.applied_at, owner.counters()), (10, Some(noon()), (1, 0, 0, 9)));
    subject.assert_conserved().await;
}

pub async fn a_large_batch_counts_whole(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let at = |i: u64| noon().minus(Duration::from_secs(i * 7));
    let event = |i: u64| billing(&format!("event-{i}"), &format!("account-{}", i % 700), at(i));
    let events: Vec<_> = (0..6_000).map(event).collect();
    owner.count(&events).await;
    // Half of the next batch is known.
    let events: Vec<_> = (3_000..9_000).map(event).collect();
    owner.count(&events).await;
    assert_eq!(owner.counters(), (9_000, 3_000, 0, 0));
    subject.assert_conserved().await;
    assert_eq!(subject.partitions().await.unwrap().iter().map(|(_, rows)| rows).sum::<u64>(), 9_000);
}

pub async fn streams_that_share_accounts_commit_side_by_side(subject: &Subject) {
    let work = (0..4).map(|stream| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move {
            let mut owner = Owner::of(&store, &format!("BILLING-{stream}")).await;
            for batch in 0..6 {
                let event = |i: u64| {
                    let at = noon().minus(Duration::from_secs(3600 * (i % 40)));
                    billing(&format!("{stream}-{batch}-{i}"), &format!("account-{}", (i * 7 + stream) % 50), at)
                };
                owner.count(&(0..200).map(event).collect::<Vec<_>>()).await;
            }
            assert_eq!(owner.counters(), (1_200, 0, 0, 0));
        })
    });
    for outcome in futures::future::join_all(work).await {
        outcome.unwrap();
    }
    assert_eq!(subject.conservation().await.unwrap().usage_events, 4_800);
    subject.assert_conserved().await;
}

pub async fn of_one_batch_committed_twice_at_once_one_counts(subject: &Subject) {
    let owner = Owner::of(&subject.store, "BILLING").await;
    let events: Vec<_> = (0..500).map(|i| billing(&format!("event-{i}"), "acme", noon())).collect();
    let batch = owner.batch(&events);
    let (one, two) = tokio::join!(subject.commit(&owner.lease, &batch), subject.commit(&owner.lease, &batch));
    let (done, refused) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(done.unwrap().counted, 500);
    assert_stale(refused);
    assert_eq!(subject.total("acme").await.events, 500);
}

pub async fn a_cancelled_commit_is_whole_or_absent(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for attempt in 0..40_u64 {
        let event = |i: u64| receipt(&format!("{attempt}-{i}"), "acme", noon(), DeliveryStatus::Delivered);
        let batch = owner.batch(&(0..200).map(event).collect::<Vec<_>>());
        // The caller goes away sooner or later, while the batch is somewhere on its way.
        let patience = Duration::from_micros(attempt * attempt * 20);
        let _ = tokio::time::timeout(patience, subject.commit(&owner.lease, &batch)).await;
        // Whether it happened is known when it has surely ended: the same batch again is refused, or counts.
        match owner.try_commit(&batch).await {
            Ok(()) => {}
            Err(StoreError::Stale(_)) => drop(owner.refresh().await),
            Err(other) => panic!("attempt {attempt}: {other}"),
        }
        assert_eq!(owner.progress.applied, (attempt + 1) * 200);
        assert_eq!(owner.counters(), ((attempt + 1) * 200, 0, 0, 0));
    }
    assert_eq!(subject.total("acme").await.delivered, 8_000);
    subject.assert_conserved().await;
}

pub async fn an_aborted_caller_leaves_the_store_usable(subject: &Subject) {
    for attempt in 0..20_u64 {
        let (store, stream) = (Arc::clone(&subject.store), format!("BILLING-{attempt}"));
        let caller = tokio::spawn(async move {
            let mut owner = Owner::of(&store, &stream).await;
            loop {
                let id = owner.progress.applied;
                owner.count(&[billing(&format!("{stream}-{id}"), "acme", noon())]).await;
                store.usage(&AccountScope::All, &always("acme")).await.unwrap();
            }
        });
        tokio::time::sleep(Duration::from_millis(attempt)).await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        subject.probe().await.unwrap();
        subject.assert_conserved().await;
    }
    let mut owner = Owner::of(&subject.store, "LAST").await;
    owner.count(&[billing("last", "last", noon())]).await;
    assert_eq!(subject.total("last").await.events, 1);
}

pub(super) fn record(sequence: u64, recorded_at: Timestamp, event: &impl super::Payload) -> Record {
    Record { sequence, recorded_at, payload: event.payload() }
}
