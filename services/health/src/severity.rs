//! Severity: impact on users, P1 the worst.

use loadline_proto::health as wire;
use serde::Deserialize;
use std::fmt;

/// Impact of an open failure mode. Ordered by number: `P1 < P2`, so the smallest is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Severity {
    /// Full outage: unreachable, data lost, or data of the wrong account.
    P1,
    /// Degraded: answers are slow, stale, partial or from a fallback.
    P2,
    /// New data is not taken in; what exists keeps serving.
    P3,
    /// Offline work cannot progress; serving is unaffected.
    P4,
    /// Loss of sight only.
    P5,
}

impl From<Severity> for wire::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::P1 => Self::P1,
            Severity::P2 => Self::P2,
            Severity::P3 => Self::P3,
            Severity::P4 => Self::P4,
            Severity::P5 => Self::P5,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
