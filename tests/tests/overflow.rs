//! An account whose total is as large as a number can be: what more is charged to it is dead, and everything else counts.

use anyhow::{Context as _, Result};
use loadline_domain::time::{Clock as _, SystemClock};
use loadline_proto::ingest::{DeadLetterFilter, DeadLetterReason as Reason, DeadLetterState as State};
use loadline_tests::{
    events::{billing, payload},
    questions::{self, counters, letters, sums},
    upstream::append,
    world::{Backends, World},
};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

loadline_tests::on_every_backend! {
    a_total_that_is_full_blocks_nothing
}

/// As after nine million events of the largest amount.
const FILL: &str = "UPDATE usage_hourly SET amount_micros = 9223372036854775807 WHERE account = 'rich'";

async fn fill(store: &str) -> Result<u64> {
    Ok(if store.starts_with("sqlite:") {
        sqlx::query(FILL).execute(&mut SqliteConnection::connect(store).await?).await?.rows_affected()
    } else {
        sqlx::query(FILL).execute(&mut PgConnection::connect(store).await?).await?.rows_affected()
    })
}

async fn a_total_that_is_full_blocks_nothing(backends: Backends) -> Result<()> {
    let world = World::start(backends).await?;
    world.drained().await?;
    let now = SystemClock.now();
    append(&world, "BILLING", "rich", vec![payload(billing("rich", "first", now))]).await?;
    world.drained().await?;
    assert_eq!(fill(&world.store).await?, 1);
    // Three that fit nowhere, among many of another account.
    let event = |n: u32| match n {
        7 | 8 | 150 => payload(billing("rich", &format!("more-{n}"), now)),
        _ => payload(billing("poor", &format!("event-{n}"), now)),
    };
    append(&world, "BILLING", "poor", (0..200).map(event).collect()).await?;
    world.drained().await?;
    let mut clients = world.ingest.ingest()?;
    assert_eq!(counters(&mut clients, "BILLING").await?, [201, 198, 0, 3, 0]);
    let letters = letters(&mut clients, State::Open, DeadLetterFilter::default()).await?;
    assert_eq!(letters.iter().map(|letter| letter.sequence).collect::<Vec<_>>(), [9, 10, 152]);
    assert!(letters.iter().all(|letter| letter.reason() == Reason::Invalid && letter.detail.contains("64 bits")));
    let poor = questions::usage(&mut world.query.query()?, "poor", now).await.context("the usage of the other account")?;
    assert_eq!(sums(&poor)[0], 197);
    Ok(())
}
