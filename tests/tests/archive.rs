//! Days roll up and move to history while they are asked for, and no answer changes by it.

use anyhow::{Context as _, Result, ensure};
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::{
    event::Event,
    ingest::PublishRequest,
    query::{GetUsageRequest, GetUsageResponse, Granularity, part::Origin},
    rollup::{GetRunRequest, ListRunsRequest, Run, RunJobRequest, run::State},
};
use loadline_tests::{
    events::{billing, envelope, proto_time},
    on_every_backend,
    service::Service,
    world::{Backends, World},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{sleep, timeout};

on_every_backend! {
    killed_again_and_again_an_archive_loses_and_doubles_nothing
    a_roll_up_killed_while_events_come_ends_with_days_equal_to_their_hours
    a_paused_leader_that_wakes_up_changes_nothing
    history_that_is_gone_is_named_as_missing_and_the_rest_is_answered
}

const DAY: Duration = Duration::from_secs(86_400);
const ACCOUNTS: u64 = 7;
/// Days back from today that have events.
const DAYS: u64 = 12;
/// Events of each account and day.
const EVENTS: u64 = 40;

/// Old events are taken as if they were new, days move soon, and a leader that dies is soon followed.
const VALUES: [(&str, &str); 7] = [
    ("rules.billing_horizon", "60d"),
    ("rollup.hot_days", "3"),
    ("rollup.lease_ttl", "2s"),
    ("ingest.lease_ttl", "2s"),
    ("rollup.jobs.archive.schedule", ""),
    ("rollup.jobs.daily_rollup.schedule", ""),
    ("rollup.jobs.retention.schedule", ""),
];

fn now() -> Timestamp {
    SystemClock.now()
}

fn account(number: u64) -> String {
    format!("acct-{number:03}")
}

/// Publishes `EVENTS` an account and day, spread over the hours of each.
async fn publish_days(world: &World) -> Result<()> {
    for day in 0..DAYS {
        let mut events = Vec::new();
        for number in 0..ACCOUNTS {
            for event in 0..EVENTS {
                let at = now().minus(DAY * day as u32 + Duration::from_secs(event * 1_800));
                events.push(envelope(billing(&account(number), &format!("{day}-{number}-{event}"), at)));
            }
        }
        publish(world, events).await?;
    }
    world.drained().await
}

async fn publish(world: &World, events: Vec<Event>) -> Result<()> {
    let sent = events.len() as u64;
    let answer = world.ingest.ingest()?.events.publish(PublishRequest { events, skip_duplicates: false }).await?.into_inner();
    ensure!(u64::from(answer.accepted) == sent, "{} of {sent} accepted: {:?}", answer.accepted, answer.rejections);
    Ok(())
}

fn question(account: &str, granularity: Granularity) -> GetUsageRequest {
    GetUsageRequest {
        account: account.to_owned(),
        from: Some(proto_time(now().minus(DAY * (DAYS as u32 + 3)))),
        to: Some(proto_time(now().plus(DAY))),
        granularity: granularity.into(),
        ..GetUsageRequest::default()
    }
}

async fn ask(world: &World, account: &str, granularity: Granularity) -> Result<GetUsageResponse> {
    Ok(world.query.query()?.usage.get_usage(question(account, granularity)).await?.into_inner())
}

fn events(answer: &GetUsageResponse) -> u64 {
    answer.totals.iter().map(|total| total.events).sum()
}

/// Asks every account by hours and by days until told to stop; every answer must be whole, and say so.
async fn keep_checking(world: Arc<World>, expected: u64, stop: Arc<AtomicBool>, answers: Arc<AtomicU64>) -> Result<()> {
    while !stop.load(Ordering::SeqCst) {
        for number in 0..ACCOUNTS {
            for granularity in [Granularity::Hour, Granularity::Day] {
                let answer = ask(&world, &account(number), granularity).await?;
                let missing: Vec<_> =
                    answer.completeness.iter().flat_map(|rests| &rests.parts).filter(|part| !part.missing.is_empty()).collect();
                ensure!(missing.is_empty(), "{missing:?}");
                let found = events(&answer);
                ensure!(found == expected, "{}: {found} events by {granularity:?}, {expected} published", account(number));
                answers.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    Ok(())
}

async fn run(rollup: &Service, job: &str, key: &str) -> Result<Run> {
    let request = RunJobRequest { job: job.to_owned(), idempotency_key: key.to_owned(), parameters: String::new() };
    rollup.rollup()?.jobs.run(request).await?.into_inner().run.context("a run")
}

/// The last run of a job that ended well, once nothing of the job is queued or running.
async fn succeeded(rollup: &Service, job: &str) -> Result<Run> {
    let ending = async {
        loop {
            let request = ListRunsRequest { job: job.to_owned(), ..ListRunsRequest::default() };
            let runs = rollup.rollup()?.jobs.list_runs(request).await?.into_inner().runs;
            let open = runs.iter().any(|run| matches!(run.state(), State::Queued | State::Running));
            match runs.first() {
                Some(newest) if !open && newest.state() == State::Succeeded => return anyhow::Ok(newest.clone()),
                Some(newest) if !open && newest.state() == State::Failed => anyhow::bail!("{job} failed: {}", newest.error),
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
    };
    timeout(Duration::from_secs(60), ending).await.with_context(|| format!("{job} did not end"))?
}

async fn killed_again_and_again_an_archive_loses_and_doubles_nothing(backends: Backends) -> Result<()> {
    let world = Arc::new(World::start_with(backends, &VALUES).await?);
    publish_days(&world).await?;
    let expected = DAYS * EVENTS;
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let checking = tokio::spawn(keep_checking(world.clone(), expected, stop.clone(), answers.clone()));
    let mut rollup = Service::start(world.rollup.clone()).await?;
    run(&rollup, "archive", "once").await?;
    // Each kill meets another step: the pauses are of other lengths.
    for pause in [30, 60, 90, 150, 250, 400] {
        sleep(Duration::from_millis(pause)).await;
        rollup.kill();
        rollup.restart()?;
        rollup.ready().await?;
        run(&rollup, "archive", &format!("after a kill, {pause} ms")).await?;
    }
    succeeded(&rollup, "archive").await?;
    stop.store(true, Ordering::SeqCst);
    checking.await??;
    ensure!(answers.load(Ordering::SeqCst) > 2 * ACCOUNTS, "hardly anything was asked meanwhile");
    let answer = ask(&world, &account(0), Granularity::Month).await?;
    let origins: Vec<_> = answer.completeness.iter().flat_map(|rests| &rests.parts).map(|part| part.origin()).collect();
    ensure!(origins.contains(&Origin::History), "nothing was archived: {origins:?}");
    ensure!(events(&answer) == expected, "{} by months", events(&answer));
    Ok(())
}

async fn a_roll_up_killed_while_events_come_ends_with_days_equal_to_their_hours(backends: Backends) -> Result<()> {
    let world = World::start_with(backends, &VALUES).await?;
    let mut rollup = Service::start(world.rollup.clone()).await?;
    for round in 0..6_u64 {
        let at = |number: u64| now().minus(DAY * (number as u32 % 3));
        publish(
            &world,
            (0..300)
                .map(|number| envelope(billing(&account(number % ACCOUNTS), &format!("{round}-{number}"), at(number))))
                .collect(),
        )
        .await?;
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
        let origins: Vec<_> = days.completeness.iter().flat_map(|rests| &rests.parts).map(|part| part.origin()).collect();
        ensure!(origins == [Origin::Daily], "{}: a day is still read by hours: {origins:?}", account(number));
    }
    Ok(())
}

async fn a_paused_leader_that_wakes_up_changes_nothing(backends: Backends) -> Result<()> {
    let world = World::start_with(backends, &VALUES).await?;
    publish_days(&world).await?;
    let paused = Service::start(world.rollup.clone()).await?;
    let first = run(&paused, "archive", "first").await?;
    paused.pause()?;
    let other = Service::start(world.rollup.clone()).await?;
    run(&other, "archive", "second").await?;
    let done = succeeded(&other, "archive").await?;
    paused.resume()?;
    sleep(Duration::from_secs(2)).await;
    let first = other.rollup()?.jobs.get(GetRunRequest { id: first.id }).await?.into_inner().run.context("the first run")?;
    ensure!(matches!(first.state(), State::Interrupted | State::Succeeded), "{first:?}");
    ensure!(done.state() == State::Succeeded, "{done:?}");
    for number in 0..ACCOUNTS {
        let answer = ask(&world, &account(number), Granularity::Hour).await?;
        ensure!(events(&answer) == DAYS * EVENTS, "{}: {}", account(number), events(&answer));
    }
    Ok(())
}

async fn history_that_is_gone_is_named_as_missing_and_the_rest_is_answered(backends: Backends) -> Result<()> {
    let world = World::start_with(backends, &VALUES).await?;
    publish_days(&world).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    run(&rollup, "archive", "once").await?;
    succeeded(&rollup, "archive").await?;
    let whole = ask(&world, &account(1), Granularity::Day).await?;
    ensure!(events(&whole) == DAYS * EVENTS);
    let away = world.history().with_extension("away");
    std::fs::rename(world.history(), &away)?;
    let part = ask(&world, &account(1), Granularity::Day).await?;
    let missing: Vec<_> =
        part.completeness.iter().flat_map(|rests| &rests.parts).filter(|part| !part.missing.is_empty()).collect();
    ensure!(events(&part) > 0 && events(&part) < events(&whole), "{} of {}", events(&part), events(&whole));
    ensure!(missing.len() == 1 && missing[0].origin() == Origin::History, "{missing:?}");
    std::fs::rename(&away, world.history())?;
    ensure!(events(&ask(&world, &account(1), Granularity::Day).await?) == events(&whole), "not whole again");
    Ok(())
}
