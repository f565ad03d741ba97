//! Runs to messages, and ids back.

use loadline_domain::Timestamp;
use loadline_proto::rollup::{Run, run::State};
use loadline_runtime::errors;
use loadline_store::{JobRun, RunState};
use tonic::Status;
use uuid::Uuid;

/// An instant.
pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}

/// A run.
pub fn run(run: &JobRun) -> Run {
    Run {
        id: run.id.to_string(),
        job: run.asked.job.clone(),
        state: wire_state(run.state).into(),
        parameters: run.asked.parameters.clone(),
        idempotency_key: run.asked.idempotency_key.strip_prefix("request:").unwrap_or(&run.asked.idempotency_key).to_owned(),
        requested_by: run.asked.requested_by.clone(),
        attempt: run.asked.attempt,
        scheduled_for: run.asked.scheduled_for.map(timestamp),
        queued_at: Some(timestamp(run.queued_at)),
        started_at: run.started_at.map(timestamp),
        finished_at: run.finished_at.map(timestamp),
        done: run.progress.done,
        total: run.progress.total.unwrap_or(0),
        note: run.progress.note.clone(),
        cancel_requested: run.cancel_requested,
        result: run.result.clone().unwrap_or_default(),
        error: run.error.clone().unwrap_or_default(),
    }
}

fn wire_state(state: RunState) -> State {
    match state {
        RunState::Queued => State::Queued,
        RunState::Running => State::Running,
        RunState::Succeeded => State::Succeeded,
        RunState::Failed => State::Failed,
        RunState::Cancelled => State::Cancelled,
        RunState::Interrupted => State::Interrupted,
    }
}

/// A state asked for; `None` for any.
pub fn state(number: i32) -> Result<Option<RunState>, Status> {
    match State::try_from(number) {
        Ok(State::Unspecified) => Ok(None),
        Ok(State::Queued) => Ok(Some(RunState::Queued)),
        Ok(State::Running) => Ok(Some(RunState::Running)),
        Ok(State::Succeeded) => Ok(Some(RunState::Succeeded)),
        Ok(State::Failed) => Ok(Some(RunState::Failed)),
        Ok(State::Cancelled) => Ok(Some(RunState::Cancelled)),
        Ok(State::Interrupted) => Ok(Some(RunState::Interrupted)),
        Err(_) => Err(errors::invalid("state", format!("{number} is no state of a run"))),
    }
}

/// An id of a run.
pub fn run_id(text: &str) -> Result<Uuid, Status> {
    Uuid::parse_str(text).map_err(|_| errors::invalid("id", "is no UUID; list the runs to see their ids"))
}

/// Where a page begins.
pub fn page_token(text: &str) -> Result<Uuid, Status> {
    Uuid::parse_str(text).map_err(|_| errors::invalid("page_token", "is not one that this service gave out; start without one"))
}
