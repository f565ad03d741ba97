//! C: makes the connection to the queue of jobs anew, so that its address is looked up again, and dispatches what waits now.

use super::retried::{failed, retried};
use crate::jobs::Jobs;
use async_trait::async_trait;
use loadline_health::{
    Remedy,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};

const TARGET: &str = "queue";

pub struct ReconnectQueue {
    pub jobs: Jobs,
}

#[async_trait]
impl Remedy for ReconnectQueue {
    fn key(&self) -> &'static str {
        "C"
    }

    fn title(&self) -> &'static str {
        "reconnect the queue of jobs"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[crate::detect::queue::MODE]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let planned = Planned::reconnection(TARGET, target, "connection to the queue made anew")?;
        let waiting = match self.jobs.backlog().await {
            Ok(backlog) => Effect::new("jobs that wait in the outbox now, dispatched", backlog.outbox),
            Err(error) => Effect::new(format!("jobs that wait dispatched; how many cannot be told now: {error}"), 0),
        };
        // How many wait moves by itself, and is no part of the world.
        Ok(Planned { effects: [planned.effects, vec![waiting]].concat(), ..planned })
    }

    async fn execute(&self, _: &Planned, running: &Running) -> Result<(), RemedyError> {
        let dispatched = retried(running, || self.reconnected()).await?;
        running.did(Effect::new("connection to the queue made anew", 1));
        running.did(Effect::new("jobs dispatched", dispatched as u64));
        Ok(())
    }
}

impl ReconnectQueue {
    /// To its end, whatever becomes of the run: jobs that were published are said to be queued.
    async fn reconnected(&self) -> Result<usize, RemedyError> {
        let jobs = self.jobs.clone();
        tokio::spawn(async move { jobs.reconnect().await }).await.map_err(failed)?.map_err(failed)
    }
}
