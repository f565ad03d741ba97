//! Background jobs and their runs.

use super::report::{span, timestamp};
use crate::{moment::Moment, text::clean};
use jiff::Timestamp;
use loadline_proto::rollup::{ListJobsResponse, ListRunsResponse, run};
use std::time::Duration;

/// Most kept of one answer.
const LISTED: usize = 1_000;

/// One job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Cron expression; empty: only on request.
    pub schedule: String,
    /// By the server's clock.
    pub next_at: Option<Timestamp>,
    /// Queued or running.
    pub current: Option<Run>,
    /// Ended last.
    pub last: Option<Run>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the contract's state of its name")]
pub enum RunState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Interrupted,
    Foreign(i32),
}

impl RunState {
    /// For the screen.
    pub fn name(self) -> String {
        match self {
            Self::Queued => "queued".to_owned(),
            Self::Running => "running".to_owned(),
            Self::Succeeded => "succeeded".to_owned(),
            Self::Failed => "FAILED".to_owned(),
            Self::Cancelled => "cancelled".to_owned(),
            Self::Interrupted => "INTERRUPTED".to_owned(),
            Self::Foreign(number) => format!("state {number}?"),
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// UUID.
    pub id: String,
    /// Of which job.
    pub job: String,
    /// How it stands.
    pub state: RunState,
    /// Who asked.
    pub by: String,
    /// 1 for the first.
    pub attempt: u32,
    /// By the server's clock.
    pub started: Option<Timestamp>,
    /// By the server's clock.
    pub finished: Option<Timestamp>,
    /// Pieces done.
    pub done: u64,
    /// Of so many; 0: not known.
    pub total: u64,
    /// What it does, or why it failed.
    pub note: String,
    /// Its parameters and result, JSON as the server sent it.
    pub parameters: String,
    /// Of a run that succeeded.
    pub result: String,
}

impl Job {
    /// The run that is under way, or else the one that ended last.
    pub fn run(&self) -> Option<&Run> {
        self.current.as_ref().or(self.last.as_ref())
    }
}

impl Run {
    /// 0 to 1; `None` while it is not known of how much.
    pub fn share(&self) -> Option<f64> {
        (self.total > 0).then(|| (self.done as f64 / self.total as f64).min(1.0))
    }

    /// How long it took.
    pub fn took(&self) -> Option<Duration> {
        Some(span(self.started?, self.finished?))
    }

    /// How long it took, or has been taking when it is `now` by the server's clock.
    pub fn lasts(&self, now: Timestamp) -> Option<Duration> {
        Some(span(self.started?, self.finished.unwrap_or(now)))
    }
}

/// The jobs screen's facts.
#[derive(Debug, Clone, Default)]
pub struct JobsView {
    /// In the server's order.
    pub jobs: Vec<Job>,
    /// Newest first.
    pub runs: Vec<Run>,
    /// Process that runs jobs; empty: none.
    pub leader: String,
    /// In which schedules are read.
    pub time_zone: String,
    /// When the answer came.
    pub at: Option<Duration>,
    /// Why the last question had none.
    pub error: Option<String>,
}

impl JobsView {
    /// Takes an answer.
    pub fn take_jobs(&mut self, answer: ListJobsResponse, now: Moment) {
        self.leader = clean(&answer.leader);
        self.time_zone = clean(&answer.time_zone);
        let jobs = answer.jobs.into_iter().take(LISTED);
        self.jobs = jobs
            .map(|job| Job {
                name: clean(&job.name),
                description: clean(&job.description),
                schedule: clean(&job.schedule),
                next_at: timestamp(job.next_at.as_ref()),
                current: job.current.map(run_of),
                last: job.last.map(run_of),
            })
            .collect();
        self.at = Some(now.elapsed);
        self.error = None;
    }

    /// Takes an answer.
    pub fn take_runs(&mut self, answer: ListRunsResponse) {
        self.runs = answer.runs.into_iter().take(LISTED).map(run_of).collect();
    }
}

fn run_of(wire: loadline_proto::rollup::Run) -> Run {
    let state = match wire.state() {
        run::State::Queued => RunState::Queued,
        run::State::Running => RunState::Running,
        run::State::Succeeded => RunState::Succeeded,
        run::State::Failed => RunState::Failed,
        run::State::Cancelled => RunState::Cancelled,
        run::State::Interrupted => RunState::Interrupted,
        run::State::Unspecified => RunState::Foreign(wire.state),
    };
    let note = if wire.error.is_empty() { &wire.note } else { &wire.error };
    Run {
        state,
        note: clean(note),
        id: clean(&wire.id),
        job: clean(&wire.job),
        by: clean(&wire.requested_by),
        attempt: wire.attempt,
        started: timestamp(wire.started_at.as_ref()),
        finished: timestamp(wire.finished_at.as_ref()),
        done: wire.done,
        total: wire.total,
        parameters: clean(&wire.parameters),
        result: clean(&wire.result),
    }
}
