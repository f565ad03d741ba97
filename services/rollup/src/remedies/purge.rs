//! P: drops dedup tables past their horizon: those that were planned, while they still are past it, and no others.

use super::{
    failed,
    queue::{Queue, Wanted, tell},
};
use crate::{
    Parts,
    jobs::{PURGE_DEDUP, past_horizon},
};
use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use loadline_store::Purgeable;
use serde_json::json;
use std::time::Duration;

const TARGET: &str = "dedup tables";
/// Fact of the world: their names.
const TABLES: &str = "past their horizon";
/// A table in use is waited for.
const DEADLINE: Duration = Duration::from_secs(3600);

pub struct Purge {
    pub queue: Queue,
    pub parts: Parts,
}

impl Purge {
    async fn past(&self) -> Result<Vec<Purgeable>, RemedyError> {
        let Parts { store, log, streams, rules, clock, .. } = &self.parts;
        past_horizon(&**store, &**log, streams, rules, clock.now()).await.map_err(failed)
    }

    /// The names alone: keys are estimates on some backends, which move by themselves.
    async fn world(&self, past: &[Purgeable]) -> Result<World, RemedyError> {
        let names: Vec<_> = past.iter().map(|table| table.name.as_str()).collect();
        Ok(self.queue.world(PURGE_DEDUP).await?.with(TABLES, names.join(" ")))
    }
}

#[async_trait]
impl Remedy for Purge {
    fn key(&self) -> &'static str {
        "P"
    }

    fn title(&self) -> &'static str {
        "purge dedup tables past their horizon"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-05"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Irreversible
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        if !["", TARGET].contains(&target) {
            return Err(RemedyError::NotNow(format!("{target} cannot be chosen: all tables past their horizon are purged")));
        }
        let past = self.past().await?;
        if past.is_empty() {
            let why = "no dedup table is past its horizon: what is left is needed to find duplicates";
            return Err(RemedyError::NotNow(why.to_owned()));
        }
        let world = self.world(&past).await?;
        self.queue.ensure_free(&world).await?;
        let (tables, keys) = (past.len() as u64, past.iter().map(|table| table.rows).sum());
        Ok(Planned {
            target: TARGET.to_owned(),
            effects: vec![
                Effect::new("dedup tables dropped: what they knew is late from their horizon on, and refused as that", tables),
                Effect::new("keys in them, about", keys),
            ],
            count: tables,
            world,
            expected: Duration::from_secs(2 + tables),
            undo_within: None,
        })
    }

    async fn look_again(&self, _: &str, _: &Planned) -> Result<World, RemedyError> {
        self.world(&self.past().await?).await
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, planned.count)?;
        let names: Vec<_> = planned.world.get(TABLES).unwrap_or_default().split_whitespace().collect();
        let wanted = Wanted { remedy: self.key(), job: PURGE_DEDUP, parameters: json!({ "tables": names }), part: "" };
        let told = self.queue.run(wanted, planned, running).await?;
        tell(&told, &[("dropped", "dedup tables dropped"), ("rows", "keys in them, about")], running);
        Ok(())
    }
}
