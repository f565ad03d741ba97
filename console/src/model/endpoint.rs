//! One process that the console watches: its connection, its frames, and how far they can be trusted now.

use super::{
    drill::DrillBook,
    remedy::{Plan, Run},
    report::Report,
    standing::{Knowledge, Severity, blind_severity},
};
use crate::{moment::Moment, text::clean};
use jiff::Timestamp;
use loadline_proto::health::{self as wire, ArmedPlans, RemedyRun, ServiceLoad};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Silence after which nothing it said is taken to hold.
pub const BLIND_AFTER: Duration = Duration::from_secs(5);
/// Late after so many times what it promised.
const LATE_FACTOR: f64 = 2.5;
/// Shortest promise taken at its word, so that a broken one does not make every frame late.
const SHORTEST_PROMISE: Duration = Duration::from_millis(200);
/// Five minutes of history, this long each.
pub const HISTORY_STEP: Duration = Duration::from_secs(10);
/// Most runs kept of one process.
const RUNS: usize = 100;
/// Most plans kept that wait there.
const ARMED: usize = 64;
/// Steps of history kept.
pub const HISTORY_STEPS: usize = 30;

/// How the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Being made.
    Connecting,
    /// Made, and the first frame awaited or come.
    Up,
    /// Broken; made again after a while.
    Down {
        /// Why.
        error: String,
        /// When it is tried again, by the console's `elapsed`.
        retry_at: Duration,
    },
}

/// What `grpc.health.v1` says of the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Not asked, or not understood.
    Unsaid,
    /// It serves.
    Yes,
    /// It does not.
    No,
}

/// One process.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// What it says it is; until then what it is expected to be; empty where nothing is expected.
    pub service: String,
    /// Its build.
    pub build: String,
    /// The installation that it belongs to; empty: it names none.
    pub installation: String,
    /// Its failure modes have no longer hold, clear or look-back time, because they are shortened for tests.
    pub times_at_most: Option<Duration>,
    /// The connection.
    pub link: Link,
    /// By the standard health protocol.
    pub serving: Serving,
    /// Which watch its frames must come from; frames of an older one are too late.
    pub watch: u64,
    /// The boot and number of its last frame; `None` until a snapshot has come on this watch.
    pub position: Option<(String, u64)>,
    /// When its last frame came.
    pub heard: Option<Duration>,
    /// When the console began to wait for it.
    pub since: Duration,
    /// The next frame was to come within this time.
    pub next_within: Duration,
    /// Its clock less ours, when the last frame came; positive: it is ahead. In seconds.
    pub skew: f64,
    /// Frames that did not follow the one before.
    pub gaps: u64,
    /// Frames that came twice, from an older watch, or with nothing in them.
    pub ignored: u64,
    /// What it says of each mode.
    pub modes: BTreeMap<String, Report>,
    /// The worst of it over the last minutes, oldest first.
    pub history: VecDeque<Step>,
    /// Since when its stream is broken or it does not serve, by the console's `elapsed`.
    pub down: Option<Duration>,
    /// What last broke the stream.
    pub fault: Option<String>,
    /// Runs of its remedies, the latest begun last.
    pub runs: Vec<Run>,
    /// Plans that wait there to be confirmed.
    pub armed: Vec<Plan>,
    /// What it has proven.
    pub drills: DrillBook,
    /// What it has to do.
    pub load: Option<Load>,
    /// Whom it takes this console for.
    pub caller: Option<Caller>,
}

/// Somebody as a process knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As the audit has it.
    pub name: String,
    /// What the name may do.
    pub role: String,
}

/// What a process has to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Pieces of work a second.
    pub rate: f64,
    /// What a piece is; empty: it has no such thing.
    pub unit: String,
    /// 99th percentile of the time that a piece took.
    pub p99: Option<Duration>,
}

impl Load {
    /// Whether it is a number of now, as of jobs that run, and not of a second.
    pub fn is_of_now(&self) -> bool {
        self.unit.ends_with("running")
    }
}

/// What is remembered of a process at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The worst of it.
    pub worst: Worst,
    /// Pieces of work a second, where that was known.
    pub rate: Option<f64>,
}

/// A step of an endpoint's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worst {
    /// Not seen.
    Blind,
    /// Nothing was open.
    Nothing,
    /// The worst that was open.
    Open(Severity),
}

impl Endpoint {
    /// Not heard of yet.
    pub fn new(address: &str, expected: &str, now: Moment) -> Self {
        Self {
            address: address.to_owned(),
            service: expected.to_owned(),
            build: String::new(),
            installation: String::new(),
            times_at_most: None,
            link: Link::Connecting,
            serving: Serving::Unsaid,
            watch: 0,
            position: None,
            heard: None,
            since: now.elapsed,
            next_within: Duration::from_secs(1),
            skew: 0.0,
            gaps: 0,
            ignored: 0,
            modes: BTreeMap::new(),
            history: VecDeque::new(),
            down: None,
            fault: None,
            runs: Vec::new(),
            armed: Vec::new(),
            drills: DrillBook::default(),
            load: None,
            caller: None,
        }
    }

    /// Its stream broke, or it says that it does not serve.
    pub fn goes_down(&mut self, now: Moment) {
        self.down.get_or_insert(now.elapsed);
    }

    /// It is not down any more once its stream speaks again and it does not say otherwise.
    pub fn comes_up(&mut self) {
        if self.link == Link::Up && self.position.is_some() && self.serving != Serving::No {
            (self.down, self.fault) = (None, None);
        }
    }

    /// What its clock says now, as far as its last frame tells.
    pub fn its_time(&self, now: Moment) -> Timestamp {
        let skew = jiff::SignedDuration::try_from_secs_f64(self.skew).unwrap_or_default();
        now.wall.checked_add(skew).unwrap_or(now.wall)
    }

    /// Takes a run that changed or is new, and hands back what was known of it.
    pub fn take_run(&mut self, run: Run) -> Option<Run> {
        if let Some(known) = self.runs.iter_mut().find(|known| known.id == run.id) {
            return Some(std::mem::replace(known, run));
        }
        if self.runs.len() == RUNS {
            self.runs.remove(0);
        }
        self.runs.push(run);
        None
    }

    /// Takes all runs that a snapshot has.
    pub fn take_runs(&mut self, runs: Vec<RemedyRun>, sent: Timestamp, now: Moment) {
        let skipped = runs.len().saturating_sub(RUNS);
        self.runs = runs.into_iter().skip(skipped).map(|run| Run::from_wire(run, sent, now)).collect();
    }

    /// Takes the plans that wait.
    pub fn take_armed(&mut self, armed: ArmedPlans, sent: Timestamp, now: Moment) {
        let plans = armed.plans.into_iter().take(ARMED);
        self.armed = plans.map(|plan| Plan::from_wire(plan, Some(sent), now.elapsed)).collect();
    }

    /// Takes what it has to do.
    pub fn take_load(&mut self, load: ServiceLoad) {
        let p99 = load.p99.and_then(|time| Duration::try_from(time).ok());
        self.load = Some(Load { rate: load.rate, unit: clean(&load.unit), p99 });
    }

    /// Takes whom it takes this console for.
    pub fn take_caller(&mut self, caller: Option<wire::Caller>) {
        self.caller = caller.map(|caller| Caller { name: clean(&caller.name), role: clean(&caller.role) });
    }

    /// Its service, or its address while that is not known.
    pub fn name(&self) -> &str {
        if self.service.is_empty() { &self.address } else { &self.service }
    }

    /// How far what it said can be trusted now.
    pub fn knowledge(&self, now: Moment) -> Knowledge {
        let silence = self.silence(now);
        match (&self.position, self.heard) {
            _ if silence >= BLIND_AFTER => Knowledge::Blind,
            (_, None) => Knowledge::Waiting,
            // Frames that do not join up: nothing holds until the snapshot is there.
            (None, Some(_)) => Knowledge::Blind,
            (Some(_), Some(_)) if silence > self.patience() || self.link != Link::Up => Knowledge::Late,
            _ => Knowledge::Live,
        }
    }

    /// Silence that is not late yet.
    fn patience(&self) -> Duration {
        self.next_within.clamp(SHORTEST_PROMISE, BLIND_AFTER).mul_f64(LATE_FACTOR)
    }

    /// When it becomes late and blind if it stays silent, by the console's `elapsed`; a moment after, so that it is.
    pub fn deadlines(&self) -> [Duration; 2] {
        let heard = self.heard.unwrap_or(self.since);
        [self.patience(), BLIND_AFTER].map(|silence| heard + silence + Duration::from_millis(1))
    }

    /// How long it has been silent.
    pub fn silence(&self, now: Moment) -> Duration {
        now.since(self.heard.unwrap_or(self.since))
    }

    /// What it weighs while it is blind.
    pub fn blind_severity(&self) -> Severity {
        blind_severity(&self.service)
    }

    /// The worst that it says is open.
    pub fn worst_open(&self) -> Option<Severity> {
        let open = self.modes.values().filter(|report| report.state.is_active());
        open.filter_map(|report| report.severity).min()
    }

    /// Adds a step to its history.
    pub fn remember(&mut self, now: Moment) {
        let worst = match self.knowledge(now) {
            Knowledge::Blind | Knowledge::Waiting => Worst::Blind,
            Knowledge::Live | Knowledge::Late => self.worst_open().map_or(Worst::Nothing, Worst::Open),
        };
        if self.history.len() == HISTORY_STEPS {
            self.history.pop_front();
        }
        let load = self.load.as_ref().filter(|load| worst != Worst::Blind && !load.unit.is_empty());
        self.history.push_back(Step { worst, rate: load.map(|load| load.rate) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn heard(seconds_ago: f64) -> (Endpoint, Moment) {
        let start = Moment::start(Timestamp::UNIX_EPOCH);
        let mut endpoint = Endpoint::new("host:1", "ingest", start);
        endpoint.link = Link::Up;
        endpoint.heard = Some(Duration::ZERO);
        endpoint.position = Some(("boot".to_owned(), 1));
        (endpoint, start.after(Duration::from_secs_f64(seconds_ago)))
    }

    #[test]
    fn it_is_late_after_two_and_a_half_promises_and_blind_after_five_seconds() {
        for (seconds, knowledge) in
            [(0.0, Knowledge::Live), (2.5, Knowledge::Live), (2.6, Knowledge::Late), (5.0, Knowledge::Blind)]
        {
            let (endpoint, now) = heard(seconds);
            assert_eq!(endpoint.knowledge(now), knowledge, "{seconds}");
        }
    }

    #[test]
    fn a_promise_of_an_hour_does_not_put_blindness_off() {
        let (mut endpoint, now) = heard(5.0);
        endpoint.next_within = Duration::from_secs(3_600);
        assert_eq!(endpoint.knowledge(now), Knowledge::Blind);
    }

    #[test]
    fn without_a_snapshot_or_a_connection_it_is_not_live() {
        let (mut endpoint, now) = heard(0.1);
        endpoint.link = Link::Connecting;
        assert_eq!(endpoint.knowledge(now), Knowledge::Late);
        endpoint.position = None;
        assert_eq!(endpoint.knowledge(now), Knowledge::Blind);
        endpoint.heard = None;
        assert_eq!(endpoint.knowledge(now), Knowledge::Waiting);
    }
}
