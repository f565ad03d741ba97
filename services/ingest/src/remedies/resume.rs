//! K: lets a stopped stream go on. What is there now is taken without its breaker; what comes later may stop it again.

use super::{chosen, fact, failed, not_opened};
use crate::grpc::Backends;
use async_trait::async_trait;
use loadline_domain::{StreamName, progress::Progress};
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use std::time::Duration;

/// Fact of the world: the breaker sleeps up to this sequence.
const THROUGH: &str = "through sequence";
const UNDO_WITHIN: Duration = Duration::from_secs(15 * 60);

pub struct Resume {
    pub backends: Backends,
}

impl Resume {
    async fn progress(&self, stream: &StreamName) -> Result<Progress, RemedyError> {
        self.backends.store.progress(stream).await.map_err(failed)?.ok_or_else(|| not_opened(stream))
    }

    /// What a plan rests on: why and where it stopped. What is appended meanwhile changes nothing.
    async fn world(&self, stream: &StreamName, through: u64) -> Result<(World, Progress), RemedyError> {
        let progress = self.progress(stream).await?;
        let why = progress.stopped.clone().ok_or_else(|| RemedyError::NotNow(format!("{stream} is not stopped")))?;
        let world = World::default().with("stream", stream).with("incarnation", progress.incarnation.as_str());
        Ok((world.with("stopped", why).with("applied", progress.applied).with(THROUGH, through), progress))
    }
}

#[async_trait]
impl Remedy for Resume {
    fn key(&self) -> &'static str {
        "K"
    }

    fn title(&self) -> &'static str {
        "resume a stopped stream"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-03"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Undoable
    }

    fn available(&self) -> Result<(), String> {
        match self.backends.stopped().next() {
            Some(_) => Ok(()),
            None => Err("no stream is stopped".to_owned()),
        }
    }

    /// Dead letters are news for a minute.
    fn verify_within(&self) -> Duration {
        Duration::from_secs(180)
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let status = chosen(&self.backends.statuses, target, || self.backends.stopped().next())?;
        let name = &status.spec.name;
        let last = self.backends.log.bounds(name).await.map_err(failed)?.last;
        let (world, progress) = self.world(name, last).await?;
        let waiting = last.saturating_sub(progress.applied);
        Ok(Planned {
            target: name.to_string(),
            effects: vec![Effect::new(
                format!("records up to {last} applied; undecodable ones become dead letters without stopping the stream again"),
                waiting,
            )],
            count: waiting,
            world,
            expected: Duration::from_secs(5),
            undo_within: Some(UNDO_WITHIN),
        })
    }

    async fn look_again(&self, _: &str, planned: &Planned) -> Result<World, RemedyError> {
        let status = chosen(&self.backends.statuses, &planned.target, || None)?;
        Ok(self.world(&status.spec.name, fact(planned, THROUGH)?).await?.0)
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        let status = chosen(&self.backends.statuses, &planned.target, || None)?;
        let resumed = self.backends.store.resume(&status.spec.name, fact(planned, THROUGH)?).await.map_err(failed)?;
        running.did(Effect::new("stream resumed", u64::from(resumed)));
        running.step(1, 1)
    }

    async fn undo(&self, planned: &Planned, _: &[Effect], running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        let status = chosen(&self.backends.statuses, &planned.target, || None)?;
        let name = &status.spec.name;
        let progress = self.progress(name).await?;
        let leases = self.backends.store.leases().await.map_err(failed)?;
        let lease = leases.into_iter().find(|lease| lease.stream == *name);
        let lease = lease.ok_or_else(|| failed(format!("{name} has no owner now that could be stopped")))?;
        self.backends
            .store
            .stop(&lease, &progress.incarnation, "stopped again: its resumption was undone")
            .await
            .map_err(failed)?;
        running.did(Effect::new("stream stopped", 1));
        Ok(())
    }
}
