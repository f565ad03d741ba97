//! What opens and closes the failure modes of background work and of slow answers: AN-04, AN-05, AN-06, AN-07.

use anyhow::{Context as _, Result, ensure};
use loadline_proto::{
    health::{ModeStatus, Severity, State},
    query::{ExplainUsageRequest, Granularity},
    rollup::run,
};
use loadline_tests::{
    client::Clients,
    days::{self, VALUES, account, now},
    events::{billing, envelope, proto_time},
    jobs::{self, run, succeeded},
    nats::NatsVersion,
    proxy::Proxy,
    questions::{detail, is_ok, mode, mode_until, open},
    service::{Program, Service},
    world::{Backends, World},
};
use sqlx::{Connection as _, PgConnection, raw_sql};
use std::{fs::DirEntry, path::Path, time::Duration};
use tokio::time::{sleep, timeout};

const REAL: Backends = Backends::Real(NatsVersion::Nats215);
const DAY: Duration = Duration::from_secs(86_400);
const PATIENCE: Duration = Duration::from_secs(40);
/// For modes that have to be bad for a while before they open.
const HELD: Duration = Duration::from_secs(100);

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
    let planned = days::ask(&mut world.query.query()?, &account(0), Granularity::Day).await?;
    ensure!(days::events(&planned) == days::DAYS * days::EVENTS, "dirty days are answered from their hours: {planned:?}");
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

/// Turns over every byte of the files of history that hold rows; twice, and they are what they were.
fn turn_over(history: &Path) -> Result<()> {
    let files: Vec<_> = std::fs::read_dir(history.join("data"))?.collect::<Result<_, _>>()?;
    let parquet = files.iter().map(DirEntry::path).filter(|path| path.extension().is_some_and(|end| end == "parquet"));
    let mut turned = 0;
    for path in parquet {
        let bytes: Vec<u8> = std::fs::read(&path)?.iter().map(|byte| !byte).collect();
        std::fs::write(&path, bytes)?;
        turned += 1;
    }
    ensure!(turned > 0, "history has no files");
    Ok(())
}

/// Rollup, which asks no questions, finds nothing wrong with a history that is there; query is asked, and does.
#[tokio::test]
async fn questions_that_history_does_not_answer_open_an_07_until_it_does_and_a_history_that_is_not_written_is_no_worse()
-> Result<()> {
    let world = World::start_with(Backends::Embedded, &VALUES).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    let (moving, asking) = (rollup.rollup()?, world.query.query()?);
    days::fill(&world.ingest).await?;
    run(&rollup, "archive", "all that is old").await?;
    succeeded(&rollup, "archive").await?;
    for modes in [&moving, &asking] {
        mode_until(modes, "AN-07", PATIENCE, is_ok).await?;
    }
    let whole = days::events(&days::ask(&mut asking.clone(), &account(0), Granularity::Day).await?);

    turn_over(&world.history())?;
    let question = ExplainUsageRequest { account: account(0), hour: Some(proto_time(now().minus(DAY * 8).hour().start())) };
    let refused = asking.usage.clone().explain_usage(question).await.err().context("explained without history")?;
    ensure!(refused.message().contains("history cannot answer this"), "{refused}");
    mode_until(&asking, "AN-07", PATIENCE, open(Severity::P2, "(questions: 1, archived days: 1)")).await?;
    let partial = days::ask(&mut asking.clone(), &account(0), Granularity::Day).await?;
    ensure!(!days::missing(&partial).is_empty() && days::events(&partial) < whole, "{partial:?}");
    mode_until(&asking, "AN-07", PATIENCE, open(Severity::P2, "is damaged")).await?;
    turn_over(&world.history())?;
    // Nobody asks again but the detector.
    mode_until(&asking, "AN-07", PATIENCE, is_ok).await?;
    ensure!(days::events(&days::ask(&mut asking.clone(), &account(0), Granularity::Day).await?) == whole);

    // A folder stands where the probe is written, as on a disk that takes no more.
    let probe = world.history().join("probe");
    std::fs::remove_file(&probe)?;
    std::fs::create_dir(&probe)?;
    mode_until(&moving, "AN-07", PATIENCE, open(Severity::P4, "history answers, but cannot be written")).await?;
    ensure!(days::events(&days::ask(&mut asking.clone(), &account(0), Granularity::Day).await?) == whole);
    mode_until(&asking, "AN-07", PATIENCE, is_ok).await?;
    std::fs::remove_dir(&probe)?;
    mode_until(&moving, "AN-07", PATIENCE, is_ok).await?;
    Ok(())
}

/// Publishes an event and waits until it is applied, so that each is a commit of its own.
async fn commit(world: &World, ingest: &Clients, number: usize) -> Result<()> {
    days::publish(ingest, vec![envelope(billing(&account(0), &format!("commit-{number}"), now()))]).await?;
    world.drained().await
}

/// Asks until `stop` says so.
async fn keep_asking(mut query: Clients, stop: tokio::sync::watch::Receiver<bool>) -> Result<()> {
    while !*stop.borrow() {
        days::ask(&mut query, &account(0), Granularity::Hour).await?;
    }
    Ok(())
}

/// A rollup for which keys are old after a day, which should have purged those of more than three days ago, and for which
/// what [`days::fill`] makes is a little too much.
async fn forgetful(world: &World) -> Result<Service> {
    let budget = (days::DAYS * days::ACCOUNTS * days::EVENTS - 40).to_string();
    let settings = world.rollup.clone().set("rules.billing_horizon", "24h").set("rollup.dedup_rows", &budget);
    Service::start(settings).await
}

/// A query with a way of its own to PostgreSQL.
async fn behind_a_proxy(world: &World) -> Result<(Proxy, Service)> {
    let postgres = world.postgres.as_ref().context("PostgreSQL")?;
    let proxy = Proxy::start(postgres.address()).await?;
    let mut settings = world.rollup.clone().of(Program::Query);
    settings.store = postgres.url_through(&world.store, proxy.address())?;
    Ok((proxy, Service::start(settings).await?))
}

/// Two modes in one test, since they are about the same slowness. What is looked back on for a minute, and AN-06 held for, is 20 s here.
#[tokio::test]
async fn a_slow_store_opens_an_06_and_too_many_keys_an_05_and_both_together_raise_it() -> Result<()> {
    let world =
        World::start_with(REAL, &[&VALUES[..], &[("rollup.dedup_rows", "10"), ("drills.times_at_most", "20s")]].concat()).await?;
    let (to_query, asked) = behind_a_proxy(&world).await?;
    let (ingest, query) = (world.ingest.ingest()?, asked.query()?);
    days::fill(&world.ingest).await?;
    // The measure: what commits take while nothing is wrong. It is taken every five seconds.
    for number in 0..30 {
        commit(&world, &ingest, number).await?;
    }
    sleep(Duration::from_secs(6)).await;
    mode_until(&ingest, "AN-05", PATIENCE, is_ok).await?;
    mode_until(&query, "AN-06", PATIENCE, is_ok).await?;
    let rollup = forgetful(&world).await?;
    let modes = rollup.rollup()?;
    let why = |mode: &ModeStatus| {
        detail(mode).contains("past their horizon, the oldest") && detail(mode).contains("over rollup.dedup_rows")
    };
    mode_until(&modes, "AN-05", PATIENCE, |mode| open(Severity::P4, "")(mode) && why(mode)).await?;

    // A commit has many statements, an answer one: twice that is more than it may take.
    let to_ingest = world.to_postgres.as_ref().context("a proxy")?;
    to_ingest.delay(Duration::from_millis(40));
    to_query.delay(Duration::from_millis(140));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let asking: Vec<_> = (0..4).map(|_| tokio::spawn(keep_asking(query.clone(), stopped.clone()))).collect();
    let publishing = async {
        for number in 30.. {
            commit(&world, &ingest, number).await?;
            sleep(Duration::from_millis(300)).await;
        }
        anyhow::Ok(())
    };
    let opening = async {
        mode_until(&query, "AN-06", HELD, |mode| mode.state() == State::Suspect).await?;
        mode_until(&query, "AN-06", HELD, open(Severity::P2, "answers in the last")).await?;
        mode_until(&ingest, "AN-05", HELD, open(Severity::P2, "times as long as at their best")).await
    };
    tokio::select! {
        ended = publishing => ended.context("publishing ended")?,
        opened = opening => drop(opened?),
    }

    to_ingest.pass();
    to_query.pass();
    run(&rollup, "purge_dedup", "at last").await?;
    // Fast ones outweigh the slow ones of the time that is looked back on.
    let committing = async {
        for number in 10_000.. {
            commit(&world, &ingest, number).await?;
            if is_ok(&mode(&mut ingest.clone(), "AN-05").await?) {
                break;
            }
        }
        anyhow::Ok(())
    };
    // Nobody asks any more: slow answers are looked back on no longer however fast this machine is.
    stop.send(true)?;
    for asking in asking {
        timeout(PATIENCE, asking).await???;
    }
    let closing = async { tokio::try_join!(committing, mode_until(&query, "AN-06", HELD + PATIENCE, is_ok)) };
    timeout(HELD + PATIENCE, closing).await??;
    succeeded(&rollup, "purge_dedup").await?;
    mode_until(&modes, "AN-05", PATIENCE, |mode| is_ok(mode) && detail(mode).contains("no table is past its horizon")).await?;
    Ok(())
}
