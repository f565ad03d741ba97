//! How far each stream is counted.

use super::{Owner, Payload as _, Subject, billing, noon};
use crate::StoreError;
use loadline_domain::{Incarnation, LossCause, Record, Rules, StreamName, Timestamp, progress::SetBack};
use std::time::Duration;

pub async fn an_unknown_stream_has_no_progress(subject: &Subject) {
    assert_eq!(subject.progress(&StreamName::new("BILLING").unwrap()).await.unwrap(), None);
    assert_eq!(subject.all_progress().await.unwrap(), []);
}

pub async fn a_new_stream_starts_at_zero(subject: &Subject) {
    let owner = Owner::of(&subject.store, "BILLING").await;
    let progress = &owner.progress;
    assert_eq!((progress.applied, progress.head, progress.epoch), (0, 0, owner.lease.epoch));
    assert_eq!((progress.applied_at, progress.stopped.as_deref(), progress.resume_through), (None, None, 0));
    assert_eq!(owner.counters(), (0, 0, 0, 0));
    assert_eq!(subject.progress(&owner.lease.stream).await.unwrap().as_ref(), Some(progress));
}

pub async fn opening_again_goes_on_where_it_was(subject: &Subject) {
    let mut first = Owner::of(&subject.store, "BILLING").await;
    first.count(&[billing("a", "acme", noon()), billing("b", "acme", noon())]).await;
    let second = Owner::of(&subject.store, "BILLING").await;
    assert_eq!((second.progress.applied, second.counters()), (2, (2, 0, 0, 0)));
    assert!(second.progress.epoch > first.progress.epoch);
    assert_eq!(second.progress.applied_at, Some(noon()));
}

pub async fn opening_with_a_lease_that_was_taken_over_is_stale(subject: &Subject) {
    let old = Owner::of(&subject.store, "BILLING").await;
    let new = Owner::of(&subject.store, "BILLING").await;
    let refused = subject.open_stream(&old.lease, &Incarnation::new("one"), &[]).await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    assert_eq!(subject.progress(&new.lease.stream).await.unwrap(), Some(new.progress));
}

pub async fn opening_with_a_released_lease_is_stale(subject: &Subject) {
    let owner = Owner::of(&subject.store, "BILLING").await;
    subject.release(&owner.lease).await.unwrap();
    let refused = subject.open_stream(&owner.lease, &Incarnation::new("one"), &[]).await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
}

pub async fn a_stream_made_again_loses_what_was_unapplied(subject: &Subject) {
    let mut old = Owner::of(&subject.store, "BILLING").await;
    old.count(&[billing("a", "acme", noon())]).await;
    subject.note_head(&old.lease, &Incarnation::new("one"), 7).await.unwrap();
    let before = subject.now().await.unwrap();
    let new = Owner::of_incarnation(&subject.store, "BILLING", "two").await;
    let after = subject.now().await.unwrap();
    assert_eq!((new.progress.applied, new.progress.head, new.counters()), (0, 0, (0, 0, 0, 0)));

    let losses = subject.losses(None, 0, 10).await.unwrap();
    let [stored] = losses.as_slice() else { panic!("{losses:?}") };
    assert_eq!((stored.loss.first, stored.loss.last, stored.loss.cause), (2, 7, LossCause::Recreated));
    assert_eq!((stored.stream.as_str(), stored.incarnation.as_str()), ("BILLING", "one"));
    assert!((before..=after).contains(&stored.recorded_at));
    // Appended after the last record that was applied, and before the store learned that they are gone.
    assert_eq!((stored.loss.after, stored.loss.before), (Some(noon()), Some(stored.recorded_at)));
    assert_eq!(subject.all_progress().await.unwrap(), [new.progress]);
    subject.assert_conserved().await;
}

pub async fn what_was_seen_of_streams_that_vanished_is_lost_whole(subject: &Subject) {
    let mut old = Owner::of(&subject.store, "BILLING").await;
    old.count(&[billing("a", "acme", noon())]).await;
    subject.note_head(&old.lease, &Incarnation::new("one"), 7).await.unwrap();
    let lease = subject.acquire(&old.lease.stream, "owner", Duration::from_secs(600)).await.unwrap().unwrap();
    // More of the first than was noted; another that came and went; of the last, what is there.
    let seen = [("one", 9), ("two", 4), ("three", 5)].map(|(incarnation, head)| (Incarnation::new(incarnation), head));
    for _ in 0..2 {
        let progress = subject.open_stream(&lease, &seen[2].0, &seen).await.unwrap();
        assert_eq!((progress.applied, progress.head, progress.lost), (0, 5, 0));
        let losses = subject.losses(None, 0, 10).await.unwrap();
        let mut lost: Vec<_> =
            losses.iter().map(|stored| (stored.incarnation.as_str(), stored.loss.first, stored.loss.last)).collect();
        lost.sort_unstable();
        assert_eq!(lost, [("one", 2, 9), ("two", 1, 4)]);
        assert!(losses.iter().all(|stored| stored.loss.cause == LossCause::Recreated));
    }
    // What was seen by somebody with an older view takes nothing back.
    let progress = subject.open_stream(&lease, &seen[2].0, &[(Incarnation::new("three"), 2)]).await.unwrap();
    assert_eq!((progress.applied, progress.head), (0, 5));
    subject.assert_conserved().await;
}

pub async fn a_stream_made_again_with_nothing_unapplied_loses_nothing(subject: &Subject) {
    let mut old = Owner::of(&subject.store, "BILLING").await;
    old.count(&[billing("a", "acme", noon())]).await;
    let mut new = Owner::of_incarnation(&subject.store, "BILLING", "two").await;
    assert_eq!(subject.losses(None, 0, 10).await.unwrap(), []);
    // The same event, published again into the new stream, is still a duplicate.
    new.count(&[billing("a", "acme", noon()), billing("b", "acme", noon())]).await;
    assert_eq!(new.counters(), (1, 1, 0, 0));
    subject.assert_conserved().await;
}

pub async fn an_incarnation_that_comes_back_is_not_counted_twice(subject: &Subject) {
    let mut one = Owner::of(&subject.store, "BILLING").await;
    one.count(&[billing("a", "acme", noon())]).await;
    subject.note_head(&one.lease, &Incarnation::new("one"), 3).await.unwrap();
    Owner::of_incarnation(&subject.store, "BILLING", "two").await;
    let back = Owner::of_incarnation(&subject.store, "BILLING", "one").await;
    // What was declared lost stays lost: the ledger is never taken back.
    assert_eq!((back.progress.applied, back.counters()), (3, (1, 0, 0, 2)));
    subject.assert_conserved().await;
}

pub async fn times_between_which_the_clock_of_a_log_went_back_are_kept(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let at = |minutes: i64| Timestamp::from_micros(noon().micros() + minutes * 60_000_000);
    let before = |minutes: i64, seconds: i64| Timestamp::from_micros(at(minutes).micros() - seconds * 1_000_000);
    let back = |to, from, applied| Some(SetBack { to, from, applied });
    for (times, kept) in [
        (vec![at(0)], None),
        (vec![at(5)], None),
        (vec![before(5, 59)], None),
        (vec![at(-120)], back(at(-120), at(5), 4)),
        (vec![at(-100)], back(at(-120), at(5), 4)),
        (vec![at(30)], back(at(-120), at(5), 4)),
        // Little by little.
        (vec![before(30, 40)], back(at(-120), at(5), 4)),
        (vec![before(30, 80)], back(at(-120), at(30), 8)),
        (vec![before(30, 81)], back(at(-120), at(30), 8)),
        (vec![at(20), at(21)], back(at(-120), at(30), 11)),
        // Within a batch.
        (vec![at(40), at(-130), at(41)], back(at(-130), at(41), 14)),
        (vec![at(42)], back(at(-130), at(41), 14)),
    ] {
        let mut batch = owner.empty();
        for time in &times {
            let payload = billing(&batch.to().to_string(), "acme", noon()).payload();
            batch.push(Record { sequence: batch.to() + 1, recorded_at: *time, payload }, *time, &Rules::default());
        }
        owner.try_commit(&batch.seal()).await.unwrap();
        assert_eq!((owner.progress.set_back, owner.progress.applied_at), (kept, times.last().copied()), "{times:?}");
    }
    let read = subject.all_progress().await.unwrap()[0].set_back;
    assert_eq!(read, back(at(-130), at(41), 14));
    let held = subject.held(None, noon().hour(), noon().hour().next(), 10).await.unwrap().unwrap();
    assert_eq!(held.as_of.progress[0].set_back, read);
}

pub async fn the_head_never_goes_back(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let incarnation = Incarnation::new("one");
    for (noted, known) in [(5, 5), (3, 5), (9, 9), (0, 9)] {
        subject.note_head(&owner.lease, &incarnation, noted).await.unwrap();
        owner.refresh().await;
        assert_eq!(owner.progress.head, known);
    }
    let events: Vec<_> = (0..11).map(|i| billing(&format!("event-{i}"), "acme", noon())).collect();
    assert_eq!(owner.count(&events).await.head, 11);
}

pub async fn the_head_is_noted_by_the_owner_alone(subject: &Subject) {
    let old = Owner::of(&subject.store, "BILLING").await;
    let new = Owner::of(&subject.store, "BILLING").await;
    for (lease, incarnation) in [(&old.lease, "one"), (&new.lease, "two")] {
        let refused = subject.note_head(lease, &Incarnation::new(incarnation), 9).await;
        assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    }
    assert_eq!(subject.progress(&new.lease.stream).await.unwrap(), Some(new.progress));
}

pub async fn a_stop_lasts_until_it_is_resumed(subject: &Subject) {
    let owner = Owner::of(&subject.store, "BILLING").await;
    let incarnation = Incarnation::new("one");
    subject.stop(&owner.lease, &incarnation, "100 undecodable records in a row").await.unwrap();
    let mut again = Owner::of(&subject.store, "BILLING").await;
    assert_eq!(again.progress.stopped.as_deref(), Some("100 undecodable records in a row"));

    assert!(subject.resume(&again.lease.stream, 42).await.unwrap());
    again.refresh().await;
    assert_eq!((again.progress.stopped.as_deref(), again.progress.resume_through), (None, 42));
    assert!(!subject.resume(&again.lease.stream, 50).await.unwrap());
    assert!(!subject.resume(&StreamName::new("OTHER").unwrap(), 1).await.unwrap());
    again.refresh().await;
    assert_eq!(again.progress.resume_through, 42);
}

pub async fn a_stream_is_stopped_by_its_owner_alone(subject: &Subject) {
    let old = Owner::of(&subject.store, "BILLING").await;
    let mut new = Owner::of(&subject.store, "BILLING").await;
    let refused = subject.stop(&old.lease, &Incarnation::new("one"), "why").await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    new.refresh().await;
    assert_eq!(new.progress.stopped, None);
}

pub async fn only_what_was_counted_of_a_past_making_is_past_progress(subject: &Subject) {
    let mut old = Owner::of(&subject.store, "BILLING").await;
    assert_eq!(subject.past_progress().await.unwrap(), []);
    old.count(&[billing("a", "acme", noon())]).await;
    assert_eq!(subject.past_progress().await.unwrap(), [], "it is the current one");
    // Of the second making nothing was ever counted.
    Owner::of_incarnation(&subject.store, "BILLING", "two").await;
    Owner::of_incarnation(&subject.store, "BILLING", "three").await;
    let past = subject.past_progress().await.unwrap();
    let told: Vec<_> = past.iter().map(|past| (past.stream.as_str(), past.incarnation.as_str(), past.counted)).collect();
    assert_eq!((told, past[0].applied_at), (vec![("BILLING", "one", 1)], Some(noon())));
}

pub async fn all_progress_is_by_name(subject: &Subject) {
    for stream in ["DLR", "BILLING-1", "BILLING-0", "a"] {
        Owner::of(&subject.store, stream).await;
    }
    let names: Vec<_> = subject.all_progress().await.unwrap().into_iter().map(|progress| progress.stream.to_string()).collect();
    assert_eq!(names, ["BILLING-0", "BILLING-1", "DLR", "a"]);
}

pub async fn commit_times_are_the_stores(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let before = subject.now().await.unwrap();
    let committed_at = owner.count(&[billing("a", "acme", noon())]).await.committed_at.unwrap();
    let after = subject.now().await.unwrap();
    let slack = Duration::from_millis(1);
    assert!(before.minus(slack) <= committed_at && committed_at <= after.plus(slack), "{before} {committed_at} {after}");
}
