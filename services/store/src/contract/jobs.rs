//! Runs of jobs.

use super::Subject;
use crate::{Enqueued, JobRun, NewRun, Outcome, RunFilter, RunProgress, RunState, StoreError, Trigger};
use loadline_domain::Timestamp;
use std::sync::Arc;
use uuid::Uuid;

fn wanted(job: &str, key: &str) -> NewRun {
    NewRun {
        job: job.to_owned(),
        idempotency_key: key.to_owned(),
        trigger: Trigger::Request,
        parameters: "{\"days\":3}".to_owned(),
        requested_by: "operator".to_owned(),
        scheduled_for: None,
        attempt: 1,
    }
}

async fn queued(subject: &Subject, job: &str, key: &str) -> JobRun {
    match subject.enqueue(&wanted(job, key)).await.unwrap() {
        Enqueued::New(run) => run,
        other => panic!("{other:?}"),
    }
}

fn is_stale<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> bool {
    matches!(&outcome, Err(StoreError::Stale(_))) || panic!("{outcome:?}")
}

pub async fn a_run_is_queued_claimed_watched_and_finished(subject: &Subject) {
    let leadership = subject.leader().await;
    assert_eq!(subject.claim(&leadership).await.unwrap(), None);
    let run = queued(subject, "archive", "one").await;
    assert_eq!((run.state, &run.asked, run.started_at), (RunState::Queued, &wanted("archive", "one"), None));
    let claimed = subject.claim(&leadership).await.unwrap().unwrap();
    assert_eq!((claimed.id, claimed.state, claimed.epoch), (run.id, RunState::Running, Some(leadership.epoch)));
    assert_eq!(claimed.holder.as_deref(), Some("contract"));
    assert_eq!(subject.claim(&leadership).await.unwrap(), None);
    let progress = RunProgress { done: 3, total: Some(9), note: "2026-01-01".to_owned() };
    assert!(!subject.report(&leadership, run.id, &progress).await.unwrap());
    assert_eq!(subject.job_run(run.id).await.unwrap().unwrap().progress, progress);
    let outcome = Outcome::Succeeded("{\"rows\":7}".to_owned());
    let finished = subject.finish(&leadership, run.id, &outcome).await.unwrap();
    assert_eq!((finished.state, finished.result.as_deref(), &finished.error), (RunState::Succeeded, Some("{\"rows\":7}"), &None));
    assert!(finished.queued_at <= finished.started_at.unwrap() && finished.started_at <= finished.finished_at);
    // After an unknown commit the same is said again; something else is not taken.
    assert_eq!(subject.finish(&leadership, run.id, &outcome).await.unwrap(), finished);
    assert!(is_stale(subject.finish(&leadership, run.id, &Outcome::Failed("no".to_owned())).await));
    assert!(is_stale(subject.report(&leadership, run.id, &progress).await));
    assert_eq!(subject.job_run(Uuid::now_v7()).await.unwrap(), None);
}

pub async fn the_same_key_is_the_same_run_and_other_parameters_are_refused(subject: &Subject) {
    let run = queued(subject, "archive", "one").await;
    assert_eq!(subject.enqueue(&wanted("archive", "one")).await.unwrap(), Enqueued::Known(run.clone()));
    let other = NewRun { parameters: "{}".to_owned(), ..wanted("archive", "one") };
    assert_eq!(subject.enqueue(&other).await.unwrap(), Enqueued::KeyTaken(run.clone()));
    assert_eq!(subject.enqueue(&other).await.unwrap().run(), &run);
    assert_ne!(queued(subject, "verify", "one").await.id, run.id);
}

pub async fn of_many_who_ask_with_one_key_at_once_one_queues_a_run(subject: &Subject) {
    let asking = (0..8).map(|_| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move { store.enqueue(&wanted("archive", "one")).await.unwrap() })
    });
    let answers: Vec<_> = futures::future::join_all(asking).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Enqueued::New(_))).count(), 1);
    assert!(answers.iter().all(|answer| answer.run().id == answers[0].run().id));
}

pub async fn a_job_runs_once_at_a_time_and_of_many_claims_each_run_goes_to_one(subject: &Subject) {
    for key in ["1", "2", "3"] {
        queued(subject, "archive", key).await;
        queued(subject, "verify", key).await;
    }
    let leadership = subject.leader().await;
    for round in 0..3 {
        let claiming = (0..6).map(|_| {
            let (store, leadership) = (Arc::clone(&subject.store), leadership.clone());
            tokio::spawn(async move { store.claim(&leadership).await.unwrap() })
        });
        let claimed = futures::future::join_all(claiming).await.into_iter().filter_map(Result::unwrap);
        let mut claimed: Vec<_> = claimed.collect();
        claimed.sort_by(|a, b| a.asked.job.cmp(&b.asked.job));
        let jobs: Vec<_> = claimed.iter().map(|run| (run.asked.job.as_str(), run.asked.idempotency_key.as_str())).collect();
        let key = ["1", "2", "3"][round];
        assert_eq!(jobs, [("archive", key), ("verify", key)]);
        for run in claimed {
            subject.finish(&leadership, run.id, &Outcome::Failed("on purpose".to_owned())).await.unwrap();
        }
    }
}

pub async fn a_queued_run_is_cancelled_at_once_and_a_running_one_is_told(subject: &Subject) {
    let leadership = subject.leader().await;
    let (first, second) = (queued(subject, "archive", "1").await, queued(subject, "archive", "2").await);
    subject.claim(&leadership).await.unwrap().unwrap();
    let cancelled = subject.request_cancel(second.id).await.unwrap().unwrap();
    assert_eq!((cancelled.state, cancelled.finished_at.is_some()), (RunState::Cancelled, true));
    let asked = subject.request_cancel(first.id).await.unwrap().unwrap();
    assert_eq!((asked.state, asked.cancel_requested, asked.finished_at), (RunState::Running, true, None));
    assert!(subject.report(&leadership, first.id, &RunProgress::default()).await.unwrap());
    let ended = subject.finish(&leadership, first.id, &Outcome::Cancelled).await.unwrap();
    assert_eq!(ended.state, RunState::Cancelled);
    // What has ended stays as it ended.
    assert_eq!(subject.request_cancel(first.id).await.unwrap(), Some(ended));
    assert_eq!(subject.request_cancel(Uuid::now_v7()).await.unwrap(), None);
    assert_eq!(subject.claim(&leadership).await.unwrap(), None);
}

pub async fn an_old_leader_says_nothing_about_runs(subject: &Subject) {
    let old = subject.leader().await;
    queued(subject, "archive", "1").await;
    let run = subject.claim(&old).await.unwrap().unwrap();
    queued(subject, "verify", "1").await;
    let new = subject.leader().await;
    assert!(is_stale(subject.claim(&old).await));
    assert!(is_stale(subject.report(&old, run.id, &RunProgress::default()).await));
    assert!(is_stale(subject.finish(&old, run.id, &Outcome::Cancelled).await));
    assert!(is_stale(subject.interrupt_orphans(&old).await));
    // Nor does the new one about a run that it did not claim.
    assert!(is_stale(subject.report(&new, run.id, &RunProgress::default()).await));
    assert!(is_stale(subject.finish(&new, run.id, &Outcome::Cancelled).await));
    assert_eq!(subject.job_run(run.id).await.unwrap(), Some(run));
}

pub async fn runs_of_lost_leaders_are_interrupted_and_their_jobs_run_again(subject: &Subject) {
    let old = subject.leader().await;
    let run = queued(subject, "archive", "1").await;
    subject.claim(&old).await.unwrap().unwrap();
    queued(subject, "archive", "2").await;
    let other = subject.lead("other", "contract", std::time::Duration::from_secs(600)).await.unwrap().unwrap();
    queued(subject, "verify", "1").await;
    subject.claim(&other).await.unwrap().unwrap();
    assert_eq!(subject.interrupt_orphans(&old).await.unwrap(), []);
    let new = subject.leader().await;
    assert_eq!(subject.claim(&new).await.unwrap(), None);
    let orphans = subject.interrupt_orphans(&new).await.unwrap();
    assert_eq!(orphans.iter().map(|orphan| (orphan.id, orphan.state)).collect::<Vec<_>>(), [(run.id, RunState::Interrupted)]);
    assert!(orphans[0].finished_at.is_some() && orphans[0].error.is_some());
    assert_eq!(subject.interrupt_orphans(&new).await.unwrap(), []);
    assert_eq!(subject.claim(&new).await.unwrap().unwrap().asked.idempotency_key, "2");
}

pub async fn runs_are_listed_newest_first_by_pages(subject: &Subject) {
    let leadership = subject.leader().await;
    let mut ids = Vec::new();
    for key in 0..5 {
        ids.push(queued(subject, if key == 2 { "verify" } else { "archive" }, &key.to_string()).await.id);
    }
    ids.reverse();
    let list = async |filter: &RunFilter, before, limit| {
        let runs = subject.job_runs(filter, before, limit).await.unwrap();
        runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let all = RunFilter::default();
    assert_eq!(list(&all, None, 10).await, ids);
    assert_eq!(list(&all, None, 2).await, ids[..2]);
    assert_eq!(list(&all, Some(ids[1]), 2).await, ids[2..4]);
    let archive = RunFilter { job: Some("archive".to_owned()), ..all.clone() };
    assert_eq!(list(&archive, None, 10).await, [ids[0], ids[1], ids[3], ids[4]]);
    subject.claim(&leadership).await.unwrap();
    let running = RunFilter { state: Some(RunState::Running), ..archive };
    assert_eq!(list(&running, None, 10).await, [ids[4]]);
}

pub async fn the_last_run_and_the_last_fire_of_each_job_are_known(subject: &Subject) {
    let leadership = subject.leader().await;
    assert!(subject.last_finished().await.unwrap().is_empty());
    for (key, minute) in [("1", 10), ("2", 30), ("3", 20)] {
        let fire = NewRun {
            trigger: Trigger::Schedule,
            scheduled_for: Some(Timestamp::from_micros(minute * 60_000_000)),
            ..wanted("archive", key)
        };
        subject.enqueue(&fire).await.unwrap();
        if key != "3" {
            let run = subject.claim(&leadership).await.unwrap().unwrap();
            subject.finish(&leadership, run.id, &Outcome::Failed(key.to_owned())).await.unwrap();
        }
    }
    queued(subject, "verify", "1").await;
    let finished = subject.last_finished().await.unwrap();
    assert_eq!((finished.len(), finished["archive"].error.as_deref()), (1, Some("2")));
    let minute = |minute: i64| Timestamp::from_micros(minute * 60_000_000);
    let fires = subject.last_scheduled(Timestamp::END).await.unwrap();
    assert_eq!((fires.len(), fires["archive"]), (1, minute(30)));
    // What a clock that was ahead has queued is not the latest once the clock is right again.
    assert_eq!(subject.last_scheduled(minute(29)).await.unwrap()["archive"], minute(20));
    assert_eq!(subject.last_scheduled(minute(20)).await.unwrap()["archive"], minute(20));
    assert!(subject.last_scheduled(minute(9)).await.unwrap().is_empty());
}

pub async fn a_run_that_is_handed_back_is_queued_as_if_it_had_not_begun(subject: &Subject) {
    let first = subject.leader().await;
    let (run, other) = (queued(subject, "archive", "one").await, queued(subject, "verify", "one").await);
    subject.claim(&first).await.unwrap().unwrap();
    let progress = RunProgress { done: 3, total: Some(9), note: "2026-01-01".to_owned() };
    subject.report(&first, run.id, &progress).await.unwrap();
    assert_eq!(subject.hand_back(&first).await.unwrap(), 1);
    assert_eq!(subject.hand_back(&first).await.unwrap(), 0);
    let waiting = subject.job_run(run.id).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.asked.attempt, waiting.epoch, waiting.started_at), (RunState::Queued, 1, None, None));
    assert!(is_stale(subject.report(&first, run.id, &progress).await));
    subject.step_down(&first).await.unwrap();
    let second = subject.leader().await;
    assert!(is_stale(subject.hand_back(&first).await));
    assert!(subject.interrupt_orphans(&second).await.unwrap().is_empty());
    let claimed = subject.claim(&second).await.unwrap().unwrap();
    assert_eq!((claimed.id, claimed.asked.attempt, claimed.epoch), (run.id, 1, Some(second.epoch)));
    assert_eq!(subject.claim(&second).await.unwrap().map(|claimed| claimed.id), Some(other.id));
}
