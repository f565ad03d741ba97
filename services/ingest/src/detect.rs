//! The failure modes seen from ingest: AN-01, AN-02, AN-03, AN-05 where it slows counting down, AN-08, AN-09.

use crate::{
    pace,
    watch::{Backlog, StreamStatus},
};
use loadline_domain::Clock;
use loadline_health::{Latch, Monitor, Reading, Severity};
use loadline_store::{Conservation, Store, StoreError, StoredLoss};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Modes this service detects.
pub const DETECTS: &[&str] = &["AN-01", "AN-02", "AN-03", "AN-05", "AN-08", "AN-09"];

const PERIOD: Duration = Duration::from_secs(1);
/// Shares of retention left to the oldest unapplied record.
const SCARCE: f64 = 0.25;
const URGENT: f64 = 0.10;
/// Dead letters are "appearing" for this long.
const APPEARING: Duration = Duration::from_secs(60);
/// A loss is news for this long.
const LOSS_NEWS: Duration = Duration::from_secs(3600);
/// The conservation sum reads the whole usage table.
const CONSERVATION_PERIOD: Duration = Duration::from_secs(60);
const DEDUP_PERIOD: Duration = Duration::from_secs(5);
/// Commits that take so many times as long as at their best are slow.
const SLOW_COMMITS: f64 = 3.0;

/// What the detectors look at.
pub struct Detectors {
    pub statuses: Vec<Arc<StreamStatus>>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub monitor: Monitor,
    /// Lag that is no longer traffic in flight.
    pub lag_limit: Duration,
}

impl Detectors {
    /// Looks once a second until shutdown. A probe that hangs delays no other mode.
    pub async fn run(self, shutdown: CancellationToken) {
        // What only memory is asked for is soon missed.
        for mode in ["AN-02", "AN-03", "AN-09"] {
            if let Err(error) = self.monitor.expect_every(mode, PERIOD * 2) {
                tracing::error!(%error, "a detector reports a mode that is not announced");
            }
        }
        let detectors = Arc::new(self);
        let probing = detectors.clone().probe_store();
        let counting = detectors.clone().check_conservation();
        let losing = detectors.clone().follow_losses();
        let watching = detectors.watch_streams();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { tokio::join!(probing, counting, losing, watching); } => {}
        }
    }

    /// AN-01: the store does not answer.
    async fn probe_store(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PERIOD);
        let mut failing_since: Option<Instant> = None;
        loop {
            ticks.tick().await;
            let probe = self.store.probe().await;
            let since = probe.is_err().then(|| *failing_since.get_or_insert_with(Instant::now));
            failing_since = since;
            let failing = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            let detail = probe.err().map_or_else(|| "answers".to_owned(), |error| error.to_string());
            self.monitor.observe("AN-01", Reading { bad: since.is_some(), ..Reading::good(failing, detail) });
        }
    }

    /// AN-02, AN-03, AN-09: what each stream's status tells.
    async fn watch_streams(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PERIOD);
        let mut dead = VecDeque::new();
        loop {
            ticks.tick().await;
            self.lag();
            self.undecodable(&mut dead);
            self.headroom();
        }
    }

    fn lag(&self) {
        let now = tokio::time::Instant::now();
        let backlogs = self.statuses.iter().filter_map(|status| Some((status, status.seen().backlog?)));
        let limited = backlogs.map(|(status, backlog)| (status, status.lag_limit(self.lag_limit, now), backlog));
        let of_limit = |limit: Duration, backlog: &Backlog| backlog.lag.as_secs_f64() / limit.as_secs_f64();
        let worst = limited.max_by(|(_, a, one), (_, b, other)| of_limit(*a, one).total_cmp(&of_limit(*b, other)));
        let Some((status, limit, backlog)) = worst else { return };
        let detail = format!("{}: {} records behind", status.spec.name, backlog.records);
        let reading = Reading {
            bad: backlog.lag > limit,
            severity: (backlog.lag > limit * 4).then_some(Severity::P2),
            time_to_loss: backlog.headroom.time,
            ..Reading::good(backlog.lag.as_secs_f64(), detail)
        };
        self.monitor.observe("AN-02", reading.against(limit.as_secs_f64()));
    }

    fn undecodable(&self, seen: &mut VecDeque<(Instant, u64)>) {
        let total: u64 = self.statuses.iter().map(|status| status.dead()).sum();
        seen.push_back((Instant::now(), total));
        let appearing = self.monitor.at_most(APPEARING);
        // The last look before that time stays: what appeared since is within it.
        while seen.get(1).is_some_and(|(at, _)| at.elapsed() >= appearing) {
            seen.pop_front();
        }
        let recent = total - seen.front().map_or(total, |(_, then)| *then);
        let stopped = self.statuses.iter().find_map(|status| Some((status, status.seen().progress?.stopped?)));
        let detail = match &stopped {
            Some((status, why)) => format!("{} stopped: {why}", status.spec.name),
            None => format!("{recent} in the last {} s", appearing.as_secs()),
        };
        let severity = stopped.is_some().then_some(Severity::P2);
        let bad = recent > 0 || stopped.is_some();
        self.monitor.observe("AN-03", Reading { bad, severity, ..Reading::good(recent as f64, detail) });
    }

    fn headroom(&self) {
        let backlogs = self.statuses.iter().filter_map(|status| Some((status, status.seen().backlog?)));
        let now = tokio::time::Instant::now();
        let limited = backlogs.map(|(status, backlog)| (status, status.headroom_limit(SCARCE, now), backlog));
        let scarcest =
            limited.min_by(|(_, a, one), (_, b, other)| (one.headroom.ratio / a).total_cmp(&(other.headroom.ratio / b)));
        let Some((status, scarce, backlog)) = scarcest else { return };
        let lossy = self.statuses.iter().find_map(|status| Some((status, status.recent_loss()?)));
        let ratio = backlog.headroom.ratio;
        let severity = match &lossy {
            Some(_) => Some(Severity::P1),
            None => (ratio <= URGENT).then_some(Severity::P2),
        };
        let detail = match lossy {
            Some((status, records)) => format!("{}: {records} records lost", status.spec.name),
            None => format!("{}: {:.0} % of retention left to the oldest unapplied record", status.spec.name, ratio * 100.0),
        };
        let bad = ratio <= scarce || severity == Some(Severity::P1);
        let reading = Reading { bad, severity, time_to_loss: backlog.headroom.time, ..Reading::good(ratio, detail) };
        self.monitor.observe("AN-09", reading.against(scarce));
    }

    /// Reads the ledger's last hour each time: rows of several streams may appear out of the order of their ids.
    async fn follow_losses(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PERIOD);
        let mut old_news = 0;
        loop {
            ticks.tick().await;
            let Ok(news) = self.losses_after(&mut old_news).await else { continue };
            for status in &self.statuses {
                let of_stream = news.iter().filter(|loss| loss.stream == status.spec.name);
                status.lost(of_stream.map(|loss| loss.loss.count()).sum());
            }
        }
    }

    /// Losses recorded within the hour; moves `old_news` to the last id before them.
    async fn losses_after(&self, old_news: &mut i64) -> Result<Vec<StoredLoss>, StoreError> {
        let (since, mut news, mut after) = (self.clock.now().minus(self.monitor.at_most(LOSS_NEWS)), Vec::new(), *old_news);
        loop {
            let page = self.store.losses(None, after, 1_000).await?;
            let Some(last) = page.last() else { return Ok(news) };
            after = last.id;
            for loss in page {
                if loss.recorded_at >= since {
                    news.push(loss);
                } else if news.is_empty() {
                    *old_news = loss.id;
                }
            }
        }
    }

    /// AN-08: two ways to the same number differ.
    async fn check_conservation(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PERIOD);
        let mut checked: Option<Instant> = None;
        let mut latest = None;
        loop {
            ticks.tick().await;
            if checked.is_none_or(|at| at.elapsed() >= CONSERVATION_PERIOD) {
                latest = self.store.conservation().await.ok();
                checked = Some(Instant::now());
            }
            let Some(sums) = &latest else { continue };
            let seen = self.statuses.iter().filter_map(|status| status.seen().progress);
            let unaccounted = seen.map(|progress| progress.unaccounted().abs()).sum();
            self.monitor.observe("AN-08", balance(sums, unaccounted));
        }
    }
}

/// `unaccounted`: of the streams as they are now. The sums of a minute ago know no more of that.
fn balance(sums: &Conservation, unaccounted: i64) -> Reading {
    let unaccounted = unaccounted.max(sums.unaccounted.abs());
    let apart = (sums.counted - sums.usage_events).abs() + unaccounted;
    let detail = format!("{} counted, {} in usage, {unaccounted} unaccounted", sums.counted, sums.usage_events);
    Reading { bad: apart != 0, ..Reading::good(apart as f64, detail) }
}

/// AN-05 as far as it slows counting down: rollup sees the tables grow past `most` keys, and only here is seen what commits
/// take by it. Until shutdown.
pub async fn pace_dedup(
    statuses: Vec<Arc<StreamStatus>>,
    store: Arc<dyn Store>,
    most: u64,
    monitor: Monitor,
    shutdown: CancellationToken,
) {
    if let Err(error) = monitor.expect_every("AN-05", DEDUP_PERIOD) {
        return tracing::error!(%error, "a detector reports a mode that is not announced");
    }
    let (window, mut budget) = (monitor.at_most(pace::WINDOW), Latch::default());
    let mut ticks = tokio::time::interval(DEDUP_PERIOD);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let Ok(tables) = store.partitions().await else { continue };
        let keys = tables.iter().map(|(_, keys)| keys).sum();
        let slowdowns = statuses.iter().filter_map(|status| status.pace.slowdown(window, Instant::now()));
        let reading = slowed(keys, most, budget.is_over(keys, most), tables.len(), slowdowns.fold(1.0, f64::max));
        monitor.observe("AN-05", reading);
    }
}

/// Bad only when there are too many keys and commits are slow: either may be for another reason.
fn slowed(keys: u64, most: u64, is_over: bool, tables: usize, slowdown: f64) -> Reading {
    let detail = format!("commits take {slowdown:.1} times as long as at their best, with {keys} dedup keys of {most}");
    if is_over && slowdown > SLOW_COMMITS {
        Reading::bad(tables as f64, detail).raised(Severity::P2)
    } else {
        Reading::good(0.0, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_does_not_add_up_now_is_bad_whatever_the_sums_of_a_minute_ago_were() {
        let even = Conservation { counted: 7, usage_events: 7, unaccounted: 0 };
        assert!(!balance(&even, 0).bad);
        let reading = balance(&even, 3);
        assert!(reading.bad && (reading.value - 3.0).abs() < f64::EPSILON, "{reading:?}");
        assert!(balance(&Conservation { unaccounted: -2, ..even }, 0).bad);
        assert!(balance(&Conservation { usage_events: 8, ..even }, 0).bad);
    }

    #[test]
    fn only_slow_commits_over_too_many_keys_are_bad() {
        assert!(!slowed(11, 10, true, 2, 3.0).bad);
        assert!(!slowed(10, 10, false, 2, 9.0).bad);
        let bad = slowed(11, 10, true, 2, 3.1);
        assert_eq!((bad.bad, bad.severity, bad.value), (true, Some(Severity::P2), 2.0));
    }
}
