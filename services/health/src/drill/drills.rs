//! The drills of one process: which there are, what they have proven, and what is under way: one with a fault, or controls.

use super::{Accounts, Drill, Refusal, Results, conduct::Conduct, incidents::is_serious};
use crate::{Catalogue, Monitor, desk::operator, monitor::WeakMonitor, remedy::Leases, signal::Moment};
use loadline_proto::health::{self as wire, DrillRun, drill_run::Verdict};
use loadline_runtime::identity::Identity;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// What drills work with.
pub struct Parts {
    /// A drill a mode.
    pub drills: Vec<Arc<dyn Drill>>,
    /// One with a fault at a time, and no control beside it.
    pub leases: Arc<dyn Leases>,
    /// Where results are kept; must not go through the ports that faults are injected into.
    pub results: Arc<dyn Results>,
    /// Whether anything is missing or there twice.
    pub accounts: Arc<dyn Accounts>,
    /// The faults that are active in this process, in words.
    pub faults: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// Why there are no drills.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrillsError {
    /// Nothing here would see the fault.
    #[error("this process does not detect {0}, so that it cannot be drilled here")]
    NotDetected(String),
    /// The catalogue does not give the mode this key.
    #[error("the catalogue gives {mode} no remedy {key} that its drill could press")]
    NotInCatalogue {
        /// The mode.
        mode: String,
        /// The key.
        key: String,
    },
    /// Which of two would be meant?
    #[error("{0} has two drills")]
    Twice(String),
    /// A monitor has one set.
    #[error("the monitor has its drills")]
    HasSome,
}

/// The drills of one process. Clones share one state.
#[derive(Clone)]
pub struct Drills(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub monitor: WeakMonitor,
    pub parts: Parts,
    /// Whose drills and incidents are told.
    pub service: String,
    pub boot_id: String,
    pub told: Mutex<HashMap<String, Instant>>,
    /// Held by whoever asks for the lease or gives it up: a renewal that is cut off must not come after the end.
    pub leasing: Arc<tokio::sync::Mutex<()>>,
    book: Mutex<Book>,
    admission: tokio::sync::Mutex<()>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    /// One with a fault, alone; or controls of different modes.
    running: Vec<Running>,
    /// By mode and whether it was a control.
    latest: HashMap<(String, bool), DrillRun>,
}

#[derive(Debug, Clone)]
struct Running {
    run: DrillRun,
    stop: CancellationToken,
    stopped_by: Option<String>,
}

impl fmt::Debug for Drills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drills").field(&self.0.book).finish()
    }
}

impl Drills {
    /// Gives a monitor its drills: its stream shows how they go. What was proven before is read in the background, however long
    /// the results are out of reach.
    pub fn install(monitor: &Monitor, parts: Parts) -> Result<Self, DrillsError> {
        check(monitor, &parts.drills)?;
        let shared = Shared {
            monitor: monitor.downgrade(),
            parts,
            service: monitor.service(),
            boot_id: monitor.boot_id(),
            told: Mutex::default(),
            leasing: Arc::default(),
            book: Mutex::default(),
            admission: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let drills = Self(Arc::new(shared));
        if !monitor.set_drills(drills.clone()) {
            return Err(DrillsError::HasSome);
        }
        let (reading, stop) = (drills.clone(), drills.0.stop.clone());
        drills.0.tasks.spawn(async move { stop.run_until_cancelled(reading.remember()).await });
        let (telling, stop) = (drills.clone(), drills.0.stop.clone());
        drills.0.tasks.spawn(async move { stop.run_until_cancelled(telling.tell_incidents()).await });
        Ok(drills)
    }

    /// What there is, in the catalogue's order.
    pub fn list(&self) -> Vec<wire::Drill> {
        let modes = Catalogue::embedded().modes().iter();
        let drills = modes.filter_map(|mode| self.of(&mode.id).ok());
        drills.map(|drill| self.described(&**drill)).collect()
    }

    /// Begins one, and returns.
    pub async fn start(&self, who: &Identity, mode: &str, control: bool) -> Result<DrillRun, Refusal> {
        let (drills, who, mode) = (self.clone(), who.clone(), mode.to_owned());
        let begun = self.0.tasks.spawn(async move { drills.admit(who, &mode, control).await });
        begun.await.unwrap_or(Err(Refusal::ShuttingDown))
    }

    /// Ends one: its fault is taken away.
    pub async fn stop(&self, who: &Identity, id: &str) -> Result<DrillRun, Refusal> {
        operator(who).map_err(|_| Refusal::NotOperator(who.name.clone()))?;
        let mut book = self.book();
        if let Some(running) = book.of(id) {
            running.stopped_by.get_or_insert_with(|| who.name.clone());
            running.stop.cancel();
            return Ok(running.run.clone());
        }
        match book.latest.values().any(|run| run.id == id) {
            true => Err(Refusal::NotRunning(id.to_owned())),
            false => Err(Refusal::NoRun(id.to_owned())),
        }
    }

    /// Ends what is under way, undoes it, and begins nothing any more.
    pub async fn shut_down(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    async fn admit(&self, who: Identity, mode: &str, control: bool) -> Result<DrillRun, Refusal> {
        let _one_at_a_time = self.0.admission.lock().await;
        operator(&who).map_err(|_| Refusal::NotOperator(who.name.clone()))?;
        let drill = self.of(mode)?.clone();
        let monitor = self.0.monitor.upgrade().filter(|_| !self.0.stop.is_cancelled()).ok_or(Refusal::ShuttingDown)?;
        self.startable(&monitor, &*drill, control)?;
        let id = Uuid::new_v4().to_string();
        self.take(&id, mode, control).await?;
        let run = DrillRun {
            id: id.clone(),
            failure_mode: mode.to_owned(),
            control,
            phase: wire::drill_run::Phase::Steady.into(),
            verdict: Verdict::Running.into(),
            detail: "looks whether all is well to begin with".to_owned(),
            started_by: who.name.clone(),
            started_at: Some(Moment::now().wall.into()),
            build: monitor.build(),
            times_at_most: monitor.shortened().and_then(|longest| longest.try_into().ok()),
            ..DrillRun::default()
        };
        if let Err(error) = self.write_down(&run).await {
            self.release(&id, mode, control).await;
            return Err(Refusal::AuditUnavailable(error));
        }
        let stop = CancellationToken::new();
        self.book().running.push(Running { run: run.clone(), stop: stop.clone(), stopped_by: None });
        monitor.show_drill(run.clone());
        tracing::warn!(mode, drill = id, control, by = who.name, "drill begins");
        let conduct = Conduct { drills: self.clone(), monitor, drill, who, control, id, stop };
        let drills = self.clone();
        self.0.tasks.spawn(async move { drills.finish(&conduct).await });
        Ok(run)
    }

    /// Conducts a drill to its end, and keeps what came of it.
    async fn finish(&self, conduct: &Conduct) {
        let end = conduct.run().await;
        self.release(&conduct.id, conduct.drill.mode(), conduct.control).await;
        let Some(mut run) = self.book().of(&conduct.id).map(|running| running.run.clone()) else { return };
        run.phase = wire::drill_run::Phase::Done.into();
        run.verdict = end.verdict.into();
        run.detail = match conduct.monitor.shortened() {
            Some(longest) => format!("{}; with no time of a mode longer than {longest:?}", end.detail),
            None => end.detail,
        };
        run.finished_at = Some(Moment::now().wall.into());
        tracing::warn!(mode = run.failure_mode, verdict = run.verdict().as_str_name(), detail = run.detail, "drill ended");
        self.keep(&run).await;
        let mut book = self.book();
        book.running.retain(|running| running.run.id != run.id);
        book.latest.insert((run.failure_mode.clone(), run.control), run.clone());
        conduct.monitor.show_drill(run);
    }

    /// Whether one may begin now.
    fn startable(&self, monitor: &Monitor, drill: &dyn Drill, control: bool) -> Result<(), Refusal> {
        if let Some(run) = self.book().in_the_way(drill.mode(), control) {
            // The id last: whoever has a line of it should still know which.
            return Err(Refusal::Running(format!("{} of {} ({})", kind(run.control), run.failure_mode, run.id)));
        }
        drill.available().map_err(Refusal::Unavailable)?;
        match monitor.open_modes().into_iter().find(is_serious) {
            Some(open) => Err(Refusal::RealIncident(open.id)),
            None => Ok(()),
        }
    }

    fn described(&self, drill: &dyn Drill) -> wire::Drill {
        let latest = |control| self.book().latest.get(&(drill.mode().to_owned(), control)).cloned();
        let startable = self.0.monitor.upgrade().ok_or(Refusal::ShuttingDown);
        let unavailable = startable.and_then(|monitor| self.startable(&monitor, drill, false)).err();
        wire::Drill {
            failure_mode: drill.mode().to_owned(),
            fault: drill.fault().to_owned(),
            remedy: drill.presses().iter().map(|press| press.key).collect::<Vec<_>>().join(", "),
            unavailable: unavailable.map(|why| why.to_string()).unwrap_or_default(),
            last: latest(false),
            last_control: latest(true),
            budgets: Catalogue::embedded().get(drill.mode()).map(|mode| (&mode.drill).into()),
        }
    }

    pub(super) fn of(&self, mode: &str) -> Result<&Arc<dyn Drill>, Refusal> {
        let drill = self.0.parts.drills.iter().find(|drill| drill.mode() == mode);
        drill.ok_or_else(|| Refusal::NoDrill(mode.to_owned()))
    }

    /// The mode of the one under way that breaks something. A control breaks nothing: what opens beside it is real.
    pub(super) fn drilled(&self) -> Option<String> {
        let book = self.book();
        book.running.iter().find(|running| !running.run.control).map(|running| running.run.failure_mode.clone())
    }

    /// Who told it to stop.
    pub(super) fn stopped_by(&self, id: &str) -> String {
        let by = self.book().of(id).and_then(|running| running.stopped_by.clone());
        by.unwrap_or_else(|| "the end of this process".to_owned())
    }

    /// Changes one under way, and shows it.
    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut DrillRun)) {
        let mut book = self.book();
        let Some(running) = book.of(id) else { return };
        change(&mut running.run);
        if let Some(monitor) = self.0.monitor.upgrade() {
            monitor.show_drill(running.run.clone());
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// False: there is a newer one, or one under way.
    pub(super) fn remember(&mut self, run: &DrillRun) -> bool {
        let key = (run.failure_mode.clone(), run.control);
        let is_running = self.running.iter().any(|running| running.run.failure_mode == run.failure_mode);
        let is_new = !self.latest.contains_key(&key);
        if is_new {
            self.latest.insert(key, run.clone());
        }
        is_new && !is_running
    }

    fn of(&mut self, id: &str) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.run.id == id)
    }

    /// Only controls are beside each other, each of another mode.
    fn in_the_way(&self, mode: &str, control: bool) -> Option<&DrillRun> {
        let beside = |run: &DrillRun| control && run.control && run.failure_mode != mode;
        self.running.iter().map(|running| &running.run).find(|run| !beside(run))
    }
}

/// What it is called, by whether it is a control.
pub(super) fn kind(control: bool) -> &'static str {
    if control { "control" } else { "drill" }
}

fn check(monitor: &Monitor, drills: &[Arc<dyn Drill>]) -> Result<(), DrillsError> {
    let mut seen = std::collections::HashSet::new();
    for drill in drills {
        let mode = drill.mode();
        if !monitor.detects(mode) {
            return Err(DrillsError::NotDetected(mode.to_owned()));
        }
        let known = Catalogue::embedded().get(mode).map(|mode| &mode.remedies[..]).unwrap_or_default();
        if let Some(press) = drill.presses().iter().find(|press| !known.iter().any(|key| key == press.key)) {
            return Err(DrillsError::NotInCatalogue { mode: mode.to_owned(), key: press.key.to_owned() });
        }
        if !seen.insert(mode) {
            return Err(DrillsError::Twice(mode.to_owned()));
        }
    }
    Ok(())
}
