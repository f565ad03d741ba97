//! Why an event was not taken.

use loadline_proto::ingest::{Rejection, RejectionReason};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Kinds of faults. All but the first are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Reason {
    /// The line holds no event.
    Unreadable,
    /// A field breaks its contract.
    Invalid,
    /// Too far ahead of the clock.
    Future,
    /// Past the dedup horizon.
    Late,
    /// Its id was counted with other content.
    Conflict,
    /// A reason this program is too old to know.
    Other,
}

impl Reason {
    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "UNREADABLE",
            Self::Invalid => "INVALID",
            Self::Future => "FUTURE",
            Self::Late => "LATE",
            Self::Conflict => "CONFLICT",
            Self::Other => "OTHER",
        }
    }
}

/// One event that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind.
    pub reason: Reason,
    /// Path of the offending field, such as `billing.amount`; empty when it is the whole.
    pub field: String,
    /// What is wrong and what to do.
    pub detail: String,
}

impl Fault {
    /// A fault of this program's finding.
    pub fn new(reason: Reason, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason, field: field.into(), detail: detail.into() }
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        let reason = match rejection.reason() {
            RejectionReason::Invalid => Reason::Invalid,
            RejectionReason::Future => Reason::Future,
            RejectionReason::Late => Reason::Late,
            RejectionReason::Conflict => Reason::Conflict,
            RejectionReason::Unspecified => Reason::Other,
        };
        Self::new(reason, rejection.field, rejection.detail)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.reason.as_str())?;
        if !self.field.is_empty() {
            write!(f, "{} ", self.field)?;
        }
        f.write_str(&self.detail)
    }
}
