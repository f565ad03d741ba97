//! What a job is, and what a run of it is given: the fence, a way to say how far it is, and a way to hear that it should end.

use async_trait::async_trait;
use loadline_event_log::LogError;
use loadline_history::HistoryError;
use loadline_store::{JobRun, Leadership, RunProgress, Store, StoreError};
use serde_json::Value;
use std::sync::Arc;

/// Background work that can be run again at any time: whatever an earlier run left undone, or half done, it finishes.
#[async_trait]
pub trait Job: Send + Sync {
    /// Stable name.
    fn name(&self) -> &'static str;

    /// What it does and which parameters it takes, in a sentence or two.
    fn description(&self) -> &'static str;

    /// Refuses parameters it does not know, in words that say what it takes.
    ///
    /// # Errors
    /// What is wrong, and what to send instead.
    fn check(&self, parameters: &Value) -> Result<(), String>;

    /// Does all there is to do, in steps that each can be repeated; returns what it did, as a JSON object.
    ///
    /// # Errors
    /// Why it could not go on. What was done until then stays done.
    async fn run(&self, run: &Running) -> Result<Value, JobError>;
}

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Somebody asked it to.
    #[error("cancelled")]
    Cancelled,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// History.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What it found does not allow it to go on.
    #[error("{0}")]
    Refused(String),
}

impl JobError {
    /// The run belongs to a leader that no longer leads: nobody may say how it ended but the next one.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Store(StoreError::Stale(_)))
    }

    /// The store went away, perhaps while it wrote: every step can be repeated when it is back.
    pub fn lost_the_store(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_) | StoreError::Unknown(_)))
    }

    /// The event log went away: what was read can be read again.
    pub fn lost_the_log(&self) -> bool {
        matches!(self, Self::Log(LogError::Unavailable(_)))
    }
}

/// A run under way.
pub struct Running {
    /// As it was claimed.
    pub run: JobRun,
    /// What every final write is checked against.
    pub leadership: Leadership,
    /// Where it is told how far the run is.
    pub store: Arc<dyn Store>,
}

impl Running {
    /// Its parameters.
    pub fn parameters(&self) -> Value {
        serde_json::from_str(&self.run.asked.parameters).unwrap_or_default()
    }

    /// Says how far it is; between two steps, where ending leaves nothing half done.
    ///
    /// # Errors
    /// [`JobError::Cancelled`] when it was asked to end.
    pub async fn step(&self, done: u64, total: Option<u64>, note: impl Into<String>) -> Result<(), JobError> {
        let progress = RunProgress { done, total, note: note.into() };
        match self.store.report(&self.leadership, self.run.id, &progress).await? {
            true => Err(JobError::Cancelled),
            false => Ok(()),
        }
    }
}

/// For jobs without parameters.
///
/// # Errors
/// When there are some.
pub fn no_parameters(parameters: &Value) -> Result<(), String> {
    match parameters.as_object() {
        Some(object) if object.is_empty() => Ok(()),
        _ => Err("this job takes none; leave it empty".to_owned()),
    }
}
