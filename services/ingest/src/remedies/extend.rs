//! E: lets a stream keep its records twice as long, so that what is unread has time.

use super::{chosen, failed};
use crate::{grpc::Backends, watch::backlog};
use async_trait::async_trait;
use loadline_event_log::Retention;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use std::time::Duration;

const AGE: &str = "kept for, s";
const BYTES: &str = "kept bytes";
const UNLIMITED: &str = "unlimited";
const FACTOR: u32 = 2;
const UNDO_WITHIN: Duration = Duration::from_secs(24 * 3600);

pub struct Extend {
    pub backends: Backends,
}

#[async_trait]
impl Remedy for Extend {
    fn key(&self) -> &'static str {
        "E"
    }

    fn title(&self) -> &'static str {
        "extend a stream's retention"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-09"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Undoable
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let statuses = &self.backends.statuses;
        let seen = statuses.iter().filter_map(|status| Some((status, status.seen().backlog?.headroom.ratio)));
        let status = chosen(statuses, target, || seen.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(status, _)| status))?;
        let name = &status.spec.name;
        let now = self.backends.log.bounds(name).await.map_err(failed)?.retention;
        let longer = extended(now);
        if longer == now {
            return Err(RemedyError::NotNow(format!("{name} keeps its records without limit")));
        }
        Ok(Planned {
            target: name.to_string(),
            effects: effects(longer),
            count: 1,
            world: described(World::default().with("stream", name), now),
            expected: Duration::from_secs(1),
            undo_within: Some(UNDO_WITHIN),
        })
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        let status = chosen(&self.backends.statuses, &planned.target, || None)?;
        let longer = extended(read(&planned.world)?);
        self.backends.log.set_retention(&status.spec.name, longer).await.map_err(failed)?;
        effects(longer).into_iter().for_each(|effect| running.did(effect));
        Ok(())
    }

    /// Refuses to discard what nobody has read yet.
    async fn undo(&self, planned: &Planned, _: &[Effect], running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        let status = chosen(&self.backends.statuses, &planned.target, || None)?;
        let (name, before) = (&status.spec.name, read(&planned.world)?);
        let progress = self.backends.store.progress(name).await.map_err(failed)?;
        let now = self.backends.clock.now();
        let left = backlog(&*self.backends.log, &status.spec, progress.as_ref(), now).await.map_err(failed)?;
        let is_too_old = before.max_age.is_some_and(|age| age <= left.lag);
        let is_too_much = before.max_bytes.is_some_and(|most| most < left.bounds.bytes);
        if left.records > 0 && (is_too_old || is_too_much) {
            return Err(failed(format!(
                "{name} has {} unread records that would be discarded: let them be applied first",
                left.records
            )));
        }
        self.backends.log.set_retention(name, before).await.map_err(failed)?;
        running.did(Effect::new("retention set back", 1));
        Ok(())
    }
}

fn extended(now: Retention) -> Retention {
    Retention {
        max_age: now.max_age.map(|age| age.saturating_mul(FACTOR)),
        max_bytes: now.max_bytes.map(|bytes| bytes.saturating_mul(FACTOR.into())),
    }
}

fn effects(longer: Retention) -> Vec<Effect> {
    let age = longer.max_age.map(|age| Effect::new("seconds for which records are kept", age.as_secs()));
    let bytes = longer.max_bytes.map(|bytes| Effect::new("bytes of records that are kept; the disk must have room", bytes));
    age.into_iter().chain(bytes).collect()
}

fn described(world: World, retention: Retention) -> World {
    let age = retention.max_age.map_or(UNLIMITED.to_owned(), |age| age.as_secs().to_string());
    let bytes = retention.max_bytes.map_or(UNLIMITED.to_owned(), |bytes| bytes.to_string());
    world.with(AGE, age).with(BYTES, bytes)
}

fn read(world: &World) -> Result<Retention, RemedyError> {
    let number = |name: &str| match world.get(name) {
        Some(UNLIMITED) => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(failed),
        None => Err(failed(format!("the plan has no {name}"))),
    };
    Ok(Retention { max_age: number(AGE)?.map(Duration::from_secs), max_bytes: number(BYTES)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_read_back_and_what_is_unlimited_stays_so() {
        for retention in [
            Retention { max_age: Some(Duration::from_secs(3600)), max_bytes: Some(7) },
            Retention { max_age: None, max_bytes: None },
        ] {
            assert_eq!(read(&described(World::default(), retention)).unwrap(), retention);
        }
        let half = Retention { max_age: Some(Duration::from_secs(60)), max_bytes: None };
        assert_eq!(extended(half), Retention { max_age: Some(Duration::from_secs(120)), max_bytes: None });
    }
}
