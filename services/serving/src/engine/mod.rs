//! Rows to answers: requests of one version that wait at the same time are one batch.
//!
//! ```text
//!  request ─▶ its version's queue ─▶ a free runner takes all that waits, up to a batch ─▶ model ─▶ each its rows
//!                │ full, or hopeless: refused        │ expired, or nobody waits: left out
//! ```
//!
//! No timer: a runner that is free begins at once, and what comes meanwhile is the next batch. So a lone request waits for nothing,
//! and batches grow by themselves as load does.
//!
//! There are as many runners as threads may be busy with models, over all versions; versions take turns. A batch that takes
//! microseconds runs where its request is: to wake another thread would take longer. One that takes longer runs on a thread of its
//! own, so that it holds up no connection.
//!
//! Jobs wait behind: a batch of theirs begins only where no request waits, of any version. They come in pieces of a batch, so a request
//! waits for one piece at most, and they have no limit here: who brings them has few at once.
//!
//! The nasty invariant: **a request that waits has a runner, or every runner is busy**. Queues, turns and the count of runners change
//! under one lock, and a runner gives itself up only where, under it, nothing waits.

mod batch;
mod behind;
mod lane;
mod run;

pub use lane::{Answers, Lane, Refusal};

use batch::{Batch, Waiting};
use loadline_runtime::StandingQueue;
use run::Runner;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How much is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a batch. A single request may have more: then it is a batch alone.
    pub batch_rows: usize,
    /// Rows that may wait for one version; further requests are refused.
    pub queued_rows: usize,
    /// Batches at once, over all versions.
    pub runners: usize,
    /// How long requests should wait beside the first few rows: while more comes than is answered, those that would wait twice as
    /// long are refused. Zero: they wait as long as it takes.
    pub target_wait: Duration,
}

/// Rows that may always wait, however slow their model.
const A_FEW: usize = 8;

/// All queues. Clones are one.
#[derive(Clone)]
pub struct Engine {
    state: Arc<Mutex<State>>,
    limits: Limits,
}

#[derive(Default)]
struct State {
    queues: HashMap<u64, Queue>,
    /// Versions that something waits for, each once a place, in the order of their turns.
    turns: [VecDeque<u64>; PLACES.len()],
    running: usize,
    next_lane: u64,
}

struct Queue {
    lane: Arc<lane::Shared>,
    /// Whether more comes than is answered; `None`: that is nobody's business.
    standing: Option<StandingQueue>,
    lines: [Line; PLACES.len()],
}

/// What waits for one version in one place.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    rows: usize,
}

/// Where one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A caller is there.
    Front,
    /// Nobody is: after all callers of all versions.
    Behind,
}

const PLACES: [Place; 2] = [Place::Front, Place::Behind];

impl Engine {
    /// An engine that nothing waits in.
    pub fn new(limits: Limits) -> Self {
        Self { state: Arc::default(), limits }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing waits, and a runner is free.
    pub fn has_room(&self) -> bool {
        let state = self.state();
        state.turns.iter().all(VecDeque::is_empty) && state.running < self.limits.runners
    }

    /// Lets a request wait. A runner, where one is free to begin.
    fn enqueue(&self, lane: u64, place: Place, waiting: Waiting) -> Result<Option<Runner>, Refusal> {
        let mut state = self.state();
        let state = &mut *state;
        let queue = state.queues.get_mut(&lane).ok_or(Refusal::Unloaded)?;
        let line = &mut queue.lines[place as usize];
        if place == Place::Front {
            if waiting.deadline.is_some_and(|deadline| deadline <= waiting.since) {
                return Err(Refusal::Expired);
            }
            if line.is_full_for(waiting.rows, self.limits.queued_rows) {
                line.forget_unwanted();
            }
            let wait = queue.lane.pace.expected(line.rows, self.limits.runners);
            if line.is_full_for(waiting.rows, self.limits.queued_rows) {
                return Err(Refusal::Full { rows: line.rows, wait });
            }
            let beyond = queue.lane.pace.expected(line.rows.saturating_sub(A_FEW), self.limits.runners);
            if let Some(standing) = &mut queue.standing {
                standing.is_now(beyond, waiting.since.into_std());
                if standing.refuses(beyond) {
                    return Err(Refusal::Busy { wait });
                }
            }
            if waiting.deadline.is_some_and(|deadline| waiting.since + wait > deadline) {
                return Err(Refusal::Hopeless { wait });
            }
        }
        line.rows += waiting.rows;
        line.waiting.push_back(waiting);
        let turns = &mut state.turns[place as usize];
        // A line that was emptied of what nobody wanted still has its turn.
        if line.waiting.len() == 1 && !turns.contains(&lane) {
            turns.push_back(lane);
        }
        let free = state.running < self.limits.runners;
        state.running += usize::from(free);
        Ok(free.then(|| Runner(self.clone())))
    }

    /// The next batch, and what waited in vain; without a batch the runner that asks is none any more.
    fn next(&self) -> (Option<Batch>, Vec<Waiting>) {
        let mut state = self.state();
        let state = &mut *state;
        let mut in_vain = Vec::new();
        for place in PLACES {
            while let Some(turn) = state.turns[place as usize].pop_front() {
                let Some(queue) = state.queues.get_mut(&turn) else { continue };
                let line = &mut queue.lines[place as usize];
                let (taken, rows) = line.take(self.limits.batch_rows, &mut in_vain);
                let left = queue.lane.pace.expected(line.rows.saturating_sub(A_FEW), self.limits.runners);
                if let (Place::Front, Some(standing)) = (place, &mut queue.standing) {
                    standing.is_now(left, Instant::now());
                }
                if !line.waiting.is_empty() {
                    state.turns[place as usize].push_back(turn);
                }
                if !taken.is_empty() {
                    return (Some(Batch { lane: queue.lane.clone(), waiting: taken, rows }), in_vain);
                }
            }
        }
        state.running -= 1;
        (None, in_vain)
    }
}

impl Line {
    /// However many rows a request has, an empty line takes it.
    fn is_full_for(&self, rows: usize, most: usize) -> bool {
        self.rows > 0 && self.rows + rows > most
    }

    /// Requests that nobody waits for any more take no place from those that somebody does.
    fn forget_unwanted(&mut self) {
        self.waiting.retain(|one| !one.reply.is_closed());
        self.rows = self.waiting.iter().map(|one| one.rows).sum();
    }

    /// Takes what fits into a batch from the front, without overtaking; and how many rows that is.
    fn take(&mut self, most: usize, in_vain: &mut Vec<Waiting>) -> (Vec<Waiting>, usize) {
        let now = tokio::time::Instant::now();
        let mut taken: Vec<Waiting> = Vec::new();
        let mut rows = 0;
        while let Some(first) = self.waiting.front() {
            let wanted = first.is_wanted(now);
            if wanted && taken.first().is_some_and(|taken| rows + first.rows > most || !taken.fits(first)) {
                break;
            }
            let Some(first) = self.waiting.pop_front() else { break };
            self.rows -= first.rows;
            if wanted {
                rows += first.rows;
                taken.push(first);
            } else {
                in_vain.push(first);
            }
        }
        (taken, rows)
    }
}

#[cfg(test)]
mod tests;
