//! Drills: modes caused on purpose, and what that has proven.

use super::report::{span, timestamp};
use crate::{moment::Moment, text::clean};
use jiff::Timestamp;
use loadline_proto::health::{
    self as wire,
    drill_run::{Phase as WirePhase, Verdict as WireVerdict},
};
use std::{collections::BTreeMap, time::Duration};

/// Most drills kept of one process.
const LISTED: usize = 1_000;

/// What a drill found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as the contract has them; `words` says each")]
pub enum Verdict {
    Running,
    Passed,
    NotRun,
    NotInjected,
    Undetected,
    Misdiagnosed,
    Late,
    Uncontained,
    Unremediated,
    Lossy,
    Duplicated,
    Residue,
    Unverified,
    Aborted,
    FalseAlarm,
    /// Of a newer server.
    Foreign(i32),
}

impl Verdict {
    /// From the wire.
    pub fn from_wire(number: i32) -> Self {
        match WireVerdict::try_from(number) {
            Ok(WireVerdict::Running) => Self::Running,
            Ok(WireVerdict::Passed) => Self::Passed,
            Ok(WireVerdict::NotRun) => Self::NotRun,
            Ok(WireVerdict::NotInjected) => Self::NotInjected,
            Ok(WireVerdict::Undetected) => Self::Undetected,
            Ok(WireVerdict::Misdiagnosed) => Self::Misdiagnosed,
            Ok(WireVerdict::Late) => Self::Late,
            Ok(WireVerdict::Uncontained) => Self::Uncontained,
            Ok(WireVerdict::Unremediated) => Self::Unremediated,
            Ok(WireVerdict::Lossy) => Self::Lossy,
            Ok(WireVerdict::Duplicated) => Self::Duplicated,
            Ok(WireVerdict::Residue) => Self::Residue,
            Ok(WireVerdict::Unverified) => Self::Unverified,
            Ok(WireVerdict::Aborted) => Self::Aborted,
            Ok(WireVerdict::FalseAlarm) => Self::FalseAlarm,
            Ok(WireVerdict::Unspecified) | Err(_) => Self::Foreign(number),
        }
    }

    /// In a word or two.
    pub fn words(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Passed => "passed",
            Self::NotRun => "not run",
            Self::NotInjected => "not injected",
            Self::Undetected => "undetected",
            Self::Misdiagnosed => "misdiagnosed",
            Self::Late => "late",
            Self::Uncontained => "uncontained",
            Self::Unremediated => "unremediated",
            Self::Lossy => "lossy",
            Self::Duplicated => "duplicated",
            Self::Residue => "residue",
            Self::Unverified => "unverified",
            Self::Aborted => "aborted",
            Self::FalseAlarm => "false alarm",
            Self::Foreign(_) => "not known here",
        }
    }

    /// Whether it says nothing about the mode: the fault was never there, or not for long enough.
    pub fn is_void(self) -> bool {
        matches!(self, Self::NotRun | Self::NotInjected | Self::Aborted | Self::Foreign(_))
    }
}

/// What a drill is doing.
fn phase(number: i32) -> &'static str {
    match WirePhase::try_from(number) {
        Ok(WirePhase::Steady) => "steady state",
        Ok(WirePhase::Inject) => "inject",
        Ok(WirePhase::Detect) => "detect",
        Ok(WirePhase::Contain) => "contain",
        Ok(WirePhase::Remedy) => "remedy",
        Ok(WirePhase::Verify) => "verify",
        Ok(WirePhase::Undo) => "undo",
        Ok(WirePhase::Done) => "done",
        Ok(WirePhase::Unspecified) | Err(_) => "not known here",
    }
}

/// A drill that is or was run.
#[derive(Debug, Clone, PartialEq)]
pub struct DrillRun {
    /// As the server has it; sent back as it came.
    pub id: String,
    /// Of which mode.
    pub mode: String,
    /// Without the fault.
    pub control: bool,
    /// What it is doing, in a word.
    pub phase: &'static str,
    /// What it found.
    pub verdict: Verdict,
    /// What it does now, or why it ended as it did.
    pub detail: String,
    /// Times to detect, contain, remedy and verify, as far as it came.
    pub times: [Option<Duration>; 4],
    /// Events lost.
    pub lost: u64,
    /// Events counted twice.
    pub duplicated: u64,
    /// Who started it.
    pub by: String,
    /// In which build.
    pub build: String,
    /// How long ago it began and ended when it was received.
    /// No time of a failure mode was longer meanwhile, because they were shortened for tests.
    pub times_at_most: Option<Duration>,
    started: Option<Duration>,
    ended: Option<Duration>,
    /// When it was, by the console's `elapsed`.
    received: Duration,
}

impl DrillRun {
    /// From the wire, when it was `then` by the server's clock.
    pub fn from_wire(run: wire::DrillRun, then: Timestamp, now: Moment) -> Self {
        let time = |time: Option<prost_types::Duration>| time.and_then(|time| Duration::try_from(time).ok());
        let ago = |at: Option<&prost_types::Timestamp>| timestamp(at).map(|at| span(at, then));
        Self {
            mode: clean(&run.failure_mode),
            control: run.control,
            phase: phase(run.phase),
            verdict: Verdict::from_wire(run.verdict),
            detail: clean(&run.detail),
            times: [run.detected_after, run.contained_after, run.remedied_after, run.verified_after].map(time),
            lost: run.lost,
            duplicated: run.duplicated,
            by: clean(&run.started_by),
            build: clean(&run.build),
            times_at_most: time(run.times_at_most),
            started: ago(run.started_at.as_ref()),
            ended: ago(run.finished_at.as_ref()),
            received: now.elapsed,
            id: run.id,
        }
    }

    /// Whether it is under way.
    pub fn is_under_way(&self) -> bool {
        self.verdict == Verdict::Running
    }

    /// How long ago it ended; of one under way, how long ago it began.
    pub fn age(&self, now: Moment) -> Duration {
        let then = if self.is_under_way() { self.started } else { self.ended.or(self.started) };
        then.unwrap_or_default().saturating_add(now.since(self.received))
    }

    /// The verdict, with how many were lost or counted twice.
    pub fn found(&self) -> String {
        match self.verdict {
            Verdict::Lossy => format!("lossy({})", self.lost),
            Verdict::Duplicated => format!("duplicated({})", self.duplicated),
            verdict => verdict.words().to_owned(),
        }
    }
}

/// What a process can prove of one mode.
#[derive(Debug, Clone, PartialEq)]
pub struct Drill {
    /// Of which mode.
    pub mode: String,
    /// What is done to the system.
    pub fault: String,
    /// Key of the remedy that it presses; empty: the mode must close by itself.
    pub remedy: String,
    /// Why it cannot be started now.
    pub unavailable: Option<String>,
    /// Latest that ended, with the fault and without.
    pub last: Option<DrillRun>,
    /// See `last`.
    pub control: Option<DrillRun>,
}

/// The drills of one process.
#[derive(Debug, Clone, Default)]
pub struct DrillBook {
    /// By mode: the one with its fault that is under way, or else the latest that ended.
    pub runs: BTreeMap<String, DrillRun>,
    /// The same without the fault.
    pub controls: BTreeMap<String, DrillRun>,
    /// Those there are, once it has said so.
    pub listed: Option<Vec<Drill>>,
    /// Why it has not.
    pub error: Option<String>,
}

impl DrillBook {
    /// Takes a run of the stream, and hands back the one that it takes the place of.
    pub fn take_run(&mut self, run: DrillRun) -> Option<DrillRun> {
        let runs = if run.control { &mut self.controls } else { &mut self.runs };
        runs.insert(run.mode.clone(), run)
    }

    /// Takes a list, which came when it was `then` by the server's clock.
    pub fn take(&mut self, answer: wire::ListDrillsResponse, then: Timestamp, now: Moment) {
        let run = |run: Option<wire::DrillRun>| run.map(|run| DrillRun::from_wire(run, then, now));
        let drills = answer.drills.into_iter().take(LISTED).map(|drill| Drill {
            mode: clean(&drill.failure_mode),
            fault: clean(&drill.fault),
            remedy: clean(&drill.remedy),
            unavailable: Some(clean(&drill.unavailable)).filter(|why| !why.is_empty()),
            last: run(drill.last),
            control: run(drill.last_control),
        });
        (self.listed, self.error) = (Some(drills.collect()), None);
    }

    /// What is known of a mode's drill here.
    pub fn drill(&self, mode: &str) -> Option<&Drill> {
        self.listed.as_ref()?.iter().find(|drill| drill.mode == mode)
    }
}

/// What is proven of a mode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Proof<'a> {
    /// Being proven.
    Running(&'a DrillRun),
    /// Passed in the build that runs.
    Passed(&'a DrillRun),
    /// Passed in the build that runs, while times were shortened for tests: the mechanism is proven, not the product.
    Test(&'a DrillRun),
    /// Passed in another build.
    Old(&'a DrillRun),
    /// It was not seen, not repaired, or something was lost.
    Failed(&'a DrillRun),
    /// The last try says nothing.
    Void(&'a DrillRun),
    /// Never tried.
    Never,
}

impl<'a> Proof<'a> {
    /// By a run, in a process of this build.
    pub fn of(run: &'a DrillRun, build: &str) -> Self {
        match run.verdict {
            Verdict::Running => Self::Running(run),
            Verdict::Passed if run.build != build => Self::Old(run),
            Verdict::Passed if run.times_at_most.is_some() => Self::Test(run),
            Verdict::Passed => Self::Passed(run),
            verdict if verdict.is_void() => Self::Void(run),
            _ => Self::Failed(run),
        }
    }

    /// The run it rests on.
    pub fn run(self) -> Option<&'a DrillRun> {
        match self {
            Self::Running(run) | Self::Passed(run) | Self::Test(run) | Self::Old(run) | Self::Failed(run) | Self::Void(run) => {
                Some(run)
            }
            Self::Never => None,
        }
    }
}
