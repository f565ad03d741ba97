//! Rollup: the work in the background, and who does it.
//!
//! ```text
//!  schedules ──due──▶ queue (store) ◀──Run── JobService
//!                        │ claim, by the one leader
//!                        ▼
//!          daily_rollup · archive · tidy_history · purge_dedup · retention · verify ──▶ store, history
//!                        └── progress, end ──▶ queue ──Watch──▶ callers
//! ```
//!
//! - [`leader`]: leads, queues what is due, starts what is queued; [`schedule`]: when a job is due
//! - [`job`]: what a job is and what a run is given; [`jobs`]: the jobs, one a file
//! - [`grpc`]: `JobService`; [`detect`]: AN-04, AN-05, AN-07, AN-08; [`remedies`]: what an operator can have done about them;
//!   `drills`: causes them on purpose, to prove it; [`serve`]: the service on its ports
//!
//! The nasty invariant: **a leader that was paused and woke up changes nothing.** Every final write of a job checks the
//! leader's epoch in its own transaction; and every job can be killed at any point and run again.

pub mod detect;
mod drills;
pub mod grpc;
pub mod job;
pub mod jobs;
pub mod leader;
pub mod remedies;
pub mod schedule;
pub mod serve;

pub use grpc::ACCESS;

use loadline_domain::{Clock, Rules, StreamName};
use loadline_event_log::EventLog;
use loadline_history::History;
use loadline_settings::RollupSettings;
use loadline_store::Store;
use std::sync::Arc;

/// What the service is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where usage, dirty days, dedup tables and runs are.
    pub store: Arc<dyn Store>,
    /// Where old days go.
    pub history: Arc<dyn History>,
    /// Says how far streams go on, and what was counted.
    pub log: Arc<dyn EventLog>,
    /// Streams that must be counted before anything is past.
    pub streams: Vec<StreamName>,
    /// The rules that ingest counts by.
    pub rules: Rules,
    /// What "now" is.
    pub clock: Arc<dyn Clock>,
    /// Schedules and policies.
    pub settings: RollupSettings,
}
