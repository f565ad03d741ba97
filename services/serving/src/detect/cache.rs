//! PR-11: the shared cache does not answer. It is probed once a second, which also makes its connection anew.

use crate::cache::{Cache, Counts};
use loadline_health::{Monitor, Reading};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// In the catalogue.
pub const MODE: &str = "PR-11";
/// How often it is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A probe that takes longer has failed.
const PROBE_TIME: Duration = Duration::from_millis(1_500);
/// A failing round is a probe and the pause before the next.
pub const EXPECTED_EVERY: Duration = Duration::from_secs(4);

/// Reports for ever.
pub async fn watch(cache: &Cache, monitor: &Monitor) {
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing_since = None;
    loop {
        ticks.tick().await;
        let started = Instant::now();
        let reading = match probe(cache).await {
            Ok(answered) => {
                failing_since = None;
                Reading::good(0.0, answered)
            }
            Err(why) => silent(failing_since.get_or_insert(started).elapsed(), &why, cache.counts()),
        };
        monitor.observe(MODE, reading);
    }
}

/// What it says of itself, or why it says nothing.
async fn probe(cache: &Cache) -> Result<&'static str, String> {
    let probed = timeout(PROBE_TIME, cache.shared().probe()).await.map_err(|_| format!("no answer within {PROBE_TIME:?}"))?;
    probed.map_err(|error| error.to_string())?;
    Ok(if cache.shared().is_there() { "the shared cache answers" } else { "no shared cache is configured" })
}

/// Bad at once: for how long it has to be is the monitor's business. The value is seconds.
fn silent(failing: Duration, why: &str, counts: Counts) -> Reading {
    let Counts { hits, errors, damaged } = counts;
    let so_far = format!("{hits} hits, {errors} errors and {damaged} damaged entries since the start");
    Reading::bad(failing.as_secs_f64(), format!("{why}; models answer what is not in memory: {so_far}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_cache_is_bad_at_once_and_says_what_answers() {
        let counts = Counts { hits: 7, errors: 2, damaged: 1 };
        let reading = silent(Duration::from_secs(3), "refused", counts);
        assert_eq!((reading.bad, reading.value, reading.severity), (true, 3.0, None));
        assert!(reading.detail.contains("refused") && reading.detail.contains("7 hits, 2 errors"), "{reading:?}");
    }
}
