//! What ingest has to do: records applied a second, and what their commits take.

use crate::watch::StreamStatus;
use loadline_health::{
    Monitor,
    load::{WINDOW, load},
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(1);

/// Tells it once a second until shutdown.
pub async fn tell(statuses: Vec<Arc<StreamStatus>>, monitor: Monitor, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    let mut seen = VecDeque::new();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = Instant::now();
        seen.push_back((now, statuses.iter().map(|status| status.applied()).sum::<u64>()));
        while seen.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            seen.pop_front();
        }
        let times = statuses.iter().flat_map(|status| status.pace.within(WINDOW, now)).collect();
        monitor.show_load(load(rate(&seen), "events", times));
    }
}

/// Of a counter, from the oldest reading to the newest.
fn rate(seen: &VecDeque<(Instant, u64)>) -> f64 {
    let (Some((since, then)), Some((now, total))) = (seen.front(), seen.back()) else { return 0.0 };
    let time = now.saturating_duration_since(*since).as_secs_f64();
    if time > 0.0 { total.saturating_sub(*then) as f64 / time } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_time_between_readings_and_of_one_reading_none() {
        let start = Instant::now();
        assert!(rate(&[(start, 5)].into()) == 0.0);
        let seen = [(start, 100), (start + PERIOD, 120), (start + PERIOD * 4, 300)].into();
        assert!((rate(&seen) - 50.0).abs() < 1e-9);
    }
}
