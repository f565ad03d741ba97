//! PR-10: the queue of jobs does not answer. It is probed once a second, also where nothing is to be published or pulled, and what
//! publishing and pulling met last counts too.

use crate::jobs::{Jobs, queue::QueueError};
use loadline_health::{Monitor, Reading};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// In the catalogue.
pub const MODE: &str = "PR-10";
/// How often the queue is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A probe that takes longer has failed.
const PROBE_TIME: Duration = Duration::from_secs(2);
/// What waits is told if the store says so by then.
const COUNT_TIME: Duration = Duration::from_millis(500);
/// A failing round is a probe, a count, and the pause before the next.
pub const EXPECTED_EVERY: Duration = Duration::from_secs(5);

/// Reports for ever.
pub async fn watch(jobs: &Jobs, monitor: &Monitor) {
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut failing_since, mut answered) = (None, false);
    loop {
        ticks.tick().await;
        let started = Instant::now();
        let reading = match probe(jobs).await {
            Ok(()) => {
                (failing_since, answered) = (None, true);
                Reading::good(0.0, "the queue answers")
            }
            // Before its first answer its tables may still have to be made: that is no incident.
            Err(QueueError::Store(error)) if !answered && !error.is_retryable() => continue,
            Err(error) => silent(failing_since.get_or_insert(started).elapsed(), &error.to_string(), &waiting(jobs).await),
        };
        monitor.observe(MODE, reading);
    }
}

async fn probe(jobs: &Jobs) -> Result<(), QueueError> {
    let late = |_| Err(QueueError::Unavailable(format!("no answer within {PROBE_TIME:?}")));
    timeout(PROBE_TIME, jobs.probe()).await.unwrap_or_else(late)
}

/// How many jobs the queue has to hear of, in words.
async fn waiting(jobs: &Jobs) -> String {
    match timeout(COUNT_TIME, jobs.backlog()).await {
        Ok(Ok(backlog)) => format!("{} wait in the outbox", backlog.outbox),
        Ok(Err(error)) => format!("how many wait cannot be told ({error})"),
        Err(_) => "how many wait cannot be told".to_owned(),
    }
}

/// Bad at once: for how long it has to be is the monitor's business. The value is seconds.
fn silent(failing: Duration, why: &str, waiting: &str) -> Reading {
    Reading::bad(failing.as_secs_f64(), format!("{why}; of the jobs {waiting}, and direct answers need no queue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_queue_is_bad_at_once_and_says_how_many_jobs_wait() {
        let reading = silent(Duration::from_secs(3), "queue unavailable: refused", "7 wait in the outbox");
        assert_eq!((reading.bad, reading.value, reading.severity), (true, 3.0, None));
        assert!(reading.detail.contains("refused") && reading.detail.contains("7 wait in the outbox"), "{reading:?}");
    }
}
