//! AN-02: commits of the stream of drills take long, and it falls behind.
//!
//! Five minutes of lag are too long for a drill: while it lasts, the limit of its own stream is a second. W then has something to
//! do, because a commit takes as long whatever its size.

use super::lane::Lane;
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press, Tally},
};
use loadline_settings::DRILL_STREAM;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Of those a few batches are applied until the lag is too much, and some batches of those that W makes larger are left.
const RECORDS: usize = 1_000;
const COMMIT_TAKES: Duration = Duration::from_millis(1_500);
/// Lag that opens the mode for this stream.
const LIMIT: Duration = Duration::from_secs(1);

pub struct Lag {
    lane: Arc<Lane>,
    held: Held,
}

impl Lag {
    pub fn new(lane: Arc<Lane>, faults: Faults) -> Self {
        Self { lane, held: Held::new(faults) }
    }
}

#[async_trait]
impl Drill for Lag {
    fn mode(&self) -> &'static str {
        "AN-02"
    }

    fn fault(&self) -> &'static str {
        "commits of the stream of drills take 1.5 s longer, with 1,000 records to commit"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "W", target: DRILL_STREAM }]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        self.lane.status.widen(None);
        self.lane.begin().await
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        self.lane.status.expect_lag_below(LIMIT, Instant::now() + ttl);
        let fault = Fault {
            name: "drill AN-02".to_owned(),
            kind: Kind::Delay(COMMIT_TAKES),
            calls: Calls::only(&["commit"]).about(DRILL_STREAM),
            ttl,
            cured_by: None,
        };
        self.held.inject(fault);
        self.lane.publish(RECORDS, self.lane.now()).await.map(drop)
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or(format!("no commit of {DRILL_STREAM} was slow"))
    }

    /// It goes on, in batches that grew, and nothing is skipped.
    async fn contained(&self) -> Result<(), String> {
        let (now, before) = (self.lane.progress().await, self.lane.before());
        let (now, before) = (now.map_err(|error| error.to_string())?, before.map_err(|error| error.to_string())?);
        match (now.applied - before.applied, now.unaccounted()) {
            (0, _) => Err("nothing of it is applied".to_owned()),
            (_, 0) => Ok(()),
            (_, unaccounted) => Err(format!("{unaccounted} records are unaccounted for")),
        }
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        self.lane.status.expect_lag_below(Duration::MAX, Instant::now());
        self.lane.status.widen(None);
        Ok(())
    }

    async fn clean(&self) -> Result<(), String> {
        self.lane.clean().await
    }

    async fn tally(&self) -> Result<Tally, DrillError> {
        self.lane.tally().await
    }
}
