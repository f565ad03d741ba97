//! What an answer rests on.

use super::{Owner, Payload, Subject, always, billing, noon};
use crate::{AsOf, DeadLetterFilter, Sources};
use loadline_domain::question::{RankBy, UsageFilter, UsageQuery};
use loadline_domain::{AccountScope, Hour, Loss, LossCause, Timestamp};
use loadline_proto::event::BillingEvent;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn as_of(subject: &Subject, account: &str, from: Hour, to: Hour) -> AsOf {
    let query = UsageQuery { from, to, ..always(account) };
    subject.usage(&AccountScope::All, &query).await.unwrap().1
}

pub async fn an_answer_carries_every_streams_progress(subject: &Subject) {
    let noon_hour = noon().hour();
    let nothing = as_of(subject, "acme", noon_hour, noon_hour.next()).await;
    assert_eq!(nothing, AsOf { progress: vec![], dead_letters: 0, lost: 0, sources: Sources::default() });
    Owner::of(&subject.store, "DLR").await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    let told = as_of(subject, "acme", noon_hour, noon_hour.next()).await;
    assert_eq!(told.progress, subject.all_progress().await.unwrap());
    assert_eq!(told.progress[0], owner.progress);
}

pub async fn open_letters_that_could_change_an_answer_are_counted(subject: &Subject) {
    let invalid = |id: &str, account: &str, at: Timestamp| BillingEvent { messages: 0, ..billing(id, account, at) };
    let events: Vec<Box<dyn Payload>> = vec![
        Box::new(invalid("1", "acme", noon())),
        Box::new(invalid("2", "other", noon())),
        Box::new(BillingEvent { account: String::new(), ..billing("3", "", noon()) }),
        Box::new("nobody knows whose or when"),
        Box::new(invalid("4", "acme", noon().minus(HOUR))),
        Box::new(BillingEvent { occurred_at: None, ..billing("5", "acme", noon()) }),
    ];
    Owner::of(&subject.store, "BILLING").await.count(&events).await;
    let hour = noon().hour();
    let before = Hour::from_index(hour.index() - 1);
    let count = async |account: &'static str, from, to| as_of(subject, account, from, to).await.dead_letters;
    // Its own of the hour, nobody's of the hour, nobody's of no time, its own of no time.
    assert_eq!(count("acme", hour, hour.next()).await, 4);
    assert_eq!(count("acme", before, hour.next()).await, 5);
    assert_eq!(count("other", hour, hour.next()).await, 3);
    assert_eq!(count("third", before, hour).await, 1);
    let everybody = subject
        .top_accounts(&AccountScope::All, before, hour.next(), &UsageFilter::default(), RankBy::Messages, 1)
        .await
        .unwrap();
    assert_eq!(everybody.1.dead_letters, 6);
    subject.discard(&DeadLetterFilter::default(), "gone", false).await.unwrap();
    assert_eq!(count("acme", before, hour.next()).await, 0);
}

pub async fn losses_that_may_have_held_events_of_the_range_are_counted(subject: &Subject) {
    let hour = noon().hour();
    let (start, end) = (hour.start(), hour.end());
    let minute = Duration::from_secs(60);
    let spans = [
        // Appended wholly before the range, by more than events may be ahead.
        (None, Some(start.minus(6 * minute)), 1),
        (None, Some(start.minus(4 * minute)), 10),
        (Some(end.plus(95 * HOUR)), None, 100),
        // Appended wholly after the range, by more than events may be late.
        (Some(end.plus(97 * HOUR)), None, 1_000),
        (None, None, 10_000),
        (Some(start), Some(end), 100_000),
    ];
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let mut batch = owner.empty();
    for (after, before, count) in spans {
        let first = batch.to() + 1;
        batch.push_loss(Loss { first, last: batch.to() + count, cause: LossCause::Retention, after, before });
    }
    owner.try_commit(&batch.seal()).await.unwrap();
    assert_eq!(as_of(subject, "acme", hour, hour.next()).await.lost, 110_110);
}
