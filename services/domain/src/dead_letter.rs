//! Records that were read but could not be counted.

use crate::{account::AccountId, stream::Sequence, time::Timestamp};
use bytes::Bytes;

/// Why a record is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeadLetterReason {
    /// The bytes are no `Event`.
    Undecodable,
    /// A field breaks the contract.
    Invalid,
    /// More than the tolerance ahead of the time it was appended.
    Future,
    /// Past its dedup horizon when it was appended.
    Late,
    /// Its identity is known with other content.
    Conflict,
}

impl DeadLetterReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::Undecodable, Self::Invalid, Self::Future, Self::Late, Self::Conflict];

    /// Stable name, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "UNDECODABLE",
            Self::Invalid => "INVALID",
            Self::Future => "FUTURE",
            Self::Late => "LATE",
            Self::Conflict => "CONFLICT",
        }
    }

    /// From the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str().eq_ignore_ascii_case(text))
    }
}

/// Why a payload was refused, and what could be read of it all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}{detail}", .reason.as_str(), if .field.is_empty() { String::new() } else { format!("{} ", .field) })]
pub struct Refusal {
    /// Why.
    pub reason: DeadLetterReason,
    /// Path of the offending field, such as `billing.amount_micros`; empty when it is the whole.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
    /// The account, when it could be read.
    pub account: Option<AccountId>,
    /// The event's own time, when it could be read.
    pub event_time: Option<Timestamp>,
}

/// A refused record, kept with its payload until somebody decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its position.
    pub sequence: Sequence,
    /// When it was appended.
    pub recorded_at: Timestamp,
    /// Why and what.
    pub refusal: Refusal,
    /// The record's bytes, untouched.
    pub payload: Bytes,
}
