//! What nobody asks for, and has to be done: deadlines, jobs that a queue has lost, jobs that are old.

use super::Jobs;
use loadline_runtime::Shutdown;
use loadline_store::StoreError;
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_secs(1);
/// Old jobs are looked for at every so many-th turn.
const RARELY: u64 = 60;
/// Jobs that are changed in one transaction.
const AT_ONCE: u32 = 500;
/// A job is lost by the queue when it was idle for so many leases while pulls found nothing.
const LOST_AFTER: u32 = 2;

/// Tidies until shutdown. Several processes may do so at once.
pub async fn tidy(jobs: Jobs, shutdown: Shutdown) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = once(&jobs, turn).await {
            tracing::debug!(%error, "jobs are not tidied now");
        }
    }
}

async fn once(jobs: &Jobs, turn: u64) -> Result<(), StoreError> {
    if jobs.store.expire_predictions(AT_ONCE).await? > 0 {
        jobs.changed.notify_waiters();
    }
    // As long as pulls find something, what waits has its turn to come.
    if jobs.idle.load(Relaxed) {
        let again = jobs.store.redispatch_predictions(jobs.terms.lease * LOST_AFTER, AT_ONCE).await?;
        if again > 0 {
            tracing::warn!(jobs = again, "the queue has lost jobs, or their workers are; they are dispatched again");
            jobs.accepted.notify_one();
        }
    }
    let backlog = jobs.store.prediction_backlog().await?;
    jobs.open.store(backlog.open, Relaxed);
    if turn.is_multiple_of(RARELY) {
        let now = jobs.store.now().await?;
        jobs.store.forget_predictions(now.minus(jobs.terms.keep), AT_ONCE).await?;
    }
    Ok(())
}
