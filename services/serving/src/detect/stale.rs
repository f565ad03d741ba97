//! PR-12: the cache had an answer of another artifact than the one that answers. Nobody was given it; that it was there is the incident.

use crate::cache::{Cache, Stale};
use loadline_health::{Monitor, Reading};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// In the catalogue.
pub const MODE: &str = "PR-12";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A look is no call of anything.
pub const EXPECTED_EVERY: Duration = Duration::from_secs(2);
/// After so long without another one it is over, also where nobody flushes.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Reports for ever.
pub async fn watch(cache: &Cache, monitor: &Monitor) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        monitor.observe(MODE, reading(&cache.stale(), cache.is_on()));
    }
}

fn reading(stale: &Stale, is_on: bool) -> Reading {
    let lately = stale.last.is_some_and(|last| last.elapsed() < REMEMBERED);
    match (lately, is_on) {
        (true, _) => Reading::bad(stale.found as f64, format!("{}; the model answered instead", stale.detail)),
        (false, true) => Reading::good(0.0, "every answer kept is of the artifact that answers"),
        (false, false) => Reading::good(0.0, "no answers are kept (serving.cache.memory is 0)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_stale_entry_is_told_until_it_is_flushed_or_long_ago() {
        let told = |stale: &Stale| reading(stale, true).bad;
        let now = Instant::now();
        let stale = Stale { found: 2, last: Some(now), detail: "an entry of artifact b".to_owned() };
        assert!(told(&stale) && reading(&stale, true).detail.contains("artifact b"));
        assert!(!told(&Stale::default()));
        assert!(!told(&Stale { last: now.checked_sub(REMEMBERED), ..stale }));
    }
}
