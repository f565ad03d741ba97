//! How bad, and how sure: severity, the server's state, and what that amounts to on screen.

use loadline_proto::health;
use std::fmt;

/// Impact, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named by `Severity::meaning`")]
pub enum Severity {
    P1,
    P2,
    P3,
    P4,
    P5,
}

impl Severity {
    /// All, the worst first.
    pub const ALL: [Self; 5] = [Self::P1, Self::P2, Self::P3, Self::P4, Self::P5];

    /// From the wire; `None` for one this console does not know.
    pub fn from_wire(number: i32) -> Option<Self> {
        match health::Severity::try_from(number).ok()? {
            health::Severity::Unspecified => None,
            health::Severity::P1 => Some(Self::P1),
            health::Severity::P2 => Some(Self::P2),
            health::Severity::P3 => Some(Self::P3),
            health::Severity::P4 => Some(Self::P4),
            health::Severity::P5 => Some(Self::P5),
        }
    }

    /// Its class, in words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::P1 => "full outage",
            Self::P2 => "degraded serving",
            Self::P3 => "data pipeline blocked",
            Self::P4 => "offline pipeline only",
            Self::P5 => "visibility only",
        }
    }

    /// A server's rule without the severity that it begins with, for where that is said already.
    pub fn without(self, rule: &str) -> &str {
        rule.strip_prefix(&self.to_string()).and_then(|rest| rest.strip_prefix(", ")).unwrap_or(rule)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}", *self as u8 + 1)
    }
}

/// What a server says of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its detector says so.
    Ok,
    /// Past the threshold, not for long enough.
    Suspect,
    /// It is failing.
    Open,
    /// Somebody has taken it.
    Acknowledged,
    /// A remedy runs.
    Remediating,
    /// A remedy has run, and the signal is awaited.
    Verifying,
    /// No part detects it yet.
    Planned,
    /// A part should detect it and has no reading.
    Unknown,
    /// A state of a newer server.
    Foreign(i32),
}

impl State {
    /// From the wire. What is not understood is kept as such, and never read as OK.
    pub fn from_wire(number: i32) -> Self {
        match health::State::try_from(number) {
            Ok(health::State::Ok) => Self::Ok,
            Ok(health::State::Suspect) => Self::Suspect,
            Ok(health::State::Open) => Self::Open,
            Ok(health::State::Acknowledged) => Self::Acknowledged,
            Ok(health::State::Remediating) => Self::Remediating,
            Ok(health::State::Verifying) => Self::Verifying,
            Ok(health::State::Planned) => Self::Planned,
            Ok(health::State::Unknown) => Self::Unknown,
            Ok(health::State::Unspecified) | Err(_) => Self::Foreign(number),
        }
    }

    /// Whether the mode has opened and not closed.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Open | Self::Acknowledged | Self::Remediating | Self::Verifying)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "OK",
            Self::Suspect => "SUSPECT",
            Self::Open => "OPEN",
            Self::Acknowledged => "ACK",
            Self::Remediating => "RUN",
            Self::Verifying => "VERIFY",
            Self::Planned => "PLANNED",
            Self::Unknown => "UNKNOWN",
            Self::Foreign(number) => return write!(f, "STATE {number}?"),
        })
    }
}

/// Whether what is known of a process still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Knowledge {
    /// Heard of in time.
    Live,
    /// Its next frame is overdue.
    Late,
    /// Nothing heard yet, and not for long.
    Waiting,
    /// Silent for too long, or its frames do not join up: what it said last may not hold any more.
    Blind,
}

/// Where a row stands on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Band {
    /// Failing, about to, or failing as far as was last seen.
    Of(Severity),
    /// Nothing is known.
    Unknown,
    /// Nothing detects it yet.
    Planned,
    /// Every part that detects it says so, now.
    Ok,
}

impl Band {
    /// All, in the order of the board.
    pub const ALL: [Self; 8] = [
        Self::Of(Severity::P1),
        Self::Of(Severity::P2),
        Self::Of(Severity::P3),
        Self::Of(Severity::P4),
        Self::Of(Severity::P5),
        Self::Unknown,
        Self::Planned,
        Self::Ok,
    ];

    /// Whether its rows are hidden until asked for.
    pub fn folds(self) -> bool {
        matches!(self, Self::Planned | Self::Ok)
    }
}

/// Whether users notice when a service is gone. One that this console does not know is taken for such a one.
pub fn serves_users(service: &str) -> bool {
    service != "rollup"
}

/// What a blind service weighs.
pub fn blind_severity(service: &str) -> Severity {
    if serves_users(service) { Severity::P2 } else { Severity::P3 }
}
