//! One failure mode's state, as a function of its readings and of time.
//!
//! ```text
//!            good            bad                bad for `hold`
//!  no reading ──▶ OK ─────────────▶ SUSPECT ─────────────────▶ OPEN
//!                  ▲  good for `clear` │                         │
//!                  └───────────────────┴─────────────────────────┘
//!  any of them, no reading for 3 periods ──▶ UNKNOWN ──reading──▶ as before the silence
//! ```
//!
//! Time alone can make a mode worse (open, unknown), never better: it takes a reading to close one.

use crate::{FailureMode, Reading, Severity, monitor::Longest};
use loadline_proto::health::{self as wire, Evidence, ModeStatus, State};
use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Readings kept for a sparkline.
const HISTORY: usize = 60;
/// A detector is silent after so many of its periods without a reading.
const SILENT_PERIODS: u32 = 3;
/// A detector that reports less often than that is as good as none.
const LONGEST_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// One instant on both clocks: the monotonic one decides, the wall clock is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), wall: SystemTime::now() }
    }

    /// The wall clock's time of an instant before this moment.
    fn wall_of(self, earlier: Instant) -> SystemTime {
        let ago = self.at.saturating_duration_since(earlier);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ok,
    Suspect,
    Open,
}

/// Readings of one kind without a break.
#[derive(Debug, Clone, Copy)]
struct Run {
    bad: bool,
    since: Instant,
}

#[derive(Debug)]
struct Latest {
    reading: Reading,
    taken: Moment,
}

#[derive(Debug)]
pub(crate) struct Signal {
    mode: &'static FailureMode,
    period: Duration,
    longest: Longest,
    /// When silence began to count: the last reading, or the start.
    heard: Instant,
    silent: bool,
    /// `None` until the first reading.
    standing: Option<Standing>,
    run: Option<Run>,
    latest: Option<Latest>,
    /// Severity and rule of the last bad reading, kept until OK so that they do not flicker while the mode closes.
    impact: (Severity, String),
    history: VecDeque<f64>,
    since: SystemTime,
}

impl Signal {
    pub(crate) fn new(mode: &'static FailureMode, period: Duration, now: Moment) -> Self {
        Self {
            mode,
            period,
            longest: Longest::UNLIMITED,
            heard: now.at,
            silent: false,
            standing: None,
            run: None,
            latest: None,
            impact: (mode.severity, String::new()),
            history: VecDeque::with_capacity(HISTORY),
            since: now.wall,
        }
    }

    pub(crate) fn id(&self) -> &'static str {
        &self.mode.id
    }

    pub(crate) fn set_period(&mut self, period: Duration) {
        self.period = period.min(LONGEST_PERIOD);
    }

    pub(crate) fn wait_at_most(&mut self, longest: Longest) {
        self.longest = longest;
    }

    pub(crate) fn state(&self) -> State {
        match self.standing {
            _ if self.silent => State::Unknown,
            None => State::Unknown,
            Some(Standing::Ok) => State::Ok,
            Some(Standing::Suspect) => State::Suspect,
            Some(Standing::Open) => State::Open,
        }
    }

    pub(crate) fn severity(&self) -> Severity {
        self.impact.0
    }

    /// Whether it is OK by a reading taken at `since` or later: what was good before proves nothing about what was done then.
    pub(crate) fn is_good_since(&self, since: Instant) -> bool {
        let fresh = self.latest.as_ref().is_some_and(|latest| since <= latest.taken.at && !latest.reading.bad);
        fresh && self.state() == State::Ok
    }

    /// Takes a reading. The caller has let time pass until `now` before.
    pub(crate) fn observe(&mut self, reading: Reading, now: Moment) {
        let before = self.state();
        let unbroken = self.run.filter(|run| !self.silent && run.bad == reading.bad);
        let run = unbroken.unwrap_or(Run { bad: reading.bad, since: now.at });
        self.run = Some(run);
        self.silent = false;
        self.heard = now.at;
        self.standing = Some(self.standing_after(run, now.at));
        self.impact = self.impact_after(&reading);
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(reading.value);
        self.latest = Some(Latest { reading, taken: now });
        if self.state() != before {
            self.since = now.wall;
        }
    }

    /// Applies what time alone has changed until `now`, each change as of the instant it was due.
    pub(crate) fn pass(&mut self, now: Moment) {
        let silence = self.heard + self.silence();
        if let (Some(Standing::Suspect), Some(Run { bad: true, since }), false) = (self.standing, self.run, self.silent) {
            let due = since + self.hold();
            if due <= now.at && due < silence {
                self.standing = Some(Standing::Open);
                self.since = now.wall_of(due);
            }
        }
        if self.standing.is_some() && !self.silent && silence <= now.at {
            self.silent = true;
            self.since = now.wall_of(silence);
        }
    }

    /// How it stands, for the wire.
    pub(crate) fn status(&self) -> ModeStatus {
        let (severity, _) = self.impact;
        ModeStatus {
            id: self.mode.id.clone(),
            state: self.state().into(),
            severity: wire::Severity::from(severity).into(),
            rule: self.rule(),
            since: Some(self.since.into()),
            evidence: self.latest.as_ref().map(|latest| self.evidence(latest)),
            time_to_loss: self.latest.as_ref().and_then(|latest| latest.reading.time_to_loss).and_then(|d| d.try_into().ok()),
            ..ModeStatus::default()
        }
    }

    fn hold(&self) -> Duration {
        self.longest.of(self.mode.threshold.hold())
    }

    fn clear(&self) -> Duration {
        self.longest.of(self.mode.threshold.clear())
    }

    fn silence(&self) -> Duration {
        self.period * SILENT_PERIODS
    }

    fn standing_after(&self, run: Run, now: Instant) -> Standing {
        let lasted = now.saturating_duration_since(run.since);
        match (self.standing, run.bad) {
            (Some(Standing::Open), true) => Standing::Open,
            (_, true) if lasted >= self.hold() => Standing::Open,
            (_, true) => Standing::Suspect,
            (Some(worse @ (Standing::Suspect | Standing::Open)), false) if lasted < self.clear() => worse,
            (_, false) => Standing::Ok,
        }
    }

    fn impact_after(&self, reading: &Reading) -> (Severity, String) {
        if reading.bad {
            let severity = reading.severity.unwrap_or(self.mode.severity);
            (severity, reading.rule.clone().unwrap_or_else(|| self.mode.rule_for(severity)))
        } else if self.standing == Some(Standing::Ok) {
            (self.mode.severity, String::new())
        } else {
            self.impact.clone()
        }
    }

    fn rule(&self) -> String {
        match (self.standing, self.silent) {
            (None, _) => "no reading yet".to_owned(),
            (Some(standing), true) => format!("no reading for {:?}; it was {standing:?} before", self.silence()),
            (Some(_), false) => self.impact.1.clone(),
        }
    }

    fn evidence(&self, Latest { reading, taken }: &Latest) -> Evidence {
        Evidence {
            value: reading.value,
            threshold: reading.threshold.unwrap_or(self.mode.threshold.value),
            unit: self.mode.threshold.unit.clone(),
            detail: reading.detail.clone(),
            measured_at: Some(taken.wall.into()),
            history: self.history.iter().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;

    /// A signal of AN-08 (hold 2 s, clear 5 s) read at chosen seconds after its start.
    struct Bench {
        signal: Signal,
        start: Moment,
    }

    impl Bench {
        fn new() -> Self {
            let start = Moment::now();
            let mode = Catalogue::embedded().get("AN-08").unwrap();
            Self { signal: Signal::new(mode, Duration::from_secs(5), start), start }
        }

        fn at(&self, seconds: f64) -> Moment {
            let later = Duration::from_secs_f64(seconds);
            Moment { at: self.start.at + later, wall: self.start.wall + later }
        }

        fn read(&mut self, seconds: f64, reading: Reading) -> State {
            let now = self.at(seconds);
            self.signal.pass(now);
            self.signal.observe(reading, now);
            self.signal.state()
        }

        fn good(&mut self, seconds: f64) -> State {
            self.read(seconds, Reading::good(0.0, "even"))
        }

        fn bad(&mut self, seconds: f64) -> State {
            self.read(seconds, Reading::bad(3.0, "3 records apart"))
        }

        fn pass(&mut self, seconds: f64) -> State {
            self.signal.pass(self.at(seconds));
            self.signal.state()
        }

        fn since(&self) -> f64 {
            self.signal.since.duration_since(self.start.wall).unwrap().as_secs_f64()
        }
    }

    #[test]
    fn nothing_is_known_before_the_first_reading() {
        let mut bench = Bench::new();
        assert_eq!(bench.pass(1.0), State::Unknown);
        assert_eq!(bench.pass(100.0), State::Unknown);
        assert_eq!(bench.signal.status().rule, "no reading yet");
        assert_eq!(bench.good(101.0), State::Ok);
    }

    #[test]
    fn bad_for_the_hold_time_opens() {
        let mut bench = Bench::new();
        assert_eq!(bench.good(0.0), State::Ok);
        assert_eq!(bench.bad(1.0), State::Suspect);
        assert_eq!(bench.bad(2.9), State::Suspect);
        assert_eq!(bench.bad(3.0), State::Open);
    }

    #[test]
    fn a_suspect_opens_when_its_time_is_up_without_another_reading() {
        let mut bench = Bench::new();
        assert_eq!(bench.bad(1.0), State::Suspect);
        assert_eq!(bench.pass(2.9), State::Suspect);
        assert_eq!(bench.pass(4.0), State::Open);
        assert!((bench.since() - 3.0).abs() < 1e-6, "open since it was due, not since somebody looked");
    }

    #[test]
    fn a_good_reading_in_between_starts_the_hold_time_again() {
        let mut bench = Bench::new();
        for second in 0..20 {
            let state = if second % 2 == 0 { bench.bad(second.into()) } else { bench.good(second.into()) };
            assert_eq!(state, State::Suspect, "flapping is neither fine nor open, at {second} s");
        }
    }

    #[test]
    fn good_for_the_clear_time_closes_and_a_relapse_keeps_it_open() {
        let mut bench = Bench::new();
        bench.bad(0.0);
        assert_eq!(bench.bad(2.0), State::Open);
        assert_eq!(bench.good(3.0), State::Open);
        assert_eq!(bench.good(7.0), State::Open);
        assert_eq!(bench.bad(7.5), State::Open, "a relapse does not have to prove itself again");
        assert_eq!(bench.good(8.0), State::Open);
        assert_eq!(bench.good(12.9), State::Open);
        assert_eq!(bench.good(13.0), State::Ok);
        assert!((bench.since() - 13.0).abs() < 1e-6);
    }

    #[test]
    fn time_alone_never_closes() {
        let mut bench = Bench::new();
        bench.bad(0.0);
        bench.bad(2.0);
        assert_eq!(bench.good(3.0), State::Open);
        assert_eq!(bench.pass(17.9), State::Open);
        assert_eq!(bench.pass(18.0), State::Unknown);
    }

    #[test]
    fn three_periods_of_silence_are_unknown_whatever_came_before() {
        let mut bench = Bench::new();
        bench.good(0.0);
        assert_eq!(bench.pass(14.9), State::Ok);
        assert_eq!(bench.pass(40.0), State::Unknown);
        assert!((bench.since() - 15.0).abs() < 1e-6);
        assert_eq!(bench.signal.status().rule, "no reading for 15s; it was Ok before");
        assert_eq!(bench.good(41.0), State::Ok);
    }

    #[test]
    fn an_open_mode_is_open_again_after_a_silence() {
        let mut bench = Bench::new();
        bench.bad(0.0);
        bench.bad(2.0);
        assert_eq!(bench.pass(30.0), State::Unknown);
        assert_eq!(bench.good(31.0), State::Open, "silence is no proof of health");
        assert_eq!(bench.good(35.9), State::Open);
        assert_eq!(bench.good(36.0), State::Ok);
    }

    #[test]
    fn time_spent_silent_does_not_count_as_bad() {
        let mut bench = Bench::new();
        bench.signal.set_period(Duration::from_millis(100));
        assert_eq!(bench.bad(0.0), State::Suspect);
        assert_eq!(bench.pass(1.0), State::Unknown);
        assert_eq!(bench.bad(10.0), State::Suspect);
    }

    #[test]
    fn a_raised_severity_names_its_rule_and_stays_until_closed() {
        let mut bench = Bench::new();
        bench.bad(0.0);
        assert_eq!(bench.signal.status().rule, "P2, the base");
        let worse = Reading { rule: Some("an invoice was sent".to_owned()), ..Reading::bad(9.0, "").raised(Severity::P1) };
        bench.read(2.0, worse);
        assert_eq!((bench.signal.state(), bench.signal.severity()), (State::Open, Severity::P1));
        bench.good(3.0);
        assert_eq!(bench.signal.status().rule, "an invoice was sent");
        bench.good(8.0);
        assert_eq!((bench.signal.state(), bench.signal.severity()), (State::Ok, Severity::P2));
        assert_eq!(bench.signal.status().rule, "");
    }

    #[test]
    fn only_a_reading_taken_since_then_shows_that_it_is_good_since_then() {
        let mut bench = Bench::new();
        bench.good(0.0);
        assert!(bench.signal.is_good_since(bench.at(0.0).at));
        assert!(!bench.signal.is_good_since(bench.at(0.1).at));
        bench.bad(1.0);
        bench.good(2.0);
        assert!(!bench.signal.is_good_since(bench.at(1.5).at), "good, but not for long enough to be OK");
        bench.good(7.0);
        assert!(bench.signal.is_good_since(bench.at(1.5).at));
        bench.pass(60.0);
        assert!(!bench.signal.is_good_since(bench.at(1.5).at), "silent");
    }

    #[test]
    fn the_last_sixty_readings_are_kept_oldest_first() {
        let mut bench = Bench::new();
        for n in 0..75 {
            bench.read(f64::from(n), Reading::good(f64::from(n), ""));
        }
        let history = bench.signal.status().evidence.unwrap().history;
        assert_eq!(history, (15..75).map(f64::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_reading_brings_its_own_threshold_and_loss_clock() {
        let mut bench = Bench::new();
        bench.read(0.0, Reading::bad(7.0, "BILLING").against(5.5).losing_in(Duration::from_secs(90)));
        let status = bench.signal.status();
        assert_eq!(status.time_to_loss.unwrap().seconds, 90);
        let evidence = status.evidence.unwrap();
        assert_eq!((evidence.value, evidence.threshold, evidence.unit.as_str()), (7.0, 5.5, "records"));
        bench.good(1.0);
        let status = bench.signal.status();
        assert_eq!((status.evidence.unwrap().threshold, status.time_to_loss), (0.0, None));
    }
}
