//! Dedup tables are dropped while ingest counts: no event is counted twice or not at all, and none is refused for it.

use anyhow::{Context as _, Result, ensure};
use loadline_proto::{event::Event, query::Granularity};
use loadline_tests::{
    client::Clients,
    days::{self, VALUES, account, now},
    events::{billing, envelope},
    jobs::{run, succeeded},
    on_every_backend, questions,
    service::{Program, Service},
    world::{Backends, World},
};
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

on_every_backend! {
    tables_are_dropped_while_events_come_and_each_is_counted_once
}

const PATIENCE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);
const OLD_DAYS: u32 = 6;
/// Keys of one old day: more than go in one slice where they go in slices.
const MANY: usize = 25_000;
/// Events of a request.
const BATCH: usize = 500;

fn old(day: u32, number: usize) -> Event {
    envelope(billing(&account(0), &format!("old-{day}-{number}"), now().minus(DAY * day)))
}

fn new(number: usize) -> Event {
    envelope(billing(&account(1), &format!("new-{number}"), now().minus(Duration::from_secs(number as u64 % 3_600))))
}

/// Publishes new events, each batch twice, until told to stop; returns how many different ones.
async fn keep_publishing(ingest: Clients, stop: Arc<AtomicBool>) -> Result<usize> {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let batch: Vec<Event> = (number..number + BATCH).map(new).collect();
        days::publish(&ingest, batch.clone()).await?;
        days::publish(&ingest, batch).await?;
        number += BATCH;
        // A rate that is kept up with.
        sleep(Duration::from_millis(100)).await;
    }
    Ok(number)
}

/// Tables dropped by a run.
async fn purge(rollup: &Service, key: &str) -> Result<u64> {
    run(rollup, "purge_dedup", key).await?;
    let done: Value = serde_json::from_str(&succeeded(rollup, "purge_dedup").await?.result)?;
    done["dropped"].as_u64().with_context(|| format!("{done}"))
}

async fn tables_are_dropped_while_events_come_and_each_is_counted_once(backends: Backends) -> Result<()> {
    let mut world = World::start_with(backends, &VALUES).await?;
    let ingest = world.ingest.ingest()?;
    let count = |day: u32| if day == 2 { MANY } else { BATCH };
    for day in 2..2 + OLD_DAYS {
        for first in (0..count(day)).step_by(BATCH) {
            days::publish(&ingest, (first..first + BATCH).map(|number| old(day, number)).collect()).await?;
        }
    }
    world.drained().await?;
    // From now on nobody takes events that old, so nobody needs their keys.
    world.ingest.stop(PATIENCE).await?;
    let settings = world.rollup.clone().set("rules.billing_horizon", "24h");
    world.ingest = Service::start(settings.clone().of(Program::Ingest)).await?;
    let rollup = Service::start(settings).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(keep_publishing(world.ingest.ingest()?, stop.clone()));
    sleep(Duration::from_secs(1)).await;
    ensure!(purge(&rollup, "once").await? == u64::from(OLD_DAYS), "not every old table went");
    ensure!(purge(&rollup, "again").await? == 0, "a table went twice");
    sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::SeqCst);
    let published = publishing.await?? as u64;
    world.drained().await?;

    let olds = (2..2 + OLD_DAYS).map(count).sum::<usize>() as u64;
    let [applied, counted, duplicates, dead, lost] = questions::counters(&mut world.ingest.ingest()?, "BILLING").await?;
    ensure!([applied, counted, duplicates, dead, lost] == [olds + 2 * published, olds + published, published, 0, 0]);
    for (number, expected) in [(0, olds), (1, published)] {
        let answer = days::ask(&mut world.query.query()?, &account(number), Granularity::Hour).await?;
        ensure!(days::events(&answer) == expected, "{}: {} of {expected}", account(number), days::events(&answer));
    }
    Ok(())
}
