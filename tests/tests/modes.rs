//! Failure modes caused in real components: each opens on the health stream with its severity, is contained as the catalogue says,
//! and closes after the repair. The table in the README has all of them, and which test causes which.

use anyhow::{Context as _, Result, ensure};
use loadline_domain::time::{Clock as _, SystemClock};
use loadline_proto::{
    health::{ModeStatus, Severity, State},
    inference::ModelInferResponse,
    ingest::PublishRequest,
    query::{Granularity, part::Origin},
    serving::{
        ListPredictionsRequest, PredictionJob, SubmitPredictionRequest, prediction_job,
        prediction_job_service_client::PredictionJobServiceClient,
    },
};
use loadline_tests::{
    client::Clients,
    collector::Collector,
    days::{self, DAYS, EVENTS, VALUES, account, events, missing},
    events::{billing, envelope},
    history::Keeper,
    jobs::{self, run, succeeded},
    nats::{NatsServer, NatsVersion},
    on_combinations,
    ports::{self, Ready},
    predictions::{self, FILES, Predictions},
    proxy::Proxy,
    questions::{self, is_ok, mode_until, open, sums},
    service::{Program, Service, Settings},
    world::{Backends, World},
};
use sqlx::{Connection as _, PgConnection, raw_sql};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

const REAL: Backends = Backends::Real(NatsVersion::Nats215);
const PATIENCE: Duration = Duration::from_secs(40);
/// What a closure of account data and the health of a configuration are waited for, rather than minutes.
const SOON: (&str, &str) = ("drills.times_at_most", "1s");

on_combinations! {
    history_that_is_down_opens_an_07_keeps_hot_days_and_closes_once_it_is_back {
        on_sqlite_and_s3: Backends::Embedded, Some(Keeper::SeaweedFs);
        on_postgres_and_clickhouse: REAL, Some(Keeper::ClickHouse18);
    }
}

fn published(ids: std::ops::Range<u32>) -> PublishRequest {
    // Canaries ask about hours that are over.
    let event = |n: u32| envelope(billing("acme", &format!("e-{n}"), SystemClock.now().minus(Duration::from_secs(5_400))));
    PublishRequest { events: ids.map(event).collect(), skip_duplicates: false }
}

/// No mode is about the log itself: what needs it is said to be unknown, which is not green, and whoever publishes is told.
#[tokio::test]
async fn a_killed_nats_server_leaves_an_02_and_an_09_blind_refuses_events_and_is_read_on() -> Result<()> {
    let mut world = World::start(REAL).await?;
    let (ingest, query) = (world.ingest.ingest()?, world.query.query()?);
    ingest.clone().events.publish(published(0..10)).await?;
    world.drained().await?;
    for mode in ["AN-02", "AN-09"] {
        mode_until(&ingest, mode, PATIENCE, is_ok).await?;
    }
    world.nats.as_mut().context("NATS")?.kill();
    for mode in ["AN-02", "AN-09"] {
        let blind = mode_until(&ingest, mode, PATIENCE, |mode| mode.state() == State::Unknown).await?;
        ensure!(blind.rule.contains("no reading for"), "{blind:?}");
    }
    let refused = ingest.clone().events.publish(published(10..20)).await.expect_err("nothing keeps them");
    ensure!(refused.code() == Code::Unavailable, "{refused:?}");
    let retry = refused.get_details_retry_info().and_then(|info| info.retry_delay);
    ensure!(retry.is_some_and(|delay| !delay.is_zero()), "it does not say when to try again: {refused:?}");
    let answer = questions::usage(&mut query.clone(), "acme", SystemClock.now()).await?;
    ensure!(sums(&answer)[0] == 10, "what is counted is still answered: {answer:?}");
    mode_until(&ingest, "AN-01", PATIENCE, is_ok).await?;

    world.nats.as_mut().context("NATS")?.restart().await?;
    ports::wait_until("events to be taken again", PATIENCE, || async {
        Ok(match ingest.clone().events.publish(published(10..20)).await {
            Ok(_) => Ready::Yes,
            Err(error) => Ready::No(error.to_string()),
        })
    })
    .await?;
    for mode in ["AN-02", "AN-09"] {
        mode_until(&ingest, mode, PATIENCE, is_ok).await?;
    }
    world.drained().await?;
    let answer = questions::usage(&mut query.clone(), "acme", SystemClock.now()).await?;
    ensure!(sums(&answer)[0] == 20, "a refused event that was in the log all the same is counted once: {answer:?}");
    Ok(())
}

async fn history_that_is_down_opens_an_07_keeps_hot_days_and_closes_once_it_is_back(
    backends: Backends,
    keeper: Option<Keeper>,
) -> Result<()> {
    let world = World::start_over(backends, keeper, &[&VALUES[..], &[SOON]].concat()).await?;
    days::fill(&world.ingest).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    let modes = rollup.rollup()?;
    run(&rollup, "archive", "once").await?;
    succeeded(&rollup, "archive").await?;
    mode_until(&modes, "AN-07", PATIENCE, is_ok).await?;

    let proxy = world.to_keeper.as_ref().context("a proxy")?;
    proxy.cut();
    mode_until(&modes, "AN-07", PATIENCE, open(Severity::P2, "history does not answer")).await?;
    let late = envelope(billing(&account(1), "late", days::now().minus(Duration::from_secs(8 * 86_400))));
    days::publish(&world.ingest.ingest()?, vec![late]).await?;
    world.drained().await?;
    run(&rollup, "archive", "while it is down").await?;
    let failed = jobs::ended(&rollup, "archive").await?;
    ensure!(failed.error.contains("history unavailable"), "{failed:?}");
    let part = days::ask(&mut world.query.query()?, &account(1), Granularity::Day).await?;
    let lacks = missing(&part);
    ensure!(lacks.len() == 1 && lacks[0].origin() == Origin::History, "old days are named as missing: {lacks:?}");
    ensure!(events(&part) > 0, "hot days are answered, the late one among them: {part:?}");

    proxy.pass();
    mode_until(&modes, "AN-07", PATIENCE, open(Severity::P4, "the last run failed")).await?;
    run(&rollup, "archive", "once it is back").await?;
    succeeded(&rollup, "archive").await?;
    mode_until(&modes, "AN-07", PATIENCE, is_ok).await?;
    let whole = days::ask(&mut world.query.query()?, &account(1), Granularity::Day).await?;
    ensure!(events(&whole) == DAYS * EVENTS + 1, "{}", events(&whole));
    Ok(())
}

/// As if a change of the database had lost the account of every row: whoever asks is given the rows of all.
const EVERY_ROW_IS_THE_ASKERS: &str = "DO $$ BEGIN
    ALTER TABLE usage_hourly RENAME TO usage_hourly_apart;
    EXECUTE (
        SELECT 'CREATE VIEW usage_hourly AS SELECT ' || string_agg(
            CASE WHEN column_name = 'account' THEN
                'CASE WHEN current_setting(''loadline.account'', true) LIKE ''canary-%''
                      THEN current_setting(''loadline.account'', true) ELSE account END AS account'
            ELSE column_name::text END, ', ' ORDER BY ordinal_position) || ' FROM usage_hourly_apart'
        FROM information_schema.columns WHERE table_name = 'usage_hourly_apart');
END $$";
const ROWS_ARE_APART: &str = "DROP VIEW usage_hourly; ALTER TABLE usage_hourly_apart RENAME TO usage_hourly";

#[tokio::test]
async fn a_database_that_mixes_accounts_opens_an_10_closes_account_data_and_opens_it_once_it_is_right() -> Result<()> {
    let mut world = World::start_with(REAL, &[SOON, ("query.isolation_every", "1s")]).await?;
    let query = world.query.query()?;
    world.ingest.ingest()?.events.publish(published(0..10)).await?;
    world.drained().await?;
    world.ingest.stop(PATIENCE).await?;
    mode_until(&query, "AN-10", PATIENCE, is_ok).await?;
    let mut database = PgConnection::connect(&world.store).await?;
    raw_sql(EVERY_ROW_IS_THE_ASKERS).execute(&mut database).await?;
    mode_until(&query, "AN-10", PATIENCE, open(Severity::P1, "account data is closed")).await?;
    let refused = questions::usage(&mut query.clone(), "acme", SystemClock.now()).await.expect_err("account data is closed");
    ensure!(refused.to_string().contains("account data is closed"), "{refused:?}");

    raw_sql(ROWS_ARE_APART).execute(&mut database).await?;
    mode_until(&query, "AN-10", PATIENCE, is_ok).await?;
    ports::wait_until("answers", PATIENCE, || async {
        Ok(match questions::usage(&mut query.clone(), "acme", SystemClock.now()).await {
            Ok(answer) if sums(&answer)[0] == 10 => Ready::Yes,
            other => Ready::No(format!("{other:?}")),
        })
    })
    .await
}

#[tokio::test]
async fn a_secret_that_vanishes_and_a_broken_file_open_pr_13_and_pr_14_and_the_process_goes_on() -> Result<()> {
    let world = World::start_with(REAL, &[SOON]).await?;
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("store");
    fs::write(&secret, &world.store)?;
    let mut settings = world.rollup.clone();
    settings.store = format!("secret:{}", secret.display());
    let rollup = Service::start(settings).await?;
    let (modes, file) = (rollup.rollup()?, rollup.folder().join("loadline.toml"));
    for mode in ["PR-13", "PR-14"] {
        mode_until(&modes, mode, PATIENCE, is_ok).await?;
    }
    let works = async || -> Result<()> {
        run(&rollup, "daily_rollup", &format!("at {:?}", SystemClock.now())).await?;
        succeeded(&rollup, "daily_rollup").await.map(drop)
    };
    let whole = fs::read_to_string(&file)?;
    fs::write(&file, format!("{whole}\n[rollup]\nno_such_key = \"1\"\n"))?;
    mode_until(&modes, "PR-14", PATIENCE, open(Severity::P4, "a start would be refused")).await?;
    works().await?;
    fs::write(&file, &whole)?;
    mode_until(&modes, "PR-14", PATIENCE, is_ok).await?;
    fs::remove_file(&secret)?;
    mode_until(&modes, "PR-13", PATIENCE, open(Severity::P4, "store")).await?;
    works().await?;
    fs::write(&secret, &world.store)?;
    for mode in ["PR-13", "PR-14"] {
        mode_until(&modes, mode, PATIENCE, is_ok).await?;
    }
    Ok(())
}

/// Whatever is done leaves spans, which are exported within seconds.
#[tokio::test]
async fn a_collector_that_is_gone_opens_pr_15_and_events_are_taken_and_counted_meanwhile() -> Result<()> {
    let collector = Collector::start().await?;
    let to_collector = Proxy::start(collector.address()).await?;
    let endpoint = format!("http://{}", to_collector.address());
    let world = World::start_with(Backends::Embedded, &[SOON, ("telemetry.otlp_endpoint", &endpoint)]).await?;
    let (ingest, taken) = (world.ingest.ingest()?, std::cell::Cell::new(0));
    let publishing_until = async |is: &dyn Fn(&ModeStatus) -> bool| {
        ports::wait_until("PR-15", PATIENCE, || async {
            let number = taken.replace(taken.get() + 1);
            ingest.clone().events.publish(published(number..number + 1)).await?;
            let mode = questions::mode(&mut ingest.clone(), "PR-15").await?;
            Ok(if is(&mode) { Ready::Yes } else { Ready::No(format!("{mode:?}")) })
        })
        .await
    };
    publishing_until(&|mode| is_ok(mode) && collector.exports() > 0).await?;
    to_collector.cut();
    publishing_until(&open(Severity::P5, "the collector has taken nothing for")).await?;
    let before = collector.exports();
    to_collector.pass();
    publishing_until(&|mode| is_ok(mode) && collector.exports() > before).await?;
    world.drained().await?;
    let answer = questions::usage(&mut world.query.query()?, "acme", SystemClock.now()).await?;
    ensure!(sums(&answer)[0] == i64::from(taken.get()), "{} were taken: {answer:?}", taken.get());
    Ok(())
}

/// Whether an answer says how old what is known of the registry is.
fn stale(answer: &ModelInferResponse) -> bool {
    answer.parameters.contains_key("registry_age_seconds")
}

#[tokio::test]
async fn a_registry_and_a_store_that_are_gone_open_pr_08_refuse_promotions_and_answers_go_on() -> Result<()> {
    let mut world = World::start_with(REAL, &[SOON]).await?;
    let serving = Service::start(world.rollup.clone().of(Program::Serving)).await?;
    let (modes, models) = (Clients::lazy(serving.serving_address())?, Predictions::of(&serving)?);
    for file in FILES {
        models.register(file).await?;
    }
    models.promote(1, 0).await?;
    mode_until(&modes, "PR-08", PATIENCE, is_ok).await?;

    let (there, away) = (serving.folder().join("data/models"), serving.folder().join("data/away"));
    fs::rename(&there, &away)?;
    mode_until(&modes, "PR-08", PATIENCE, open(Severity::P2, "READY_STALE(")).await?;
    let refused = models.promote(2, 1).await.expect_err("nobody keeps which version is the champion");
    ensure!(refused.code() == Code::Unavailable, "{refused:?}");
    let answer = models.ask(0.8).await?;
    ensure!(answer.model_version == "1" && stale(&answer), "{answer:?}");

    world.postgres.as_mut().context("PostgreSQL")?.kill()?;
    let answer = models.ask(0.8).await?;
    ensure!(answer.model_version == "1" && stale(&answer), "{answer:?}");
    fs::rename(&away, &there)?;
    mode_until(&modes, "PR-08", PATIENCE, is_ok).await?;
    let refused = models.promote(2, 1).await.expect_err("nobody can write down who promoted it");
    ensure!(refused.code() == Code::Unavailable, "{refused:?}");
    let answer = models.ask(0.8).await?;
    ensure!(answer.model_version == "1" && !stale(&answer), "{answer:?}");

    world.postgres.as_mut().context("PostgreSQL")?.restart().await?;
    ports::wait_until("a promotion", PATIENCE, || async { Ok(Ready::from(models.promote(2, 1).await)) }).await?;
    ensure!(models.ask(0.8).await?.model_version == "2");
    Ok(())
}

/// Submits a question of which each `x` makes another job.
async fn submit(jobs: &PredictionJobServiceClient<Channel>, x: u16) -> Result<String> {
    let question = Some(predictions::question(f32::from(x)));
    let submitted = jobs.clone().submit(SubmitPredictionRequest { question, ..SubmitPredictionRequest::default() }).await?;
    Ok(submitted.into_inner().job.context("a job")?.id)
}

/// Jobs that have ended well, by id, with when they ended.
async fn succeeded_jobs(jobs: &PredictionJobServiceClient<Channel>) -> Result<BTreeMap<String, PredictionJob>> {
    let request = ListPredictionsRequest { page_size: 1_000, ..ListPredictionsRequest::default() };
    let listed = jobs.clone().list(request).await?.into_inner().jobs;
    let ended: Vec<_> = listed.into_iter().filter(|job| job.state() == prediction_job::State::Succeeded).collect();
    let by_id: BTreeMap<_, _> = ended.iter().map(|job| (job.id.clone(), job.clone())).collect();
    ensure!(by_id.len() == ended.len(), "a job is there twice: {ended:?}");
    Ok(by_id)
}

/// How many jobs wait in the outbox, as the evidence says.
fn waiting(mode: &ModeStatus) -> u64 {
    let told = questions::detail(mode).split_once("of the jobs ").and_then(|(_, rest)| rest.split(' ').next());
    told.and_then(|count| count.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_killed_nats_server_opens_pr_10_jobs_are_accepted_and_each_ends_once_when_it_is_back() -> Result<()> {
    let mut nats = NatsServer::start(NatsVersion::Nats215).await?;
    let store = tempfile::tempdir()?;
    let file = |name: &str| format!("sqlite:{}", store.path().join(name).display());
    let settings = Settings::new(Program::Serving, &file("log.db"), &file("store.db"));
    let settings = settings.set("serving.queue", &nats.url()).set("serving.jobs.lease", "2s").set(SOON.0, SOON.1);
    let serving = Service::start(settings).await?;
    let (modes, models) = (Clients::lazy(serving.serving_address())?, Predictions::of(&serving)?);
    let jobs = models.jobs();
    models.register(FILES[0]).await?;
    models.promote(1, 0).await?;
    mode_until(&modes, "PR-10", PATIENCE, is_ok).await?;
    let mut submitted = BTreeSet::new();
    for x in 0..50 {
        submitted.insert(submit(&jobs, x).await?);
    }

    // Some of these are under way.
    nats.kill();
    for x in 50..100 {
        submitted.insert(submit(&jobs, x).await?);
    }
    let is_open = open(Severity::P2, "wait in the outbox");
    mode_until(&modes, "PR-10", PATIENCE, |mode| is_open(mode) && waiting(mode) >= 50).await?;
    ensure!(models.ask(0.8).await?.model_version == "1", "there is no queue in a direct answer");
    ensure!(submitted.len() == 100, "each question is a job of its own");

    nats.restart().await?;
    mode_until(&modes, "PR-10", PATIENCE, is_ok).await?;
    ports::wait_until("the end of every job", PATIENCE, || async {
        let ended = succeeded_jobs(&jobs).await?;
        Ok(if ended.keys().eq(&submitted) { Ready::Yes } else { Ready::No(format!("{} of 100", ended.len())) })
    })
    .await?;
    let ended = succeeded_jobs(&jobs).await?;
    // What comes a second time, after its lease, ends nothing a second time.
    tokio::time::sleep(Duration::from_secs(5)).await;
    ensure!(succeeded_jobs(&jobs).await? == ended, "a job that had ended has changed");
    Ok(())
}
