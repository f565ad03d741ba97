//! The frame log of one boot: numbered deltas and heartbeats, the newest kept for resuming.
//!
//! There is one log per monitor, and its numbers are everybody's: every watcher that keeps up sees 1, 2, 3, … A snapshot is
//! no entry of its own: it carries the number of the last entry it contains, and the next frame is that number plus one. A
//! watcher that sees any other jump has lost a frame.

use crate::signal::Moment;
use loadline_proto::health::{Frame, Heartbeat, Snapshot, frame::Body};
use std::{collections::VecDeque, time::Duration};
use uuid::Uuid;

/// What a frame promises about the next one.
pub(crate) const NEXT_WITHIN: Duration = Duration::from_secs(1);
/// How often a frame is made: half of what is promised, so that a late timer does not look like a dead process.
pub(crate) const BEAT: Duration = Duration::from_millis(500);
/// Entries kept: two minutes of heartbeats.
const KEPT: usize = 256;

/// What comes after an entry.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// The entry after it.
    Frame(Box<Frame>),
    /// Nothing yet.
    Nothing,
    /// It is no longer known, or never was of this boot: only a snapshot helps.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct FrameLog {
    boot_id: String,
    service: String,
    build: String,
    /// Name among replicas, and hash of the configuration in force; empty until told.
    introduced: (String, String),
    installation: String,
    times_at_most: Option<Duration>,
    head: u64,
    entries: VecDeque<Frame>,
}

impl FrameLog {
    pub(crate) fn new(service: &str, build: &str, now: Moment) -> Self {
        let boot_id = Uuid::new_v4().to_string();
        let (service, build) = (service.to_owned(), build.to_owned());
        let mut log = Self {
            boot_id,
            service,
            build,
            introduced: Default::default(),
            installation: String::new(),
            times_at_most: None,
            head: 0,
            entries: VecDeque::new(),
        };
        // So that a snapshot is never numbered 0, which is what an absent resume point looks like.
        log.push(Body::Heartbeat(Heartbeat {}), now);
        log
    }

    pub(crate) fn introduce(&mut self, instance: &str, configuration: &str) {
        self.introduced = (instance.to_owned(), configuration.to_owned());
    }

    pub(crate) fn belongs_to(&mut self, installation: &str) {
        installation.clone_into(&mut self.installation);
    }

    pub(crate) fn wait_at_most(&mut self, longest: Duration) {
        self.times_at_most = Some(longest);
    }

    pub(crate) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn build(&self) -> &str {
        &self.build
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn push(&mut self, body: Body, now: Moment) {
        self.head += 1;
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        let entry = self.frame(body, now);
        self.entries.push_back(entry);
    }

    pub(crate) fn after(&self, seq: u64) -> Next {
        if seq == self.head {
            return Next::Nothing;
        }
        let oldest = self.head + 1 - self.entries.len() as u64;
        let known = 0 < seq && seq < self.head;
        let wanted = known.then(|| seq + 1).and_then(|next| next.checked_sub(oldest));
        match wanted.and_then(|index| self.entries.get(index as usize)) {
            Some(entry) => Next::Frame(Box::new(entry.clone())),
            None => Next::Unknown,
        }
    }

    /// All there is, as of the newest entry.
    pub(crate) fn snapshot(&self, snapshot: Snapshot, now: Moment) -> Frame {
        self.frame(Body::Snapshot(snapshot), now)
    }

    fn frame(&self, body: Body, now: Moment) -> Frame {
        Frame {
            boot_id: self.boot_id.clone(),
            seq: self.head,
            sent_at: Some(now.wall.into()),
            next_within: NEXT_WITHIN.try_into().ok(),
            service: self.service.clone(),
            build: self.build.clone(),
            instance: self.introduced.0.clone(),
            configuration: self.introduced.1.clone(),
            installation: self.installation.clone(),
            times_at_most: self.times_at_most.and_then(|longest| longest.try_into().ok()),
            body: Some(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(entries: u64) -> FrameLog {
        let mut log = FrameLog::new("ingest", "test", Moment::now());
        while log.head() < entries {
            log.push(Body::Heartbeat(Heartbeat {}), Moment::now());
        }
        log
    }

    fn seq_after(log: &FrameLog, seq: u64) -> Option<u64> {
        match log.after(seq) {
            Next::Frame(frame) => Some(frame.seq),
            _ => None,
        }
    }

    #[test]
    fn a_follower_gets_each_number_once() {
        let log = log_of(5);
        assert_eq!((1..5).map(|seq| seq_after(&log, seq)).collect::<Vec<_>>(), [Some(2), Some(3), Some(4), Some(5)]);
        assert_eq!(log.after(5), Next::Nothing);
    }

    #[test]
    fn zero_the_future_and_the_extremes_are_unknown() {
        let log = log_of(5);
        for seq in [0, 6, u64::MAX - 1, u64::MAX] {
            assert_eq!(log.after(seq), Next::Unknown, "{seq}");
        }
    }

    #[test]
    fn the_log_is_bounded_and_what_it_dropped_is_unknown() {
        let log = log_of(10 * KEPT as u64);
        assert_eq!(log.entries.len(), KEPT);
        let oldest = log.head() + 1 - KEPT as u64;
        assert_eq!(seq_after(&log, oldest - 1), Some(oldest));
        assert_eq!(log.after(oldest - 2), Next::Unknown);
    }
}
