//! Whether accounts are apart (AN-10): canaries ask for what they must not see, and one answer closes the service.
//!
//! ```text
//!  every 4 s ────▶ canaries ─▶ the methods that callers use ─▶ refused, every one ─▶ good; after the clear time the closure lifts
//!                                                         └──▶ a row, or no refusal ─▶ P1, and nobody is told anything of accounts
//! ```
//!
//! The nasty invariant: **a canary is asked through the same code as a caller**, and only a type of this crate, which no
//! network can send, lets it pass a closure.

mod canaries;
mod closure;

pub(crate) use canaries::Others;
pub use closure::{Closure, Pass};

use crate::Query;
use loadline_health::{Catalogue, Monitor, Reading};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The mode.
pub const MODE: &str = "AN-10";
/// A round takes no longer.
pub const ROUND: Duration = Duration::from_secs(20);
/// Pause between rounds after a breach, and after a round that could not tell.
const CLOSELY: Duration = Duration::from_secs(5);

/// In the extensions of a canary's request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Canary;

/// What canaries met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Questions asked.
    pub asked: u64,
    /// Rows that a canary was given and must not see.
    pub rows: u64,
    /// Questions that were not refused, and how that showed.
    pub breaches: Vec<String>,
    /// Questions that could not be asked to an end.
    pub untold: Vec<String>,
}

impl Query {
    /// Lets the canaries ask, and closes or lifts by what they met.
    pub async fn isolation_round(&self) -> Round {
        let round = timeout(ROUND, self.canaries())
            .await
            .unwrap_or_else(|_| Round { untold: vec![format!("no end within {} s", ROUND.as_secs())], ..Round::default() });
        if let Some(breach) = round.breaches.first() {
            tracing::error!(rows = round.rows, breaches = ?round.breaches, "accounts are not apart: account data is closed");
            self.closure.close(breach);
        } else if round.untold.is_empty() {
            self.closure.clean(self.clear_time());
        } else {
            self.closure.untold();
        }
        round
    }

    /// Whether account data is closed, and what for.
    pub fn closed_for(&self) -> Option<String> {
        self.closure.closed_for()
    }

    /// Ends a closure, unless something was given away since then. False when there was none.
    pub(crate) fn lift_closure(&self, unbreached_since: Instant) -> bool {
        self.closure.lift(unbreached_since)
    }

    /// Lets the canaries ask now.
    pub(crate) fn look_now(&self) {
        self.look.notify_one();
    }

    /// How long clean rounds last until a closure is lifted: as the mode's.
    fn clear_time(&self) -> Duration {
        let clear = Catalogue::embedded().get(MODE).map_or(Duration::MAX, |mode| mode.threshold.clear());
        clear.min(self.parts.settings.times_at_most)
    }

    pub(crate) async fn watch_isolation(&self, monitor: &Monitor) {
        let every = self.parts.settings.isolation_every;
        let closely = CLOSELY.min(self.parts.settings.times_at_most);
        loop {
            let round = self.isolation_round().await;
            match reading(&round) {
                Some(reading) => monitor.observe(MODE, reading),
                // The mode becomes unknown by itself.
                None => tracing::warn!(untold = ?round.untold, "whether accounts are apart cannot be told"),
            }
            let soon = !round.untold.is_empty() || self.closure.was_breached_within(self.clear_time() + closely * 4);
            tokio::select! {
                () = sleep(if soon { every.min(closely) } else { every }) => {}
                () = self.look.notified() => {}
            }
        }
    }
}

fn reading(round: &Round) -> Option<Reading> {
    if !round.breaches.is_empty() {
        let detail =
            format!("account data is closed; {} questions not refused: {}", round.breaches.len(), round.breaches.join("; "));
        return Some(Reading::bad(round.rows as f64, detail));
    }
    let detail = || format!("{} questions of canaries, none of which was given anything", round.asked);
    round.untold.is_empty().then(|| Reading::good(0.0, detail()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_away_is_bad_though_the_rest_could_not_be_told() {
        let breached = Round { asked: 4, rows: 0, breaches: vec!["GetUsage".to_owned()], untold: vec!["late".to_owned()] };
        let bad = reading(&breached).unwrap();
        assert!(bad.bad && bad.detail.contains("GetUsage"));
        let untold = Round { breaches: Vec::new(), ..breached };
        assert_eq!(reading(&untold), None);
        assert!(!reading(&Round { untold: Vec::new(), ..untold }).unwrap().bad);
    }
}
