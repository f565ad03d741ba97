//! What every queue does: one function a behaviour, run on each backend.

#![allow(clippy::unwrap_used)] // a test suite: panicking is how it speaks

use super::{Delivery, Queue, open};
use loadline_store::{ClaimTerms, NewPrediction, PredictionEnd, PredictionState, Store};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Nothing may hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// A pull that expects something.
const WAIT: Duration = Duration::from_secs(1);
/// One that expects nothing more.
const MOMENT: Duration = Duration::from_millis(200);
/// Short enough to see claims end.
pub const LEASE: Duration = Duration::from_secs(2);

/// A queue to try, over a fresh and migrated store.
pub struct Subject {
    /// Where jobs are.
    pub store: Arc<dyn Store>,
    /// Of the queue.
    pub url: String,
    /// As one process has it.
    pub queue: Arc<dyn Queue>,
}

impl Subject {
    /// Opens the queue at `url`.
    pub fn new(url: &str, store: Arc<dyn Store>) -> Self {
        let queue = open(url, store.clone(), LEASE).unwrap();
        Self { store, url: url.to_owned(), queue }
    }

    /// As another process has it.
    fn another(&self) -> Arc<dyn Queue> {
        open(&self.url, self.store.clone(), LEASE).unwrap()
    }

    async fn accept(&self, id: &str) {
        let new = NewPrediction {
            id: id.to_owned(),
            model: "match.v2".to_owned(),
            version: 1,
            sha256: "00".repeat(32),
            submitted_by: "contract".to_owned(),
            rows: 1,
            valid_for: None,
            request: id.as_bytes().to_vec(),
        };
        self.store.accept_prediction(&new).await.unwrap();
    }

    /// Accepts jobs and dispatches them.
    async fn queued(&self, ids: &[&str]) {
        for id in ids {
            self.accept(id).await;
        }
        let tickets = self.store.prediction_outbox(1_000).await.unwrap();
        self.queue.dispatch(&tickets).await.unwrap();
    }

    async fn state(&self, id: &str) -> PredictionState {
        self.store.prediction_job(id).await.unwrap().unwrap().state
    }

    async fn end(&self, queue: &dyn Queue, delivery: &Delivery) {
        let end = PredictionEnd::Succeeded(delivery.claim.request.clone());
        self.store.end_prediction(&delivery.claim, &end).await.unwrap();
        queue.done(&delivery.receipt).await.unwrap();
    }
}

fn terms() -> ClaimTerms {
    ClaimTerms { holder: "contract".to_owned(), lease: LEASE, attempts: 10 }
}

/// Pulls until so many jobs have come.
async fn pulled(queue: &dyn Queue, most: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    let pulling = async {
        while all.len() < most {
            all.extend(queue.pull(&terms(), most - all.len(), WAIT).await.unwrap());
        }
    };
    timeout(PATIENCE, pulling).await.unwrap_or_else(|_| panic!("fewer than {most} jobs come"));
    all
}

async fn one(queue: &dyn Queue) -> Delivery {
    pulled(queue, 1).await.remove(0)
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.claim.job.id.as_str()).collect()
}

/// Whether a job comes until some time has passed.
async fn nothing_comes(queue: &dyn Queue, within: Duration) -> bool {
    let until = Instant::now() + within;
    while Instant::now() < until {
        if !queue.pull(&terms(), 9, MOMENT).await.unwrap().is_empty() {
            return false;
        }
    }
    true
}

pub async fn a_dispatched_job_comes_claimed_with_its_question(subject: &Subject) {
    subject.queued(&["a"]).await;
    assert_eq!(subject.state("a").await, PredictionState::Queued);
    assert!(subject.store.prediction_outbox(9).await.unwrap().is_empty());
    let delivery = one(&*subject.queue).await;
    assert_eq!((&delivery.claim.job.id[..], &delivery.claim.request[..]), ("a", &b"a"[..]));
    assert_eq!(subject.state("a").await, PredictionState::Running);
    subject.end(&*subject.queue, &delivery).await;
    assert_eq!(subject.state("a").await, PredictionState::Succeeded);
}

pub async fn an_empty_queue_answers_with_nothing(subject: &Subject) {
    subject.queue.probe().await.unwrap();
    assert!(subject.queue.pull(&terms(), 3, Duration::ZERO).await.unwrap().is_empty());
    assert!(subject.queue.pull(&terms(), 3, MOMENT).await.unwrap().is_empty());
    subject.accept("a").await;
    assert!(subject.queue.pull(&terms(), 3, MOMENT).await.unwrap().is_empty(), "it is accepted, and not dispatched");
}

pub async fn who_waits_is_woken_by_a_dispatch(subject: &Subject) {
    subject.queue.probe().await.unwrap();
    let queue = subject.queue.clone();
    let waiting = tokio::spawn(async move { queue.pull(&terms(), 1, PATIENCE).await.unwrap() });
    sleep(MOMENT).await;
    subject.queued(&["a"]).await;
    let woken = timeout(PATIENCE / 2, waiting).await.expect("it is woken before its time is over").unwrap();
    assert_eq!(ids(&woken), ["a"]);
    subject.end(&*subject.queue, &woken[0]).await;
    // Also one in another process.
    let other = subject.another();
    let waiting = tokio::spawn(async move { other.pull(&terms(), 1, PATIENCE).await.unwrap() });
    sleep(MOMENT).await;
    subject.queued(&["b"]).await;
    let woken = timeout(PATIENCE / 2, waiting).await.expect("it is woken before its time is over").unwrap();
    assert_eq!(ids(&woken), ["b"]);
}

pub async fn jobs_come_in_the_order_of_their_acceptance(subject: &Subject) {
    subject.queued(&["d", "b"]).await;
    subject.queued(&["c", "a"]).await;
    let all = pulled(&*subject.queue, 4).await;
    assert_eq!(ids(&all), ["d", "b", "c", "a"]);
}

pub async fn of_many_who_pull_at_once_each_job_goes_to_one(subject: &Subject) {
    let names: Vec<String> = (0..40).map(|id| format!("job-{id}")).collect();
    subject.queued(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let pulling = (0..5).map(|_| {
        let (queue, store) = (subject.another(), subject.store.clone());
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let deliveries = queue.pull(&terms(), 3, WAIT).await.unwrap();
                if deliveries.is_empty() {
                    return mine;
                }
                for delivery in deliveries {
                    let end = PredictionEnd::Succeeded(vec![]);
                    store.end_prediction(&delivery.claim, &end).await.unwrap();
                    queue.done(&delivery.receipt).await.unwrap();
                    mine.push(delivery.claim.job.id);
                }
            }
        })
    });
    let all: Vec<String> = futures::future::join_all(pulling).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(all.len(), names.len());
    assert_eq!(all.iter().collect::<BTreeSet<_>>(), names.iter().collect());
}

pub async fn a_job_that_is_done_never_comes_again(subject: &Subject) {
    subject.queued(&["a"]).await;
    let delivery = one(&*subject.queue).await;
    subject.end(&*subject.queue, &delivery).await;
    assert!(nothing_comes(&*subject.queue, LEASE * 2).await);
}

pub async fn a_job_whose_worker_is_lost_comes_again(subject: &Subject) {
    subject.queued(&["a"]).await;
    let lost = one(&*subject.another()).await;
    let again = one(&*subject.queue).await;
    assert_eq!((again.claim.job.attempts, again.claim.job.epoch), (2, 2));
    assert!(subject.store.end_prediction(&lost.claim, &PredictionEnd::Succeeded(vec![])).await.is_err(), "it is fenced off");
    subject.end(&*subject.queue, &again).await;
    assert_eq!(subject.store.prediction_result("a").await.unwrap(), Some(b"a".to_vec()));
}

pub async fn a_job_that_is_kept_stays_with_its_worker(subject: &Subject) {
    subject.queued(&["a"]).await;
    let mine = one(&*subject.queue).await;
    let other = subject.another();
    let others = tokio::spawn(async move { nothing_comes(&*other, LEASE * 3).await });
    while !others.is_finished() {
        subject.store.keep_prediction(&mine.claim, LEASE).await.unwrap();
        subject.queue.keep(&mine.receipt).await.unwrap();
        sleep(LEASE / 4).await;
    }
    assert!(others.await.unwrap(), "it went to somebody else");
    subject.end(&*subject.queue, &mine).await;
    assert_eq!(subject.state("a").await, PredictionState::Succeeded);
}

pub async fn a_job_that_is_handed_back_comes_again(subject: &Subject) {
    subject.queued(&["a"]).await;
    for after in [Duration::ZERO, MOMENT] {
        let mine = one(&*subject.queue).await;
        assert_eq!(mine.claim.job.attempts, 1, "none of them counts");
        subject.store.hand_back_prediction(&mine.claim, after).await.unwrap();
        subject.queue.again(&mine.receipt, after).await.unwrap();
    }
    let mine = one(&*subject.another()).await;
    subject.end(&*subject.queue, &mine).await;
}

pub async fn the_same_ticket_again_is_no_second_piece_of_work(subject: &Subject) {
    for id in ["a", "b"] {
        subject.accept(id).await;
    }
    let tickets = subject.store.prediction_outbox(9).await.unwrap();
    let other = subject.another();
    for queue in [&subject.queue, &other, &subject.queue] {
        queue.dispatch(&tickets).await.unwrap();
    }
    let both = pulled(&*subject.queue, 2).await;
    assert_eq!(ids(&both), ["a", "b"]);
    for delivery in &both {
        subject.end(&*subject.queue, delivery).await;
    }
    subject.queue.dispatch(&tickets).await.unwrap();
    assert!(nothing_comes(&*subject.queue, LEASE * 2).await);
    assert_eq!(subject.state("a").await, PredictionState::Succeeded);
}

pub async fn a_job_that_has_ended_is_not_delivered(subject: &Subject) {
    subject.queued(&["a", "b", "c"]).await;
    subject.store.cancel_prediction("a").await.unwrap();
    let b = one(&*subject.queue).await;
    assert_eq!(b.claim.job.id, "b");
    subject.store.cancel_prediction("b").await.unwrap();
    subject.queue.again(&b.receipt, Duration::ZERO).await.unwrap();
    let c = one(&*subject.queue).await;
    assert_eq!(c.claim.job.id, "c");
    subject.end(&*subject.queue, &c).await;
    assert!(nothing_comes(&*subject.queue, LEASE * 2).await);
}

pub async fn a_job_that_is_dispatched_again_comes_again(subject: &Subject) {
    subject.queued(&["a"]).await;
    assert_eq!(subject.store.redispatch_predictions(Duration::ZERO, 9).await.unwrap(), 1);
    let tickets = subject.store.prediction_outbox(9).await.unwrap();
    subject.queue.dispatch(&tickets).await.unwrap();
    assert!(subject.store.prediction_outbox(9).await.unwrap().is_empty());
    let delivery = one(&*subject.queue).await;
    subject.end(&*subject.queue, &delivery).await;
    assert!(nothing_comes(&*subject.queue, LEASE * 2).await, "of two deliveries one is work");
}

pub async fn a_queue_that_connects_anew_goes_on(subject: &Subject) {
    subject.queued(&["a", "b"]).await;
    let a = one(&*subject.queue).await;
    subject.queue.reconnect().await.unwrap();
    subject.end(&*subject.queue, &a).await;
    let b = one(&*subject.queue).await;
    assert_eq!(b.claim.job.id, "b");
    subject.end(&*subject.queue, &b).await;
    assert!(subject.queue.caveats().iter().all(|caveat| !caveat.is_empty()));
    assert!(nothing_comes(&*subject.queue, LEASE * 2).await);
}
