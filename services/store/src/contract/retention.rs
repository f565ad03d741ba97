//! What is deleted by policy.

use super::{Owner, Subject, billing, noon};
use crate::{DeadLetterFilter, DeadLetterState, Expiring, NewRun, Outcome, RunFilter, StoreError, Trigger};
use loadline_domain::{Loss, LossCause, Timestamp};
use std::time::Duration;

async fn soon(subject: &Subject) -> Timestamp {
    subject.now().await.unwrap().plus(Duration::from_secs(60))
}

pub async fn only_resolved_dead_letters_expire(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&["one", "two", "three", "four"]).await;
    let leadership = subject.leader().await;
    let what = Expiring::ResolvedDeadLetters;
    assert_eq!(subject.expire(&leadership, what, soon(subject).await, 10).await.unwrap(), 0);
    let letters = subject.dead_letters(&DeadLetterFilter::default(), DeadLetterState::Open, 0, 3).await.unwrap();
    let ids = letters.iter().map(|letter| letter.id).collect();
    subject.discard(&DeadLetterFilter { ids, ..DeadLetterFilter::default() }, "drawn", false).await.unwrap();
    assert_eq!(subject.expire(&leadership, what, noon(), 10).await.unwrap(), 0);
    assert_eq!(subject.expire(&leadership, what, soon(subject).await, 2).await.unwrap(), 2);
    assert_eq!(subject.expire(&leadership, what, soon(subject).await, 10).await.unwrap(), 1);
    let open = subject.open_dead_letters(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!(open.values().sum::<u64>(), 1);
    // They are still accounted for.
    assert_eq!(owner.refresh().await, (0, 0, 4, 0));
    subject.assert_conserved().await;
}

pub async fn finished_runs_expire_but_for_what_schedules_and_later_runs_go_by(subject: &Subject) {
    let leadership = subject.leader().await;
    let fire = |key: &str, trigger, minute: Option<i64>| NewRun {
        job: "archive".to_owned(),
        idempotency_key: key.to_owned(),
        trigger,
        parameters: "{}".to_owned(),
        requested_by: "schedule".to_owned(),
        scheduled_for: minute.map(|minute| Timestamp::from_micros(minute * 60_000_000)),
        attempt: 1,
    };
    let succeeded = Outcome::Succeeded("{}".to_owned());
    for (key, trigger, minute, outcome) in [
        ("oldest", Trigger::Schedule, Some(1), &succeeded),
        ("last success", Trigger::Request, None, &succeeded),
        ("last fire", Trigger::Schedule, Some(2), &Outcome::Cancelled),
        ("asked", Trigger::Request, None, &Outcome::Cancelled),
        ("last", Trigger::Request, None, &Outcome::Cancelled),
    ] {
        subject.enqueue(&fire(key, trigger, minute)).await.unwrap();
        let run = subject.claim(&leadership).await.unwrap().unwrap();
        subject.finish(&leadership, run.id, outcome).await.unwrap();
    }
    subject.enqueue(&fire("waits", Trigger::Request, None)).await.unwrap();
    let what = Expiring::FinishedRuns;
    assert_eq!(subject.expire(&leadership, what, noon(), 10).await.unwrap(), 0);
    assert_eq!(subject.expire(&leadership, what, soon(subject).await, 1).await.unwrap(), 1);
    assert_eq!(subject.expire(&leadership, what, soon(subject).await, 10).await.unwrap(), 1);
    assert_eq!(subject.expire(&leadership, what, soon(subject).await, 10).await.unwrap(), 0);
    let left = subject.job_runs(&RunFilter::default(), None, 10).await.unwrap();
    let left: Vec<_> = left.iter().map(|run| run.asked.idempotency_key.as_str()).collect();
    assert_eq!(left, ["waits", "last", "last fire", "last success"]);
}

pub async fn losses_expire_only_when_they_are_named(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let mut batch = owner.empty();
    batch.push_loss(Loss { first: 1, last: 5, cause: LossCause::Retention, after: None, before: None });
    owner.try_commit(&batch.seal()).await.unwrap();
    let leadership = subject.leader().await;
    for what in [Expiring::ResolvedDeadLetters, Expiring::FinishedRuns] {
        assert_eq!(subject.expire(&leadership, what, soon(subject).await, 10).await.unwrap(), 0);
    }
    assert_eq!(subject.losses(None, 0, 10).await.unwrap().len(), 1);
    assert_eq!(subject.expire(&leadership, Expiring::Losses, noon(), 10).await.unwrap(), 0);
    assert_eq!(subject.expire(&leadership, Expiring::Losses, soon(subject).await, 10).await.unwrap(), 1);
    assert_eq!(owner.refresh().await, (0, 0, 0, 5));
}

pub async fn an_old_leader_deletes_nothing(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&["bad"]).await;
    owner.count(&[billing("a", "acme", noon())]).await;
    subject.discard(&DeadLetterFilter::default(), "drawn", false).await.unwrap();
    let old = subject.leader().await;
    subject.leader().await;
    let refused = subject.expire(&old, Expiring::ResolvedDeadLetters, soon(subject).await, 10).await;
    assert!(matches!(refused, Err(StoreError::Stale(_))), "{refused:?}");
    let kept = subject.dead_letters(&DeadLetterFilter::default(), DeadLetterState::Discarded, 0, 10).await.unwrap();
    assert_eq!(kept.len(), 1);
}
