//! AN-09: the log is silent about the stream of drills, so that nothing of it is read, and it is allowed hardly more bytes than it
//! has.
//!
//! Nothing may be discarded, read or not: it would leave the hours of all accounts in doubt when they are counted again. So what is
//! unread is a small part of the stream, and while it lasts the limit of headroom of this stream is half-way between what it has
//! and what E gives it.

use super::lane::Lane;
use crate::watch::backlog;
use async_trait::async_trait;
use loadline_event_log::Retention;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press, Tally, until},
};
use loadline_settings::DRILL_STREAM;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const RECORDS: usize = 200;
/// Bytes allowed, in hundredths of those there are.
const ALLOWED: u64 = 125;
/// How long until the next read, which then hangs: one waits a second for records.
const HANGS: Duration = Duration::from_secs(10);

pub struct Scarce {
    lane: Arc<Lane>,
    held: Held,
}

impl Scarce {
    pub fn new(lane: Arc<Lane>, faults: Faults) -> Self {
        Self { lane, held: Held::new(faults) }
    }

    /// Room for a quarter more bytes, nothing discarded; what that leaves as headroom.
    async fn allow_little(&self) -> Result<f64, DrillError> {
        let Lane { backends, status, .. } = &*self.lane;
        let log = &backends.log;
        let bytes = log.bounds(self.lane.name()).await.map_err(DrillError::of)?.bytes;
        let retention = Retention { max_bytes: Some(bytes * ALLOWED / 100), ..super::spec().retention };
        log.set_retention(self.lane.name(), retention).await.map_err(DrillError::of)?;
        let progress = self.lane.progress().await?;
        let left = backlog(&**log, &status.spec, Some(&progress), self.lane.now()).await.map_err(DrillError::of)?;
        Ok(left.headroom.ratio)
    }
}

#[async_trait]
impl Drill for Scarce {
    fn mode(&self) -> &'static str {
        "AN-09"
    }

    fn fault(&self) -> &'static str {
        "the log does not answer whoever reads the stream of drills, and its retention leaves room for a quarter more bytes"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "E", target: DRILL_STREAM }]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        self.lane.begin().await
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault = Fault {
            name: "drill AN-09".to_owned(),
            kind: Kind::Hang,
            calls: Calls::only(&["read"]).about(DRILL_STREAM),
            ttl,
            cured_by: None,
        };
        self.held.inject(fault);
        // A read under way would still be given the first of them.
        until(HANGS, || self.took_effect()).await.map_err(DrillError)?;
        self.lane.publish(RECORDS, self.lane.now()).await?;
        let headroom = self.allow_little().await?;
        // Twice the bytes halve what is missing.
        let limit = 1.0 - (1.0 - headroom) * 0.75;
        self.lane.status.expect_headroom_above(limit, Instant::now() + ttl);
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("no read hangs")
    }

    /// Nothing is discarded.
    async fn contained(&self) -> Result<(), String> {
        let bounds = self.lane.backends.log.bounds(self.lane.name()).await.map_err(|error| error.to_string())?;
        let (now, before) = (self.lane.progress().await, self.lane.before());
        let (now, before) = (now.map_err(|error| error.to_string())?, before.map_err(|error| error.to_string())?);
        if bounds.first <= now.applied + 1 && now.lost == before.lost {
            return Ok(());
        }
        Err(format!("records {} to {} were discarded unread", now.applied + 1, bounds.first - 1))
    }

    /// What is unread is applied before its room is taken away.
    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        self.lane.status.expect_headroom_above(0.0, Instant::now());
        self.lane.settle().await?;
        self.lane.tidy().await
    }

    async fn clean(&self) -> Result<(), String> {
        self.lane.clean().await
    }

    async fn tally(&self) -> Result<Tally, DrillError> {
        self.lane.tally().await
    }
}
