//! W: lets a stream that is behind be read in larger batches for a while; it ends by itself.

use super::chosen;
use crate::watch::{StreamStatus, WIDER};
use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use std::{cmp::Reverse, sync::Arc, time::Duration};
use tokio::time::Instant;

const WIDE_FOR: Duration = Duration::from_secs(15 * 60);

pub struct Widen {
    pub statuses: Vec<Arc<StreamStatus>>,
    pub batch_records: usize,
}

#[async_trait]
impl Remedy for Widen {
    fn key(&self) -> &'static str {
        "W"
    }

    fn title(&self) -> &'static str {
        "widen the consumer for 15 minutes"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-02"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Undoable
    }

    fn available(&self) -> Result<(), String> {
        match self.statuses.iter().any(|status| status.seen().lease.is_some()) {
            true => Ok(()),
            false => Err("this process reads no stream now: ask the one that does".to_owned()),
        }
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let owned = || self.statuses.iter().filter(|status| status.seen().lease.is_some());
        let behind = |status: &&Arc<StreamStatus>| status.seen().backlog.map_or(Duration::ZERO, |backlog| backlog.lag);
        let status = chosen(&self.statuses, target, || owned().min_by_key(|status| Reverse(behind(status))))?;
        let name = &status.spec.name;
        if status.seen().lease.is_none() {
            return Err(RemedyError::NotNow(format!("{name} is read by another process: ask that one")));
        }
        let wide = status.is_wide(Instant::now());
        if wide {
            return Err(RemedyError::NotNow(format!("{name} is read as widely as it can be, for up to {WIDE_FOR:?}")));
        }
        let records = (self.batch_records * WIDER) as u64;
        Ok(Planned {
            target: name.to_string(),
            effects: vec![Effect::new("records a batch at least, for 15 minutes; more memory and longer transactions", records)],
            count: records,
            world: World::default().with("stream", name).with("batch records", self.batch_records),
            expected: Duration::from_secs(1),
            undo_within: Some(WIDE_FOR),
        })
    }

    fn verify_within(&self) -> Duration {
        Duration::from_secs(5 * 60)
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        chosen(&self.statuses, &planned.target, || None)?.widen(Some(Instant::now() + WIDE_FOR));
        running.did(Effect::new("stream read in wider batches", 1));
        running.step(1, 1)
    }

    async fn undo(&self, planned: &Planned, _: &[Effect], running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        chosen(&self.statuses, &planned.target, || None)?.widen(None);
        running.did(Effect::new("stream read in its usual batches", 1));
        running.step(1, 1)
    }
}
