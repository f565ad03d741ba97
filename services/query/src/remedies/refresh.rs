//! I: lets the store count anew what its planner believes of the tables that answers are read from.

use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use loadline_store::{AnsweringTable, Believed, Store};
use std::{sync::Arc, time::Duration};

const ALL: &str = "all tables";
/// A sample of a large table, five times, each waiting for an autovacuum of its own.
const DEADLINE: Duration = Duration::from_secs(900);
/// Answers are looked back on for a minute, and the mode is good again half a minute after.
const VERIFY_WITHIN: Duration = Duration::from_secs(150);

pub struct Refresh {
    pub store: Arc<dyn Store>,
}

impl Refresh {
    /// What is believed of the tables that a target means.
    async fn believed(&self, target: &str) -> Result<Vec<Believed>, RemedyError> {
        let only = match target {
            "" | ALL => None,
            name => Some(AnsweringTable::of(name).ok_or_else(|| no_table(name))?),
        };
        let believed = self.store.believed().await.map_err(failed)?;
        Ok(believed.into_iter().filter(|believed| only.is_none_or(|only| only == believed.table)).collect())
    }
}

/// Somebody else's refresh is another world; what the store does by itself is not.
fn world(believed: &[Believed]) -> World {
    believed.iter().fold(World::default(), |world, believed| world.with(believed.table.name(), &believed.refreshed))
}

fn no_table(name: &str) -> RemedyError {
    let tables = AnsweringTable::ALL.map(AnsweringTable::name).join(", ");
    RemedyError::NotNow(format!("answers are not read from {name}: choose of {tables}, or leave it empty for all"))
}

fn failed(error: impl std::fmt::Display) -> RemedyError {
    RemedyError::Failed(error.to_string())
}

#[async_trait]
impl Remedy for Refresh {
    fn key(&self) -> &'static str {
        "I"
    }

    fn title(&self) -> &'static str {
        "refresh the statistics that questions are planned by"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-06"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn verify_within(&self) -> Duration {
        VERIFY_WITHIN
    }

    /// The target is a table, or nothing for all.
    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let believed = self.believed(target).await?;
        let rows = |believed: &Believed| {
            let known = if believed.rows.is_some() { "rows it is believed to have" } else { "rows, or it was never counted" };
            Effect::new(
                format!("{} counted anew, from a sample: {known}", believed.table.name()),
                believed.rows.unwrap_or_default(),
            )
        };
        Ok(Planned {
            target: if target.is_empty() { ALL.to_owned() } else { target.to_owned() },
            effects: believed.iter().map(rows).collect(),
            count: believed.len() as u64,
            world: world(&believed),
            expected: Duration::from_secs(1 + 2 * believed.len() as u64),
            undo_within: None,
        })
    }

    async fn look_again(&self, _: &str, planned: &Planned) -> Result<World, RemedyError> {
        Ok(world(&self.believed(&planned.target).await?))
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        let tables = self.believed(&planned.target).await?;
        let total = tables.len() as u64;
        for (done, Believed { table, .. }) in tables.into_iter().enumerate() {
            running.step(done as u64, total)?;
            self.store.refresh_statistics(table).await.map_err(failed)?;
            running.did(Effect::new(format!("{} counted anew", table.name()), 1));
        }
        running.step(total, total).or(Ok(()))
    }
}
