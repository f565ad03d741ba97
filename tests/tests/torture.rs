//! Faults at random, for `LOADLINE_TORTURE_SECONDS` (20), while events are published: in the end the store holds exactly what the
//! log held. `LOADLINE_TORTURE_SEED` repeats a run's choices, as far as time allows.

use anyhow::{Context as _, Result};
use loadline_domain::time::{Clock as _, SystemClock};
use loadline_tests::{
    journal::Journal,
    nats::NatsVersion,
    proxy::{POSTGRES_COMMIT, Proxy},
    workload::{Item, Mix, Workload},
    world::{Backends, World},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    env,
    time::{Duration, Instant},
};
use tokio::time;

/// What can happen to it.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KillIngest,
    PauseIngest,
    KillPostgres,
    PausePostgres,
    KillNats,
    PauseNats,
    LoseReplyToCommit,
    LoseCommit,
    Cut,
    HalfOpen,
    Slow,
}

const FAULTS: [Fault; 11] = [
    Fault::KillIngest,
    Fault::PauseIngest,
    Fault::KillPostgres,
    Fault::PausePostgres,
    Fault::KillNats,
    Fault::PauseNats,
    Fault::LoseReplyToCommit,
    Fault::LoseCommit,
    Fault::Cut,
    Fault::HalfOpen,
    Fault::Slow,
];

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Publishes until all is acknowledged: what is sent twice stands in the log twice, and counts once.
async fn publish(world: &World, items: &[Item], journal: &mut Journal) -> Result<()> {
    for _ in 0..20 {
        if world.publish_to_nats(items, journal).await.is_ok() {
            return Ok(());
        }
        time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("NATS acknowledges nothing any more")
}

/// Strikes, holds for a moment, and sets right again; what it strikes is published to before, within or after.
async fn strike(world: &mut World, fault: Fault, proxy: usize, moment: Duration) -> Result<()> {
    match fault {
        Fault::KillIngest => {
            world.ingest.kill();
            time::sleep(moment).await;
            world.ingest.restart()?;
        }
        Fault::PauseIngest => {
            world.ingest.pause()?;
            time::sleep(moment).await;
            world.ingest.resume()?;
        }
        Fault::KillPostgres => {
            let postgres = world.postgres.as_mut().context("PostgreSQL")?;
            postgres.kill()?;
            time::sleep(moment).await;
            postgres.restart().await?;
        }
        Fault::PausePostgres => {
            let postgres = world.postgres.as_ref().context("PostgreSQL")?;
            postgres.pause()?;
            time::sleep(moment).await;
            postgres.resume()?;
        }
        Fault::KillNats => {
            let nats = world.nats.as_mut().context("NATS")?;
            nats.kill();
            time::sleep(moment).await;
            nats.restart().await?;
        }
        Fault::PauseNats => {
            let nats = world.nats.as_ref().context("NATS")?;
            nats.pause()?;
            time::sleep(moment).await;
            nats.resume()?;
        }
        Fault::LoseReplyToCommit => world.to_postgres.as_ref().context("a proxy")?.lose_reply_to_commit(),
        Fault::LoseCommit => world.to_postgres.as_ref().context("a proxy")?.lose_request(POSTGRES_COMMIT),
        Fault::Cut => disturb([&world.to_nats, &world.to_postgres][proxy].as_ref(), Proxy::cut, moment).await?,
        Fault::HalfOpen => disturb([&world.to_nats, &world.to_postgres][proxy].as_ref(), Proxy::half_open, moment).await?,
        Fault::Slow => {
            let slow = |proxy: &Proxy| proxy.delay(Duration::from_millis(50));
            disturb([&world.to_nats, &world.to_postgres][proxy].as_ref(), slow, moment).await?;
        }
    }
    Ok(())
}

async fn disturb(proxy: Option<&Proxy>, how: impl Fn(&Proxy), moment: Duration) -> Result<()> {
    let proxy = proxy.context("a proxy")?;
    how(proxy);
    time::sleep(moment).await;
    proxy.pass();
    Ok(())
}

async fn torture(version: NatsVersion) -> Result<()> {
    let seed = number("LOADLINE_TORTURE_SEED").unwrap_or_else(|| SystemClock.now().micros() as u64);
    let length = Duration::from_secs(number("LOADLINE_TORTURE_SECONDS").unwrap_or(20));
    let hasty = [("ingest.lease_ttl", "2s"), ("ingest.batch_records", "500")];
    let mut world = World::start_with(Backends::Real(version), &hasty).await?;
    let (mut rng, mut workload, mut journal) =
        (StdRng::seed_from_u64(seed), Workload::new(seed, Mix::default()), Journal::default());
    let (started, mut struck) = (Instant::now(), Vec::new());
    while started.elapsed() < length {
        let fault = FAULTS[rng.random_range(0..FAULTS.len())];
        let moment = Duration::from_millis(rng.random_range(0..3_000));
        publish(&world, &workload.batch(SystemClock.now(), 1_000), &mut journal).await?;
        // Somewhere within the commits of what was just published.
        time::sleep(Duration::from_millis(rng.random_range(0..50))).await;
        strike(&mut world, fault, rng.random_range(0..2), moment).await?;
        struck.push(fault);
        publish(&world, &workload.batch(SystemClock.now(), 200), &mut journal).await?;
    }
    println!("seed {seed}: {} events published through {struck:?}", journal.accepted());
    let told = || format!("seed {seed}, after {struck:?}; ingest wrote:\n{}", world.ingest.output());
    world.ensure_exact(&mut journal).await.with_context(told)?;
    Ok(())
}

#[tokio::test]
async fn torture_with_nats_215_leaves_every_count_exact() -> Result<()> {
    torture(NatsVersion::Nats215).await
}

#[tokio::test]
async fn torture_with_nats_29_leaves_every_count_exact() -> Result<()> {
    torture(NatsVersion::Nats29).await
}
