//! One version in the engine.

use super::{Engine, Place, Queue, batch::Waiting};
use crate::statistics::Statistics;
use loadline_models::Tensor;
use loadline_runtime::StandingQueue;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// What answers rows: a loaded model.
pub trait Answers: Send + Sync + 'static {
    /// Outputs, each with as many rows as the inputs have.
    ///
    /// # Errors
    /// Why not, in words for the caller.
    fn answer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Refusal>;
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// As much waits as may: so many rows, which will take so long.
    Full { rows: usize, wait: Duration },
    /// More comes than is answered, and it would wait so long.
    Busy { wait: Duration },
    /// What waits before it takes longer than its deadline allows.
    Hopeless { wait: Duration },
    /// Its deadline passed before it came, or while it waited.
    Expired,
    /// The version left memory.
    Unloaded,
    /// The model does not take these values.
    Invalid(String),
    /// The model failed.
    Broken(String),
}

/// A version's queue and its model. It ends with its last user.
pub struct Lane {
    engine: Engine,
    id: u64,
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub model: Box<dyn Answers>,
    pub statistics: Statistics,
    pub pace: Pace,
}

/// How long the model took lately, in nanoseconds; 0: not known yet.
#[derive(Default)]
pub(super) struct Pace {
    batch: AtomicU64,
    row: AtomicU64,
}

impl Pace {
    /// Batches up to this long run where their request is: to wake another thread takes a tenth of it.
    const QUICK: Duration = Duration::from_micros(300);

    /// Whether a batch takes less time than to find it another thread is worth.
    pub fn is_quick(&self) -> bool {
        let lately = self.batch.load(Relaxed);
        lately > 0 && Duration::from_nanos(lately) <= Self::QUICK
    }

    /// How long so many rows will take that many runners.
    pub fn expected(&self, rows: usize, runners: usize) -> Duration {
        Duration::from_nanos(self.row.load(Relaxed).saturating_mul(rows as u64) / runners.max(1) as u64)
    }

    /// Takes a batch into account, an eighth of it: one that was interrupted says little.
    pub fn took(&self, time: Duration, rows: usize) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let smooth = |lately: &AtomicU64, now: u64| {
            let before = lately.load(Relaxed);
            let after = if before == 0 { now } else { (before - before / 8).saturating_add(now / 8) };
            lately.store(after.max(1), Relaxed);
        };
        smooth(&self.batch, nanos);
        smooth(&self.row, (nanos / rows.max(1) as u64).max(1));
    }
}

impl Lane {
    /// A place in the engine for a model.
    pub fn new(engine: &Engine, model: impl Answers) -> Self {
        let shared = Arc::new(Shared { model: Box::new(model), statistics: Statistics::default(), pace: Pace::default() });
        let mut state = engine.state();
        let id = state.next_lane;
        state.next_lane += 1;
        let target = engine.limits.target_wait;
        let standing = (!target.is_zero()).then(|| StandingQueue::new(target, std::time::Instant::now()));
        state.queues.insert(id, Queue { lane: shared.clone(), standing, lines: Default::default() });
        drop(state);
        Self { engine: engine.clone(), id, shared }
    }

    /// Answers the rows of `inputs` (in the order of the model's inputs, each with so many rows), together with others that wait.
    /// Whoever stops waiting is left out.
    ///
    /// # Errors
    /// Why there is no answer; nothing was asked of the model then, but where it refused or failed.
    pub async fn answer(&self, inputs: Vec<Tensor>, rows: usize, deadline: Option<Instant>) -> Result<Vec<Tensor>, Refusal> {
        self.answer_from(Place::Front, inputs, rows, deadline).await
    }

    pub(super) async fn answer_from(
        &self,
        place: Place,
        inputs: Vec<Tensor>,
        rows: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<Tensor>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let runner = self.engine.enqueue(self.id, place, Waiting { inputs, rows, since: Instant::now(), deadline, reply })?;
        if let Some(runner) = runner {
            runner.begin();
        }
        answer.await.unwrap_or_else(|_| Err(Refusal::Broken("the model failed on these values".to_owned())))
    }

    pub(super) fn batch_rows(&self) -> usize {
        self.engine.limits.batch_rows
    }

    /// What was asked of it.
    pub fn statistics(&self) -> &Statistics {
        &self.shared.statistics
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // What still waits is told that the version is gone, outside the lock.
        let queue = self.engine.state().queues.remove(&self.id);
        drop(queue);
    }
}
