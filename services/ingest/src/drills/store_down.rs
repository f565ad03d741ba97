//! AN-01: every call of the store fails, until it is connected to anew.
//!
//! The calls that a remedy is written down and leased with are spared: with a store that is really down no remedy runs, and
//! pools find one that came back by themselves (decision 11). What is proven is what C is for, a store that moved.

use super::lane::Lane;
use async_trait::async_trait;
use loadline_domain::Sequence;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press, Tally},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What the desk, its leases and its conservation stand on.
const SPARED: &[&str] = &["write_down", "audit", "lead", "keep_leading", "step_down", "leaders", "conservation"];
const CURE: &str = "reconnect";

pub struct StoreDown {
    lane: Arc<Lane>,
    held: Held,
    /// Published while the store was away.
    published: Mutex<Option<Sequence>>,
}

impl StoreDown {
    pub fn new(lane: Arc<Lane>, faults: Faults) -> Self {
        Self { lane, held: Held::new(faults), published: Mutex::default() }
    }

    fn published(&self) -> MutexGuard<'_, Option<Sequence>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish_once(&self) -> Result<Sequence, DrillError> {
        let known = *self.published();
        if let Some(sequence) = known {
            return Ok(sequence);
        }
        let sequence = self.lane.publish(1, self.lane.now()).await?;
        *self.published() = Some(sequence);
        Ok(sequence)
    }
}

#[async_trait]
impl Drill for StoreDown {
    fn mode(&self) -> &'static str {
        "AN-01"
    }

    fn fault(&self) -> &'static str {
        "every call of ingest to the store fails, until it connects anew"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "C", target: "" }]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        *self.published() = None;
        self.lane.begin().await
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault =
            Fault { name: "drill AN-01".to_owned(), kind: Kind::Error, calls: Calls::all_but(SPARED), ttl, cured_by: Some(CURE) };
        self.held.inject(fault);
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("no call of the store met the fault")
    }

    /// The log still takes events, and progress stays where it is.
    async fn contained(&self) -> Result<(), String> {
        let published = self.publish_once().await.map_err(|error| format!("the log takes nothing: {error}"))?;
        let applied = self.lane.progress().await.map_err(|error| error.to_string())?.applied;
        if applied < published { Ok(()) } else { Err(format!("record {published} was applied to a store that is away")) }
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }

    async fn clean(&self) -> Result<(), String> {
        self.lane.clean().await
    }

    async fn tally(&self) -> Result<Tally, DrillError> {
        self.lane.tally().await
    }
}
