//! The failure modes this service sees: the store down (AN-01), slow answers (AN-06), questions about archived days that history
//! does not answer (AN-07), accounts with more receipts than messages (AN-08), and accounts that are not apart (AN-10).

use crate::{
    Query,
    isolation::{self, ROUND},
    pace::{ENOUGH, Paced, RECENT, WINDOW},
    unanswered::Backlog,
};
use loadline_domain::{Hour, Timestamp};
use loadline_health::{Monitor, MonitorError, Reading, Severity, load};
use loadline_store::StoreError;
use std::{future::Future, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// The modes, for [`Monitor::new`].
pub const DETECTS: &[&str] = &[STORE_DOWN, SLOW, HISTORY, DOUBLE_COUNT, isolation::MODE];

const STORE_DOWN: &str = "AN-01";
const SLOW: &str = "AN-06";
const HISTORY: &str = "AN-07";
const DOUBLE_COUNT: &str = "AN-08";

/// How often the store is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A probe that takes longer has failed.
const PROBE_TIME: Duration = Duration::from_millis(1_500);
/// How often the pace is looked at.
const PACE_EVERY: Duration = Duration::from_secs(1);
/// The 95th percentile of answers may take so long.
const PACE_LIMIT: Duration = Duration::from_millis(250);
/// How often questions that history did not answer are asked again, and how often it is told whether any are left.
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(2);
/// How often it is told how much there is to do.
const LOAD_EVERY: Duration = Duration::from_secs(1);
/// How often hours are looked through for too many receipts: it reads a day of usage.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// How long a message may take to be counted after its receipt.
const COUNT_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// So many hours.
const COUNT_HOURS: i32 = 24;

impl Query {
    /// Reports to `monitor` until shutdown.
    ///
    /// # Errors
    /// At once, when the monitor was not made for [`DETECTS`].
    pub async fn detect(&self, monitor: &Monitor) -> Result<(), MonitorError> {
        monitor.expect_every(DOUBLE_COUNT, COUNT_EVERY)?;
        monitor.expect_every(SLOW, PACE_EVERY)?;
        // A round ends with one question that is waited for as long as a caller waits, begun at the end of that time, and a probe.
        monitor.expect_every(HISTORY, ASK_AGAIN_EVERY + self.parts.settings.history_patience * 3)?;
        monitor.expect_every(isolation::MODE, self.parts.settings.isolation_every + ROUND)?;
        // A failing round is a probe, a read and the pause before the next.
        monitor.expect_every(STORE_DOWN, PROBE_EVERY + PROBE_TIME * 2)?;
        tokio::select! {
            () = self.parts.shutdown.cancelled() => {}
            () = self.watch_store(monitor) => {}
            () = self.watch_counts(monitor) => {}
            () = self.watch_pace(monitor) => {}
            () = self.watch_history(monitor) => {}
            () = self.watch_isolation(monitor) => {}
            () = self.tell_load(monitor) => {}
        }
        Ok(())
    }

    async fn watch_store(&self, monitor: &Monitor) {
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing_since = None;
        loop {
            ticks.tick().await;
            let started = Instant::now();
            let reading = match bounded(self.parts.store.probe()).await {
                Ok(()) => {
                    failing_since = None;
                    Reading::good(0.0, "the store reads and writes")
                }
                Err(error) => {
                    let reads = bounded(self.parts.store.all_progress()).await.is_ok();
                    down(failing_since.get_or_insert(started).elapsed(), reads, &error)
                }
            };
            monitor.observe(STORE_DOWN, reading);
        }
    }

    async fn watch_pace(&self, monitor: &Monitor) {
        let longest = self.parts.settings.times_at_most;
        let mut ticks = interval(PACE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            monitor.observe(SLOW, slow(self.pace.now(RECENT.min(longest), WINDOW.min(longest))));
        }
    }

    async fn watch_history(&self, monitor: &Monitor) {
        let mut ticks = interval(ASK_AGAIN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Told first: who asks waits for history as long as this does.
            monitor.observe(HISTORY, unanswered(self.unanswered.backlog()));
            self.unanswered.ask_again(&*self.parts.history, self.parts.settings.history_patience).await;
        }
    }

    /// Accounts with too many receipts, now and so much later. A receipt may be counted before its message is: they come by
    /// different streams, one of which may be held up for a moment.
    async fn overdelivered_for(&self, time: Duration) -> Result<u64, StoreError> {
        let now = async || self.parts.store.overdelivered(a_day_before(self.now())).await;
        match now().await? {
            0 => Ok(0),
            first => {
                sleep(time).await;
                Ok(now().await?.min(first))
            }
        }
    }

    async fn tell_load(&self, monitor: &Monitor) {
        let mut ticks = interval(LOAD_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let times = self.pace.within(load::WINDOW);
            monitor.show_load(load::load(times.len() as f64 / load::WINDOW.as_secs_f64(), "answers", times));
        }
    }

    async fn watch_counts(&self, monitor: &Monitor) {
        let mut ticks = interval(COUNT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Without an answer there is no reading: the mode becomes unknown by itself, and AN-01 says why.
            match self.overdelivered_for(COUNT_AGAIN_AFTER).await {
                Ok(accounts) => monitor.observe(DOUBLE_COUNT, surplus(accounts)),
                Err(error) => tracing::debug!(%error, "accounts with too many receipts cannot be looked for"),
            }
        }
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(PROBE_TIME, call).await.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {PROBE_TIME:?}"))))
}

/// Bad at once: for how long it has to be is the monitor's business.
fn down(failing: Duration, reads: bool, error: &StoreError) -> Reading {
    let reading = Reading::bad(failing.as_secs_f64(), error.to_string());
    if reads { reading } else { reading.raised(Severity::P1) }
}

/// In milliseconds.
fn slow(paced: Paced) -> Reading {
    let detail = format!("{} answers in the last {:.0} s", paced.answers, paced.within.as_secs_f64());
    let bad = paced.answers >= ENOUGH && paced.p95 > PACE_LIMIT;
    Reading { bad, ..Reading::good(paced.p95.as_secs_f64() * 1e3, detail) }
}

/// In archived days.
fn unanswered(backlog: Option<Backlog>) -> Reading {
    let Some(Backlog { questions, days, why }) = backlog else {
        return Reading::good(0.0, "history answers what it is asked");
    };
    let detail = format!("history does not answer (questions: {questions}, archived days: {days}): {why}");
    Reading::bad(days as f64, detail).raised(Severity::P2)
}

fn surplus(accounts: u64) -> Reading {
    match accounts {
        0 => Reading::good(0.0, "no account has more final receipts than messages in the last day"),
        _ => {
            let detail =
                format!("{accounts} accounts have more final receipts than messages in the last day; explain their hours");
            Reading::bad(accounts as f64, detail)
        }
    }
}

fn a_day_before(now: Timestamp) -> Hour {
    Hour::from_index(now.hour().index() - COUNT_HOURS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_fails_is_worse_when_reads_fail_too() {
        let error = StoreError::Unavailable("refused".to_owned());
        let degraded = down(Duration::from_secs(3), true, &error);
        assert_eq!((degraded.bad, degraded.value, degraded.severity), (true, 3.0, None));
        let blind = down(Duration::ZERO, false, &error);
        assert_eq!((blind.bad, blind.severity), (true, Some(Severity::P1)));
    }

    #[test]
    fn a_few_slow_answers_are_no_slow_service() {
        let paced = |answers, millis| slow(Paced { answers, within: RECENT, p95: Duration::from_millis(millis) }).bad;
        assert!(!paced(5, 9_000));
        assert!(!paced(500, 250));
        assert!(paced(500, 251));
    }

    #[test]
    fn a_question_about_archived_days_without_an_answer_is_worse_than_a_failed_archive() {
        assert!(!unanswered(None).bad);
        let backlog = Backlog { questions: 1, days: 3, why: "it is not mounted".to_owned() };
        let reading = unanswered(Some(backlog));
        assert_eq!((reading.bad, reading.value, reading.severity), (true, 3.0, Some(Severity::P2)));
        assert_eq!(reading.detail, "history does not answer (questions: 1, archived days: 3): it is not mounted");
    }

    #[test]
    fn one_hour_with_too_many_receipts_is_bad() {
        assert!(!surplus(0).bad);
        assert!(surplus(1).bad);
    }
}
