//! A closed loop: so many callers, each with its next call as soon as its last one is answered.

use super::wire::{Call, call};
use crate::bench::open_loop::quantile;
use anyhow::ensure;
use loadline_runtime::errors;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::{Code, transport::Channel};

/// Before a caller that was shed calls again, where the server does not say when.
const BACK_OFF: Duration = Duration::from_millis(10);

/// What became of the calls of one round.
#[derive(Debug)]
pub struct Closed {
    pub per_second: f64,
    /// Refused with RESOURCE_EXHAUSTED.
    pub shed: usize,
    /// Refused or broken in any other way.
    pub failed: usize,
    /// Of those answered; shortest first.
    sorted: Vec<Duration>,
}

impl Closed {
    /// Milliseconds within which the share `q` of the answers came.
    pub fn ms(&self, q: f64) -> f64 {
        quantile(&self.sorted, q).as_secs_f64() * 1_000.0
    }
}

#[derive(Default)]
struct Caller {
    waits: Vec<Duration>,
    shed: usize,
    failed: usize,
}

/// Calls for so long.
///
/// # Errors
/// When nothing was answered.
pub async fn closed(channels: &[Channel], of: &Call, in_flight: usize, lasts: Duration) -> anyhow::Result<Closed> {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..in_flight {
        callers.spawn(calls(channels[caller % channels.len()].clone(), of.clone(), started + lasts));
    }
    let (mut sorted, mut shed, mut failed) = (Vec::new(), 0, 0);
    while let Some(caller) = callers.join_next().await {
        let caller = caller?;
        sorted.extend(caller.waits);
        shed += caller.shed;
        failed += caller.failed;
    }
    let per_second = sorted.len() as f64 / started.elapsed().as_secs_f64();
    ensure!(!sorted.is_empty(), "no call was answered");
    sorted.sort_unstable();
    Ok(Closed { per_second, shed, failed, sorted })
}

/// Calls for so long what has to be answered each time.
///
/// # Errors
/// When a call was shed or failed.
pub async fn answered(channels: &[Channel], of: &Call, in_flight: usize, lasts: Duration) -> anyhow::Result<Closed> {
    let closed = closed(channels, of, in_flight, lasts).await?;
    ensure!(closed.failed == 0 && closed.shed == 0, "{} calls failed, {} were shed", closed.failed, closed.shed);
    Ok(closed)
}

async fn calls(channel: Channel, of: Call, until: Instant) -> Caller {
    let mut caller = Caller::default();
    while Instant::now() < until {
        let began = Instant::now();
        match call(channel.clone(), of.clone()).await {
            Ok(_) => caller.waits.push(began.elapsed()),
            Err(status) if status.code() == Code::ResourceExhausted => {
                caller.shed += 1;
                tokio::time::sleep(errors::retry_after(&status).unwrap_or(BACK_OFF)).await;
            }
            Err(status) => {
                if caller.failed == 0 {
                    eprintln!("a call failed: {status}");
                }
                caller.failed += 1;
            }
        }
    }
    caller
}
