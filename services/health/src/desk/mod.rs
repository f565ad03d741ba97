//! The desk: where operators plan remedies, and where those are executed, verified and undone.
//!
//! ```text
//! plan ──▶ look at the world ──▶ RemedyPlan (30 s, confirm text) ──▶ shown to all operators
//! execute ──▶ known key? expired? confirm? free? ──▶ lease ──▶ world as planned? ──▶ audit ──▶ a task of its own:
//!             steps, each may be the last ──▶ the mode's own signal, conservation ──▶ VERIFIED ──▶ audit
//! ```
//!
//! The nasty invariant: **nothing is executed without a plan and its text of confirmation, nor before it is written down.**
//! Whatever is in doubt (a lease, the audit, the world) refuses.

mod admit;
mod book;
mod handover;
mod refusal;
mod take_back;
mod verify;
mod work;

pub use refusal::Refusal;

use crate::{
    Monitor,
    audit::{AuditLog, Entry, Record},
    catalogue::Catalogue,
    monitor::WeakMonitor,
    remedy::{Conservation, Leases, Remedy},
};
use book::{Book, Held};
use loadline_proto::health::{RemedyOffer, RemedyRun, State};
use loadline_runtime::identity::{Identity, Role};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a port may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a desk works with.
pub struct Parts {
    /// The remedies that this process can execute.
    pub remedies: Vec<Arc<dyn Remedy>>,
    /// Where everything is written down.
    pub audit: Arc<dyn AuditLog>,
    /// Who works on what.
    pub leases: Arc<dyn Leases>,
    /// Whether everything adds up.
    pub conservation: Arc<dyn Conservation>,
}

/// Why there is no desk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// The catalogue does not give the mode this key.
    #[error("the catalogue gives {mode} no remedy {key}")]
    NotInCatalogue {
        /// The mode.
        mode: String,
        /// The key.
        key: String,
    },
    /// Nothing here could tell whether it helps.
    #[error("this process does not detect {mode}, so that it could not tell whether {key} helps")]
    NotDetected {
        /// The mode.
        mode: String,
        /// The key.
        key: String,
    },
    /// Which of two would be meant?
    #[error("{mode} has two remedies {key}")]
    Twice {
        /// The mode.
        mode: String,
        /// The key.
        key: String,
    },
    /// A monitor has one desk.
    #[error("the monitor has a desk")]
    HasOne,
}

/// The remedies of one process. Clones share one state.
#[derive(Clone)]
pub struct Desk(Arc<Shared>);

struct Shared {
    monitor: WeakMonitor,
    parts: Parts,
    book: Mutex<Book>,
    /// One admission at a time: what one was told is true until it has begun.
    admission: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Desk").field(&self.0.book).finish()
    }
}

impl Desk {
    /// Gives a monitor its desk: its stream then shows what remedies its modes have, and its service executes them.
    pub fn install(monitor: &Monitor, parts: Parts) -> Result<Self, DeskError> {
        check(monitor, &parts.remedies)?;
        let shared = Shared {
            monitor: monitor.downgrade(),
            parts,
            book: Mutex::default(),
            admission: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let desk = Self(Arc::new(shared));
        if !monitor.set_desk(desk.clone()) {
            return Err(DeskError::HasOne);
        }
        desk.refresh();
        Ok(desk)
    }

    /// A desk for another monitor of this process, with remedies of its own: it writes to the same audit, and takes the same
    /// leases.
    pub fn beside(&self, monitor: &Monitor, remedies: Vec<Arc<dyn Remedy>>) -> Result<Self, DeskError> {
        let Parts { audit, leases, conservation, .. } = &self.0.parts;
        let (audit, leases, conservation) = (audit.clone(), leases.clone(), conservation.clone());
        Self::install(monitor, Parts { remedies, audit, leases, conservation })
    }

    /// Stops every run between two of its steps and waits until they have ended; nothing begins any more.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Entries of the audit after the one of this id, at most `limit`.
    pub async fn audit(&self, who: &Identity, after: u64, limit: u32) -> Result<Vec<Entry>, Refusal> {
        operator(who)?;
        let entries = tokio::time::timeout(PATIENCE, self.0.parts.audit.entries(after, limit)).await;
        entries.map_err(|_| silent("the audit"))?.map_err(|error| Refusal::AuditUnavailable(error.to_string()))
    }

    /// Brings up to date what the monitor shows of it: offers, and plans that have expired. Cheap; asked at each beat.
    pub(crate) fn refresh(&self) {
        let Some(monitor) = self.0.monitor.upgrade() else { return };
        let mut modes: Vec<&str> = self.0.parts.remedies.iter().flat_map(|remedy| remedy.modes()).copied().collect();
        modes.sort_unstable();
        modes.dedup();
        for mode in modes {
            let offers = self.remedies_of(mode).map(|remedy| RemedyOffer {
                key: remedy.key().to_owned(),
                title: remedy.title().to_owned(),
                reversibility: loadline_proto::health::Reversibility::from(remedy.reversibility()).into(),
                unavailable: self.ready(&monitor, mode, &**remedy).err().map(|why| why.to_string()).unwrap_or_default(),
            });
            monitor.show_offers(mode, offers.collect());
        }
        let armed = self.book().armed(Instant::now());
        monitor.show_armed(armed);
    }

    fn remedies_of<'a>(&'a self, mode: &'a str) -> impl Iterator<Item = &'a Arc<dyn Remedy>> {
        self.0.parts.remedies.iter().filter(move |remedy| remedy.modes().contains(&mode))
    }

    /// Whether a remedy can be planned or executed at all now.
    fn ready(&self, monitor: &Monitor, mode: &str, remedy: &dyn Remedy) -> Result<(), Refusal> {
        let blind = monitor.status(mode).is_none_or(|status| status.state() == State::Unknown);
        if blind && remedy.signal("").is_none() {
            return Err(Refusal::TargetBlind { mode: mode.to_owned() });
        }
        remedy.available().map_err(Refusal::Unavailable)
    }

    fn monitor(&self) -> Result<Monitor, Refusal> {
        self.0.monitor.upgrade().filter(|_| !self.0.stop.is_cancelled()).ok_or(Refusal::ShuttingDown)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a run, and shows it before anybody else can change it: watchers never see an older state last.
    fn change(&self, id: &str, change: impl FnOnce(&mut Held)) {
        let mut book = self.book();
        let Some(held) = book.run_mut(id) else { return };
        change(held);
        if let Some(monitor) = self.0.monitor.upgrade() {
            monitor.show_run(held.run.clone());
        }
    }

    /// A run of this process, as it is now.
    pub(crate) fn run(&self, id: &str) -> Result<RemedyRun, Refusal> {
        Ok(self.book().run(id)?.run.clone())
    }

    pub(crate) async fn write(&self, record: Record) -> Result<(), Refusal> {
        let written = tokio::time::timeout(PATIENCE, self.0.parts.audit.append(record)).await;
        written.map_err(|_| silent("the audit"))?.map(drop).map_err(|error| Refusal::AuditUnavailable(error.to_string()))
    }

    /// Writes down that something was refused. Where that fails, the refusal stands all the same.
    async fn refused(&self, record: Record, refusal: Refusal) -> Refusal {
        let (action, target, reason) = (record.action.clone(), record.target.clone(), refusal.reason());
        tracing::warn!(actor = record.actor, action, target, reason, %refusal, "remedy refused");
        let record = Record { after: refusal.to_string(), outcome: reason.to_owned(), ..record };
        if let Err(error) = self.write(record).await {
            tracing::error!(action, target, %error, "a refusal is not in the audit");
        }
        refusal
    }

    /// In a task of its own: a caller that goes away leaves nothing half-way.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let done = self.0.tasks.spawn(work).await;
        done.unwrap_or_else(|_| Err(Refusal::PlanningFailed("a fault of this build: see its log".to_owned())))
    }
}

fn check(monitor: &Monitor, remedies: &[Arc<dyn Remedy>]) -> Result<(), DeskError> {
    let mut seen = std::collections::HashSet::new();
    for (remedy, mode) in remedies.iter().flat_map(|remedy| remedy.modes().iter().map(move |mode| (remedy, *mode))) {
        let key = remedy.key();
        let named = || (mode.to_owned(), key.to_owned());
        let known = Catalogue::embedded().get(mode);
        if !known.is_some_and(|known| known.remedies.iter().any(|of_mode| of_mode == key)) {
            let (mode, key) = named();
            return Err(DeskError::NotInCatalogue { mode, key });
        }
        if !monitor.detects(mode) && remedy.signal("").is_none() {
            let (mode, key) = named();
            return Err(DeskError::NotDetected { mode, key });
        }
        if !seen.insert((mode, key)) {
            let (mode, key) = named();
            return Err(DeskError::Twice { mode, key });
        }
    }
    Ok(())
}

pub(crate) fn operator(who: &Identity) -> Result<(), Refusal> {
    if who.role == Role::Operator { Ok(()) } else { Err(Refusal::NotOperator { who: who.name.clone() }) }
}

fn silent(what: &str) -> Refusal {
    Refusal::AuditUnavailable(format!("{what} did not answer within {PATIENCE:?}"))
}
