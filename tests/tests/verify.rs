//! Hours are verified while events are counted: nothing differs that nobody planted, and what was planted is found and put right.

use anyhow::{Context as _, Result, ensure};
use loadline_domain::{
    Day, Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::{
    event::DeliveryStatus,
    health::{Severity, State},
    ingest::PublishRequest,
    query::{GetUsageRequest, Granularity},
};
use loadline_tests::{
    binaries, command,
    events::{billing, envelope, proto_time, receipt},
    on_every_backend,
    questions::{self, mode_until, sums},
    service::Service,
    world::{Backends, World},
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

on_every_backend! {
    what_was_planted_is_found_and_put_right_while_events_are_counted
    a_day_that_says_another_number_than_its_hours_is_found_and_computed_again
}

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// Events of the account that is tampered with.
const QUIET: i64 = 30;

/// No job runs but those that are asked for.
const VALUES: [(&str, &str); 5] = [
    ("rollup.lease_ttl", "2s"),
    ("rollup.jobs.archive.schedule", ""),
    ("rollup.jobs.daily_rollup.schedule", ""),
    ("rollup.jobs.retention.schedule", ""),
    ("rollup.jobs.verify.schedule", ""),
];

fn now() -> Timestamp {
    SystemClock.now()
}

/// Publishes until told to stop, with duplicates, conflicts and receipts, over the hours of a day; how many were sent.
async fn traffic(world: Arc<World>, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> Result<()> {
    let mut clients = world.ingest.ingest()?;
    let begun = now();
    for round in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let event = |n: u64| {
            let (account, at) = (format!("acct-{:02}", n % 12), begun.minus(HOUR * (n % 20) as u32));
            // Every tenth id was sent the round before, half of these with other content.
            let id = if n.is_multiple_of(10) { round.saturating_sub(1) } else { round };
            match n % 3 {
                0 => envelope(receipt(&account, &format!("{id}-{n}"), at, DeliveryStatus::Delivered)),
                _ => {
                    let mut bill = billing(&account, &format!("{id}-{n}"), at);
                    bill.amount_micros += i64::from(n.is_multiple_of(20)) * round as i64;
                    envelope(bill)
                }
            }
        };
        let events: Vec<_> = (0..200).map(event).collect();
        sent.fetch_add(events.len() as u64, Ordering::SeqCst);
        clients.events.publish(PublishRequest { events, skip_duplicates: false }).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// `loadline jobs run verify` over the last day and a half: its exit code, and what it tells.
async fn verify(rollup: &Service, repair: bool) -> Result<(i32, Value)> {
    let (from, to) = (now().minus(HOUR * 36).hour().start(), now().hour().next().start());
    job(rollup, "verify", json!({ "from": from.to_string(), "to": to.to_string(), "repair": repair })).await
}

/// `loadline jobs run`: its exit code, and what the run tells.
async fn job(rollup: &Service, name: &str, parameters: Value) -> Result<(i32, Value)> {
    let parameters = parameters.to_string();
    let mut loadline = Command::new(binaries::ours("loadline")?);
    loadline.args(["jobs", "run", name, "--parameters", &parameters, "--json"]);
    loadline.env("LOADLINE_ROLLUP", rollup.rollup_address().to_string()).env("NO_COLOR", "1");
    let finished = command::run(loadline, PATIENCE).await?;
    let run: Value = serde_json::from_str(&finished.output).with_context(|| format!("{finished:?}"))?;
    let told = serde_json::from_str(run["result"].as_str().with_context(|| format!("no result: {run}"))?)?;
    Ok((finished.code.context("an exit code")?, told))
}

/// Takes a message off one hour of the quiet account.
const AN_HOUR: &str = "UPDATE usage_hourly SET messages = messages - 1 WHERE account = 'quiet'
                       AND hour = (SELECT max(hour) FROM usage_hourly WHERE account = 'quiet')";
/// Makes a day of the calm account say too much.
const A_DAY: &str = "UPDATE usage_daily SET messages = messages + 35 WHERE account = 'calm'";

async fn plant(store: &str, sql: &'static str) -> Result<u64> {
    Ok(if store.starts_with("sqlite:") {
        sqlx::query(sql).execute(&mut SqliteConnection::connect(store).await?).await?.rows_affected()
    } else {
        sqlx::query(sql).execute(&mut PgConnection::connect(store).await?).await?.rows_affected()
    })
}

async fn what_was_planted_is_found_and_put_right_while_events_are_counted(backends: Backends) -> Result<()> {
    let world = Arc::new(World::start_with(backends, &VALUES).await?);
    let rollup = Service::start(world.rollup.clone()).await?;
    let health = rollup.rollup()?;
    let hour = now().minus(HOUR * 3);
    let events = (0..QUIET).map(|n| envelope(billing("quiet", &n.to_string(), hour.minus(HOUR * (n % 3) as u32)))).collect();
    world.ingest.ingest()?.events.publish(PublishRequest { events, skip_duplicates: false }).await?;
    world.drained().await?;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let publishing = tokio::spawn(traffic(world.clone(), stop.clone(), sent.clone()));
    for _ in 0..2 {
        let before = sent.load(Ordering::SeqCst);
        let (code, told) = verify(&rollup, true).await?;
        ensure!(code == 0 && told["different"] == 0 && told["unknown"] == 0 && told["repaired"] == 0, "{code}: {told}");
        ensure!(told["equal"].as_u64() >= Some(3), "{told}");
        ensure!(sent.load(Ordering::SeqCst) > before, "nothing was published meanwhile");
    }
    mode_until(&health, "AN-08", PATIENCE, |mode| mode.state() == State::Ok).await?;
    ensure!(plant(&world.store, AN_HOUR).await? == 1);
    let (code, told) = verify(&rollup, false).await?;
    ensure!(code == 1 && told["different"] == 1 && told["unknown"] == 0 && told["repaired"] == 0, "{code}: {told}");
    let found = &told["differences"][0];
    ensure!(found["account"] == "quiet" && found["counted"]["messages"] == 9 && found["recounted"]["messages"] == 10, "{told}");
    mode_until(&health, "AN-08", PATIENCE, |mode| mode.state() == State::Open && mode.severity() == Severity::P2).await?;
    let (code, told) = verify(&rollup, true).await?;
    ensure!(code == 1 && told["different"] == 1 && told["repaired"] == 1 && told["moved"] == 0, "{code}: {told}");
    let (code, told) = verify(&rollup, true).await?;
    ensure!(code == 0 && told["different"] == 0 && told["unknown"] == 0, "{code}: {told}");
    mode_until(&health, "AN-08", PATIENCE, |mode| mode.state() == State::Ok).await?;
    stop.store(true, Ordering::SeqCst);
    publishing.await??;
    world.drained().await?;
    let quiet = questions::usage(&mut world.query.query()?, "quiet", now()).await.context("usage of the quiet account")?;
    ensure!(sums(&quiet)[..2] == [QUIET, QUIET], "{quiet:?}");
    Ok(())
}

/// What the calm account sent in the last ten whole days, by days and by hours.
async fn calm(world: &World) -> Result<[i64; 2]> {
    let today = now().day();
    let range = |granularity: Granularity| GetUsageRequest {
        account: "calm".to_owned(),
        from: Some(proto_time(Day::from_index(today.index() - 10).start())),
        to: Some(proto_time(today.start())),
        granularity: granularity.into(),
        ..GetUsageRequest::default()
    };
    let mut query = world.query.query()?.usage;
    let mut sums = [0; 2];
    for (sum, granularity) in sums.iter_mut().zip([Granularity::Day, Granularity::Hour]) {
        let answer = query.get_usage(range(granularity)).await?.into_inner();
        *sum = answer.totals.iter().map(|total| total.messages as i64).sum();
    }
    Ok(sums)
}

async fn a_day_that_says_another_number_than_its_hours_is_found_and_computed_again(backends: Backends) -> Result<()> {
    let world = World::start_with(backends, &VALUES).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    let health = rollup.rollup()?;
    let at = now().minus(HOUR * 30);
    let events = (0..QUIET).map(|n| envelope(billing("calm", &n.to_string(), at))).collect();
    world.ingest.ingest()?.events.publish(PublishRequest { events, skip_duplicates: false }).await?;
    world.drained().await?;
    job(&rollup, "daily_rollup", json!({})).await?;
    ensure!(calm(&world).await? == [QUIET; 2]);
    ensure!(plant(&world.store, A_DAY).await? == 1);
    ensure!(calm(&world).await? == [QUIET + 35, QUIET]);
    // As it runs every night.
    let (code, told) = job(&rollup, "verify", json!({})).await?;
    ensure!(code == 1 && told["days"]["wrong"][0]["accounts"] == json!(["calm"]), "{code}: {told}");
    mode_until(&health, "AN-08", PATIENCE, |mode| mode.state() == State::Open && mode.severity() == Severity::P2).await?;
    let (code, told) = job(&rollup, "verify", json!({ "repair": true })).await?;
    ensure!(code == 1 && told["days"]["repaired"] == 1, "{code}: {told}");
    ensure!(calm(&world).await? == [QUIET; 2], "answered by hours at once");
    job(&rollup, "daily_rollup", json!({})).await?;
    ensure!(calm(&world).await? == [QUIET; 2]);
    let (code, told) = job(&rollup, "verify", json!({})).await?;
    ensure!(code == 0 && told["findings"] == 0, "{code}: {told}");
    mode_until(&health, "AN-08", PATIENCE, |mode| mode.state() == State::Ok).await?;
    Ok(())
}
