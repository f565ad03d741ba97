//! PR-08: the registry does not answer. It is probed once a second, whatever the period of the looks is, and the last look counts too: a
//! registry may answer a probe and still not list its models.

use crate::library::Library;
use loadline_health::{Monitor, Reading};
use loadline_models::registry::RegistryError;
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// In the catalogue.
pub const MODE: &str = "PR-08";
/// How often the registry is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A probe, or a look that follows it, that takes longer has failed.
const PROBE_TIME: Duration = Duration::from_millis(1_500);
/// A failing round is a probe and the pause before the next; one that mends is a probe and a look.
pub const EXPECTED_EVERY: Duration = Duration::from_secs(4);

/// Reports for ever.
pub async fn watch(library: &Arc<Library>, monitor: &Monitor) {
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut failing_since, mut looking) = (None, None);
    loop {
        ticks.tick().await;
        // Before the first look its folder may still have to be made: that is no incident.
        if library.freshness().is_unknown() {
            continue;
        }
        let started = Instant::now();
        let reading = match answers(library, &mut looking).await {
            Ok(()) => {
                failing_since = None;
                Reading::good(0.0, "the registry answers")
            }
            Err(why) => silent(failing_since.get_or_insert(started).elapsed(), &why, &library.state()),
        };
        monitor.observe(MODE, reading);
    }
}

/// A registry that is back is looked at at once: until then nothing that it names is followed.
async fn answers(library: &Arc<Library>, looking: &mut Option<JoinHandle<()>>) -> Result<(), String> {
    let late = |_| Err(RegistryError::Unavailable(format!("no answer within {PROBE_TIME:?}")));
    timeout(PROBE_TIME, library.registry().probe()).await.unwrap_or_else(late).map_err(|error| error.to_string())?;
    if library.freshness().is_stale() {
        // One at a time, and to its end: a look may bring models from the registry.
        let look = looking.take().filter(|look| !look.is_finished());
        let look = looking.insert(look.unwrap_or_else(|| tokio::spawn(looked(library.clone()))));
        let _ = timeout(PROBE_TIME, look).await;
    }
    match library.freshness().is_stale() {
        false => Ok(()),
        true => Err(library.freshness().problem().unwrap_or_else(|| "it has not listed its models yet".to_owned())),
    }
}

async fn looked(library: Arc<Library>) {
    if let Err(error) = library.look().await {
        tracing::debug!(%error, "a registry that answers probes does not list its models");
    }
}

/// Bad at once: for how long it has to be is the monitor's business. The value is seconds.
fn silent(failing: Duration, why: &str, state: &str) -> Reading {
    Reading::bad(failing.as_secs_f64(), format!("{why}; what is in memory answers, {state}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_registry_is_bad_at_once_and_says_how_old_the_answers_are() {
        let reading = silent(Duration::from_secs(3), "registry unavailable: refused", "READY_STALE(5s)");
        assert_eq!((reading.bad, reading.value, reading.severity), (true, 3.0, None));
        assert!(reading.detail.contains("refused") && reading.detail.contains("READY_STALE(5s)"), "{reading:?}");
    }
}
