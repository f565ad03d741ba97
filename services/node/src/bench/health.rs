//! What the health machinery costs ingest: backlogs of the same make applied by the service with all of it, and with none of it, in
//! turns, so that what drifts on the machine weighs on both.
//!
//! With it: lag, headroom and losses of each stream are read, all modes of ingest detected, its remedies offered, its load told,
//! and consoles watch its health stream over gRPC. Without it: owners, pipeline and commits alone. The process's own modes
//! (secrets, configuration, telemetry) are in neither.

use super::{
    events::{Events, Ids},
    ingest::{Bench, Watching},
    report::Health,
};
use anyhow::Context as _;
use loadline_health::{Monitor, failure_modes};
use loadline_proto::health::{WatchRequest, failure_mode_service_client::FailureModeServiceClient};
use std::net::Ipv4Addr;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;

/// Consoles that look on.
const WATCHERS: usize = 3;

/// A round's figures: events a second, and seconds of a core a million events.
type Round = (f64, Option<f64>);

/// Runs so many rounds of each.
pub async fn compare(bench: &Bench, ids: Ids, events: u64, rounds: usize) -> anyhow::Result<Health> {
    eprintln!("applying with and without the health machinery, {rounds} rounds …");
    let mut source = Events::new(ids, bench.accounts());
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Neither always comes first.
        for watched in if round % 2 == 0 { [true, false] } else { [false, true] } {
            let spec = bench.stream().await?;
            bench.append(&spec.name, &mut source, events).await?;
            let before = cpu_seconds();
            let per_second = if watched {
                let (monitor, watchers) = watched_monitor().await?;
                let per_second = bench.apply(&spec, events, Watching::By(monitor)).await?;
                drop(watchers);
                per_second
            } else {
                bench.apply(&spec, events, Watching::Off).await?
            };
            let spent = before.zip(cpu_seconds()).map(|(before, after)| (after - before) / events as f64 * 1e6);
            if watched { with.push((per_second, spent)) } else { without.push((per_second, spent)) }
        }
    }
    Ok(figures(&with, &without))
}

/// A monitor whose stream is watched; the watchers leave when they are dropped.
async fn watched_monitor() -> anyhow::Result<(Monitor, JoinSet<()>)> {
    let monitor = Monitor::new("bench", crate::build(), loadline_ingest::Ingest::DETECTS)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port for the health stream")?;
    let address = listener.local_addr()?.to_string();
    let server = tonic::transport::Server::builder().add_service(failure_modes::server(monitor.clone()));
    let mut tasks = JoinSet::new();
    tasks.spawn(async { drop(server.serve_with_incoming(TcpListenerStream::new(listener)).await) });
    for _ in 0..WATCHERS {
        let mut client = FailureModeServiceClient::new(crate::connect::channel(&address)?);
        let mut frames = client.watch(WatchRequest::default()).await?.into_inner();
        frames.message().await?.context("the health stream ended")?;
        tasks.spawn(async move { while let Ok(Some(_)) = frames.message().await {} });
    }
    Ok((monitor, tasks))
}

fn figures(with: &[Round], without: &[Round]) -> Health {
    let ratios = || with.iter().zip(without).map(|((with, _), (without, _))| with / without);
    let rates = |rounds: &[Round]| median(rounds.iter().map(|(rate, _)| *rate));
    let spent = |rounds: &[Round]| rounds.iter().map(|(_, spent)| *spent).collect::<Option<Vec<_>>>().map(median);
    Health {
        rounds: with.len(),
        watchers: WATCHERS,
        with_per_second: rates(with),
        without_per_second: rates(without),
        ratio: median(ratios()),
        lowest_ratio: ratios().fold(f64::INFINITY, f64::min),
        highest_ratio: ratios().fold(f64::NEG_INFINITY, f64::max),
        with_core_seconds_per_million: spent(with),
        without_core_seconds_per_million: spent(without),
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Of all threads of this process so far; `None` where `/proc` does not tell. Linux counts in hundredths.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_one_with_another_and_the_middle_one_counts() {
        let with = [(99.0, Some(2.0)), (50.0, Some(1.0)), (100.0, Some(3.0))];
        let without = [(100.0, Some(1.0)), (100.0, Some(1.0)), (80.0, None)];
        let health = figures(&with, &without);
        assert_eq!((health.ratio, health.lowest_ratio, health.highest_ratio), (0.99, 0.5, 1.25));
        assert_eq!((health.with_per_second, health.without_per_second), (99.0, 100.0));
        assert_eq!(health.with_core_seconds_per_million, Some(2.0));
        assert_eq!(health.without_core_seconds_per_million, None, "of a part nothing is said");
        assert_eq!(median([4.0, 1.0]), 2.5);
    }

    #[test]
    fn the_time_of_this_process_is_told_and_rises() {
        let before = cpu_seconds().unwrap();
        let mut sum = 0_u64;
        while cpu_seconds().unwrap() < before + 0.02 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
