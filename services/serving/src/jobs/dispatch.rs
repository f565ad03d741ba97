//! The outbox goes to the queue, oldest first, as soon as there is something and the queue takes it.

use super::{Jobs, queue::QueueError};
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
        let dispatched = {
            let _turn = jobs.dispatching.lock().await;
            chunk(&jobs).await
        };
        let pause = match dispatched {
            Ok(some) if some == AT_ONCE as usize => continue,
            Ok(_) => LOOK,
            Err(error) => {
                tracing::debug!(%error, "jobs stay in the outbox");
                AGAIN
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = jobs.accepted.notified() => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Takes the oldest of the outbox to the queue; how many these were.
async fn chunk(jobs: &Jobs) -> Result<usize, QueueError> {
    let tickets = jobs.store.prediction_outbox(AT_ONCE).await?;
    let dispatched = match tickets.is_empty() {
        true => Ok(()),
        false => jobs.queue.dispatch(&tickets).await,
    };
    jobs.met.published(dispatched.as_ref());
    jobs.changed.notify_waiters();
    dispatched.map(|()| tickets.len())
}

/// Connects the queue anew and empties the outbox into it; how many jobs that were. Nobody else of this process dispatches meanwhile, so
/// that their order and their number are right.
///
/// # Errors
/// When the queue does not take them: the rest stays in the outbox.
pub async fn anew(jobs: &Jobs) -> Result<usize, QueueError> {
    let _turn = jobs.dispatching.lock().await;
    jobs.queue.reconnect().await?;
    let mut all = 0;
    loop {
        let some = chunk(jobs).await?;
        all += some;
        if some < AT_ONCE as usize {
            return Ok(all);
        }
    }
}
