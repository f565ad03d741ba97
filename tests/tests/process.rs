//! Our binaries as processes: what they refuse, how they start and stop, what they tell an operator, how much memory they take.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::{
    health::WatchRequest,
    ingest::PublishRequest,
    query::{GetUsageRequest, WatchUsageRequest},
};
use loadline_tests::{
    binaries,
    command::{self, Finished},
    events::{billing, envelope, payload, proto_time},
    nats::{NatsServer, NatsVersion},
    ports::{self, Ready},
    postgres::PostgresServer,
    process, questions,
    service::{Program, Service, Settings},
    snapshot::Snapshot,
    upstream::append,
    world::{Backends, World},
};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use std::{fs, net::TcpListener, path::Path, process::Command, time::Duration};
use tempfile::TempDir;
use tokio::{sync::mpsc, time};

const PATIENCE: Duration = Duration::from_secs(30);

fn now() -> Timestamp {
    SystemClock.now()
}

async fn run(name: &str, folder: &Path, arguments: &[&str]) -> Result<Finished> {
    let mut command = Command::new(binaries::ours(name)?);
    command.args(arguments).current_dir(folder);
    command::run(command, PATIENCE).await
}

fn sqlite_settings(program: Program, folder: &TempDir) -> Settings {
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    Settings::new(program, &file("log.db"), &file("store.db"))
}

const MISTAKES: &str = r#"
[log]
url = "kafka://localhost:9092"
[store]
url = "mysql://loadline:hunter2@db/loadline"
max_connections = 2
[rules]
billing_horizon = "soon"
[ingest]
lease_tll = "5s"
batch_records = 0
"#;

#[tokio::test]
async fn a_configuration_is_told_all_its_mistakes_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("loadline.toml");
    fs::write(&file, MISTAKES)?;
    let file = file.display().to_string();
    let checked = run("loadline", folder.path(), &["config", "check", "--config", &file]).await?.with_code(1)?;
    let started = run("loadline-ingest", folder.path(), &["--config", &file]).await?;
    assert_eq!(started.code, Some(2), "{started:?}");
    for said in [checked, started.errors] {
        for (key, value, allowed) in [
            ("log.url", "kafka://", "nats://HOST:PORT"),
            ("store.url", "mysql://", "postgres://"),
            ("store.max_connections", "2", "from 4 to 1000"),
            ("rules.billing_horizon", "soon", "48h"),
            ("ingest.lease_tll", "", "did you mean `ingest.lease_ttl`"),
            ("ingest.batch_records", "0", "from 1 to 20000"),
        ] {
            let line = said.lines().find(|line| line.contains(key)).with_context(|| format!("{key} is not named in: {said}"))?;
            assert!(line.contains(value) && line.contains(allowed) && line.contains("loadline.toml"), "{key}: {line}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
    fs::write(folder.path().join("loadline.toml"), "[ingest]\nbatch_records = 1000\n")?;
    run("loadline", folder.path(), &["config", "check", "--config", &file]).await?.with_code(0)?;
    Ok(())
}

#[tokio::test]
async fn the_configuration_in_force_hides_its_secrets() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = "store.url=postgres://loadline:hunter2@db/loadline";
    let said = run("loadline", folder.path(), &["config", "show", "--set", url]).await?.with_code(0)?;
    assert!(said.contains("@db/loadline") && !said.contains("hunter2"), "{said}");
    Ok(())
}

const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     VALUES (4711, 'from the future', true, '', 0)";

async fn a_store_with_newer_migrations_is_refused_with_both_versions(backends: Backends) -> Result<()> {
    let mut world = World::start(backends).await?;
    world.drained().await?;
    world.ingest.stop(PATIENCE).await?;
    world.query.stop(PATIENCE).await?;
    let own: i64 = match world.store.strip_prefix("sqlite:") {
        Some(path) => {
            let mut store = SqliteConnection::connect(path).await?;
            let own = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut store).await?;
            sqlx::query(NEWER).execute(&mut store).await?;
            own
        }
        None => {
            let mut store = PgConnection::connect(&world.store).await?;
            let own = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut store).await?;
            sqlx::query(NEWER).execute(&mut store).await?;
            own
        }
    };
    let before = Snapshot::load(&world.store).await?;
    for service in [&mut world.ingest, &mut world.query] {
        service.restart()?;
        let ended = service.wait(PATIENCE).await?;
        let said = service.output();
        assert_eq!(ended.code(), Some(1), "{said}");
        assert!(said.contains("version 4711") && said.contains(&format!("up to {own}")), "{said}");
    }
    assert_eq!(Snapshot::load(&world.store).await?.counters, before.counters);
    Ok(())
}

#[tokio::test]
async fn a_newer_sqlite_store_is_refused_with_both_versions() -> Result<()> {
    a_store_with_newer_migrations_is_refused_with_both_versions(Backends::Embedded).await
}

#[tokio::test]
async fn a_newer_postgres_store_is_refused_with_both_versions() -> Result<()> {
    a_store_with_newer_migrations_is_refused_with_both_versions(Backends::Real(NatsVersion::Nats215)).await
}

#[tokio::test]
async fn a_terminated_node_ends_within_its_grace_with_streams_open() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut node = Service::start(sqlite_settings(Program::Node, &folder).set("grpc.grace", "2s")).await?;
    let (mut ingest, mut query) = (node.ingest()?, node.query()?);
    let (requests, receiver) = mpsc::channel::<PublishRequest>(1);
    let feed =
        futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|request| (request, receiver)) });
    let request = |id: &str| PublishRequest { events: vec![envelope(billing("acme", id, now()))], skip_duplicates: false };
    requests.send(request("before")).await?;
    let mut answers = ingest.events.publish_stream(feed).await?.into_inner();
    assert_eq!(answers.message().await?.context("an answer")?.accepted, 1);
    let hour = Some(proto_time(now()));
    let usage = GetUsageRequest {
        account: "acme".to_owned(),
        from: hour,
        to: Some(proto_time(now().plus(PATIENCE))),
        ..Default::default()
    };
    let watch = WatchUsageRequest { usage: Some(usage), min_interval: None };
    let mut watched = query.usage.watch_usage(watch).await?.into_inner();
    watched.message().await?.context("usage at once")?;
    let mut frames = query.failure_modes.watch(WatchRequest::default()).await?.into_inner();
    frames.message().await?.context("a snapshot")?;

    // The grace, what the process may take beyond it, and room for a busy machine.
    let ended = node.stop(Duration::from_secs(15)).await?;
    assert_eq!(ended.code(), Some(0), "{}", node.output());
    let rest = time::timeout(PATIENCE, async {
        while let Ok(Some(_)) = answers.message().await {}
        while let Ok(Some(_)) = watched.message().await {}
        while let Ok(Some(_)) = frames.message().await {}
    });
    rest.await.context("streams of a process that has ended go on")?;
    drop(requests);
    // What was accepted is counted by the next one.
    node.restart()?;
    node.ready().await?;
    let applied =
        |stream: &loadline_proto::ingest::Stream| stream.progress.as_ref().is_some_and(|progress| progress.counted == 1);
    questions::stream_until(&node.ingest()?, "BILLING", PATIENCE, applied).await?;
    Ok(())
}

/// Where `loadline up` listens.
const PORTS: [&str; 5] = ["ingest.listen", "query.listen", "rollup.listen", "serving.listen", "ingest.admin"];

#[tokio::test]
async fn a_product_whose_status_nobody_reads_goes_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = tokio::process::Command::new(binaries::ours("loadline")?);
    command.args(["up", "--headless", "--rate", "0"]).args(PORTS.map(|key| format!("--set={key}=127.0.0.1:0")));
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let errors = fs::File::create(folder.path().join("errors"))?;
    let mut node = command.current_dir(folder.path()).stdout(writer).stderr(errors).kill_on_drop(true).spawn()?;
    // The first status is printed as soon as it serves.
    let ended = time::timeout(Duration::from_secs(3), node.wait()).await;
    ensure!(ended.is_err(), "{ended:?}: {}", fs::read_to_string(folder.path().join("errors"))?);
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_with_its_key() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let free = |key: &str| anyhow::Ok(format!("{key}=127.0.0.1:{}", ports::free()?));
    for key in PORTS {
        let mut arguments = vec!["up".to_owned(), "--headless".to_owned(), "--rate".to_owned(), "0".to_owned()];
        for other in PORTS {
            let address = if other == key { format!("{key}={}", taken.local_addr()?) } else { free(other)? };
            arguments.extend(["--set".to_owned(), address]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = run("loadline", folder.path(), &arguments).await?;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let said = ended.errors + &ended.output;
        assert!(
            said.contains("cannot listen on") && said.contains(key) && said.contains(&taken.local_addr()?.to_string()),
            "{said}"
        );
    }
    assert!(!folder.path().join("data").exists(), "a second copy touches nothing");
    Ok(())
}

#[tokio::test]
async fn services_start_without_their_servers_and_serve_when_they_come() -> Result<()> {
    let mut nats = NatsServer::start(NatsVersion::Nats215).await?;
    let mut postgres = PostgresServer::start().await?;
    let store = postgres.create_database().await?;
    nats.kill();
    postgres.kill()?;
    let mut ingest = Service::start_unready(Settings::new(Program::Ingest, &nats.url(), &store))?;
    let mut query = Service::start_unready(Settings::new(Program::Query, &nats.url(), &store))?;
    for service in [&ingest, &query] {
        page_until(service, "/livez", 200).await?;
        let why = page_until(service, "/readyz", 503).await?;
        assert!(why.contains(':'), "it says what is missing: {why:?}");
    }
    nats.restart().await?;
    postgres.restart().await?;
    ingest.ready().await?;
    query.ready().await?;
    let request = PublishRequest { events: vec![envelope(billing("acme", "first", now()))], skip_duplicates: false };
    assert_eq!(ingest.ingest()?.events.publish(request).await?.into_inner().accepted, 1);
    let counted =
        |stream: &loadline_proto::ingest::Stream| stream.progress.as_ref().is_some_and(|progress| progress.counted == 1);
    questions::stream_until(&ingest.ingest()?, "BILLING", PATIENCE, counted).await?;
    assert_eq!(questions::sums(&questions::usage(&mut query.query()?, "acme", now()).await?)[0], 1);
    Ok(())
}

/// Asks an admin page until it has this status; returns its body.
async fn page_until(service: &Service, path: &str, status: u16) -> Result<String> {
    let (address, body) = (service.admin_address(), std::cell::RefCell::new(String::new()));
    ports::wait_until(path, PATIENCE, || async {
        Ok(match ports::http_get(address, path).await {
            Ok((found, text)) if found == status => {
                body.replace(text);
                Ready::Yes
            }
            other => Ready::No(format!("{other:?}")),
        })
    })
    .await?;
    Ok(body.into_inner())
}

#[tokio::test]
async fn the_admin_port_tells_life_readiness_and_numbers() -> Result<()> {
    let world = World::start(Backends::Embedded).await?;
    world.drained().await?;
    append(&world, "BILLING", "acme", vec![payload(billing("acme", "e", now()))]).await?;
    world.drained().await?;
    for service in [&world.ingest, &world.query] {
        page_until(service, "/livez", 200).await?;
        page_until(service, "/readyz", 200).await?;
        page_until(service, "/nothing", 404).await?;
        let metrics = page_until(service, "/metrics", 200).await?;
        assert!(metrics.contains("# TYPE") && metrics.contains("loadline_failure_mode_state"), "{metrics}");
    }
    let metrics = page_until(&world.ingest, "/metrics", 200).await?;
    for name in ["loadline_stream_lag_seconds", "loadline_stream_headroom_ratio", "loadline_stream_backlog_records"] {
        let of =
            |stream: &str| metrics.lines().any(|line| line.starts_with(name) && line.contains(&format!("stream=\"{stream}\"")));
        assert!(of("BILLING") && of("DLR"), "{name} in {metrics}");
    }
    Ok(())
}

const MEMORY_LIMIT_KIB: u64 = 200 * 1024;
const BACKLOG: u64 = 1_000_000;
/// Records appended at once.
const CHUNK: u64 = 20_000;

/// The most memory that a process had in its life.
fn peak_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn backlog(from: u64) -> Vec<Bytes> {
    let at = now();
    (from..from + CHUNK).map(|n| payload(billing(&format!("acct-{:03}", n % 500), &format!("event-{n:012}"), at))).collect()
}

async fn a_large_backlog_takes_little_memory(backends: Backends) -> Result<()> {
    let mut world = World::start(backends).await?;
    world.drained().await?;
    world.ingest.stop(PATIENCE).await?;
    for from in (0..BACKLOG).step_by(CHUNK as usize) {
        append(&world, "BILLING", "acme", backlog(from)).await?;
    }
    world.ingest.restart()?;
    world.ingest.ready().await?;
    let patience = Duration::from_secs(150);
    let done =
        |stream: &loadline_proto::ingest::Stream| stream.progress.as_ref().is_some_and(|progress| progress.applied == BACKLOG);
    questions::stream_until(&world.ingest.ingest()?, "BILLING", patience, done).await?;
    let counted = questions::counters(&mut world.ingest.ingest()?, "BILLING").await?;
    assert_eq!(counted, [BACKLOG, BACKLOG, 0, 0, 0]);
    let peak = peak_kib(world.ingest.pid())?;
    ensure!(process::state_of(world.ingest.pid()).is_some_and(|state| state != 'Z'), "ingest ended");
    ensure!(peak < MEMORY_LIMIT_KIB, "ingest took {} MiB", peak / 1024);
    println!("peak of ingest: {} MiB", peak / 1024);
    Ok(())
}

#[tokio::test]
async fn a_backlog_of_a_million_takes_little_memory_on_embedded_backends() -> Result<()> {
    a_large_backlog_takes_little_memory(Backends::Embedded).await
}

/// On 2.9, which acknowledges without syncing each record: only the backlog's size is wanted here.
#[tokio::test]
async fn a_backlog_of_a_million_takes_little_memory_on_nats_and_postgres() -> Result<()> {
    a_large_backlog_takes_little_memory(Backends::Real(NatsVersion::Nats29)).await
}
