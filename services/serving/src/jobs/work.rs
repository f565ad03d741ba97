//! Workers: they claim, answer and end jobs, so many at once.
//!
//! A job under way is kept, in the store and in the queue, three times a lease. What loses its claim is dropped at once; at the end
//! of the process each has a moment to end, and is handed back then.

use super::{
    Jobs,
    answer::{Answering, Outcome},
    queue::{Delivery, QueueError},
};
use loadline_runtime::Shutdown;
use loadline_store::{Claim, ClaimTerms, PredictionEnd, StoreError};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

/// A pull waits so long for a job. Not longer: a queue that falls silent is noticed by its pulls.
const PULL: Duration = Duration::from_secs(1);
/// After a pull that failed.
const AGAIN: Duration = Duration::from_millis(500);
/// What a job under way has left once the process is to end.
const LAST_MOMENT: Duration = Duration::from_secs(3);
/// Between two tries to say how a job ended.
const SAY_AGAIN: Duration = Duration::from_millis(250);

/// Works until shutdown; returns when nothing is under way.
pub async fn work(jobs: Jobs, answering: Answering, shutdown: Shutdown) {
    let most = jobs.terms.workers;
    if most == 0 {
        return;
    }
    let terms = ClaimTerms { holder: jobs.holder.clone(), lease: jobs.terms.lease, attempts: jobs.terms.attempts };
    let places = Arc::new(Semaphore::new(most));
    let mut under_way = JoinSet::new();
    while !shutdown.is_begun() {
        let free = tokio::select! {
            free = places.clone().acquire_owned() => free,
            () = shutdown.cancelled() => break,
        };
        let Ok(free) = free else { break };
        let mut free = vec![free];
        while let Ok(another) = places.clone().try_acquire_owned() {
            free.push(another);
        }
        // Not dropped half-way: what it has claimed by then would wait for its lease.
        let pulled = jobs.queue.pull(&terms, free.len(), PULL).await;
        jobs.met.pulled(pulled.as_ref());
        match pulled {
            Ok(deliveries) => {
                jobs.idle.store(deliveries.is_empty(), Relaxed);
                for (delivery, place) in deliveries.into_iter().zip(free) {
                    let (jobs, answering, shutdown) = (jobs.clone(), answering.clone(), shutdown.clone());
                    under_way.spawn(async move {
                        one(&jobs, &answering, delivery, &shutdown).await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no jobs can be pulled");
                drop(free);
                tokio::select! {
                    () = sleep(AGAIN) => {}
                    () = shutdown.cancelled() => {}
                }
            }
        }
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

/// A job from its claim to its end, or back.
async fn one(jobs: &Jobs, answering: &Answering, delivery: Delivery, shutdown: &Shutdown) {
    let leaving = async {
        shutdown.cancelled().await;
        sleep(LAST_MOMENT).await;
    };
    let outcome = tokio::select! {
        outcome = answering.answer(&delivery.claim) => outcome,
        () = kept_as_long_as_it_is_ours(jobs, &delivery) => {
            tracing::info!(job = delivery.claim.job.id, "a job under way is not ours any more");
            return;
        }
        () = leaving => Outcome::Back(Duration::ZERO, "its process ended".to_owned()),
    };
    match outcome {
        Outcome::End(end) => end_it(jobs, &delivery, &end, shutdown).await,
        Outcome::Back(after, why) => hand_back(jobs, &delivery, after, &why).await,
    }
    jobs.changed.notify_waiters();
}

/// Keeps a claim; returns when it is lost for certain. A store that is down loses none by itself: whoever takes the job then is seen
/// when it is back.
async fn kept_as_long_as_it_is_ours(jobs: &Jobs, delivery: &Delivery) {
    let (lease, id) = (jobs.terms.lease, &delivery.claim.job.id);
    loop {
        sleep(lease / 3).await;
        match jobs.store.keep_prediction(&delivery.claim, lease).await {
            Ok(()) => {}
            Err(StoreError::Stale(_)) => return,
            Err(error) => tracing::debug!(job = id, %error, "a claim could not be kept"),
        }
        if let Err(error) = jobs.queue.keep(&delivery.receipt).await {
            tracing::debug!(job = id, %error, "a delivery could not be kept");
        }
    }
}

/// Says how a job ended until the store has it, or somebody else's word stands. Only then the queue forgets it.
async fn end_it(jobs: &Jobs, delivery: &Delivery, end: &PredictionEnd, shutdown: &Shutdown) {
    let id = &delivery.claim.job.id;
    loop {
        match jobs.store.end_prediction(&delivery.claim, end).await {
            Ok(_) => return forget(jobs, delivery).await,
            Err(StoreError::Stale(why)) => {
                // The queue delivers it again, to whoever finds that it has ended.
                tracing::info!(job = id, why, "an answer came after somebody else's");
                return;
            }
            Err(error) if error.is_retryable() || matches!(error, StoreError::Unknown(_)) => {
                tracing::debug!(job = id, %error, "an end could not be written down yet");
            }
            Err(error) => {
                tracing::error!(job = id, %error, "an end cannot be written down; the job is begun again when its lease is over");
                return;
            }
        }
        tokio::select! {
            () = sleep(SAY_AGAIN) => {}
            // Whoever comes next answers it again.
            () = shutdown.cancelled() => return last_word(jobs, &delivery.claim, end).await,
        }
    }
}

/// The last try of a process that ends.
async fn last_word(jobs: &Jobs, claim: &Claim, end: &PredictionEnd) {
    if let Err(error) = jobs.store.end_prediction(claim, end).await {
        tracing::warn!(job = claim.job.id, %error, "an end is lost with this process; the job is begun again");
    }
}

async fn forget(jobs: &Jobs, delivery: &Delivery) {
    if let Err(error) = jobs.queue.done(&delivery.receipt).await {
        tracing::debug!(job = delivery.claim.job.id, %error, "the queue has not heard of an end; it delivers the job again, for nothing");
    }
}

async fn hand_back(jobs: &Jobs, delivery: &Delivery, after: Duration, why: &str) {
    let id = &delivery.claim.job.id;
    tracing::info!(job = id, why, ?after, "a job is handed back");
    let back: Result<(), QueueError> = async {
        jobs.store.hand_back_prediction(&delivery.claim, after).await?;
        jobs.queue.again(&delivery.receipt, after).await
    }
    .await;
    if let Err(error) = back {
        tracing::debug!(job = id, %error, "it could not be handed back; its lease has to end");
    }
}
