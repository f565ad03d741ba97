//! What opens and closes the failure modes of background work and of slow answers: AN-04, AN-05, AN-06, AN-07.

use anyhow::{Context as _, Result, ensure};
use loadline_proto::{
    event::Event,
    health::{ModeStatus, Severity, State},
    query::Granularity,
    rollup::run,
};
use loadline_tests::{
    client::Clients,
    days::{self, VALUES, account, now},
    events::{billing, envelope},
    jobs::{self, run, succeeded},
    nats::NatsVersion,
    questions::{mode, mode_until},
    service::Service,
    world::{Backends, World},
};
use sqlx::{Connection as _, PgConnection, raw_sql};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const REAL: Backends = Backends::Real(NatsVersion::Nats215);
const PATIENCE: Duration = Duration::from_secs(40);
/// For modes that have to be bad for a minute before they open.
const HELD: Duration = Duration::from_secs(100);

fn detail(mode: &ModeStatus) -> &str {
    mode.evidence.as_ref().map_or("", |evidence| &evidence.detail)
}

/// Open, of a severity, and with what its evidence says.
fn open<'a>(severity: Severity, says: &'a str) -> impl Fn(&ModeStatus) -> bool + 'a {
    move |mode| mode.state() == State::Open && mode.severity() == severity && detail(mode).contains(says)
}

fn is_ok(mode: &ModeStatus) -> bool {
    mode.state() == State::Ok
}

async fn statement(world: &World, sql: &'static str) -> Result<()> {
    raw_sql(sql).execute(&mut PgConnection::connect(&world.store).await?).await?;
    Ok(())
}

#[tokio::test]
async fn a_roll_up_that_fails_or_is_late_opens_an_04_until_one_is_done() -> Result<()> {
    let world = World::start_with(REAL, &VALUES).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    let modes = rollup.rollup()?;
    days::fill(&world.ingest).await?;
    mode_until(&modes, "AN-04", PATIENCE, |mode| is_ok(mode) && detail(mode).contains("account-days wait")).await?;
    // On request only, a roll-up is held against a day.
    statement(&world, "UPDATE dirty_day SET since = since - 3 * 86400000000").await?;
    mode_until(&modes, "AN-04", PATIENCE, open(Severity::P3, "account-days wait, the oldest for")).await?;
    statement(&world, "ALTER TABLE usage_daily RENAME TO usage_daily_away").await?;
    run(&rollup, "daily_rollup", "without a table").await?;
    ensure!(jobs::ended(&rollup, "daily_rollup").await?.state() == run::State::Failed);
    mode_until(&modes, "AN-04", PATIENCE, open(Severity::P3, "the last run failed: store: ")).await?;
    statement(&world, "ALTER TABLE usage_daily_away RENAME TO usage_daily").await?;
    run(&rollup, "daily_rollup", "with it").await?;
    succeeded(&rollup, "daily_rollup").await?;
    mode_until(&modes, "AN-04", PATIENCE, |mode| is_ok(mode) && detail(mode).contains("every day is rolled up")).await?;
    Ok(())
}

#[tokio::test]
async fn an_archive_that_is_behind_or_fails_opens_an_07_and_worse_while_history_is_away() -> Result<()> {
    let world = World::start_with(Backends::Embedded, &VALUES).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    let modes = rollup.rollup()?;
    mode_until(&modes, "AN-07", PATIENCE, is_ok).await?;
    days::fill(&world.ingest).await?;
    mode_until(&modes, "AN-07", PATIENCE, open(Severity::P4, "days wait, the oldest")).await?;
    run(&rollup, "archive", "all that is old").await?;
    succeeded(&rollup, "archive").await?;
    mode_until(&modes, "AN-07", PATIENCE, |mode| is_ok(mode) && detail(mode) == "no day waits").await?;

    // A disk that is not mounted: the folder is not there, and must not be made anew.
    let away = world.history().with_extension("away");
    std::fs::rename(world.history(), &away)?;
    mode_until(&modes, "AN-07", PATIENCE, open(Severity::P2, "history does not answer")).await?;
    let late = envelope(billing(&account(0), "late", now().minus(Duration::from_secs(8 * 86_400))));
    days::publish(&world.ingest.ingest()?, vec![late]).await?;
    world.drained().await?;
    run(&rollup, "archive", "into nothing").await?;
    let refused = jobs::ended(&rollup, "archive").await?;
    ensure!(refused.state() == run::State::Failed && refused.error.contains("history unavailable"), "{refused:?}");
    ensure!(!world.history().exists(), "another history was begun");
    // An empty one in its place is told from it.
    std::fs::create_dir(world.history())?;
    run(&rollup, "archive", "into another one").await?;
    let refused = jobs::ended(&rollup, "archive").await?;
    ensure!(refused.state() == run::State::Failed, "{refused:?}");
    std::fs::remove_dir_all(world.history())?;
    std::fs::rename(&away, world.history())?;
    mode_until(&modes, "AN-07", PATIENCE, open(Severity::P4, "the last run failed")).await?;
    run(&rollup, "archive", "into the right one").await?;
    succeeded(&rollup, "archive").await?;
    mode_until(&modes, "AN-07", PATIENCE, is_ok).await?;
    let answer = days::ask(&mut world.query.query()?, &account(0), Granularity::Day).await?;
    ensure!(days::events(&answer) == days::DAYS * days::EVENTS + 1, "{}", days::events(&answer));
    Ok(())
}

#[tokio::test]
async fn dedup_tables_past_their_horizon_or_over_budget_open_an_05_until_they_are_purged() -> Result<()> {
    let world = World::start_with(Backends::Embedded, &VALUES).await?;
    days::fill(&world.ingest).await?;
    // A process for which keys are old after a day, and which should have purged those of more than three days ago.
    let budget = (4 * days::ACCOUNTS * days::EVENTS).to_string();
    let settings = world.rollup.clone().set("rules.billing_horizon", "24h").set("rollup.dedup_rows", &budget);
    let rollup = Service::start(settings).await?;
    let modes = rollup.rollup()?;
    let suspect = |mode: &ModeStatus| mode.state() == State::Suspect;
    let mode = mode_until(&modes, "AN-05", PATIENCE, suspect).await?;
    ensure!(
        detail(&mode).contains("past their horizon, the oldest") && detail(&mode).contains("over rollup.dedup_rows"),
        "{mode:?}"
    );
    mode_until(&modes, "AN-05", HELD, open(Severity::P4, "past their horizon")).await?;
    run(&rollup, "purge_dedup", "at last").await?;
    succeeded(&rollup, "purge_dedup").await?;
    mode_until(&modes, "AN-05", PATIENCE, |mode| is_ok(mode) && detail(mode).contains("no table is past its horizon")).await?;
    Ok(())
}

/// Publishes a batch and waits until it is applied, so that each is a commit of its own.
async fn commit(world: &World, ingest: &Clients, number: usize) -> Result<()> {
    let event = |n: usize| -> Event { envelope(billing(&account(0), &format!("{number}-{n}"), now())) };
    days::publish(ingest, (0..4).map(event).collect()).await?;
    world.drained().await
}

/// Asks until `stop` says so.
async fn keep_asking(mut query: Clients, stop: tokio::sync::watch::Receiver<bool>) -> Result<()> {
    while !*stop.borrow() {
        days::ask(&mut query, &account(0), Granularity::Hour).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_store_opens_an_06_and_raises_an_05_when_there_are_too_many_keys() -> Result<()> {
    let world = World::start_with(REAL, &[&VALUES[..], &[("rollup.dedup_rows", "10")]].concat()).await?;
    let (ingest, query) = (world.ingest.ingest()?, world.query.query()?);
    // The measure: what commits take while nothing is wrong.
    for number in 0..30 {
        commit(&world, &ingest, number).await?;
    }
    // It is taken every five seconds.
    sleep(Duration::from_secs(6)).await;
    mode_until(&ingest, "AN-05", PATIENCE, is_ok).await?;
    mode_until(&query, "AN-06", PATIENCE, is_ok).await?;

    let proxy = world.to_postgres.as_ref().context("a proxy")?;
    // Twice that is more than an answer may take.
    proxy.delay(Duration::from_millis(140));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let asking: Vec<_> = (0..4).map(|_| tokio::spawn(keep_asking(query.clone(), stopped.clone()))).collect();
    let publishing = async {
        for number in 30.. {
            commit(&world, &ingest, number).await?;
            sleep(Duration::from_secs(12)).await;
        }
        anyhow::Ok(())
    };
    let opening = async {
        mode_until(&query, "AN-06", HELD, open(Severity::P2, "answers in the last minute")).await?;
        mode_until(&ingest, "AN-05", HELD, open(Severity::P2, "times as long as at their best")).await
    };
    tokio::select! {
        ended = publishing => ended.context("publishing ended")?,
        opened = opening => drop(opened?),
    }
    proxy.pass();
    // Fast ones outweigh the slow ones of the last minute.
    let committing = async {
        for number in 10_000.. {
            commit(&world, &ingest, number).await?;
            if is_ok(&mode(&mut ingest.clone(), "AN-05").await?) {
                break;
            }
        }
        anyhow::Ok(())
    };
    let closing = async { tokio::try_join!(committing, mode_until(&query, "AN-06", HELD, is_ok)) };
    timeout(HELD, closing).await??;
    stop.send(true)?;
    for asking in asking {
        timeout(PATIENCE, asking).await???;
    }
    Ok(())
}
