//! Runs of background jobs: asked for once, claimed by the leader, seen and cancelled by anybody.

use crate::{Leadership, StoreError};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use std::collections::HashMap;
use uuid::Uuid;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunState {
    /// Waits for the leader.
    Queued,
    /// Under way.
    Running,
    /// Did what it was to do.
    Succeeded,
    /// Gave up with an error.
    Failed,
    /// Somebody asked it to end.
    Cancelled,
    /// Its leader was lost.
    Interrupted,
}

/// Why a run is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// Its schedule fired.
    Schedule,
    /// Somebody asked.
    Request,
}

/// A run to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Of which job.
    pub job: String,
    /// The same key of the same job is the same run.
    pub idempotency_key: String,
    /// Why.
    pub trigger: Trigger,
    /// JSON, compared as text.
    pub parameters: String,
    /// Who asked.
    pub requested_by: String,
    /// When its schedule meant it to run.
    pub scheduled_for: Option<Timestamp>,
    /// 1 for the first try.
    pub attempt: u32,
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunProgress {
    /// Pieces done.
    pub done: u64,
    /// Of so many, when known.
    pub total: Option<u64>,
    /// What it does now.
    pub note: String,
}

/// A run as stored. Times are the store's, but for `scheduled_for`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    /// Version 7: rises with the time of queueing.
    pub id: Uuid,
    /// As it was queued.
    pub asked: NewRun,
    /// Where it stands.
    pub state: RunState,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When it was claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Process that claimed it.
    pub holder: Option<String>,
    /// Epoch of the leadership it was claimed under.
    pub epoch: Option<u64>,
    /// As last reported.
    pub progress: RunProgress,
    /// Whether it was asked to end.
    pub cancel_requested: bool,
    /// JSON, of a run that succeeded.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// What became of a request for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// It is queued.
    New(JobRun),
    /// It was asked for before; this is where it stands.
    Known(JobRun),
    /// Refused: the key names this run, which has other parameters.
    KeyTaken(JobRun),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With a result, JSON.
    Succeeded(String),
    /// With an error, in words.
    Failed(String),
    /// Because it was asked to.
    Cancelled,
}

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this job.
    pub job: Option<String>,
    /// In this state.
    pub state: Option<RunState>,
}

/// Runs of jobs. A job never runs twice at once.
#[async_trait]
pub trait Jobs {
    /// Queues a run, unless its key is known.
    async fn enqueue(&self, run: &NewRun) -> Result<Enqueued, StoreError>;

    /// Starts the oldest queued run of a job that is not running; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over.
    async fn claim(&self, leadership: &Leadership) -> Result<Option<JobRun>, StoreError>;

    /// Tells how far a run is; returns whether it was asked to end.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over, or the run is not running under it.
    async fn report(&self, leadership: &Leadership, id: Uuid, progress: &RunProgress) -> Result<bool, StoreError>;

    /// Ends a run. The same end again changes nothing.
    ///
    /// # Errors
    /// As [`Jobs::report`].
    async fn finish(&self, leadership: &Leadership, id: Uuid, outcome: &Outcome) -> Result<JobRun, StoreError>;

    /// Marks what still runs under earlier epochs of the role as interrupted; returns those runs.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over.
    async fn interrupt_orphans(&self, leadership: &Leadership) -> Result<Vec<JobRun>, StoreError>;

    /// Puts what runs under this leadership back into the queue, as if it had not begun: for a leader that steps down in order.
    /// Returns how many runs.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over.
    async fn hand_back(&self, leadership: &Leadership) -> Result<u64, StoreError>;

    /// Asks a run to end: one that is queued ends at once, one that runs is told by its next report, others stay as they
    /// are. `None` when there is no such run.
    async fn request_cancel(&self, id: Uuid) -> Result<Option<JobRun>, StoreError>;

    /// One run; `None` when there is no such id.
    async fn job_run(&self, id: Uuid) -> Result<Option<JobRun>, StoreError>;

    /// Runs, newest first, those queued before the run `before`, at most `limit`.
    async fn job_runs(&self, filter: &RunFilter, before: Option<Uuid>, limit: u32) -> Result<Vec<JobRun>, StoreError>;

    /// Of each job, the run that finished last, however it ended.
    async fn last_finished(&self) -> Result<HashMap<String, JobRun>, StoreError>;

    /// Of each job, the latest time up to `until` that its schedule was queued for. Later ones are of a clock that was ahead.
    async fn last_scheduled(&self, until: Timestamp) -> Result<HashMap<String, Timestamp>, StoreError>;
}

impl RunState {
    const ALL: [Self; 6] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Interrupted];

    /// Stable name, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// From the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing follows it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl Trigger {
    /// Stable name, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Request => "request",
        }
    }

    /// From the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Schedule, Self::Request].into_iter().find(|trigger| trigger.as_str() == text)
    }
}

impl Outcome {
    pub(crate) fn state(&self) -> RunState {
        match self {
            Self::Succeeded(_) => RunState::Succeeded,
            Self::Failed(_) => RunState::Failed,
            Self::Cancelled => RunState::Cancelled,
        }
    }

    pub(crate) fn result(&self) -> Option<&str> {
        if let Self::Succeeded(result) = self { Some(result) } else { None }
    }

    pub(crate) fn error(&self) -> Option<&str> {
        if let Self::Failed(error) = self { Some(error) } else { None }
    }
}

impl Enqueued {
    /// What a request for a run means whose key names another one.
    pub(crate) fn of_known(known: JobRun, asked: &NewRun) -> Self {
        if known.asked.parameters == asked.parameters { Self::Known(known) } else { Self::KeyTaken(known) }
    }

    /// The run that the key names.
    pub fn run(&self) -> &JobRun {
        match self {
            Self::New(run) | Self::Known(run) | Self::KeyTaken(run) => run,
        }
    }
}

impl JobRun {
    /// Whether it has ended just so, under this leadership.
    pub(crate) fn ended_as(&self, leadership: &Leadership, outcome: &Outcome) -> bool {
        self.epoch == Some(leadership.epoch)
            && self.state == outcome.state()
            && self.result.as_deref() == outcome.result()
            && self.error.as_deref() == outcome.error()
    }
}

impl Leadership {
    /// The error of a word about a run that does not run under this leadership.
    pub(crate) fn not_running(&self, id: Uuid) -> StoreError {
        StoreError::Stale(format!("run {id} is not running under epoch {} of `{}`", self.epoch, self.role))
    }
}
