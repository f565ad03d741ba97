//! History that is slow, silent, full or of another shape: what is hot is answered, what is not is named, no hot row goes, and
//! once history is itself again, so is every answer.

use anyhow::{Context as _, Result, ensure};
use loadline_proto::{
    query::{GetUsageResponse, Granularity, part::Origin},
    rollup::{Run, run::State},
};
use loadline_tests::{
    command,
    days::{self, ACCOUNTS, Checker, DAYS, Demand, EVENTS, VALUES, account, events, missing, origins},
    history::Keeper,
    jobs::{self, run, run_with, succeeded},
    nats::NatsVersion,
    on_combinations,
    questions::sums,
    service::{Program, Service, Settings},
    world::{Backends, World},
};
use std::{process::Command, time::Duration};

const REAL: Backends = Backends::Real(NatsVersion::Nats215);
/// What an answer waits for history; history itself may take longer than a client waits.
const PATIENCE: [(&str, &str); 1] = [("query.history_patience", "1s")];

on_combinations! {
    silent_history_costs_an_answer_its_old_days_and_nothing_else {
        on_sqlite_and_s3: Backends::Embedded, Some(Keeper::SeaweedFs);
        on_postgres_and_clickhouse_18: REAL, Some(Keeper::ClickHouse18);
    }
}

async fn ask(query: &Service, account: &str) -> Result<GetUsageResponse> {
    Ok(days::ask(&mut query.query()?, account, Granularity::Day).await?)
}

/// A run that failed; with what it said.
async fn failed(rollup: &Service, key: &str) -> Result<Run> {
    run(rollup, "archive", key).await?;
    let run = jobs::ended(rollup, "archive").await?;
    ensure!(run.state() == State::Failed, "{run:?}");
    Ok(run)
}

async fn silent_history_costs_an_answer_its_old_days_and_nothing_else(backends: Backends, keeper: Option<Keeper>) -> Result<()> {
    let world = World::start_over(backends, keeper, &[&VALUES[..], &PATIENCE].concat()).await?;
    days::fill(&world.ingest).await?;
    let rollup = Service::start(world.rollup.clone().set("history.timeout", "6s")).await?;
    run_with(&rollup, "archive", "half", "{\"keep_days\": 6}").await?;
    succeeded(&rollup, "archive").await?;
    let whole = ask(&world.query, &account(1)).await?;
    let proxy = world.to_keeper.as_ref().context("a proxy")?;
    let checker = Checker::start(&world.query, DAYS * EVENTS, Demand::Right)?;

    proxy.half_open();
    // The client gives up after ten seconds: an answer at all is one in time.
    let part = ask(&world.query, &account(1)).await?;
    let lacks = missing(&part);
    ensure!(lacks.len() == 1 && lacks[0].origin() == Origin::History && lacks[0].missing.contains("ask again"), "{lacks:?}");
    let old = lacks[0].to.context("an end")?;
    let hot = |answer: &GetUsageResponse| -> Vec<_> {
        let since = |row: &loadline_proto::query::UsageRow| row.hour.is_some_and(|start| start.seconds >= old.seconds);
        answer.rows.iter().filter(|row| since(row)).cloned().collect()
    };
    ensure!(!hot(&whole).is_empty() && part.rows == hot(&whole), "{:?} of {:?}", part.rows, whole.rows);
    let error = failed(&rollup, "while history is silent").await?.error;
    ensure!(error.contains("history unavailable"), "{error}");

    // Slow, but within what it may take.
    proxy.delay(Duration::from_millis(5));
    run(&rollup, "archive", "while history is slow").await?;
    succeeded(&rollup, "archive").await?;
    proxy.pass();
    let again = ask(&world.query, &account(1)).await?;
    ensure!(again.rows == whole.rows && missing(&again).is_empty(), "{again:?}");
    let answers = checker.stop().await?;
    ensure!(answers.partial > 0 && answers.whole > 0 && answers.refused == 0, "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn tables_of_another_shape_are_refused_with_what_to_do_and_no_hot_row_goes() -> Result<()> {
    let world = World::start_over(Backends::Embedded, Some(Keeper::ClickHouse18), &VALUES).await?;
    days::fill(&world.ingest).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    run_with(&rollup, "archive", "half", "{\"keep_days\": 6}").await?;
    succeeded(&rollup, "archive").await?;
    let keeper = world.keeper.as_ref().context("ClickHouse")?;
    keeper.statement("ALTER TABLE archive.usage_daily DROP COLUMN segments").await?;
    let error = failed(&rollup, "into other tables").await?.error;
    ensure!(error.contains("usage_daily.segments (Int64) is absent") && error.contains("run the build that wrote it"), "{error}");
    let part = ask(&world.query, &account(1)).await?;
    let lacks = missing(&part);
    ensure!(lacks.len() == 1 && lacks[0].missing.contains("operator"), "{lacks:?}");
    keeper.statement("ALTER TABLE archive.usage_daily ADD COLUMN segments Int64 AFTER messages").await?;
    run(&rollup, "archive", "into the right tables").await?;
    succeeded(&rollup, "archive").await?;
    ensure!(events(&ask(&world.query, &account(1)).await?) == DAYS * EVENTS);
    Ok(())
}

/// A file system of its own, in memory and so small that it is full after a few days. It is mounted in namespaces of the
/// process, which needs no root; what else wants to see it has to join them.
const SMALL: &str = "mkdir -p history && mount -t tmpfs -o size=80k none history && exec \"$@\"";

async fn in_namespaces_of(service: &Service, program: &[&str]) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.args(["--preserve-credentials", "-U", "-m", "-t", &service.pid().to_string()]).args(program);
    command::run(command, Duration::from_secs(10)).await?.with_code(0).map(drop)
}

#[tokio::test]
async fn a_full_disk_fails_the_archive_clearly_and_no_hot_row_goes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let settings = Settings::new(Program::Node, &file("log.db"), &file("store.db")).set("history.url", "file:history");
    let settings = VALUES.iter().fold(settings, |settings, (key, value)| settings.set(key, value));
    let node = Service::start(settings.within(&["unshare", "-rm", "sh", "-c", SMALL, "sh"])).await?;
    days::fill(&node).await?;
    let checker = Checker::start(&node, DAYS * EVENTS, Demand::Whole)?;
    let full = failed(&node, "onto a full disk").await?;
    ensure!(full.error.contains("No space left on device") && full.done < full.total, "{full:?}");
    // What had moved before stays so, and the rest is as hot as it was.
    let halves = ask(&node, &account(0)).await?;
    ensure!(full.done == 0 || origins(&halves).contains(&Origin::History), "{full:?} {:?}", origins(&halves));
    ensure!(sums(&halves)[0] as u64 == DAYS * EVENTS, "{halves:?}");
    failed(&node, "onto a disk that is still full").await?;

    let folder = node.folder().join("history").display().to_string();
    in_namespaces_of(&node, &["mount", "-o", "remount,size=64m", &folder]).await?;
    run(&node, "archive", "onto a larger disk").await?;
    let done = succeeded(&node, "archive").await?;
    ensure!(done.done == done.total && done.total > 0, "{done:?}");
    let answers = checker.stop().await?;
    ensure!(answers.whole > ACCOUNTS, "{answers:?}");
    ensure!(origins(&ask(&node, &account(0)).await?).contains(&Origin::History));
    Ok(())
}
