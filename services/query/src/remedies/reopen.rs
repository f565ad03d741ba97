//! Q: lets the canaries ask again, and lifts the closure when every question of theirs is refused.

use crate::{
    Query,
    isolation::{MODE, ROUND},
};
use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use std::time::Duration;
use tokio::time::Instant;

const TARGET: &str = "account data";
/// The mode is good again two minutes after its last breach; until then it is looked at every few seconds.
const VERIFY_WITHIN: Duration = Duration::from_secs(180);

pub struct Reopen {
    pub query: Query,
}

#[async_trait]
impl Remedy for Reopen {
    fn key(&self) -> &'static str {
        "Q"
    }

    fn title(&self) -> &'static str {
        "ask as canaries again, and lift the closure if none is answered"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[MODE]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    fn verify_within(&self) -> Duration {
        VERIFY_WITHIN
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        if !["", TARGET].contains(&target) {
            return Err(RemedyError::NotNow(format!("{target} cannot be reopened: what is closed is `{TARGET}`")));
        }
        let closed_for = self.query.closed_for();
        let closures = u64::from(closed_for.is_some());
        Ok(Planned {
            target: TARGET.to_owned(),
            effects: vec![
                Effect::new("round of questions asked as canaries", 1),
                Effect::new("closure lifted, if none of them is answered", closures),
            ],
            count: 1,
            world: World::default().with(TARGET, closed_for.map_or("open".to_owned(), |why| format!("closed, because {why}"))),
            expected: Duration::from_secs(2),
            undo_within: None,
        })
    }

    async fn execute(&self, _: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 2)?;
        let since = Instant::now();
        let round = tokio::select! {
            round = self.query.isolation_round() => round,
            () = running.stopped() => return Err(RemedyError::Stopped),
        };
        running.did(Effect::new("questions asked as canaries", round.asked));
        if let Some(breach) = round.breaches.first() {
            return Err(RemedyError::Failed(format!("account data stays closed: {breach}")));
        }
        if let Some(untold) = round.untold.first() {
            let why = format!("account data stays as it is, since it cannot be told whether accounts are apart: {untold}");
            return Err(RemedyError::Failed(why));
        }
        running.step(1, 2)?;
        running.did(Effect::new("closure lifted", u64::from(self.query.lift_closure(since))));
        Ok(())
    }

    fn deadline(&self) -> Duration {
        ROUND + Duration::from_secs(10)
    }
}
