//! Dead letters judged again.

use super::{Owner, Payload, Subject, always, billing, commit::record, dead_letters::open, noon};
use crate::{DeadLetterFilter, DeadLetterState, Redriven};
use loadline_domain::{AccountScope, DeadLetterReason, Rules, StreamName, Timestamp, fold::Candidate};
use loadline_proto::event::BillingEvent;
use std::{collections::HashMap, sync::Arc, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);
const KNOWINGLY: Rules = Rules {
    billing_horizon: Duration::from_secs(48 * 3600),
    receipt_horizon: Duration::from_secs(96 * 3600),
    future_tolerance: Duration::from_secs(300),
    accept_late: true,
};

/// An event that is 50 hours old at noon.
fn late(id: &str) -> BillingEvent {
    billing(id, "acme", noon().minus(50 * HOUR))
}

async fn redrive(subject: &Subject, rules: Rules, now: Timestamp) -> Redriven {
    subject.redrive(&DeadLetterFilter::default(), &rules, now, 100_000, false).await.unwrap()
}

fn dead_again(matched: u64, reason: DeadLetterReason) -> Redriven {
    Redriven { matched, dead_again: HashMap::from([(reason, matched)]), ..Redriven::default() }
}

pub async fn nothing_dead_means_nothing_done(subject: &Subject) {
    assert_eq!(redrive(subject, KNOWINGLY, noon()).await, Redriven::default());
}

pub async fn a_future_event_counts_when_its_time_has_come(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("ahead", "acme", noon().plus(HOUR))]).await;
    assert_eq!(redrive(subject, Rules::default(), noon()).await, dead_again(1, DeadLetterReason::Future));
    assert_eq!(owner.refresh().await, (0, 0, 1, 0));

    let counted = Redriven { matched: 1, counted: 1, ..Redriven::default() };
    assert_eq!(redrive(subject, Rules::default(), noon().plus(2 * HOUR)).await, counted);
    assert_eq!(owner.refresh().await, (1, 0, 0, 0));
    let (rows, _) = subject.usage(&AccountScope::All, &always("acme")).await.unwrap();
    assert_eq!((rows.len(), rows[0].hour), (1, Some(noon().plus(HOUR).hour())));
    assert_eq!(subject.peek("SELECT account FROM dirty_day").await, ["acme"]);

    // It is no longer open, and published again it is a duplicate.
    assert_eq!(redrive(subject, Rules::default(), noon().plus(2 * HOUR)).await, Redriven::default());
    owner.count_at(noon().plus(HOUR), &[billing("ahead", "acme", noon().plus(HOUR))]).await;
    assert_eq!(owner.counters(), (1, 1, 0, 0));
    subject.assert_conserved().await;
}

pub async fn a_redriven_letter_says_what_became_of_it(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[late("a"), late("a")]).await;
    let before = subject.now().await.unwrap();
    redrive(subject, KNOWINGLY, noon()).await;
    for (state, sequence) in [(DeadLetterState::Counted, 1), (DeadLetterState::Duplicate, 2)] {
        let letters = subject.dead_letters(&DeadLetterFilter::default(), state, 0, 10).await.unwrap();
        let [letter] = letters.as_slice() else { panic!("{letters:?}") };
        assert_eq!((letter.state, letter.letter.sequence), (state, sequence));
        assert_eq!(letter.letter.payload, late("a").payload());
        assert!(letter.resolved_at.unwrap() >= before);
    }
}

pub async fn a_late_event_counts_only_when_accepted_and_only_once(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[late("a")]).await;
    assert_eq!(redrive(subject, Rules::default(), noon()).await, dead_again(1, DeadLetterReason::Late));
    let counted = Redriven { matched: 1, counted: 1, ..Redriven::default() };
    assert_eq!(redrive(subject, KNOWINGLY, noon()).await, counted);
    assert_eq!((owner.refresh().await, subject.total("acme").await.events), ((1, 0, 0, 0), 1));

    // Late again: accepting it again finds it counted.
    owner.count(&[late("a")]).await;
    let duplicate = Redriven { matched: 1, duplicates: 1, ..Redriven::default() };
    assert_eq!(redrive(subject, KNOWINGLY, noon()).await, duplicate);
    // A copy that was appended in time and is read only now takes the usual path, and is a duplicate too.
    owner.count_at(noon().minus(49 * HOUR), &[late("a")]).await;
    assert_eq!((owner.refresh().await, subject.total("acme").await.events), ((1, 2, 0, 0), 1));
    subject.assert_conserved().await;
}

pub async fn an_accepted_late_event_is_known_when_its_partition_is_gone(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    // One is counted in time, one late: accepting a copy of either must be remembered for ever, and so must what was counted
    // first, whatever a later claimant says.
    owner.count_at(noon().minus(49 * HOUR), &[late("in time")]).await;
    owner.count(&[late("late"), BillingEvent { messages: 2, ..late("in time") }]).await;
    let conflict = HashMap::from([(DeadLetterReason::Conflict, 1)]);
    let mixed = Redriven { matched: 2, counted: 1, dead_again: conflict.clone(), ..Redriven::default() };
    assert_eq!(redrive(subject, KNOWINGLY, noon()).await, mixed);

    subject.tamper("DELETE FROM dedup_billing_20260308").await;
    let identity = |id| Candidate::judge(&record(1, noon(), &late(id)), noon(), &KNOWINGLY).unwrap().identity;
    let known = subject.known(&[identity("late"), identity("in time"), identity("never")]).await.unwrap();
    assert_eq!(known.len(), 2);
    owner.count(&[late("late"), late("in time")]).await;
    let duplicates = Redriven { matched: 3, duplicates: 2, dead_again: conflict, ..Redriven::default() };
    assert_eq!(redrive(subject, KNOWINGLY, noon()).await, duplicates);
    assert_eq!((owner.refresh().await, subject.total("acme").await.events), ((2, 2, 1, 0), 2));
}

pub async fn an_accepted_late_event_with_other_content_is_a_conflict(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[late("a")]).await;
    redrive(subject, KNOWINGLY, noon()).await;
    owner.count(&[BillingEvent { messages: 2, ..late("a") }]).await;
    assert_eq!(redrive(subject, KNOWINGLY, noon()).await, dead_again(1, DeadLetterReason::Conflict));
    let letters = open(subject, &DeadLetterFilter::default()).await;
    assert_eq!(letters[0].letter.refusal.reason, DeadLetterReason::Conflict);
    assert_eq!((owner.refresh().await, subject.total("acme").await.messages), ((1, 0, 1, 0), 1));
}

pub async fn a_conflict_stays_dead(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon()), BillingEvent { messages: 2, ..billing("a", "acme", noon()) }]).await;
    let before = open(subject, &DeadLetterFilter::default()).await;
    assert_eq!(redrive(subject, KNOWINGLY, noon()).await, dead_again(1, DeadLetterReason::Conflict));
    // Past its horizon what it conflicted with may be purged: it must never count, and never turn into a LATE one that could.
    subject.tamper("DELETE FROM dedup_billing_20260310").await;
    let later = noon().plus(72 * HOUR);
    for rules in [Rules::default(), KNOWINGLY, KNOWINGLY] {
        assert_eq!(redrive(subject, rules, later).await, dead_again(1, DeadLetterReason::Conflict));
    }
    assert_eq!(open(subject, &DeadLetterFilter::default()).await, before);
    assert_eq!(owner.refresh().await, (1, 0, 1, 0));
}

pub async fn a_letter_that_stays_dead_keeps_its_place_and_gets_its_new_reason(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events: [Box<dyn Payload>; 2] = [Box::new(billing("ahead", "acme", noon().plus(HOUR))), Box::new("garbage")];
    owner.count(&events).await;
    let before = open(subject, &DeadLetterFilter::default()).await;
    let redriven = redrive(subject, Rules::default(), noon().plus(72 * HOUR)).await;
    let reasons = HashMap::from([(DeadLetterReason::Late, 1), (DeadLetterReason::Undecodable, 1)]);
    assert_eq!(redriven, Redriven { matched: 2, dead_again: reasons, ..Redriven::default() });
    let after = open(subject, &DeadLetterFilter::default()).await;
    assert_eq!((after[0].id, &after[0].letter.payload), (before[0].id, &before[0].letter.payload));
    assert_eq!(after[0].letter.refusal.reason, DeadLetterReason::Late);
    assert_ne!(after[0].letter.refusal.detail, before[0].letter.refusal.detail);
    assert_eq!(after[0].letter.refusal.account, before[0].letter.refusal.account);
    assert_eq!(after[0].letter.refusal.event_time, Some(noon().plus(HOUR)));
    assert_eq!(after[1], before[1]);
    assert_eq!(owner.refresh().await, (0, 0, 2, 0));
}

pub async fn a_dry_run_tells_the_same_and_changes_nothing(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[late("a"), late("a"), late("b"), billing("ahead", "acme", noon().plus(HOUR))]).await;
    owner.count(&["garbage"]).await;
    let filter = DeadLetterFilter::default();
    let state = || async {
        let letters = open(subject, &filter).await;
        let progress = subject.all_progress().await.unwrap();
        (letters, progress, subject.total("acme").await, subject.partitions().await.unwrap())
    };
    let before = state().await;
    let told = subject.redrive(&filter, &KNOWINGLY, noon(), 100, true).await.unwrap();
    let reasons = HashMap::from([(DeadLetterReason::Future, 1), (DeadLetterReason::Undecodable, 1)]);
    assert_eq!(told, Redriven { matched: 5, counted: 2, duplicates: 1, dead_again: reasons });
    assert_eq!(state().await, before);
    assert_eq!(subject.redrive(&filter, &KNOWINGLY, noon(), 100, false).await.unwrap(), told);
    assert_eq!(owner.refresh().await, (2, 1, 2, 0));
    subject.assert_conserved().await;
}

pub async fn many_letters_are_redriven_whatever_the_chunks(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events: Vec<_> = (0..2_600).map(|i| late(&format!("event-{}", i % 1_300))).collect();
    owner.count(&events).await;
    let filter = DeadLetterFilter::default();
    let all = Redriven { matched: 2_600, counted: 1_300, duplicates: 1_300, ..Redriven::default() };
    assert_eq!(subject.redrive(&filter, &KNOWINGLY, noon(), 100_000, true).await.unwrap(), all);
    let some = Redriven { matched: 1_200, counted: 1_200, ..Redriven::default() };
    assert_eq!(subject.redrive(&filter, &KNOWINGLY, noon(), 1_200, false).await.unwrap(), some);
    let rest = Redriven { matched: 1_400, counted: 100, duplicates: 1_300, ..Redriven::default() };
    assert_eq!(subject.redrive(&filter, &KNOWINGLY, noon(), 100_000, false).await.unwrap(), rest);
    assert_eq!((owner.refresh().await, subject.total("acme").await.events), ((1_300, 1_300, 0, 0), 1_300));
    subject.assert_conserved().await;
}

pub async fn letters_of_several_streams_are_redriven_together(subject: &Subject) {
    let mut one = Owner::of(&subject.store, "BILLING-1").await;
    one.count(&[late("a"), late("b")]).await;
    // The letters of an incarnation that is gone count where they came from.
    let two = Owner::of_incarnation(&subject.store, "BILLING-1", "two").await;
    let mut other = Owner::of(&subject.store, "BILLING-0").await;
    other.count(&[late("b"), late("c")]).await;
    let redriven = redrive(subject, KNOWINGLY, noon()).await;
    assert_eq!(redriven, Redriven { matched: 4, counted: 3, duplicates: 1, ..Redriven::default() });
    assert_eq!(other.refresh().await, (1, 1, 0, 0));
    assert_eq!(subject.progress(&two.lease.stream).await.unwrap(), Some(two.progress));
    assert_eq!(subject.conservation().await.unwrap().counted, 3);
    subject.assert_conserved().await;
}

pub async fn only_what_the_filter_matches_is_redriven(subject: &Subject) {
    let mut one = Owner::of(&subject.store, "BILLING-0").await;
    let mut two = Owner::of(&subject.store, "BILLING-1").await;
    one.count(&[late("a"), late("b")]).await;
    two.count(&[late("c")]).await;
    let filter = DeadLetterFilter { stream: Some(StreamName::new("BILLING-1").unwrap()), ..DeadLetterFilter::default() };
    let redriven = subject.redrive(&filter, &KNOWINGLY, noon(), 100, false).await.unwrap();
    assert_eq!(redriven, Redriven { matched: 1, counted: 1, ..Redriven::default() });
    assert_eq!((one.refresh().await, two.refresh().await), ((0, 0, 2, 0), (1, 0, 0, 0)));

    let first = open(subject, &DeadLetterFilter::default()).await[0].id;
    let chosen = DeadLetterFilter { ids: vec![first], ..DeadLetterFilter::default() };
    subject.discard(&chosen, "not this one", false).await.unwrap();
    assert_eq!(redrive(subject, KNOWINGLY, noon()).await, Redriven { matched: 1, counted: 1, ..Redriven::default() });
    assert_eq!(one.refresh().await, (1, 0, 1, 0));
}

pub async fn redriven_by_two_at_once_letters_count_once(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let events: Vec<_> = (0..1_500).map(|i| late(&format!("event-{i}"))).collect();
    owner.count(&events).await;
    let both = (0..2).map(|_| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(
            async move { store.redrive(&DeadLetterFilter::default(), &KNOWINGLY, noon(), 100_000, false).await.unwrap() },
        )
    });
    let answers = futures::future::join_all(both).await;
    assert_eq!(answers.into_iter().map(|answer| answer.unwrap().counted).sum::<u64>(), 1_500);
    assert_eq!((owner.refresh().await, subject.total("acme").await.events), ((1_500, 0, 0, 0), 1_500));
    subject.assert_conserved().await;
}

pub async fn a_stream_goes_on_while_its_letters_are_redriven(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&(0..1_500).map(|i| late(&format!("late-{i}"))).collect::<Vec<_>>()).await;
    let store = Arc::clone(&subject.store);
    let redriven =
        tokio::spawn(
            async move { store.redrive(&DeadLetterFilter::default(), &KNOWINGLY, noon(), 100_000, false).await.unwrap() },
        );
    for batch in 0..10 {
        let events: Vec<_> = (0..100).map(|i| billing(&format!("{batch}-{i}"), "acme", noon())).collect();
        owner.count(&events).await;
    }
    assert_eq!(redriven.await.unwrap().counted, 1_500);
    assert_eq!(owner.refresh().await, (2_500, 0, 0, 0));
    subject.assert_conserved().await;
}
