//! D: judges dead letters again, those that were there when it was planned.

use super::{fact, failed};
use crate::grpc::Backends;
use async_trait::async_trait;
use loadline_domain::{AccountId, DeadLetterReason, StreamName, Timestamp};
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use loadline_store::{DeadLetterFilter, DeadLetterState};
use std::time::Duration;

/// Letters judged in one step.
const STEP: u32 = 500;
/// Letters looked at to say what would become of them.
const REHEARSED: u32 = 100_000;
/// Fact of the world: letters appended before this are meant, in microseconds since 1970.
const BEFORE: &str = "appended before";
const ALL: &str = "all";

pub struct Redrive {
    pub backends: Backends,
}

impl Redrive {
    async fn world(&self, filter: &DeadLetterFilter, before: i64) -> Result<(World, u64), RemedyError> {
        let open = self.backends.store.open_dead_letters(filter).await.map_err(failed)?;
        let count = open.values().sum();
        let world = World::default().with("open letters", count).with(BEFORE, before);
        let by_reason = open.into_iter().filter(|(_, count)| *count > 0);
        Ok((by_reason.fold(world, |world, (reason, count)| world.with(reason.as_str(), count)), count))
    }

    fn filter_of(&self, planned: &Planned) -> Result<(DeadLetterFilter, i64), RemedyError> {
        let before = fact(planned, BEFORE)?;
        Ok((DeadLetterFilter { to: Some(Timestamp::from_micros(before)), ..filter(&planned.target)? }, before))
    }
}

#[async_trait]
impl Remedy for Redrive {
    fn key(&self) -> &'static str {
        "D"
    }

    fn title(&self) -> &'static str {
        "redrive dead letters"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-03"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::LossPossible
    }

    /// Dead letters are news for a minute.
    fn verify_within(&self) -> Duration {
        Duration::from_secs(180)
    }

    /// The target is a filter: `all`, or `stream=BILLING reason=FUTURE account=acme`, in any order.
    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let now = self.backends.clock.now();
        let filter = DeadLetterFilter { to: Some(now), ..filter(target)? };
        let (world, count) = self.world(&filter, now.micros()).await?;
        if count == 0 {
            return Err(RemedyError::NotNow("no open dead letter matches".to_owned()));
        }
        let rehearsal = self.backends.store.redrive(&filter, &self.backends.rules, now, REHEARSED, true).await.map_err(failed)?;
        let dead_again = rehearsal.dead_again.values().sum();
        Ok(Planned {
            target: if target.is_empty() { ALL.to_owned() } else { target.to_owned() },
            effects: vec![
                Effect::new("dead letters judged again", count),
                Effect::new("would be counted", rehearsal.counted),
                Effect::new("would be found counted before", rehearsal.duplicates),
                Effect::new("would stay dead", dead_again),
            ],
            count,
            world,
            expected: Duration::from_secs(1 + count / 2_000),
            undo_within: None,
        })
    }

    async fn look_again(&self, _: &str, planned: &Planned) -> Result<World, RemedyError> {
        let (filter, before) = self.filter_of(planned)?;
        Ok(self.world(&filter, before).await?.0)
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        let store = &self.backends.store;
        let (filter, _) = self.filter_of(planned)?;
        let (mut done, mut after) = (0, 0);
        loop {
            running.step(done, planned.count)?;
            let page = store.dead_letters(&filter, DeadLetterState::Open, after, STEP).await.map_err(failed)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            let these = DeadLetterFilter { ids: page.iter().map(|letter| letter.id).collect(), ..DeadLetterFilter::default() };
            let now = self.backends.clock.now();
            let redriven = store.redrive(&these, &self.backends.rules, now, STEP, false).await.map_err(failed)?;
            done += redriven.matched;
            for (text, count) in [
                ("counted", redriven.counted),
                ("found counted before", redriven.duplicates),
                ("still dead", redriven.dead_again.values().sum()),
            ] {
                running.did(Effect::new(text, count));
            }
        }
    }
}

/// A target as a filter.
fn filter(target: &str) -> Result<DeadLetterFilter, RemedyError> {
    let mut filter = DeadLetterFilter::default();
    for word in target.split_whitespace().filter(|word| *word != ALL) {
        let wrong = || {
            let known = "write `all`, or some of stream=NAME reason=REASON account=ACCOUNT";
            RemedyError::NotNow(format!("`{word}` is no part of a filter of dead letters: {known}"))
        };
        let (field, value) = word.split_once('=').ok_or_else(wrong)?;
        match field {
            "stream" => filter.stream = Some(StreamName::new(value).map_err(|_| wrong())?),
            "reason" => filter.reason = Some(DeadLetterReason::parse(value).ok_or_else(wrong)?),
            "account" => filter.account = Some(AccountId::new(value).map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_filter_or_refused() {
        assert_eq!(filter("").unwrap(), DeadLetterFilter::default());
        assert_eq!(filter("all").unwrap(), DeadLetterFilter::default());
        let found = filter("account=acme stream=BILLING  reason=future").unwrap();
        assert_eq!((found.stream.unwrap().as_str(), found.reason), ("BILLING", Some(DeadLetterReason::Future)));
        assert_eq!(found.account.unwrap().as_str(), "acme");
        for wrong in ["everything", "stream=", "reason=BAD", "id=3", "stream=a/b", "="] {
            assert!(matches!(filter(wrong), Err(RemedyError::NotNow(_))), "{wrong}");
        }
    }
}
