//! Days roll up and move to history while they are asked for, and no answer changes by it.

use anyhow::{Context as _, Result, bail, ensure};
use loadline_proto::{
    query::{GetUsageResponse, Granularity, part::Origin},
    rollup::run::State,
};
use loadline_tests::{
    days::{self, ACCOUNTS, Checker, DAYS, Demand, EVENTS, VALUES, account, events, missing, now, origins},
    events::{billing, envelope},
    history::Keeper,
    jobs::{self, run, succeeded},
    nats::NatsVersion,
    on_combinations, on_every_backend,
    service::Service,
    world::{Backends, World},
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use std::time::Duration;
use tokio::time::sleep;

const REAL: Backends = Backends::Real(NatsVersion::Nats215);
const DAY: Duration = Duration::from_secs(86_400);

on_combinations! {
    killed_again_and_again_an_archive_loses_and_doubles_nothing {
        on_sqlite_and_disk: Backends::Embedded, None;
        on_sqlite_and_s3: Backends::Embedded, Some(Keeper::SeaweedFs);
        on_sqlite_and_a_current_clickhouse: Backends::Embedded, Some(Keeper::ClickHouseEngine);
        on_postgres_and_disk: REAL, None;
        on_postgres_and_s3: REAL, Some(Keeper::SeaweedFs);
        on_postgres_and_clickhouse_18: REAL, Some(Keeper::ClickHouse18);
    }
    history_that_is_gone_is_named_as_missing_and_the_rest_is_answered {
        on_sqlite_and_disk: Backends::Embedded, None;
        on_sqlite_and_s3: Backends::Embedded, Some(Keeper::SeaweedFs);
        on_postgres_and_clickhouse_18: REAL, Some(Keeper::ClickHouse18);
    }
}

on_every_backend! {
    a_roll_up_killed_while_events_come_ends_with_days_equal_to_their_hours
    a_paused_leader_that_wakes_up_changes_nothing
}

async fn ask(world: &World, account: &str, granularity: Granularity) -> Result<GetUsageResponse> {
    Ok(days::ask(&mut world.query.query()?, account, granularity).await?)
}

async fn killed_again_and_again_an_archive_loses_and_doubles_nothing(backends: Backends, keeper: Option<Keeper>) -> Result<()> {
    let world = World::start_over(backends, keeper, &VALUES).await?;
    days::fill(&world.ingest).await?;
    let checker = Checker::start(&world.query, DAYS * EVENTS, Demand::Whole)?;
    let mut rollup = Service::start(world.rollup.clone()).await?;
    run(&rollup, "archive", "once").await?;
    // Each kill meets another step: the pauses are of other lengths.
    for pause in [30, 90, 150, 400] {
        sleep(Duration::from_millis(pause)).await;
        rollup.kill();
        rollup.restart()?;
        rollup.ready().await?;
        run(&rollup, "archive", &format!("after a kill, {pause} ms")).await?;
    }
    succeeded(&rollup, "archive").await?;
    let answers = checker.stop().await?;
    ensure!(answers.whole > 2 * ACCOUNTS, "hardly anything was asked meanwhile: {answers:?}");
    let answer = ask(&world, &account(0), Granularity::Month).await?;
    ensure!(origins(&answer).contains(&Origin::History), "nothing was archived: {:?}", origins(&answer));
    ensure!(events(&answer) == DAYS * EVENTS, "{} by months", events(&answer));
    Ok(())
}

async fn history_that_is_gone_is_named_as_missing_and_the_rest_is_answered(
    backends: Backends,
    keeper: Option<Keeper>,
) -> Result<()> {
    let world = World::start_over(backends, keeper, &VALUES).await?;
    days::fill(&world.ingest).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    run(&rollup, "archive", "once").await?;
    succeeded(&rollup, "archive").await?;
    let whole = ask(&world, &account(1), Granularity::Day).await?;
    ensure!(events(&whole) == DAYS * EVENTS);
    let away = world.history().with_extension("away");
    match &world.to_keeper {
        Some(proxy) => proxy.cut(),
        None => std::fs::rename(world.history(), &away)?,
    }
    let part = ask(&world, &account(1), Granularity::Day).await?;
    ensure!(events(&part) > 0 && events(&part) < events(&whole), "{} of {}", events(&part), events(&whole));
    let lacks = missing(&part);
    ensure!(lacks.len() == 1 && lacks[0].origin() == Origin::History, "{lacks:?}");
    match &world.to_keeper {
        Some(proxy) => proxy.pass(),
        None => std::fs::rename(&away, world.history())?,
    }
    ensure!(events(&ask(&world, &account(1), Granularity::Day).await?) == events(&whole), "not whole again");
    Ok(())
}

async fn a_roll_up_killed_while_events_come_ends_with_days_equal_to_their_hours(backends: Backends) -> Result<()> {
    let world = World::start_with(backends, &VALUES).await?;
    let mut rollup = Service::start(world.rollup.clone()).await?;
    for round in 0..6_u64 {
        let event = |number: u64| {
            let at = now().minus(DAY * (number as u32 % 3));
            envelope(billing(&account(number % ACCOUNTS), &format!("{round}-{number}"), at))
        };
        days::publish(&world.ingest.ingest()?, (0..300).map(event).collect()).await?;
        run(&rollup, "daily_rollup", &round.to_string()).await?;
        sleep(Duration::from_millis(40 * round)).await;
        if round % 2 == 1 {
            rollup.kill();
            rollup.restart()?;
            rollup.ready().await?;
        }
    }
    world.drained().await?;
    run(&rollup, "daily_rollup", "last").await?;
    succeeded(&rollup, "daily_rollup").await?;
    for number in 0..ACCOUNTS {
        let (hours, days) =
            (ask(&world, &account(number), Granularity::Hour).await?, ask(&world, &account(number), Granularity::Day).await?);
        ensure!(hours.totals == days.totals, "{}: {:?} by hours, {:?} by days", account(number), hours.totals, days.totals);
        let origins = origins(&days);
        ensure!(origins == [Origin::Daily], "{}: a day is still read by hours: {origins:?}", account(number));
    }
    Ok(())
}

/// Whoever is stopped inside a write to a SQLite file stops everybody, since the lock is the file's: not what is asked here.
async fn pause_between_writes(world: &World, service: &Service) -> Result<()> {
    for _ in 0..100 {
        service.pause()?;
        let Some(path) = world.store.strip_prefix("sqlite:") else { return Ok(()) };
        let mut file = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_millis(500)).connect().await?;
        let free = sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK").execute(&mut file).await.is_ok();
        file.close().await?;
        if free {
            return Ok(());
        }
        service.resume()?;
        sleep(Duration::from_millis(5)).await;
    }
    bail!("whenever it was stopped it was writing");
}

async fn a_paused_leader_that_wakes_up_changes_nothing(backends: Backends) -> Result<()> {
    let world = World::start_with(backends, &VALUES).await?;
    days::fill(&world.ingest).await?;
    let paused = Service::start(world.rollup.clone()).await?;
    let first = run(&paused, "archive", "first").await?;
    pause_between_writes(&world, &paused).await?;
    let other = Service::start(world.rollup.clone()).await?;
    run(&other, "archive", "second").await?;
    succeeded(&other, "archive").await?;
    paused.resume()?;
    sleep(Duration::from_secs(2)).await;
    let first = jobs::get(&other, &first.id).await.context("the first run")?;
    ensure!(matches!(first.state(), State::Interrupted | State::Succeeded), "{first:?}");
    for number in 0..ACCOUNTS {
        let answer = ask(&world, &account(number), Granularity::Hour).await?;
        ensure!(events(&answer) == DAYS * EVENTS, "{}: {}", account(number), events(&answer));
    }
    Ok(())
}
