//! Jobs of predictions: accepted once, claimed under a fence, ended once.

use super::Subject;
use crate::{
    Claim, ClaimTerms, Claimed, LONGEST_DETAIL, NewPrediction, PredictionEnd, PredictionFilter, PredictionJob, PredictionState,
    StoreError, Ticket,
};
use loadline_domain::Timestamp;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const LONG: Duration = Duration::from_secs(600);
/// Over at once: who has it is as good as lost.
const NO_TIME: Duration = Duration::ZERO;

fn question(id: &str) -> NewPrediction {
    NewPrediction {
        id: id.to_owned(),
        model: "match".to_owned(),
        version: 3,
        sha256: "ab".repeat(32),
        submitted_by: "alice – ünïcode".to_owned(),
        rows: 2,
        valid_for: None,
        request: vec![0, 1, 255, id.len() as u8],
    }
}

fn terms(lease: Duration) -> ClaimTerms {
    ClaimTerms { holder: "worker".to_owned(), lease, attempts: 3 }
}

fn failed(reason: &str) -> PredictionEnd {
    PredictionEnd::Failed { reason: reason.to_owned(), detail: format!("{reason} – in words") }
}

fn succeeded() -> PredictionEnd {
    PredictionEnd::Succeeded(vec![9, 0, 255])
}

fn is_stale<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Stale(_)))
}

async fn accepted(subject: &Subject, id: &str) -> PredictionJob {
    subject.accept_prediction(&question(id)).await.unwrap().job
}

/// Accepted, and known to the queue.
async fn queued(subject: &Subject, id: &str) {
    accepted(subject, id).await;
    dispatch(subject).await;
}

async fn dispatch(subject: &Subject) {
    let tickets = subject.prediction_outbox(1_000).await.unwrap();
    subject.predictions_dispatched(&tickets).await.unwrap();
}

async fn claimed(subject: &Subject, id: &str, lease: Duration) -> Claim {
    match subject.claim_prediction(id, &terms(lease)).await.unwrap() {
        Claimed::Mine(claim) => *claim,
        other => panic!("{id}: {other:?}"),
    }
}

/// The job that is next. One whose row a transaction that came to nothing still holds is passed over for a moment.
async fn next(subject: &Subject, lease: Duration) -> Claim {
    let asking = async {
        loop {
            if let Some(claim) = subject.claim_next_prediction(&terms(lease)).await.unwrap() {
                return claim;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("there is a job to claim")
}

async fn state(subject: &Subject, id: &str) -> PredictionState {
    subject.prediction_job(id).await.unwrap().unwrap().state
}

/// What the database itself wrote down of ends.
async fn ends(subject: &Subject) -> Vec<String> {
    subject.peek("SELECT state FROM prediction_end ORDER BY number").await
}

pub async fn a_job_is_durable_with_its_outbox_entry_when_it_is_accepted(subject: &Subject) {
    let new = NewPrediction { valid_for: Some(LONG), ..question("a") };
    let accepted = subject.accept_prediction(&new).await.unwrap();
    assert!(accepted.new);
    let job = accepted.job;
    assert_eq!((job.state, job.attempts, job.epoch, job.finished_at), (PredictionState::Accepted, 0, 0, None));
    assert_eq!(job.deadline, Some(job.accepted_at.plus(LONG)));
    assert_eq!((&job.model, job.version, &job.sha256), (&new.model, new.version, &new.sha256));
    assert_eq!((&job.submitted_by, job.rows), (&new.submitted_by, new.rows));
    let again = crate::open(&subject.url, crate::Options::default()).await.unwrap();
    assert_eq!(again.prediction_job("a").await.unwrap(), Some(job.clone()));
    let ticket = Ticket { id: "a".to_owned(), model: "match".to_owned(), dispatch: 0 };
    assert_eq!(again.prediction_outbox(9).await.unwrap(), [ticket]);
    let backlog = again.prediction_backlog().await.unwrap();
    assert_eq!((backlog.outbox, backlog.oldest_outbox, backlog.open), (1, Some(job.accepted_at), 1));
    assert_eq!(subject.prediction_job("b").await.unwrap(), None);
    assert_eq!(subject.prediction_result("a").await.unwrap(), None);
}

pub async fn of_many_who_submit_one_question_at_once_one_makes_the_job(subject: &Subject) {
    let other = crate::open(&subject.url, crate::Options::default()).await.unwrap();
    for id in ["a", "b", "c"] {
        let submitting = (0..8_usize).map(|at| {
            let store = if at % 2 == 0 { Arc::clone(&subject.store) } else { Arc::clone(&other) };
            let new = NewPrediction { submitted_by: at.to_string(), ..question(id) };
            tokio::spawn(async move { store.accept_prediction(&new).await.unwrap() })
        });
        let all: Vec<_> = futures::future::join_all(submitting).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(all.iter().filter(|accepted| accepted.new).count(), 1, "{id}");
        assert!(all.windows(2).all(|pair| pair[0].job == pair[1].job), "{all:?}");
    }
    assert_eq!(subject.prediction_outbox(9).await.unwrap().len(), 3);
    // Also when it has ended.
    let job = subject.cancel_prediction("a").await.unwrap().unwrap();
    let again = subject.accept_prediction(&question("a")).await.unwrap();
    assert_eq!((again.job, again.new), (job, false));
}

pub async fn what_is_dispatched_is_queued_and_leaves_the_outbox(subject: &Subject) {
    for id in ["a", "b", "c"] {
        accepted(subject, id).await;
    }
    let first = subject.prediction_outbox(2).await.unwrap();
    assert_eq!(first.iter().map(|ticket| ticket.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(subject.claim_next_prediction(&terms(LONG)).await.unwrap(), None, "the queue has not heard of any");
    subject.predictions_dispatched(&first).await.unwrap();
    subject.predictions_dispatched(&first).await.unwrap();
    let job = subject.prediction_job("b").await.unwrap().unwrap();
    assert_eq!(job.state, PredictionState::Queued);
    assert!(job.queued_at.unwrap() >= job.accepted_at);
    assert_eq!(state(subject, "c").await, PredictionState::Accepted);
    assert_eq!(subject.prediction_outbox(9).await.unwrap().len(), 1);
}

pub async fn a_job_that_ran_before_its_dispatch_was_noted_is_not_queued_again(subject: &Subject) {
    accepted(subject, "a").await;
    accepted(subject, "b").await;
    let tickets = subject.prediction_outbox(9).await.unwrap();
    let (a, b) = (claimed(subject, "a", LONG).await, claimed(subject, "b", LONG).await);
    subject.end_prediction(&a, &succeeded()).await.unwrap();
    subject.predictions_dispatched(&tickets).await.unwrap();
    assert_eq!(state(subject, "a").await, PredictionState::Succeeded);
    assert_eq!(state(subject, "b").await, PredictionState::Running);
    subject.end_prediction(&b, &succeeded()).await.unwrap();
    assert!(subject.prediction_outbox(9).await.unwrap().is_empty());
}

pub async fn a_claim_has_the_question_and_is_one_callers_while_it_lasts(subject: &Subject) {
    assert_eq!(subject.claim_prediction("a", &terms(LONG)).await.unwrap(), Claimed::Unknown);
    queued(subject, "a").await;
    let claim = claimed(subject, "a", LONG).await;
    assert_eq!(claim.request, question("a").request);
    assert_eq!((claim.job.state, claim.job.epoch, claim.job.attempts), (PredictionState::Running, 1, 1));
    assert_eq!(claim.job.holder.as_deref(), Some("worker"));
    let Claimed::Held(longer) = subject.claim_prediction("a", &terms(LONG)).await.unwrap() else { panic!("claimed twice") };
    assert!(longer <= LONG && longer > LONG / 2, "{longer:?}");
    assert_eq!(subject.claim_next_prediction(&terms(LONG)).await.unwrap(), None);
    subject.keep_prediction(&claim, NO_TIME).await.unwrap();
    // It ran out, and nobody took it: it can be kept all the same.
    subject.keep_prediction(&claim, LONG).await.unwrap();
    assert!(matches!(subject.claim_prediction("a", &terms(LONG)).await.unwrap(), Claimed::Held(_)));
}

pub async fn of_many_who_claim_at_once_each_job_goes_to_one(subject: &Subject) {
    const JOBS: usize = 30;
    for id in 0..JOBS {
        accepted(subject, &id.to_string()).await;
    }
    dispatch(subject).await;
    let other = crate::open(&subject.url, crate::Options::default()).await.unwrap();
    let claiming = (0..6_usize).map(|at| {
        let store = if at % 2 == 0 { Arc::clone(&subject.store) } else { Arc::clone(&other) };
        tokio::spawn(async move {
            let mut mine = Vec::new();
            while let Some(claim) = store.claim_next_prediction(&terms(LONG)).await.unwrap() {
                mine.push(claim.job.id);
            }
            mine
        })
    });
    let all: Vec<String> = futures::future::join_all(claiming).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(all.len(), JOBS);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), JOBS, "{all:?}");
}

pub async fn jobs_are_claimed_in_the_order_of_their_acceptance(subject: &Subject) {
    for id in ["c", "a", "b"] {
        queued(subject, id).await;
    }
    for id in ["c", "a", "b"] {
        assert_eq!(next(subject, LONG).await.job.id, id);
    }
}

pub async fn who_was_paused_while_its_job_was_claimed_again_is_fenced_off(subject: &Subject) {
    queued(subject, "a").await;
    let paused = claimed(subject, "a", NO_TIME).await;
    let next = next(subject, LONG).await;
    assert_eq!((next.job.epoch, next.job.attempts), (2, 2));
    assert!(is_stale(subject.end_prediction(&paused, &failed("LATE")).await));
    assert!(is_stale(subject.keep_prediction(&paused, LONG).await));
    assert!(is_stale(subject.hand_back_prediction(&paused, NO_TIME).await));
    subject.end_prediction(&next, &succeeded()).await.unwrap();
    assert!(is_stale(subject.end_prediction(&paused, &failed("LATE")).await));
    assert!(is_stale(subject.end_prediction(&paused, &succeeded()).await), "not even with the same end");
    assert_eq!(state(subject, "a").await, PredictionState::Succeeded);
    assert_eq!(subject.prediction_result("a").await.unwrap(), Some(vec![9, 0, 255]));
    assert_eq!(ends(subject).await, ["succeeded"]);
}

pub async fn the_same_end_again_changes_nothing_and_another_is_refused(subject: &Subject) {
    queued(subject, "a").await;
    let claim = claimed(subject, "a", NO_TIME).await;
    let ended = subject.end_prediction(&claim, &succeeded()).await.unwrap();
    assert_eq!(ended.state, PredictionState::Succeeded);
    assert!(ended.finished_at.is_some());
    assert_eq!(subject.end_prediction(&claim, &succeeded()).await.unwrap(), ended);
    assert!(is_stale(subject.end_prediction(&claim, &failed("NO")).await));
    assert_eq!(subject.claim_prediction("a", &terms(LONG)).await.unwrap(), Claimed::Ended);
    assert_eq!(subject.cancel_prediction("a").await.unwrap(), Some(ended.clone()));
    assert_eq!(subject.prediction_job("a").await.unwrap(), Some(ended));
    assert_eq!(ends(subject).await, ["succeeded"]);
}

pub async fn a_failure_keeps_its_reason_and_of_its_detail_what_fits(subject: &Subject) {
    queued(subject, "a").await;
    let claim = claimed(subject, "a", LONG).await;
    let detail = format!("x{}", "ü".repeat(LONGEST_DETAIL));
    let end = PredictionEnd::Failed { reason: "MODEL_FAILED".to_owned(), detail: format!("\0{detail}") };
    let job = subject.end_prediction(&claim, &end).await.unwrap();
    assert_eq!((job.state, job.reason.as_deref()), (PredictionState::Failed, Some("MODEL_FAILED")));
    let kept = job.detail.unwrap();
    assert!(kept.len() <= LONGEST_DETAIL + 4 && kept.len() > LONGEST_DETAIL / 2, "{}", kept.len());
    assert_eq!(subject.prediction_result("a").await.unwrap(), None);
}

pub async fn a_job_whose_workers_are_lost_again_and_again_fails(subject: &Subject) {
    queued(subject, "a").await;
    queued(subject, "b").await;
    for attempt in 1..=3 {
        assert_eq!(claimed(subject, "a", NO_TIME).await.job.attempts, attempt);
    }
    assert_eq!(subject.claim_prediction("a", &terms(LONG)).await.unwrap(), Claimed::Ended);
    let job = subject.prediction_job("a").await.unwrap().unwrap();
    assert_eq!((job.state, job.reason.as_deref()), (PredictionState::Failed, Some("ATTEMPTS")));
    // Whoever takes what is next ends it too, and goes on to what can be begun.
    for _ in 1..=3 {
        claimed(subject, "b", NO_TIME).await;
    }
    queued(subject, "c").await;
    assert_eq!(next(subject, LONG).await.job.id, "c");
    assert_eq!(ends(subject).await, ["failed", "failed"]);
}

pub async fn a_job_that_is_handed_back_is_put_off_and_its_attempt_does_not_count(subject: &Subject) {
    queued(subject, "a").await;
    for _ in 0..5 {
        let claim = claimed(subject, "a", LONG).await;
        subject.hand_back_prediction(&claim, NO_TIME).await.unwrap();
        assert!(is_stale(subject.hand_back_prediction(&claim, NO_TIME).await));
        assert!(is_stale(subject.end_prediction(&claim, &succeeded()).await));
    }
    let claim = next(subject, LONG).await;
    assert_eq!((claim.job.attempts, claim.job.epoch), (1, 6));
    subject.hand_back_prediction(&claim, LONG).await.unwrap();
    assert_eq!(subject.claim_next_prediction(&terms(LONG)).await.unwrap(), None, "it is put off");
    assert_eq!(state(subject, "a").await, PredictionState::Queued);
}

pub async fn a_cancelled_job_has_ended_whoever_works_on_it(subject: &Subject) {
    assert_eq!(subject.cancel_prediction("a").await.unwrap(), None);
    accepted(subject, "a").await;
    queued(subject, "b").await;
    queued(subject, "c").await;
    let claim = claimed(subject, "c", LONG).await;
    for id in ["a", "b", "c"] {
        assert_eq!(subject.cancel_prediction(id).await.unwrap().unwrap().state, PredictionState::Cancelled);
    }
    assert!(is_stale(subject.end_prediction(&claim, &succeeded()).await));
    assert!(is_stale(subject.keep_prediction(&claim, LONG).await));
    assert_eq!(subject.prediction_result("c").await.unwrap(), None, "nothing is left of the end that came late");
    assert!(subject.prediction_outbox(9).await.unwrap().is_empty(), "no queue need hear of it");
    assert_eq!(subject.claim_next_prediction(&terms(LONG)).await.unwrap(), None);
    assert_eq!(ends(subject).await, ["cancelled"; 3]);
}

pub async fn a_job_past_its_deadline_expires_wherever_it_stands(subject: &Subject) {
    let soon = |id: &str| NewPrediction { valid_for: Some(NO_TIME), ..question(id) };
    let later = |id: &str| NewPrediction { valid_for: Some(Duration::from_millis(500)), ..question(id) };
    queued(subject, "kept").await;
    subject.accept_prediction(&later("ended")).await.unwrap();
    let claim = claimed(subject, "ended", LONG).await;
    for id in ["accepted", "by-claim"] {
        subject.accept_prediction(&soon(id)).await.unwrap();
    }
    assert_eq!(subject.claim_prediction("by-claim", &terms(LONG)).await.unwrap(), Claimed::Ended);
    assert_eq!(subject.expire_predictions(9).await.unwrap(), 1);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let ended = subject.end_prediction(&claim, &succeeded()).await.unwrap();
    assert_eq!(ended.state, PredictionState::Expired, "the answer came too late");
    assert_eq!(subject.end_prediction(&claim, &succeeded()).await.unwrap(), ended);
    assert_eq!(subject.prediction_result("ended").await.unwrap(), None);
    assert_eq!(subject.expire_predictions(9).await.unwrap(), 0);
    for id in ["accepted", "by-claim"] {
        assert_eq!(state(subject, id).await, PredictionState::Expired, "{id}");
    }
    assert_eq!(state(subject, "kept").await, PredictionState::Queued);
    assert_eq!(ends(subject).await, ["expired"; 3]);
}

pub async fn of_ends_that_race_one_comes_first_and_the_others_change_nothing(subject: &Subject) {
    let other = crate::open(&subject.url, crate::Options::default()).await.unwrap();
    for round in 0..12 {
        let id = round.to_string();
        accepted(subject, &id).await;
        let claim = Arc::new(claimed(subject, &id, NO_TIME).await);
        let (a, b, c, d) = (Arc::clone(&subject.store), Arc::clone(&other), Arc::clone(&subject.store), Arc::clone(&other));
        let (mine, named) = (Arc::clone(&claim), id.clone());
        let succeeds = tokio::spawn(async move { a.end_prediction(&mine, &succeeded()).await.map(|job| job.state) });
        let fails = tokio::spawn(async move { b.end_prediction(&claim, &failed("NO")).await.map(|job| job.state) });
        let cancels = tokio::spawn(async move { c.cancel_prediction(&named).await.map(|job| job.unwrap().state) });
        let named = id.clone();
        let claims = tokio::spawn(async move { d.claim_prediction(&named, &terms(LONG)).await });
        let told = [succeeds.await.unwrap(), fails.await.unwrap(), cancels.await.unwrap()];
        claims.await.unwrap().unwrap();
        let state = state(subject, &id).await;
        assert!(state.is_final(), "{state:?}");
        assert!(told.into_iter().filter_map(Result::ok).all(|told| told == state), "told of another end than {state:?}");
        let result = subject.prediction_result(&id).await.unwrap();
        assert_eq!(result.is_some(), state == PredictionState::Succeeded);
    }
    assert_eq!(ends(subject).await.len(), 12);
}

pub async fn a_second_end_is_impossible_in_the_store_itself(subject: &Subject) {
    queued(subject, "a").await;
    queued(subject, "b").await;
    let claim = claimed(subject, "a", LONG).await;
    subject.end_prediction(&claim, &succeeded()).await.unwrap();
    for change in [
        "UPDATE prediction_job SET state = 'failed' WHERE id = 'a'",
        "UPDATE prediction_job SET state = 'queued', finished_at = NULL WHERE id = 'a'",
        "UPDATE prediction_job SET epoch = 9 WHERE id = 'a'",
        "UPDATE prediction_job SET state = 'succeeded' WHERE id = 'b'",
        "UPDATE prediction_job SET finished_at = 1 WHERE id = 'b'",
        "UPDATE prediction_end SET state = 'failed'",
        "DELETE FROM prediction_end",
        "DELETE FROM prediction_job WHERE id = 'b'",
        "UPDATE prediction_result SET result = request FROM prediction_request",
    ] {
        assert!(subject.try_to_tamper(change).await.is_err(), "{change}");
    }
    assert_eq!(state(subject, "a").await, PredictionState::Succeeded);
    assert_eq!(ends(subject).await, ["succeeded"]);
}

pub async fn what_a_queue_has_lost_goes_to_the_outbox_again(subject: &Subject) {
    for id in ["waits", "runs", "lost", "ended"] {
        queued(subject, id).await;
    }
    let (_runs, _lost) = (claimed(subject, "runs", LONG).await, claimed(subject, "lost", NO_TIME).await);
    subject.cancel_prediction("ended").await.unwrap();
    accepted(subject, "new").await;
    assert_eq!(subject.redispatch_predictions(LONG, 9).await.unwrap(), 0, "nothing was idle for so long");
    assert_eq!(subject.redispatch_predictions(NO_TIME, 9).await.unwrap(), 2);
    assert_eq!(subject.redispatch_predictions(NO_TIME, 9).await.unwrap(), 0, "they are in the outbox");
    let tickets = subject.prediction_outbox(9).await.unwrap();
    let named: Vec<_> = tickets.iter().map(|ticket| (ticket.id.as_str(), ticket.dispatch)).collect();
    assert_eq!(named, [("waits", 1), ("lost", 1), ("new", 0)]);
    // Word of the dispatch before takes nothing out.
    let before = Ticket { dispatch: 0, ..tickets[0].clone() };
    subject.predictions_dispatched(&[before]).await.unwrap();
    assert_eq!(subject.prediction_outbox(9).await.unwrap().len(), 3);
    subject.predictions_dispatched(&tickets).await.unwrap();
    assert!(subject.prediction_outbox(9).await.unwrap().is_empty());
    assert_eq!(state(subject, "lost").await, PredictionState::Running, "until it is claimed again");
}

pub async fn jobs_are_listed_newest_first_by_pages_and_by_what_is_asked(subject: &Subject) {
    for id in ["a", "b", "c", "d"] {
        let by = if id == "c" { "bob" } else { "alice" };
        let model = if id == "b" { "other" } else { "match" };
        let new = NewPrediction { submitted_by: by.to_owned(), model: model.to_owned(), ..question(id) };
        subject.accept_prediction(&new).await.unwrap();
    }
    subject.cancel_prediction("a").await.unwrap();
    let list = async |filter: &PredictionFilter, before, limit| {
        let jobs = subject.prediction_jobs(filter, before, limit).await.unwrap();
        jobs.into_iter().map(|job| (job.id, job.number)).collect::<Vec<_>>()
    };
    let ids = |jobs: &[(String, u64)]| jobs.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    let all = PredictionFilter::default();
    let whole = list(&all, None, 9).await;
    assert_eq!(ids(&whole), ["d", "c", "b", "a"]);
    assert_eq!(list(&all, None, 2).await, whole[..2]);
    assert_eq!(list(&all, Some(whole[1].1), 9).await, whole[2..]);
    let filter = PredictionFilter { submitted_by: Some("alice".to_owned()), ..all.clone() };
    assert_eq!(ids(&list(&filter, None, 9).await), ["d", "b", "a"]);
    let filter = PredictionFilter { model: Some("match".to_owned()), ..filter };
    assert_eq!(ids(&list(&filter, None, 9).await), ["d", "a"]);
    let filter = PredictionFilter { state: Some(PredictionState::Cancelled), ..filter };
    assert_eq!(ids(&list(&filter, None, 9).await), ["a"]);
}

pub async fn ended_jobs_are_forgotten_whole_and_open_ones_stay(subject: &Subject) {
    for id in ["a", "b", "c"] {
        queued(subject, id).await;
    }
    let claim = claimed(subject, "a", LONG).await;
    let ended = subject.end_prediction(&claim, &succeeded()).await.unwrap().finished_at.unwrap();
    assert_eq!(subject.forget_predictions(ended, 9).await.unwrap(), 0, "it ended at that time, not before");
    subject.cancel_prediction("b").await.unwrap();
    assert_eq!(subject.forget_predictions(Timestamp::END, 1).await.unwrap(), 1, "the one that ended first");
    assert_eq!(subject.prediction_job("a").await.unwrap(), None);
    assert_eq!(subject.prediction_result("a").await.unwrap(), None);
    assert_eq!(ends(subject).await, ["cancelled"]);
    assert_eq!(subject.forget_predictions(Timestamp::END, 9).await.unwrap(), 1);
    assert!(ends(subject).await.is_empty());
    assert_eq!(state(subject, "c").await, PredictionState::Queued);
    let number = claim.job.number;
    let again = subject.accept_prediction(&question("a")).await.unwrap();
    assert!(again.new && again.job.number > number, "{again:?}");
    assert!(is_stale(subject.end_prediction(&claim, &succeeded()).await), "a job of the same question is another one");
}
