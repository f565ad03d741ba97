//! Shutdown in order and in bounded time: stop accepting, finish what is in flight, then cut what is left.
//!
//! A [`Shutdown`] has two moments. [`Shutdown::begin`] asks everybody to finish; [`Shutdown::cut`] ends, without asking, every
//! task started with [`Shutdown::spawn`]. [`Shutdown::drain`] does the first, waits, and does the second when the grace is over.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// A handle on the end of a process, or of one life of a service in it; cheap to clone, all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
    again: Arc<Again>,
}

/// What comes after the end.
#[derive(Debug, Default)]
struct Again {
    wish: Mutex<Wish>,
    /// What its predecessor left for it.
    left: Option<String>,
    /// Where starting again is the business of the whole process.
    process: Option<Shutdown>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Wish {
    /// Nobody has said.
    #[default]
    Unsaid,
    /// A successor is to start, with what this one leaves for it.
    Successor(String),
    /// None is to start, whoever asks.
    ForGood,
}

/// What starts again when a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// The service alone, inside its process: others live in it too.
    Life,
    /// The process: [`crate::run()`] replaces it by a new one.
    Process,
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

    /// Begins shutdown, after which nothing starts again: somebody wants an end.
    pub fn end(&self) {
        *self.wish() = Wish::ForGood;
        self.begin();
    }

    /// Begins shutdown, after which a successor starts; it finds `left` with [`Shutdown::left`]. False: there is to be none.
    pub fn restart(&self, left: String) -> bool {
        match &self.again.process {
            Some(process) => process.restart(left),
            None => self.live_again(left),
        }
    }

    /// The same, but never of the whole process: the service starts again inside it.
    pub fn live_again(&self, left: String) -> bool {
        let mut wish = self.wish();
        if *wish != Wish::Unsaid || self.is_begun() {
            return false;
        }
        *wish = Wish::Successor(left);
        drop(wish);
        self.begin();
        true
    }

    /// What is left for a successor, if there is to be one.
    pub fn successor(&self) -> Option<String> {
        match &*self.wish() {
            Wish::Successor(left) => Some(left.clone()),
            Wish::Unsaid | Wish::ForGood => None,
        }
    }

    /// What the predecessor has left.
    pub fn left(&self) -> Option<&str> {
        self.again.left.as_deref()
    }

    fn with_left(self, left: Option<String>) -> Self {
        Self { again: Arc::new(Again { left, ..Again::default() }), ..self }
    }

    /// One life of a service in this process: it ends with the process, and may end before.
    pub fn life(&self, restarts: Restarts, left: Option<String>) -> Self {
        let process = (restarts == Restarts::Process).then(|| self.clone());
        Self {
            begun: self.begun.child_token(),
            cut: self.cut.child_token(),
            tasks: TaskTracker::new(),
            again: Arc::new(Again { wish: Mutex::default(), left, process }),
        }
    }

    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.again.wish.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Lets a service live, and live again as long as it wants to: each life with a shutdown of its own, which is over within `grace`
/// and some seconds after it began. What the predecessor of the process left is for its first life.
///
/// # Errors
/// That of the last life.
pub async fn lives<E, Life>(
    process: &Shutdown,
    restarts: Restarts,
    grace: Duration,
    mut life: impl FnMut(Shutdown) -> Life,
) -> Result<(), E>
where
    Life: Future<Output = Result<(), E>>,
{
    let mut left = process.left().map(str::to_owned);
    loop {
        let one = process.life(restarts, left);
        let overdue = async {
            one.cancelled().await;
            tokio::time::sleep(grace + CUT_WAIT * 2).await;
        };
        let ended = tokio::select! {
            ended = life(one.clone()) => ended,
            () = overdue => {
                tracing::warn!(grace = ?grace, "a service did not end within the grace and was cut");
                Ok(())
            }
        };
        one.drain(grace).await;
        match one.successor().filter(|_| !process.is_begun()) {
            Some(for_it) => left = Some(for_it),
            None => return ended,
        }
    }
}

/// A shutdown that begins on the first SIGTERM or SIGINT; a second one exits at once with code 130. `left` is what the
/// process's predecessor left.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn signals(left: Option<String>) -> io::Result<Shutdown> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = Shutdown::new().with_left(left);
    let begun = shutdown.clone();
    tokio::spawn(async move {
        let name = tokio::select! { _ = term.recv() => "SIGTERM", _ = int.recv() => "SIGINT" };
        tracing::info!(signal = name, "shutting down; a second signal exits at once");
        begun.end();
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(EXIT_SECOND_SIGNAL);
    });
    Ok(shutdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_service_lives_again_with_what_it_left_and_ends_with_its_process() {
        let (process, mut seen) = (Shutdown::new().with_left(Some("first".to_owned())), Vec::new());
        let lived: Result<(), ()> = lives(&process, Restarts::Life, DEFAULT_GRACE, |life| {
            seen.push(life.left().map(str::to_owned));
            match seen.len() {
                1 | 2 => assert!(life.restart(format!("{}", seen.len()))),
                _ => process.end(),
            }
            async move {
                life.cancelled().await;
                Ok(())
            }
        })
        .await;
        assert_eq!((lived, seen), (Ok(()), ["first", "1", "2"].map(|left| Some(left.to_owned())).to_vec()));
        assert_eq!(process.successor(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_does_not_end_is_cut_and_its_successor_lives() {
        let (process, mut lived) = (Shutdown::new(), 0);
        let ended: Result<(), ()> = lives(&process, Restarts::Life, Duration::from_secs(2), |life| {
            lived += 1;
            let is_first = lived == 1;
            async move {
                if is_first {
                    life.restart(String::new());
                    std::future::pending::<()>().await;
                }
                Err(())
            }
        })
        .await;
        assert_eq!((ended, lived), (Err(()), 2), "the last life says how it ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_to_start_again_does_not_when_somebody_ended_it() {
        let process = Shutdown::new();
        let life = process.life(Restarts::Process, None);
        assert!(life.restart("run".to_owned()) && process.is_begun());
        assert_eq!((process.successor(), life.successor()), (Some("run".to_owned()), None));
        process.end();
        assert_eq!(process.successor(), None, "a signal came while it drained");
        assert!(!process.life(Restarts::Process, None).restart(String::new()), "and it stays so");
    }

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
