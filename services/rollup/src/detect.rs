//! The failure modes seen from rollup: roll-up failed or late (AN-04), dedup tables not purged (AN-05), archive failed or
//! behind (AN-07).

use crate::{
    Parts,
    job::JobError,
    jobs::{ARCHIVE, DAILY_ROLLUP, PURGE_DEDUP, first_hot_day, past_horizon},
    leader::Scheduled,
};
use loadline_domain::Day;
use loadline_health::{Monitor, Reading, Severity};
use loadline_store::{JobRun, RunState, StoreError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Modes this service detects.
pub const DETECTS: &[&str] = &[ROLLUP, DEDUP, ARCHIVING];

const ROLLUP: &str = "AN-04";
const DEDUP: &str = "AN-05";
const ARCHIVING: &str = "AN-07";

const PERIOD: Duration = Duration::from_secs(2);
/// What a job without a schedule is held against.
const NO_SCHEDULE: Duration = Duration::from_secs(24 * 3600);
/// Schedules that may pass before work that waits is late.
const SCHEDULES: u32 = 2;
/// Days by which the archive may be behind: a day becomes due at midnight, and its job runs some hours later.
const DAYS_BEHIND: i32 = 1;

/// What the detectors look at.
pub struct Detectors {
    pub parts: Parts,
    pub scheduled: Vec<Scheduled>,
    pub monitor: Monitor,
}

impl Detectors {
    /// Looks until shutdown. Without an answer of the store there is no reading: the modes become unknown by themselves.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for mode in DETECTS {
            if let Err(error) = self.monitor.expect_every(mode, PERIOD * 3) {
                tracing::error!(%error, "a detector reports a mode that is not announced");
            }
        }
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            self.observe(ROLLUP, self.rollup().await.map_err(JobError::from));
            self.observe(DEDUP, self.dedup().await);
            self.observe(ARCHIVING, self.archive().await.map_err(JobError::from));
        }
    }

    fn observe(&self, mode: &str, reading: Result<Reading, JobError>) {
        match reading {
            Ok(reading) => self.monitor.observe(mode, reading),
            Err(error) => tracing::debug!(mode, %error, "cannot be looked at"),
        }
    }

    async fn rollup(&self) -> Result<Reading, StoreError> {
        let dirty = self.parts.store.dirty().await?;
        let waited = dirty.oldest_since.map_or(Duration::ZERO, |since| self.parts.clock.now().since(since));
        let schedules = waited.as_secs_f64() / self.period(DAILY_ROLLUP).as_secs_f64();
        let late = schedules > f64::from(SCHEDULES);
        let detail = match (self.failure(DAILY_ROLLUP).await?, dirty.account_days) {
            (Some(error), _) => return Ok(Reading::bad(schedules, format!("the last run failed: {error}"))),
            (None, 0) => "every day is rolled up".to_owned(),
            (None, days) => format!("{days} account-days wait, the oldest for {} s", waited.as_secs()),
        };
        Ok(Reading { bad: late, ..Reading::good(schedules, detail) })
    }

    async fn dedup(&self) -> Result<Reading, JobError> {
        let Parts { store, log, streams, rules, clock, .. } = &self.parts;
        // A table is past its horizon from a midnight on, and goes with the next run: only one that was passed over is late.
        let then = clock.now().minus(self.period(PURGE_DEDUP) * SCHEDULES);
        let past = past_horizon(&**store, &**log, streams, rules, then).await?;
        let rows: u64 = past.iter().map(|table| table.rows).sum();
        let late = past.len() as f64;
        Ok(match (self.failure(PURGE_DEDUP).await?, past.first()) {
            (Some(error), _) => Reading::bad(late, format!("the last run failed: {error}")),
            (None, Some(oldest)) => Reading::bad(
                late,
                format!("{} tables with {rows} keys are past their horizon, the oldest {}", past.len(), oldest.name),
            ),
            (None, None) => Reading::good(late, "no table is past its horizon"),
        })
    }

    async fn archive(&self) -> Result<Reading, StoreError> {
        let first_hot = first_hot_day(self.parts.clock.now(), self.parts.settings.hot_days);
        let due = self.parts.store.archivable(Day::from_index(first_hot.index() - DAYS_BEHIND)).await?;
        let behind = due.first().map_or(0, |oldest| first_hot.index() - oldest.day.index());
        let archived = self.parts.store.boundary().await?.is_some();
        if archived && let Err(error) = self.parts.history.probe().await {
            return Ok(Reading::bad(f64::from(behind), format!("history does not answer: {error}")).raised(Severity::P2));
        }
        Ok(match (self.failure(ARCHIVE).await?, due.first()) {
            (Some(error), _) => Reading::bad(f64::from(behind), format!("the last run failed: {error}")),
            (None, Some(oldest)) => {
                Reading::bad(f64::from(behind), format!("{} days wait, the oldest {}", due.len(), oldest.day))
            }
            (None, None) => Reading::good(f64::from(behind), "no day waits"),
        })
    }

    /// The error of the run that ended last, if it failed.
    async fn failure(&self, job: &str) -> Result<Option<String>, StoreError> {
        let last = self.parts.store.last_finished().await?.remove(job);
        Ok(last.filter(|run: &JobRun| run.state == RunState::Failed).map(|run| run.error.unwrap_or_default()))
    }

    fn period(&self, job: &str) -> Duration {
        let schedule =
            self.scheduled.iter().find(|scheduled| scheduled.job.name() == job).and_then(|scheduled| scheduled.schedule.as_ref());
        schedule.and_then(|schedule| schedule.period(self.parts.clock.now())).unwrap_or(NO_SCHEDULE)
    }
}
