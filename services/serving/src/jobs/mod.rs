//! Jobs: predictions that nobody waits for on a connection.
//!
//! ```text
//!  Submit ─▶ store: job + outbox, one transaction ─▶ accepted, whatever becomes of the queue
//!               │  dispatch                     ▲ tidy: deadlines, what the queue lost, what is old
//!               ▼                               │
//!             queue ─pull, claim─▶ worker ─▶ the artifact that was named ─▶ store: its one end ─▶ Get, Watch
//! ```
//!
//! - [`question`]: what a job is made of, and its id; [`answer`]: what it is answered
//! - [`queue`]: the port between the outbox and the workers, on the store and on JetStream
//! - [`dispatch`], [`work`], [`tidy`]: what runs as long as the service does; [`met`]: what it meets at the queue
//!
//! Order: one process dispatches jobs in the order in which they were accepted, and they begin in this order; a queue that was down
//! takes them in the same order when it is back. Several processes, deliveries that come again and jobs that are handed back overtake.
//! Nothing is promised of the order of ends.
//!
//! The nasty invariant: **a job that was acknowledged ends exactly once**. It is durable before it is acknowledged; the queue forgets it
//! only after its end is durable; and of all who may end it the database lets one.

pub mod answer;
mod dispatch;
mod met;
pub mod question;
pub mod queue;
mod tidy;
mod work;

use crate::{resident::Residents, status::ServingError};
use loadline_runtime::Shutdown;
use loadline_settings::PredictionJobSettings;
use loadline_store::{Accepted, PredictionBacklog, PredictionJob, Store};
use met::Met;
use question::Question;
use queue::{Queue, QueueError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// How jobs are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// At once, in this process.
    pub workers: usize,
    /// Rows of one job.
    pub rows: usize,
    /// Bytes of an answer.
    pub result_bytes: usize,
    /// Jobs that have not ended, about.
    pub open: u64,
    /// How long a worker may be silent.
    pub lease: Duration,
    /// How often a job is begun.
    pub attempts: u32,
    /// How long it can be asked for after its end.
    pub keep: Duration,
}

/// The jobs of a service. Clones are one.
#[derive(Clone)]
pub struct Jobs {
    pub(crate) store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    terms: Terms,
    /// Who claims.
    holder: String,
    /// Held by whoever dispatches.
    dispatching: Arc<tokio::sync::Mutex<()>>,
    met: Arc<Met>,
    /// Rung when the outbox has something new.
    accepted: Arc<Notify>,
    /// Rung when this process has changed a job.
    changed: Arc<Notify>,
    /// The last pull found nothing.
    idle: Arc<AtomicBool>,
    /// As the store last told.
    open: Arc<AtomicU64>,
}

impl From<&PredictionJobSettings> for Terms {
    fn from(settings: &PredictionJobSettings) -> Self {
        Self {
            workers: settings.workers,
            rows: settings.rows,
            result_bytes: settings.result_bytes.as_usize(),
            open: settings.open,
            lease: *settings.lease,
            attempts: settings.attempts,
            keep: *settings.keep,
        }
    }
}

impl Jobs {
    /// Jobs in a store, by way of a queue; `holder` names this process among those that work.
    pub fn new(store: Arc<dyn Store>, queue: Arc<dyn Queue>, terms: Terms, holder: String) -> Self {
        Self {
            store,
            queue,
            terms,
            holder,
            dispatching: Arc::default(),
            met: Arc::default(),
            accepted: Arc::default(),
            changed: Arc::default(),
            idle: Arc::default(),
            open: Arc::default(),
        }
    }

    /// Accepts a question for the version that it names now.
    ///
    /// # Errors
    /// A field that is wrong, a version that is not in memory, a store that is down, or too many jobs that have not ended.
    pub async fn submit(&self, residents: &Residents, question: Question) -> Result<Accepted, ServingError> {
        let held = residents.hold(&question.request.model_name, &question.request.model_version)?;
        let new = question::job(question, &held, self.terms.rows)?;
        drop(held);
        let open = self.open.load(Relaxed);
        if open >= self.terms.open && self.store.prediction_job(&new.id).await?.is_none() {
            return Err(ServingError::JobsFull { open });
        }
        let accepted = self.store.accept_prediction(&new).await?;
        if accepted.new {
            self.open.fetch_add(1, Relaxed);
            self.accepted.notify_one();
        }
        Ok(accepted)
    }

    /// A job.
    ///
    /// # Errors
    /// When there is none of that id, or the store is down.
    pub async fn get(&self, id: &str) -> Result<PredictionJob, ServingError> {
        self.store.prediction_job(id).await?.ok_or_else(|| ServingError::UnknownJob(id.to_owned()))
    }

    /// Ends a job, unless it has ended.
    ///
    /// # Errors
    /// As [`Jobs::get`].
    pub async fn cancel(&self, id: &str) -> Result<PredictionJob, ServingError> {
        let cancelled = self.store.cancel_prediction(id).await?;
        self.changed.notify_waiters();
        cancelled.ok_or_else(|| ServingError::UnknownJob(id.to_owned()))
    }

    /// Completes when this process has changed some job since this was called.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Whether the queue answers, and publishing and pulling went well when they were last tried.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn probe(&self) -> Result<(), QueueError> {
        self.queue.probe().await?;
        self.met.problem().map_or(Ok(()), |problem| Err(QueueError::Unavailable(problem)))
    }

    /// What waits for the queue.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn backlog(&self) -> Result<PredictionBacklog, ServingError> {
        Ok(self.store.prediction_backlog().await?)
    }

    /// Makes the connection to the queue anew, and dispatches over it what waits in the outbox; how many jobs that were.
    ///
    /// # Errors
    /// When the queue is still not there: what was not dispatched stays in the outbox.
    pub async fn reconnect(&self) -> Result<usize, QueueError> {
        dispatch::anew(self).await
    }

    /// Whether this process works on jobs.
    pub fn is_worked_on(&self) -> bool {
        self.terms.workers > 0
    }

    /// Does what there is to do, until shutdown.
    pub async fn run(&self, answering: answer::Answering, shutdown: Shutdown) {
        let working = work::work(self.clone(), answering, shutdown.clone());
        let dispatching = dispatch::dispatch(self.clone(), shutdown.clone());
        tokio::join!(working, dispatching, tidy::tidy(self.clone(), shutdown));
    }
}
