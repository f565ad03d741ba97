//! The failure modes seen from rollup: roll-up failed or late, verification or retention failed (AN-04), dedup tables not purged
//! (AN-05), archive failed or behind (AN-07), and usage that a verification found to differ from the log or from its hours (AN-08).

use crate::{
    Parts,
    job::JobError,
    jobs::{
        ARCHIVE, DAILY_ROLLUP, OpenFinding, PURGE_DEDUP, RETENTION, TIDY_HISTORY, VERIFY, WhatDiffers, findings_now,
        first_hot_day, past_horizon,
    },
    leader::{ATTEMPTS, Scheduled},
};
use loadline_domain::Day;
use loadline_health::{Latch, Monitor, Reading, Severity, load::load};
use loadline_store::{JobRun, RunFilter, RunState, Store, StoreError};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Modes this service detects.
pub const DETECTS: &[&str] = &[ROLLUP, DEDUP, ARCHIVING, DOUBLE_COUNT];

const ROLLUP: &str = "AN-04";
const DEDUP: &str = "AN-05";
const ARCHIVING: &str = "AN-07";
const DOUBLE_COUNT: &str = "AN-08";

const PERIOD: Duration = Duration::from_secs(2);
const LOAD_PERIOD: Duration = Duration::from_secs(1);
/// More jobs than these do not run at once.
const MOST_RUNNING: u32 = 100;
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
        let mut ticks = interval(self.monitor.at_most(PERIOD));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for mode in DETECTS {
            if let Err(error) = self.monitor.expect_every(mode, PERIOD * 3) {
                tracing::error!(%error, "a detector reports a mode that is not announced");
            }
        }
        let (mut verified, mut budget) = (Verified::default(), Latch::default());
        let telling = tell_load(&*self.parts.store, &self.monitor);
        let looking = async {
            loop {
                ticks.tick().await;
                self.look(&mut verified, &mut budget).await;
            }
        };
        tokio::select! {
            () = telling => {}
            () = looking => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn look(&self, verified: &mut Verified, budget: &mut Latch) {
        self.observe(ROLLUP, self.rollup().await.map_err(JobError::from));
        self.observe(DEDUP, self.dedup(budget).await);
        self.observe(ARCHIVING, self.archive().await.map_err(JobError::from));
        self.observe(DOUBLE_COUNT, verified.look(&*self.parts.store).await.map_err(JobError::from));
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
        let failed = failures(&*self.parts.store, &[DAILY_ROLLUP, VERIFY, RETENTION]).await?.into_iter().next();
        let detail = match (failed, dirty.account_days) {
            (Some((DAILY_ROLLUP, error)), _) => return Ok(Reading::bad(schedules, format!("the last run failed: {error}"))),
            (Some((job, error)), _) => {
                return Ok(Reading::bad(schedules, format!("the last run of {job} failed: {error}")));
            }
            (None, 0) => "every day is rolled up".to_owned(),
            (None, days) => format!("{days} account-days wait, the oldest for {} s", waited.as_secs()),
        };
        Ok(Reading { bad: late, ..Reading::good(schedules, detail) })
    }

    async fn dedup(&self, budget: &mut Latch) -> Result<Reading, JobError> {
        let Parts { store, log, streams, rules, clock, settings, .. } = &self.parts;
        // A table is past its horizon from a midnight on, and goes with the next run: only one that was passed over is late.
        let then = clock.now().minus(self.period(PURGE_DEDUP) * SCHEDULES);
        let past = past_horizon(&**store, &**log, streams, rules, then).await?;
        let keys: u64 = store.partitions().await?.iter().map(|(_, keys)| keys).sum();
        let mut wrong = Vec::new();
        wrong.extend(failure(&*self.parts.store, PURGE_DEDUP).await?.map(|error| format!("the last run failed: {error}")));
        wrong.extend(past.first().map(|oldest| {
            let rows: u64 = past.iter().map(|table| table.rows).sum();
            format!("{} tables with {rows} keys are past their horizon, the oldest {}", past.len(), oldest.name)
        }));
        if budget.is_over(keys, settings.dedup_rows) {
            let over = if keys > settings.dedup_rows { "over" } else { "still about" };
            wrong.push(format!("{keys} keys, {over} rollup.dedup_rows = {}", settings.dedup_rows));
        }
        let late = past.len() as f64;
        Ok(match &wrong[..] {
            [] => Reading::good(late, format!("{keys} keys, and no table is past its horizon")),
            wrong => Reading::bad(late, wrong.join("; ")),
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
        if archived && let Err(error) = self.parts.history.probe_writing().await {
            return Ok(Reading::bad(f64::from(behind), format!("history answers, but cannot be written: {error}")));
        }
        let untidy = failure(&*self.parts.store, TIDY_HISTORY).await?.map(|error| format!("of {TIDY_HISTORY} {error}"));
        Ok(match (failure(&*self.parts.store, ARCHIVE).await?.or(untidy), due.first()) {
            (Some(error), _) => Reading::bad(f64::from(behind), format!("the last run failed: {error}")),
            (None, Some(oldest)) => {
                Reading::bad(f64::from(behind), format!("{} days wait, the oldest {}", due.len(), oldest.day))
            }
            (None, None) => Reading::good(f64::from(behind), "no day waits"),
        })
    }

    fn period(&self, job: &str) -> Duration {
        let schedule =
            self.scheduled.iter().find(|scheduled| scheduled.job.name() == job).and_then(|scheduled| scheduled.schedule.as_ref());
        schedule.and_then(|schedule| schedule.period(self.parts.clock.now())).unwrap_or(NO_SCHEDULE)
    }
}

/// The error of a job's run that ended last, if it failed.
pub(crate) async fn failure(store: &dyn Store, job: &'static str) -> Result<Option<String>, StoreError> {
    Ok(failures(store, &[job]).await?.pop().map(|(_, error)| error))
}

/// Those of these jobs whose run that ended last failed, with its error, in their order.
pub(crate) async fn failures(store: &dyn Store, jobs: &[&'static str]) -> Result<Vec<(&'static str, String)>, StoreError> {
    let mut last = store.last_finished().await?;
    Ok(jobs.iter().filter_map(|job| Some((*job, failed(last.remove(*job)?)?))).collect())
}

/// Why a run failed, if it did. A verification of hours that somebody named may be refused: that is no failure of the job.
fn failed(run: JobRun) -> Option<String> {
    if run.asked.job == VERIFY && run.asked.parameters != "{}" {
        return None;
    }
    match run.state {
        RunState::Failed => Some(run.error.unwrap_or_default()),
        RunState::Interrupted if run.asked.attempt >= ATTEMPTS => {
            Some(format!("its process went away under it {} times", run.asked.attempt))
        }
        _ => None,
    }
}

/// Says once a second how many jobs run.
async fn tell_load(store: &dyn Store, monitor: &Monitor) {
    let mut ticks = interval(LOAD_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let running = RunFilter { job: None, state: Some(RunState::Running) };
    loop {
        ticks.tick().await;
        // While the store is away nobody knows.
        if let Ok(runs) = store.job_runs(&running, None, MOST_RUNNING).await {
            monitor.show_load(load(runs.len() as f64, "jobs running", Vec::new()));
        }
    }
}

/// What verifications found; read again only after another one.
#[derive(Default)]
struct Verified {
    last: Option<Uuid>,
    open: Vec<OpenFinding>,
    /// Account-hours of which the last one could not tell whether they are right.
    unknown: u64,
}

impl Verified {
    async fn look(&mut self, store: &dyn Store) -> Result<Reading, StoreError> {
        let last = store.last_finished().await?.remove(VERIFY);
        let id = last.as_ref().map(|run| run.id);
        if id != self.last {
            self.open = findings_now(store).await?;
            let told = last.and_then(|run| serde_json::from_str::<Value>(run.result.as_deref()?).ok()).unwrap_or_default();
            self.unknown = told["unknown"].as_u64().unwrap_or(self.unknown);
            self.last = id;
        }
        Ok(self.reading())
    }

    fn reading(&self) -> Reading {
        let count = |what| self.open.iter().filter(|open| open.what == what).map(|open| open.count).sum::<u64>();
        let (hours, days) = (count(WhatDiffers::Hours), count(WhatDiffers::Days));
        match (self.open.last(), self.last) {
            (None, None) => Reading::good(0.0, "no hour was verified yet"),
            (None, Some(_)) if self.unknown > 0 => {
                let unknown = self.unknown;
                Reading::good(
                    0.0,
                    format!("{unknown} account-hours cannot be told from the log; the others agree or were repaired"),
                )
            }
            (None, Some(_)) => Reading::good(0.0, "what was verified agrees with the log, was repaired, or was accepted"),
            (Some(newest), _) => {
                let of_log = (hours > 0).then(|| format!("{hours} account-hours differ from the log"));
                let of_hours = (days > 0).then(|| format!("{days} account-days differ from their hours"));
                let differ = [of_log, of_hours].into_iter().flatten().collect::<Vec<_>>().join(", ");
                let (from, to) = (newest.from, newest.to);
                let detail = format!("{differ}, the newest from {from} to {to}: verify with repair, or accept");
                Reading::bad((hours + days) as f64, detail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::Timestamp;
    use std::collections::BTreeSet;

    #[test]
    fn what_cannot_be_told_is_not_said_to_agree() {
        let mut verified = Verified { last: Some(Uuid::nil()), ..Verified::default() };
        assert!(verified.reading().detail.contains("agrees with the log"));
        verified.unknown = 4;
        let reading = verified.reading();
        assert!(!reading.bad && reading.detail.starts_with("4 account-hours cannot be told"), "{reading:?}");
    }

    #[test]
    fn a_difference_that_nobody_put_right_is_bad() {
        let mut verified = Verified::default();
        assert!(!verified.reading().bad);
        verified.last = Some(Uuid::nil());
        assert!(!verified.reading().bad);
        let (from, to) = (Timestamp::from_micros(0), Timestamp::from_micros(3_600_000_000));
        verified.open.push(OpenFinding { from, to, account: None, what: WhatDiffers::Hours, places: BTreeSet::new(), count: 2 });
        verified.open.push(OpenFinding { from, to, account: None, what: WhatDiffers::Days, places: BTreeSet::new(), count: 3 });
        let reading = verified.reading();
        assert!(reading.bad && (reading.value - 5.0).abs() < f64::EPSILON, "{reading:?}");
        let told = &reading.detail;
        assert!(told.contains("2 account-hours differ from the log, 3 account-days differ from their hours"), "{told}");
    }
}
