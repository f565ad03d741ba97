//! Shutdown in order and in bounded time: stop accepting, finish what is in flight, then cut what is left.
//!
//! A [`Shutdown`] has two moments. [`Shutdown::begin`] asks everybody to finish; [`Shutdown::cut`] ends, without asking, every
//! task started with [`Shutdown::spawn`]. [`Shutdown::drain`] does the first, waits, and does the second when the grace is over.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long in-flight work may take once shutdown has begun, unless configured otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// How long cut tasks may take to drop what they hold.
const CUT_WAIT: Duration = Duration::from_secs(1);

/// Exit code of a process ended by a second signal: 128 + SIGINT, as shells expect.
const EXIT_SECOND_SIGNAL: i32 = 130;

/// A handle on the process's end; cheap to clone, all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every task ended by itself.
    Clean,
    /// So many tasks were still running when the grace was over, and were cut.
    Cut(usize),
}

impl Shutdown {
    /// A shutdown that nothing has begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to finish. Idempotent.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Whether shutdown has begun.
    pub fn is_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Completes when shutdown has begun.
    pub async fn cancelled(&self) {
        self.begun.cancelled().await;
    }

    /// Completes when shutdown has begun; owned, for `select!` in a spawned task or a stream's end.
    pub fn cancelled_owned(&self) -> impl Future<Output = ()> + Send + 'static {
        self.begun.clone().cancelled_owned()
    }

    /// The token of the beginning, for code that wants one.
    pub fn token(&self) -> CancellationToken {
        self.begun.clone()
    }

    /// Ends, at their next await, all tasks started with [`Shutdown::spawn`]. Implies [`Shutdown::begin`].
    pub fn cut(&self) {
        self.begun.cancel();
        self.cut.cancel();
    }

    /// Starts a task that [`Shutdown::drain`] waits for and [`Shutdown::cut`] ends. Its output is `None` when it was cut.
    ///
    /// A write transaction that must run to its end belongs in a plain `tokio::spawn` that such a task awaits.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cut = self.cut.clone();
        self.tasks.spawn(async move { cut.run_until_cancelled_owned(task).await })
    }

    /// How many tasks of [`Shutdown::spawn`] are running.
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Begins shutdown, waits for the tasks, and after `grace` cuts those that are left. Returns within `grace` and a second.
    pub async fn drain(&self, grace: Duration) -> Drained {
        self.begin();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return Drained::Clean;
        }
        let left = self.tasks.len();
        tracing::warn!(tasks = left, grace = ?grace, "grace is over: cutting what is still running");
        self.cut();
        let _ = tokio::time::timeout(CUT_WAIT, self.tasks.wait()).await;
        Drained::Cut(left)
    }
}

/// A shutdown that begins on the first SIGTERM or SIGINT; a second one exits at once with code 130.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn signals() -> io::Result<Shutdown> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = Shutdown::new();
    let begun = shutdown.clone();
    tokio::spawn(async move {
        let name = tokio::select! { _ = term.recv() => "SIGTERM", _ = int.recv() => "SIGINT" };
        tracing::info!(signal = name, "shutting down; a second signal exits at once");
        begun.begin();
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(EXIT_SECOND_SIGNAL);
    });
    Ok(shutdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_tasks_that_end_by_themselves() {
        let shutdown = Shutdown::new();
        let seen = shutdown.clone();
        let task = shutdown.spawn(async move {
            seen.cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            7
        });
        assert_eq!(shutdown.drain(DEFAULT_GRACE).await, Drained::Clean);
        assert_eq!(task.await.expect("the task did not panic"), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_cuts_what_outlives_the_grace() {
        let shutdown = Shutdown::new();
        let task = shutdown.spawn(std::future::pending::<()>());
        assert_eq!(shutdown.drain(Duration::from_secs(2)).await, Drained::Cut(1));
        assert_eq!(task.await.expect("the task did not panic"), None);
        assert_eq!(shutdown.running(), 0);
    }
}
