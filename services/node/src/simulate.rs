//! Simulated traffic through the public API: what a messaging platform's producers send, mistakes included.
//!
//! ```text
//! Traffic (pure: seed, time) ─events─▶ driver ═Publish═▶ ingest
//!    accounts · billing · receipts       └─ backs off, sends the same again ─▶ Stats
//! ```
//!
//! The driver never dies: while ingest is down it keeps the request it has, and tries it again.

mod accounts;
mod receipts;
mod stats;
mod traffic;

pub use stats::{Snapshot, Stats};
pub use traffic::Traffic;

use crate::{backoff::Backoff, connect::is_lasting};
use loadline_domain::{Clock as _, time::SystemClock};
use loadline_proto::{
    event::Event,
    ingest::{PublishRequest, PublishResponse, event_service_client::EventServiceClient},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::{Status, transport::Channel};

/// How often events are made and sent.
const TICK: Duration = Duration::from_millis(100);
/// Most events of a request.
const REQUEST_EVENTS: usize = 1_000;
/// One request in so many asks for duplicates to be left out of the log.
const ASKS_FOR_DUPLICATES: u64 = 10;
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What traffic to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Events per second, receipts and repetitions included; 0 makes none.
    pub rate: u32,
    /// Number of accounts, at least 1.
    pub accounts: u32,
    /// How unequal they are: exponent of a Zipf distribution, above 0. At 1.1 the first of 50 sends a quarter of everything.
    pub skew: f64,
    /// The same seed at the same times makes the same events; by chance when absent.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: 200, accounts: 50, skew: 1.1, seed: None }
    }
}

/// Sends traffic over `ingest` until `shutdown`, counting into `stats`.
pub async fn run(settings: Settings, ingest: Channel, shutdown: impl Future, stats: Arc<Stats>) {
    let driver = Driver { client: EventServiceClient::new(ingest), stats, requests: 0 };
    tokio::select! {
        _ = pin!(shutdown) => {}
        () = driver.run(settings) => {}
    }
}

struct Driver {
    client: EventServiceClient<Channel>,
    stats: Arc<Stats>,
    requests: u64,
}

impl Driver {
    async fn run(mut self, settings: Settings) {
        let mut traffic = Traffic::new(settings);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (rate, mut credit, mut last) = (f64::from(settings.rate), 0.0, Instant::now());
        loop {
            ticks.tick().await;
            // What an outage or a slow ingest kept back is not made up for beyond a second's worth.
            credit = (credit + last.elapsed().as_secs_f64() * rate).min(rate.max(1.0));
            last = Instant::now();
            let events = traffic.next(SystemClock.now(), credit as usize);
            credit -= events.len() as f64;
            for events in events.chunks(REQUEST_EVENTS) {
                self.deliver(events).await;
            }
        }
    }

    /// Sends until it is answered: an unanswered request may or may not have been taken, and duplicates count once.
    async fn deliver(&mut self, events: &[Event]) {
        self.requests += 1;
        let skip_duplicates = self.requests.is_multiple_of(ASKS_FOR_DUPLICATES);
        let mut backoff = Backoff::new(Duration::MAX);
        loop {
            let request = PublishRequest { events: events.to_vec(), skip_duplicates };
            match self.publish(request).await {
                Ok(response) => return self.stats.answered(&response),
                Err(status) if is_lasting(&status) => {
                    tracing::warn!(code = ?status.code(), message = status.message(), "ingest refuses simulated traffic");
                    return self.stats.refused(events.len());
                }
                Err(status) => {
                    self.stats.unavailable();
                    tracing::debug!(code = ?status.code(), message = status.message(), "ingest is unavailable");
                    sleep(backoff.failed().unwrap_or(TICK)).await;
                }
            }
        }
    }

    async fn publish(&mut self, request: PublishRequest) -> Result<PublishResponse, Status> {
        match timeout(CALL_TIMEOUT, self.client.publish(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded("ingest did not answer")),
        }
    }
}

#[cfg(test)]
mod tests;
