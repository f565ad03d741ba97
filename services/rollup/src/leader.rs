//! One process at a time runs jobs: it leads, keeps leading, queues what is due, and starts what is queued.

use crate::{
    job::{Job, JobError, Running},
    schedule::Schedule,
};
use futures::FutureExt as _;
use loadline_domain::{Clock, Timestamp};
use loadline_store::{JobRun, Leadership, NewRun, Outcome, RunFilter, RunState, Store, StoreError, Trigger};
use std::{any::Any, collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// What is led.
pub const ROLE: &str = "rollup";
/// How often schedules and the queue are looked at.
const PERIOD: Duration = Duration::from_millis(500);
/// Tries of a run whose process was lost, and of one in whose process the store or the log was lost.
pub(crate) const ATTEMPTS: u32 = 5;
/// Pause after the store failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A job and when it is due.
#[derive(Clone)]
pub struct Scheduled {
    pub job: Arc<dyn Job>,
    pub schedule: Option<Schedule>,
}

/// Leads whenever it can.
pub struct Leader {
    pub jobs: Vec<Scheduled>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// Names this process; must differ between processes.
    pub holder: String,
    /// How long leadership outlives its last renewal: the pause until another process takes over.
    pub ttl: Duration,
}

impl Leader {
    /// Leads until shutdown. Never gives up.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.store.lead(ROLE, &self.holder, self.ttl).await {
                Ok(Some(leadership)) => self.lead(leadership, &shutdown).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "leadership of jobs cannot be asked for; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_AFTER.min(self.ttl / 4)) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// One leadership, from taking it to losing it or to shutdown. Runs under way are dropped at its end, and handed back when
    /// it ends in order: what they had not finished is done by the next leader, and nothing they still have in flight passes
    /// the fence.
    async fn lead(&self, leadership: Leadership, shutdown: &CancellationToken) {
        tracing::info!(epoch = leadership.epoch, holder = %self.holder, "leading jobs");
        let mut runs = JoinSet::new();
        let ended = tokio::select! {
            ended = self.work(&leadership, &mut runs) => ended,
            () = shutdown.cancelled() => Ok(()),
        };
        runs.shutdown().await;
        if let Err(error) = ended {
            tracing::warn!(%error, "no longer leading jobs");
        }
        let given_up = async {
            let runs = self.store.hand_back(&leadership).await?;
            self.store.step_down(&leadership).await?;
            Ok::<_, StoreError>(runs)
        };
        match given_up.await {
            Ok(0) => {}
            Ok(runs) => tracing::info!(runs, "runs under way are left to the next leader"),
            Err(error) => tracing::debug!(%error, "leadership not given up; it will expire"),
        }
    }

    /// Returns when the leadership is lost.
    async fn work(&self, leadership: &Leadership, runs: &mut JoinSet<()>) -> Result<(), StoreError> {
        self.take_up(leadership).await?;
        let mut known_since = self.clock.now();
        // Not by the clock of schedules, which may be set back.
        let mut renewed = Instant::now();
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            while runs.try_join_next().is_some() {}
            let round = async {
                if renewed.elapsed() >= self.ttl / 3 {
                    let lost = || StoreError::Stale("somebody else leads".to_owned());
                    self.store.keep_leading(leadership, self.ttl).await?.ok_or_else(lost)?;
                    renewed = Instant::now();
                }
                known_since = known_since.min(self.clock.now());
                self.queue_due(known_since).await?;
                while let Some(run) = self.store.claim(leadership).await? {
                    self.start(leadership, run, runs);
                }
                Ok::<_, StoreError>(())
            };
            match round.await {
                // The store is away: nobody else can take over either, and every write is fenced.
                Err(error) if error.is_retryable() => tokio::time::sleep(RETRY_AFTER).await,
                done => done?,
            }
        }
    }

    /// Queues what an earlier leader left running again, and marks it. In this order: whoever dies between the two leaves it to
    /// the next leader to do both, and the key sees to it that nothing is queued twice.
    async fn take_up(&self, leadership: &Leadership) -> Result<(), StoreError> {
        let running = RunFilter { state: Some(RunState::Running), ..RunFilter::default() };
        let running = self.store.job_runs(&running, None, u32::MAX).await?;
        for run in running.into_iter().filter(|run| run.epoch < Some(leadership.epoch)) {
            let attempt = run.asked.attempt + 1;
            if attempt <= ATTEMPTS {
                let again = NewRun { idempotency_key: format!("again:{}", run.id), attempt, ..run.asked };
                self.store.enqueue(&again).await?;
            }
        }
        for run in self.store.interrupt_orphans(leadership).await? {
            tracing::warn!(job = run.asked.job, run = %run.id, attempt = run.asked.attempt, "run was interrupted");
        }
        Ok(())
    }

    async fn queue_due(&self, known_since: Timestamp) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut last: Option<HashMap<String, Timestamp>> = None;
        for Scheduled { job, schedule } in &self.jobs {
            let Some(schedule) = schedule else { continue };
            let last = match &last {
                Some(last) => last,
                None => last.insert(self.store.last_scheduled(now).await?),
            };
            let since = last.get(job.name()).copied().unwrap_or(known_since);
            let Some(due) = schedule.due(since, now) else { continue };
            if now >= due.plus(jitter(schedule.jitter, job.name(), due)) {
                self.store.enqueue(&scheduled(job.name(), due)).await?;
            }
        }
        Ok(())
    }

    fn start(&self, leadership: &Leadership, run: JobRun, runs: &mut JoinSet<()>) {
        let job = self.jobs.iter().find(|scheduled| scheduled.job.name() == run.asked.job).map(|scheduled| scheduled.job.clone());
        let running = Running { run, leadership: leadership.clone(), store: self.store.clone() };
        runs.spawn(async move {
            let outcome = match job {
                Some(job) => AssertUnwindSafe(outcome(&*job, &running))
                    .catch_unwind()
                    .await
                    .unwrap_or_else(|panic| Some(panicked(&*panic))),
                None => Some(Outcome::Failed("this build knows no such job".to_owned())),
            };
            if let Some(outcome) = outcome {
                finish(&running, &outcome).await;
            }
        });
    }
}

/// How a run ended; `None` when that is no longer ours to say. One that lost the store or the log goes on when that is back.
async fn outcome(job: &dyn Job, running: &Running) -> Option<Outcome> {
    let (name, mut attempt) = (job.name(), 1);
    tracing::info!(job = name, run = %running.run.id, "run begins");
    loop {
        match job.run(running).await {
            Ok(result) => return Some(Outcome::Succeeded(result.to_string())),
            Err(JobError::Cancelled) => return Some(Outcome::Cancelled),
            Err(error) if error.is_stale() => {
                tracing::warn!(job = name, run = %running.run.id, %error, "run abandoned to the next leader");
                return None;
            }
            Err(error) if (error.lost_the_store() || error.lost_the_log()) && attempt < ATTEMPTS => {
                tracing::warn!(job = name, run = %running.run.id, %error, "run goes on when that is back");
                // The store says when it is; the log is given longer each time.
                if error.lost_the_log() {
                    tokio::time::sleep(RETRY_AFTER * 2_u32.pow(attempt)).await;
                }
                attempt += 1;
                answering(&*running.store).await;
            }
            Err(error) => {
                tracing::error!(job = name, run = %running.run.id, %error, "run failed");
                return Some(Outcome::Failed(error.to_string()));
            }
        }
    }
}

/// A bug: without an end the run would seem to go on, and keep others of its job from beginning.
fn panicked(panic: &(dyn Any + Send)) -> Outcome {
    let said = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    Outcome::Failed(format!("it panicked: {}", said.unwrap_or_default()))
}

/// Waits until the store answers.
async fn answering(store: &dyn Store) {
    loop {
        tokio::time::sleep(RETRY_AFTER).await;
        if store.probe().await.is_ok() {
            return;
        }
    }
}

/// Writes down how a run ended, however long the store is away. The same end twice is one.
async fn finish(running: &Running, outcome: &Outcome) {
    loop {
        match running.store.finish(&running.leadership, running.run.id, outcome).await.map_err(JobError::from) {
            Err(error) if error.lost_the_store() => tokio::time::sleep(RETRY_AFTER).await,
            Err(error) => return tracing::warn!(run = %running.run.id, %error, "the end of a run was not written down"),
            Ok(_) => return,
        }
    }
}

/// One time of a schedule is one run, whoever queues it.
fn scheduled(job: &str, due: Timestamp) -> NewRun {
    NewRun {
        job: job.to_owned(),
        idempotency_key: format!("schedule:{due}"),
        trigger: Trigger::Schedule,
        parameters: "{}".to_owned(),
        requested_by: "schedule".to_owned(),
        scheduled_for: Some(due),
        attempt: 1,
    }
}

/// Some part of `most`, the same whenever it is asked for one time of one job.
fn jitter(most: Duration, job: &str, due: Timestamp) -> Duration {
    use rand::{RngExt as _, SeedableRng as _};
    let seed = job.bytes().fold(due.micros() as u64, |seed, byte| seed.rotate_left(8) ^ u64::from(byte));
    most.mul_f64(rand::rngs::StdRng::seed_from_u64(seed).random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_bound_and_repeats() {
        let most = Duration::from_secs(30);
        let times: Vec<_> = (0..100).map(|minute| jitter(most, "archive", Timestamp::from_micros(minute * 60_000_000))).collect();
        assert!(times.iter().all(|time| *time <= most));
        assert!(times.iter().any(|time| *time > most / 2) && times.iter().any(|time| *time < most / 2));
        assert_eq!(times[7], jitter(most, "archive", Timestamp::from_micros(7 * 60_000_000)));
    }
}
