//! Archive and roll-up ended at each of their steps, and at both ends of what a step tells a server: while a checker asks,
//! nothing is ever lost or there twice, and the next run finishes what this one left.

use Seen::{Answered, Sent};
use Side::{History, Store};
use anyhow::{Context as _, Result, ensure};
use loadline_proto::query::{Granularity, part::Origin};
use loadline_tests::{
    days::{self, ACCOUNTS, Checker, DAYS, Demand, EVENTS, VALUES, account, events, origins},
    history::Keeper,
    jobs::{run, succeeded},
    nats::NatsVersion,
    on_combinations,
    proxy::{POSTGRES_COMMIT, Proxy},
    service::{Program, Service},
    world::{Backends, World},
};
use std::time::Duration;

const REAL: Backends = Backends::Real(NatsVersion::Nats215);
const PATIENCE: Duration = Duration::from_secs(30);

on_combinations! {
    killed_at_every_step_an_archive_loses_and_doubles_nothing {
        on_postgres_and_s3: REAL, Some(Keeper::SeaweedFs);
        on_sqlite_and_clickhouse_18: Backends::Embedded, Some(Keeper::ClickHouse18);
    }
}

/// Which server a step speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Store,
    History,
}

/// How far a step's last message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It never arrives.
    Sent,
    /// It is done, and its answer stays behind; with what the answer holds.
    Answered(&'static [u8]),
}

/// A place to end a process at.
struct Step {
    name: &'static str,
    side: Side,
    /// What it sends on one connection, in this order.
    sends: &'static [&'static [u8]],
    seen: Seen,
}

const fn step(name: &'static str, side: Side, sends: &'static [&'static [u8]], seen: Seen) -> Step {
    Step { name, side, sends, seen }
}

/// What a day's way to history tells the store.
const STORE: [Step; 7] = [
    step("begin a step", Store, &[b"UPDATE job_run SET done"], Sent),
    step("read the day", Store, &[b"COPY (SELECT"], Sent),
    step("compare", Store, &[b"LOCK TABLE usage_hourly_"], Sent),
    step("empty the day", Store, &[b"TRUNCATE usage_hourly_"], Sent),
    step("emptied, not listed", Store, &[b"INSERT INTO archived_part"], Sent),
    step("listed, not committed", Store, &[b"INSERT INTO archived_part", POSTGRES_COMMIT], Sent),
    step("committed, not told", Store, &[b"INSERT INTO archived_part", POSTGRES_COMMIT], Answered(POSTGRES_COMMIT)),
];

const END: [Step; 3] = [
    step("end the run", Store, &[b"SET state = $4, result"], Sent),
    step("ended, not committed", Store, &[b"SET state = $4, result", POSTGRES_COMMIT], Sent),
    step("ended, not told", Store, &[b"SET state = $4, result", POSTGRES_COMMIT], Answered(POSTGRES_COMMIT)),
];

const S3: [Step; 7] = [
    step("write rows", History, &[b"PUT /history/some/archive/data/"], Sent),
    step("rows written", History, &[b"PUT /history/some/archive/data/"], Answered(b"200 OK")),
    step("write checksums", History, &[b".sums HTTP/1.1"], Sent),
    step("publish the part", History, &[b"PUT /history/some/archive/manifest/"], Sent),
    step("part published", History, &[b"PUT /history/some/archive/manifest/"], Answered(b"200 OK")),
    step("read back", History, &[b"GET /history/some/archive/data/"], Sent),
    step("read back, not compared", History, &[b"GET /history/some/archive/data/"], Answered(b"HTTP/1.1 20")),
];

const CLICKHOUSE: [Step; 6] = [
    step("write rows", History, &[b"INSERT", b"usage_hourly"], Sent),
    step("rows written", History, &[b"INSERT", b"usage_hourly"], Answered(b"200 OK")),
    step("publish the part", History, &[b"INSERT", b"history_part"], Sent),
    step("part published", History, &[b"INSERT", b"history_part"], Answered(b"200 OK")),
    step("read back", History, &[b"SELECT", b"usage_hourly"], Sent),
    step("read back, not compared", History, &[b"SELECT", b"usage_hourly"], Answered(b"200 OK")),
];

/// Once days have moved, larger pieces of them are written.
const MERGE: [Step; 4] = [
    step("begin to merge", Store, &[b"merging"], Sent),
    step("write merged rows", History, &[b"PUT /history/some/archive/data/"], Sent),
    step("publish the merge", History, &[b"PUT /history/some/archive/manifest/"], Sent),
    step("merge published", History, &[b"PUT /history/some/archive/manifest/"], Answered(b"200 OK")),
];

const ROLL_UP: [Step; 7] = [
    step("clear days", Store, &[b"DELETE FROM usage_daily"], Sent),
    step("days cleared", Store, &[b"DELETE FROM usage_daily"], Answered(b"")),
    step("add up", Store, &[b"INSERT INTO usage_daily"], Sent),
    step("added up", Store, &[b"INSERT INTO usage_daily"], Answered(b"")),
    step("take marks off", Store, &[b"DELETE FROM dirty_day"], Sent),
    step("marks off, not committed", Store, &[b"DELETE FROM dirty_day", POSTGRES_COMMIT], Sent),
    step("committed, not told", Store, &[b"DELETE FROM dirty_day", POSTGRES_COMMIT], Answered(POSTGRES_COMMIT)),
];

/// A rollup service whose servers are behind proxies that nobody else uses.
struct Alone {
    rollup: Service,
    to_store: Option<Proxy>,
    to_history: Option<Proxy>,
}

impl Alone {
    async fn start(world: &World) -> Result<Self> {
        let mut settings = world.rollup.clone().set("rollup.holder", "one");
        let (mut to_store, mut to_history) = (None, None);
        if let Some(postgres) = &world.postgres {
            let proxy = to_store.insert(Proxy::start(postgres.address()).await?);
            settings.store = postgres.url_through(&world.store, proxy.address())?;
        }
        if let Some(keeper) = &world.keeper {
            let proxy = to_history.insert(Proxy::start(keeper.address()).await?);
            settings = settings.set("history.url", &keeper.url_at("archive", proxy.address()));
        }
        ensure!(settings.program == Program::Rollup);
        Ok(Self { rollup: Service::start(settings).await?, to_store, to_history })
    }

    fn proxy(&self, side: Side) -> Result<&Proxy> {
        match side {
            Store => self.to_store.as_ref(),
            History => self.to_history.as_ref(),
        }
        .context("a proxy")
    }

    /// Starts it anew: what it sends first, it sends in words that a trap knows.
    async fn restart(&mut self) -> Result<()> {
        self.rollup.restart()?;
        self.rollup.ready().await
    }

    /// Lets a run come to a step, and ends the process there.
    async fn end_at(&mut self, step: &Step, job: &str, key: &str) -> Result<()> {
        let lost = arm(self.proxy(step.side)?, step);
        self.restart().await?;
        // What an earlier process left is gone on with by itself, and may be there first.
        let asked = run(&self.rollup, job, key).await;
        let sprung = self.proxy(step.side)?.sprung(lost + 1, PATIENCE).await;
        sprung
            .with_context(|| format!("`{}` was not reached ({asked:?}); rollup wrote:\n{}", step.name, self.rollup.output()))?;
        self.rollup.kill();
        Ok(())
    }

    /// One step after another; the checker asks of the state that each one left.
    async fn end_at_each(&mut self, steps: &[Step], job: &str, checker: &mut Checker) -> Result<()> {
        for (nth, step) in steps.iter().enumerate() {
            // A run that was lost again and again is given up, so another one is asked for now and then.
            self.end_at(step, job, &format!("run {} to {}", nth / 4, steps[0].name)).await?;
            checker.round().await.with_context(|| format!("after an end at `{}`", step.name))?;
        }
        Ok(())
    }
}

/// Sets a trap at a step; returns how many had sprung before.
fn arm(proxy: &Proxy, step: &Step) -> u64 {
    match step.seen {
        Sent => proxy.hold_request(step.sends),
        Answered(answer) => proxy.hold_reply(step.sends, answer),
    }
    proxy.lost()
}

async fn killed_at_every_step_an_archive_loses_and_doubles_nothing(backends: Backends, keeper: Option<Keeper>) -> Result<()> {
    let world = World::start_over(backends, keeper, &VALUES).await?;
    days::fill(&world.ingest).await?;
    let mut checker = Checker::start(&world.query, DAYS * EVENTS, Demand::Whole)?;
    let mut alone = Alone::start(&world).await?;
    let on_s3 = keeper == Some(Keeper::SeaweedFs);
    alone.end_at_each(if on_s3 { &S3[..] } else { &CLICKHOUSE[..] }, "archive", &mut checker).await?;
    if world.postgres.is_some() {
        alone.end_at_each(&STORE, "archive", &mut checker).await?;
        alone.end_at_each(&END, "archive", &mut checker).await?;
    }
    alone.restart().await?;
    run(&alone.rollup, "archive", "all the rest").await?;
    succeeded(&alone.rollup, "archive").await?;
    if world.postgres.is_some() && on_s3 {
        alone.end_at_each(&MERGE, "tidy_history", &mut checker).await?;
        alone.restart().await?;
    }
    run(&alone.rollup, "tidy_history", "after all").await?;
    succeeded(&alone.rollup, "tidy_history").await?;
    let answers = checker.stop().await?;
    ensure!(answers.whole > 4 * ACCOUNTS, "hardly anything was asked meanwhile: {answers:?}");
    let answer = days::ask(&mut world.query.query()?, &account(0), Granularity::Day).await?;
    ensure!(events(&answer) == DAYS * EVENTS && origins(&answer).contains(&Origin::History), "{:?}", origins(&answer));
    Ok(())
}

#[tokio::test]
async fn killed_at_every_step_a_roll_up_leaves_days_equal_to_their_hours() -> Result<()> {
    let world = World::start_with(REAL, &VALUES).await?;
    days::fill(&world.ingest).await?;
    let mut checker = Checker::start(&world.query, DAYS * EVENTS, Demand::Whole)?;
    let mut alone = Alone::start(&world).await?;
    alone.end_at_each(&ROLL_UP, "daily_rollup", &mut checker).await?;
    alone.restart().await?;
    run(&alone.rollup, "daily_rollup", "the rest").await?;
    succeeded(&alone.rollup, "daily_rollup").await?;
    checker.round().await?;
    checker.stop().await?;
    let answer = days::ask(&mut world.query.query()?, &account(0), Granularity::Day).await?;
    ensure!(origins(&answer) == [Origin::Daily], "a day is still read by hours: {:?}", origins(&answer));
    Ok(())
}

/// Lets a run come to a step, cuts PostgreSQL's power there, and gives it back; then at the next step. The run goes on by
/// itself.
async fn postgres_killed_at(steps: &[&Step], job: &str) -> Result<()> {
    let mut world = World::start_with(REAL, &VALUES).await?;
    days::fill(&world.ingest).await?;
    let mut checker = Checker::start(&world.query, DAYS * EVENTS, Demand::Right)?;
    checker.round().await?;
    let alone = Alone::start(&world).await?;
    let (mut asked, proxy) = (None, alone.proxy(Store)?);
    for step in steps {
        let lost = arm(proxy, step);
        let postgres = world.postgres.as_mut().context("PostgreSQL")?;
        match &asked {
            None => asked = Some(run(&alone.rollup, job, "once").await?),
            Some(_) => postgres.restart().await?,
        }
        proxy.sprung(lost + 1, PATIENCE).await.with_context(|| step.name)?;
        postgres.kill()?;
    }
    world.postgres.as_mut().context("PostgreSQL")?.restart().await?;
    let (asked, ended) = (asked.context("a run")?, succeeded(&alone.rollup, job).await?);
    ensure!(ended.id == asked.id && ended.attempt == 1, "another run did it: {ended:?}");
    checker.round().await?;
    let answers = checker.stop().await?;
    ensure!(answers.partial == 0, "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn postgres_killed_within_the_move_of_a_day_holds_up_the_archive_and_no_more() -> Result<()> {
    postgres_killed_at(&[&STORE[3], &STORE[6]], "archive").await
}

#[tokio::test]
async fn postgres_killed_within_a_roll_up_holds_it_up_and_no_more() -> Result<()> {
    postgres_killed_at(&[&ROLL_UP[2], &ROLL_UP[5]], "daily_rollup").await
}

#[tokio::test]
async fn an_end_whose_commit_is_lost_is_written_down_again() -> Result<()> {
    let world = World::start_with(REAL, &VALUES).await?;
    days::fill(&world.ingest).await?;
    let mut alone = Alone::start(&world).await?;
    for step in &END[1..] {
        alone.restart().await?;
        let proxy = alone.proxy(Store)?;
        let lost = arm(proxy, step);
        let asked = run(&alone.rollup, "daily_rollup", step.name).await?;
        proxy.sprung(lost + 1, PATIENCE).await.with_context(|| step.name)?;
        // Now the connection goes, and nobody there knows whether it happened.
        proxy.cut();
        proxy.pass();
        let ended = succeeded(&alone.rollup, "daily_rollup").await?;
        ensure!(ended.id == asked.id && ended.attempt == 1, "after `{}`: {ended:?}", step.name);
    }
    Ok(())
}
