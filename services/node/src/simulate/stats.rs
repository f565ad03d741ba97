//! Counts of simulated traffic, read while it runs.

use loadline_proto::ingest::{PublishResponse, RejectionReason};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of a running simulation.
#[derive(Debug, Default)]
pub struct Stats {
    sent: AtomicU64,
    accepted: AtomicU64,
    duplicates: AtomicU64,
    invalid: AtomicU64,
    future: AtomicU64,
    late: AtomicU64,
    conflict: AtomicU64,
    other: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
}

/// The counters at one time. `sent` is the sum of accepted, duplicates and all rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Events that ingest answered for.
    pub sent: u64,
    /// In the log.
    pub accepted: u64,
    /// Left out of the log: repeated within a request, or counted before.
    pub duplicates: u64,
    /// Rejected: a field breaks its contract.
    pub invalid: u64,
    /// Rejected: ahead of the clock.
    pub future: u64,
    /// Rejected: past the dedup horizon.
    pub late: u64,
    /// Rejected: another content under a known id.
    pub conflict: u64,
    /// Rejected for a reason this program does not know.
    pub other: u64,
    /// Events of requests that ingest refused for good; not among `sent`.
    pub refused: u64,
    /// Calls that failed and were tried again.
    pub unavailable: u64,
}

impl Stats {
    /// All counters; those of one answer may be counted in part while it comes in.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            sent: self.sent.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            invalid: self.invalid.load(Relaxed),
            future: self.future.load(Relaxed),
            late: self.late.load(Relaxed),
            conflict: self.conflict.load(Relaxed),
            other: self.other.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
        }
    }

    pub(super) fn answered(&self, answer: &PublishResponse) {
        let rejected = answer.rejections.len() as u64;
        self.accepted.fetch_add(answer.accepted.into(), Relaxed);
        self.duplicates.fetch_add(answer.duplicates.into(), Relaxed);
        self.sent.fetch_add(u64::from(answer.accepted) + u64::from(answer.duplicates) + rejected, Relaxed);
        for rejection in &answer.rejections {
            let counter = match rejection.reason() {
                RejectionReason::Invalid => &self.invalid,
                RejectionReason::Future => &self.future,
                RejectionReason::Late => &self.late,
                RejectionReason::Conflict => &self.conflict,
                RejectionReason::Unspecified => &self.other,
            };
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn refused(&self, events: usize) {
        self.refused.fetch_add(events as u64, Relaxed);
    }

    pub(super) fn unavailable(&self) {
        self.unavailable.fetch_add(1, Relaxed);
    }
}
