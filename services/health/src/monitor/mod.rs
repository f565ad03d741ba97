//! The monitor: where detectors report to and watchers read from.
//!
//! Nothing runs in the background. State is a function of readings and of time, brought up to date whenever somebody looks; a
//! watcher looks at least once a beat, which is also what makes the heartbeats.

mod shown;
mod waits;

pub(crate) use waits::Longest;

use crate::{
    Catalogue, Desk, FailureMode, Reading,
    attention::Attention,
    board::Board,
    drill::Drills,
    frames::{BEAT, FrameLog, Next},
    gauge,
    signal::{Moment, Signal},
};
use loadline_proto::health::{
    Delta, Frame, Heartbeat, ModeStatus, ResumePoint, ServiceLoad, Severity, Snapshot, State, frame::Body,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// How often a detector reports, unless it says otherwise.
const PERIOD: Duration = Duration::from_secs(5);

/// The failure modes of one service, as its detectors see them. Clones share one state.
///
/// One detector reports one mode: where a mode has several subjects (streams, say), the detector reports the worst of them.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Shared>);

/// A monitor that does not keep itself alive.
#[derive(Debug, Clone)]
pub struct WeakMonitor(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    modes: Mutex<Modes>,
    head: watch::Sender<u64>,
    closed: CancellationToken,
    desk: OnceLock<Desk>,
    drills: OnceLock<Drills>,
}

#[derive(Debug)]
struct Modes {
    watched: Vec<Watched>,
    /// Modes without a detector in this process: planned, or owned and not detected.
    undetected: Vec<ModeStatus>,
    board: Board,
    log: FrameLog,
    last_frame: Instant,
    longest: Longest,
}

#[derive(Debug)]
struct Watched {
    signal: Signal,
    attention: Attention,
    /// Has changed since it was last in a frame.
    unsent: bool,
}

/// Why a monitor cannot be made or set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MonitorError {
    /// The catalogue has no such mode.
    #[error("{id} is not in the catalogue of failure modes")]
    Unknown {
        /// The id asked for.
        id: String,
    },
    /// The catalogue says that nothing detects it yet.
    #[error("{id} is marked `planned` in the catalogue: mark it as detected before a detector reports it")]
    Planned {
        /// The id asked for.
        id: String,
    },
    /// The mode was not among those that this monitor detects.
    #[error("{id} is not among the failure modes that {service} detects")]
    NotDetected {
        /// The id asked for.
        id: String,
        /// The monitor's service.
        service: String,
    },
}

impl Monitor {
    /// A monitor of `service` (as in the catalogue's owners) in this `build`, with detectors for the modes `detects`.
    ///
    /// Each is UNKNOWN until its first reading. Snapshots also hold every planned mode, as PLANNED, and the modes that the
    /// service owns but does not detect, as UNKNOWN. The states are reported through the global metrics too, when telemetry
    /// was set up before.
    pub fn new(service: &str, build: &str, detects: &[&str]) -> Result<Self, MonitorError> {
        let now = Moment::now();
        let mut watched: Vec<Watched> = Vec::new();
        for id in detects {
            let mode = detectable(id)?;
            if watched.iter().all(|known| known.signal.id() != *id) {
                watched.push(Watched { signal: Signal::new(mode, PERIOD, now), attention: Attention::default(), unsent: false });
            }
        }
        let log = FrameLog::new(service, build, now);
        let undetected = undetected(service, detects);
        let (head, _) = watch::channel(log.head());
        let (board, longest) = (Board::default(), Longest::UNLIMITED);
        let modes = Mutex::new(Modes { watched, undetected, board, log, last_frame: now.at, longest });
        let monitor = Self(Arc::new(Shared {
            modes,
            head,
            closed: CancellationToken::new(),
            desk: OnceLock::new(),
            drills: OnceLock::new(),
        }));
        gauge::register(&opentelemetry::global::meter("loadline-health"), &monitor);
        Ok(monitor)
    }

    /// Says how often the detector of a mode reports; 5 s unless set, at most a day. After three times as long without a
    /// reading the mode is UNKNOWN.
    pub fn expect_every(&self, id: &str, period: Duration) -> Result<(), MonitorError> {
        let mut modes = self.modes();
        let service = modes.log.service().to_owned();
        let watched = modes.watched.iter_mut().find(|watched| watched.signal.id() == id);
        let watched = watched.ok_or_else(|| MonitorError::NotDetected { id: id.to_owned(), service })?;
        watched.signal.set_period(period);
        Ok(())
    }

    /// Takes a reading. One of a mode that this monitor does not detect, or whose value is NaN, is logged and dropped: the
    /// mode then becomes UNKNOWN by itself.
    pub fn observe(&self, id: &str, reading: Reading) {
        let now = Moment::now();
        let mut modes = self.modes();
        let service = modes.log.service().to_owned();
        let Some(watched) = modes.watched.iter_mut().find(|watched| watched.signal.id() == id) else {
            tracing::error!(id, service, "reading of a failure mode that this service does not detect");
            return;
        };
        if reading.value.is_nan() {
            tracing::error!(id, service, detail = reading.detail, "reading that is not a number");
            return;
        }
        let before = watched.face();
        watched.signal.pass(now);
        watched.signal.observe(reading, now);
        watched.attention.pass(&watched.signal, now);
        watched.unsent = true;
        if watched.face() != before {
            watched.report(&service);
            modes.flush(now);
        }
        self.announce(&modes);
    }

    /// How every mode stands now, in the catalogue's order for the modes detected, then those that are not.
    pub fn statuses(&self) -> Vec<ModeStatus> {
        let mut modes = self.modes();
        modes.advance(Moment::now());
        self.announce(&modes);
        modes.statuses()
    }

    /// How one mode stands now; `None` when this process has nothing to say of it.
    pub fn status(&self, id: &str) -> Option<ModeStatus> {
        self.statuses().into_iter().find(|status| status.id == id)
    }

    /// The modes that are open now, whatever is being done about them.
    pub fn open_modes(&self) -> Vec<ModeStatus> {
        let is_open = |state| matches!(state, State::Open | State::Acknowledged | State::Remediating | State::Verifying);
        self.statuses().into_iter().filter(|status| is_open(status.state())).collect()
    }

    /// New for each monitor: the `boot_id` of its frames.
    pub fn boot_id(&self) -> String {
        self.modes().log.boot_id().to_owned()
    }

    /// The service it was made for.
    pub fn service(&self) -> String {
        self.modes().log.service().to_owned()
    }

    /// The build it was made for.
    pub fn build(&self) -> String {
        self.modes().log.build().to_owned()
    }

    /// Says in each frame what this process is called among its replicas, and the hash of the configuration in force.
    pub fn introduce(&self, instance: &str, configuration: &str) {
        self.modes().log.introduce(instance, configuration);
    }

    /// Says in each frame to which installation this process belongs.
    pub fn belongs_to(&self, installation: &str) {
        self.modes().log.belongs_to(installation);
    }

    /// Says why a mode that the service owns is not detected here. Without effect for one that is.
    pub fn explain_undetected(&self, id: &str, why: &str) {
        let mut modes = self.modes();
        if let Some(status) = modes.undetected.iter_mut().find(|status| status.id == id) {
            status.rule = why.to_owned();
        }
    }

    /// Says what the process has to do, once a second or so; watchers hear of it within half a second more.
    pub fn show_load(&self, load: ServiceLoad) {
        self.modes().board.show_load(load);
    }

    /// Ends all watches, for shutdown; watchers get UNAVAILABLE.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.0.closed
    }

    /// Changes with each new frame.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.0.head.subscribe()
    }

    /// Where a watcher may go on, if its frame is of this boot.
    pub(crate) fn resume(&self, point: Option<ResumePoint>) -> Option<u64> {
        point.filter(|point| point.boot_id == self.modes().log.boot_id()).map(|point| point.seq)
    }

    /// The frame after `seq`; a snapshot where that is not to be had; or the instant at which there will be one at the latest.
    pub(crate) fn next_frame(&self, seq: Option<u64>) -> Result<Frame, Instant> {
        let now = Moment::now();
        let mut modes = self.modes();
        modes.advance(now);
        if modes.last_frame + BEAT <= now.at {
            modes.flush(now);
        }
        self.announce(&modes);
        match seq.map_or(Next::Unknown, |seq| modes.log.after(seq)) {
            Next::Frame(frame) => Ok(*frame),
            Next::Nothing => Err(modes.last_frame + BEAT),
            Next::Unknown => Ok(modes.log.snapshot(modes.snapshot(), now)),
        }
    }

    /// The same, not kept alive: for what the monitor itself keeps alive.
    pub fn downgrade(&self) -> WeakMonitor {
        WeakMonitor(Arc::downgrade(&self.0))
    }

    fn modes(&self) -> MutexGuard<'_, Modes> {
        self.0.modes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, modes: &Modes) {
        let head = modes.log.head();
        self.0.head.send_if_modified(|known| std::mem::replace(known, head) != head);
    }
}

impl WeakMonitor {
    /// While somebody keeps it alive.
    pub fn upgrade(&self) -> Option<Monitor> {
        self.0.upgrade().map(Monitor)
    }
}

impl Modes {
    /// Applies what time has changed, and logs a frame if it did.
    fn advance(&mut self, now: Moment) {
        let mut changed = false;
        for watched in &mut self.watched {
            let before = watched.face();
            watched.signal.pass(now);
            let ended = watched.attention.pass(&watched.signal, now);
            if watched.face() != before {
                watched.report(self.log.service());
            }
            if watched.face() != before || ended {
                watched.unsent = true;
                changed = true;
            }
        }
        if changed {
            self.flush(now);
        }
    }

    /// Logs a frame: all that has changed since the last one, or a heartbeat.
    fn flush(&mut self, now: Moment) {
        let watched = self.watched.iter_mut();
        let modes: Vec<ModeStatus> =
            watched.filter_map(|watched| std::mem::take(&mut watched.unsent).then(|| watched.status())).collect();
        let (runs, armed) = self.board.take_unsent();
        let (drills, load) = self.board.take_unsent_drills();
        let delta = Delta { modes, runs, armed, drills, load };
        let body = if delta == Delta::default() { Body::Heartbeat(Heartbeat {}) } else { Body::Delta(delta) };
        self.log.push(body, now);
        self.last_frame = now.at;
    }

    fn statuses(&self) -> Vec<ModeStatus> {
        self.watched.iter().map(Watched::status).chain(self.undetected.iter().cloned()).collect()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            modes: self.statuses(),
            runs: self.board.runs(),
            armed: Some(self.board.armed()),
            drills: self.board.drills(),
            load: self.board.load(),
            // Each watcher's own.
            caller: None,
        }
    }
}

impl Watched {
    /// What a watcher has to hear of at once when it changes.
    fn face(&self) -> (State, crate::Severity) {
        (self.attention.state(&self.signal), self.signal.severity())
    }

    fn status(&self) -> ModeStatus {
        self.attention.status(&self.signal)
    }

    fn report(&self, service: &str) {
        let (state, severity) = self.face();
        let status = self.status();
        let detail = status.evidence.map(|evidence| evidence.detail).unwrap_or_default();
        let id = self.signal.id();
        match state {
            State::Open => tracing::warn!(id, service, %severity, rule = status.rule, detail, "failure mode is open"),
            State::Unknown => tracing::warn!(id, service, rule = status.rule, "failure mode cannot be seen"),
            _ => tracing::info!(id, service, state = state.as_str_name(), detail, "failure mode changed"),
        }
    }
}

fn detectable(id: &str) -> Result<&'static FailureMode, MonitorError> {
    let mode = Catalogue::embedded().get(id).ok_or_else(|| MonitorError::Unknown { id: id.to_owned() })?;
    if mode.planned { Err(MonitorError::Planned { id: id.to_owned() }) } else { Ok(mode) }
}

fn undetected(service: &str, detects: &[&str]) -> Vec<ModeStatus> {
    let modes = Catalogue::embedded().modes().iter();
    modes
        .filter(|mode| !detects.contains(&mode.id.as_str()))
        .filter_map(|mode| standing_without_detector(mode, service))
        .collect()
}

/// PLANNED or UNKNOWN; `None` for a mode that another service speaks for.
fn standing_without_detector(mode: &FailureMode, service: &str) -> Option<ModeStatus> {
    let (state, rule) = match mode.planned {
        true => (State::Planned, "nothing detects it yet"),
        false if mode.is_owned_by(service) => (State::Unknown, "this process has no detector for it"),
        false => return None,
    };
    let severity = Severity::from(mode.severity).into();
    Some(ModeStatus { id: mode.id.clone(), state: state.into(), severity, rule: rule.to_owned(), ..ModeStatus::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(monitor: &Monitor, id: &str) -> State {
        monitor.statuses().iter().find(|status| status.id == id).unwrap().state()
    }

    #[test]
    fn only_modes_that_the_catalogue_says_are_detected_can_be() {
        let planned = Monitor::new("query", "test", &["PR-03"]).unwrap_err();
        assert_eq!(planned, MonitorError::Planned { id: "PR-03".to_owned() });
        let unknown = Monitor::new("rollup", "test", &["AN-99"]).unwrap_err();
        assert_eq!(unknown, MonitorError::Unknown { id: "AN-99".to_owned() });
        let monitor = Monitor::new("ingest", "test", &["AN-02"]).unwrap();
        let foreign = monitor.expect_every("AN-03", PERIOD).unwrap_err();
        assert_eq!(foreign.to_string(), "AN-03 is not among the failure modes that ingest detects");
    }

    #[test]
    fn a_mode_named_twice_is_watched_once() {
        let monitor = Monitor::new("ingest", "test", &["AN-02", "AN-02"]).unwrap();
        assert_eq!(monitor.statuses().iter().filter(|status| status.id == "AN-02").count(), 1);
    }

    #[test]
    fn a_reading_nobody_expects_or_that_is_no_number_changes_nothing() {
        let monitor = Monitor::new("ingest", "test", &["AN-02"]).unwrap();
        let (head, before) = (monitor.head(), monitor.statuses());
        monitor.observe("AN-03", Reading::bad(1.0, ""));
        monitor.observe("PR-03", Reading::good(1.0, ""));
        monitor.observe("nonsense", Reading::good(1.0, ""));
        monitor.observe("AN-02", Reading::good(f64::NAN, ""));
        assert_eq!(monitor.statuses(), before);
        assert!(!head.has_changed().unwrap());
        assert_eq!(state(&monitor, "AN-02"), State::Unknown);
        assert_eq!(state(&monitor, "PR-03"), State::Planned);
    }

    #[tokio::test(start_paused = true)]
    async fn open_modes_are_those_open_now_without_anyone_watching() {
        let monitor = Monitor::new("ingest", "test", &["AN-02", "AN-08"]).unwrap();
        monitor.expect_every("AN-08", Duration::from_secs(30)).unwrap();
        monitor.observe("AN-02", Reading::bad(400.0, "BILLING"));
        monitor.observe("AN-08", Reading::bad(1.0, "one record apart"));
        let open = |monitor: &Monitor| monitor.open_modes().into_iter().map(|status| status.id).collect::<Vec<_>>();
        assert_eq!(open(&monitor), ["AN-02"], "AN-08 has a hold time");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(open(&monitor), ["AN-02", "AN-08"]);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(open(&monitor), ["AN-08"], "the detector of AN-02 is silent");
        assert_eq!(state(&monitor, "AN-02"), State::Unknown);
    }

    #[test]
    fn a_period_beyond_all_measure_is_no_trouble() {
        let monitor = Monitor::new("ingest", "test", &["AN-02"]).unwrap();
        monitor.expect_every("AN-02", Duration::MAX).unwrap();
        monitor.observe("AN-02", Reading::good(1.0, ""));
        assert_eq!(state(&monitor, "AN-02"), State::Ok);
    }
}
