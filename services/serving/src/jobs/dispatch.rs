//! The outbox goes to the queue, oldest first, as soon as there is something and the queue takes it.

use super::Jobs;
use loadline_runtime::Shutdown;
use std::time::Duration;
use tokio::time::sleep;

/// Jobs that are dispatched together.
const AT_ONCE: u32 = 256;
/// What other processes have accepted, or left when they ended, is looked for so often.
const LOOK: Duration = Duration::from_secs(1);
/// After a dispatch that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Dispatches until shutdown.
pub async fn dispatch(jobs: Jobs, shutdown: Shutdown) {
    while !shutdown.is_begun() {
        let pause = match chunk(&jobs).await {
            Some(full) if full => continue,
            Some(_) => LOOK,
            None => AGAIN,
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = jobs.accepted.notified() => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Whether there may be more, or that it failed.
async fn chunk(jobs: &Jobs) -> Option<bool> {
    let tickets = match jobs.store.prediction_outbox(AT_ONCE).await {
        Ok(tickets) => tickets,
        Err(error) => {
            tracing::debug!(%error, "the outbox cannot be read");
            return None;
        }
    };
    if tickets.is_empty() {
        return Some(false);
    }
    let dispatched = jobs.queue.dispatch(&tickets).await;
    jobs.changed.notify_waiters();
    match dispatched {
        Ok(()) => Some(tickets.len() == AT_ONCE as usize),
        Err(error) => {
            tracing::debug!(%error, jobs = tickets.len(), "jobs stay in the outbox");
            None
        }
    }
}
