//! Days full of events, and a checker that asks for them all the while they roll up, move and break.

use crate::{
    client::Clients,
    events::{billing, envelope, proto_time},
    service::Service,
    world,
};
use anyhow::{Context as _, Result, ensure};
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::{
    event::Event,
    ingest::PublishRequest,
    query::{GetUsageRequest, GetUsageResponse, Granularity, Part, part::Origin},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::Code;

/// Accounts that [`fill`] makes.
pub const ACCOUNTS: u64 = 3;
/// Days back from today that it fills.
pub const DAYS: u64 = 12;
/// Events of each account and day.
pub const EVENTS: u64 = 40;
const DAY: Duration = Duration::from_secs(86_400);
/// Longest time between two answers while servers are killed and started again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Old events are taken as if they were new, days move soon, a leader that dies is soon followed, and jobs run when asked to.
pub const VALUES: [(&str, &str); 9] = [
    ("rules.billing_horizon", "60d"),
    ("rollup.hot_days", "3"),
    ("rollup.lease_ttl", "2s"),
    ("ingest.lease_ttl", "2s"),
    ("rollup.jobs.archive.schedule", ""),
    ("rollup.jobs.daily_rollup.schedule", ""),
    ("rollup.jobs.tidy_history.schedule", ""),
    ("rollup.jobs.purge_dedup.schedule", ""),
    ("rollup.jobs.retention.schedule", ""),
];

/// What "now" is.
pub fn now() -> Timestamp {
    SystemClock.now()
}

/// Name of an account.
pub fn account(number: u64) -> String {
    format!("acct-{number:03}")
}

/// Publishes [`EVENTS`] an account and day, spread over the hours of each, and waits until they are counted.
///
/// # Errors
/// When one is refused, or they are not counted in time.
pub async fn fill(ingest: &Service) -> Result<()> {
    let clients = ingest.ingest()?;
    for day in 0..DAYS {
        let mut events = Vec::new();
        for number in 0..ACCOUNTS {
            for event in 0..EVENTS {
                let at = now().minus(DAY * day as u32 + Duration::from_secs(event * 1_800));
                events.push(envelope(billing(&account(number), &format!("{day}-{number}-{event}"), at)));
            }
        }
        publish(&clients, events).await?;
    }
    world::drained(ingest).await
}

/// Publishes events that must all be accepted.
///
/// # Errors
/// When one is not.
pub async fn publish(ingest: &Clients, events: Vec<Event>) -> Result<()> {
    let sent = events.len() as u64;
    let answer = ingest.clone().events.publish(PublishRequest { events, skip_duplicates: false }).await?.into_inner();
    ensure!(u64::from(answer.accepted) == sent, "{} of {sent} accepted: {:?}", answer.accepted, answer.rejections);
    Ok(())
}

/// Usage of an account over all days that [`fill`] fills.
///
/// # Errors
/// When query does not answer.
pub async fn ask(clients: &mut Clients, account: &str, granularity: Granularity) -> Result<GetUsageResponse, tonic::Status> {
    let request = GetUsageRequest {
        account: account.to_owned(),
        from: Some(proto_time(now().minus(DAY * (DAYS as u32 + 3)))),
        to: Some(proto_time(now().plus(DAY))),
        granularity: granularity.into(),
        ..GetUsageRequest::default()
    };
    Ok(clients.usage.get_usage(request).await?.into_inner())
}

/// Events of an answer.
pub fn events(answer: &GetUsageResponse) -> u64 {
    answer.totals.iter().map(|total| total.events).sum()
}

/// Where an answer comes from.
pub fn origins(answer: &GetUsageResponse) -> Vec<Origin> {
    answer.completeness.iter().flat_map(|rests| &rests.parts).map(Part::origin).collect()
}

/// Pieces that an answer lacks.
pub fn missing(answer: &GetUsageResponse) -> Vec<&Part> {
    answer.completeness.iter().flat_map(|rests| &rests.parts).filter(|part| !part.missing.is_empty()).collect()
}

/// What is asked of answers while something is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Every question is answered, and every answer is whole.
    Whole,
    /// A question may be refused, and an answer may lack what it names; what it does not name is there.
    Right,
}

/// Asks for every account by hours and by days until it is stopped. Dropped, it asks no more.
#[derive(Debug)]
pub struct Checker {
    asking: JoinHandle<Result<()>>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    whole: AtomicU64,
    partial: AtomicU64,
    refused: AtomicU64,
}

/// How answers were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// Whole ones.
    pub whole: u64,
    /// Those that named what they lacked.
    pub partial: u64,
    /// Questions without one.
    pub refused: u64,
}

impl Checker {
    /// Begins to ask: each account has `expected` events, now and for as long as it asks.
    ///
    /// # Errors
    /// Never for an address.
    pub fn start(query: &Service, expected: u64, demand: Demand) -> Result<Self> {
        let seen = Arc::new(Seen::default());
        let asking = tokio::spawn(keep_asking(query.query()?, expected, demand, seen.clone()));
        Ok(Self { asking, seen })
    }

    /// Waits until every account was answered wholly once more, and begun after this call.
    ///
    /// # Errors
    /// The first answer that was not as it must be; or none for long.
    pub async fn round(&mut self) -> Result<()> {
        let (whole, began) = (self.seen.whole.load(Ordering::SeqCst), Instant::now());
        // One question may have been under way.
        while self.seen.whole.load(Ordering::SeqCst) <= whole + 2 * ACCOUNTS {
            if self.asking.is_finished() {
                return (&mut self.asking).await?;
            }
            ensure!(began.elapsed() < PATIENCE, "no whole answers for {PATIENCE:?}: {:?}", self.seen);
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends with the last answer.
    ///
    /// # Errors
    /// The first answer that was not as it must be.
    pub async fn stop(self) -> Result<Answers> {
        self.seen.stop.store(true, Ordering::SeqCst);
        timeout(PATIENCE, self.asking).await.context("the checker hangs")???;
        let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Ok(Answers { whole: count(&self.seen.whole), partial: count(&self.seen.partial), refused: count(&self.seen.refused) })
    }
}

async fn keep_asking(mut clients: Clients, expected: u64, demand: Demand, seen: Arc<Seen>) -> Result<()> {
    while !seen.stop.load(Ordering::SeqCst) {
        for number in 0..ACCOUNTS {
            for granularity in [Granularity::Hour, Granularity::Day] {
                let answer = match ask(&mut clients, &account(number), granularity).await {
                    Ok(answer) => answer,
                    Err(refused) if demand == Demand::Right => {
                        let passing = [Code::Unavailable, Code::Aborted, Code::DeadlineExceeded, Code::Cancelled, Code::Unknown];
                        ensure!(passing.contains(&refused.code()), "{refused:?}");
                        seen.refused.fetch_add(1, Ordering::SeqCst);
                        sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                    Err(refused) => return Err(refused).context("a question was refused"),
                };
                let (found, lacks) = (events(&answer), missing(&answer));
                if lacks.is_empty() {
                    let whose = account(number);
                    ensure!(found == expected, "{whose}: {found} events by {granularity:?}, {expected} published");
                    seen.whole.fetch_add(1, Ordering::SeqCst);
                } else {
                    ensure!(demand == Demand::Right && found <= expected, "{found} of {expected}, and missing: {lacks:?}");
                    seen.partial.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
    Ok(())
}
