//! Drills in the running product: every mode that has one is proven under traffic, nothing of that traffic is lost or counted
//! twice, and what was proven is known after a restart.

use anyhow::{Context as _, Result, ensure};
use loadline_domain::{
    Timestamp,
    time::{Clock as _, SystemClock},
};
use loadline_proto::{
    health::{
        DrillRun, ListCatalogueRequest, ListDrillsRequest, Severity, StartDrillRequest, State, drill_run::Verdict,
        drill_service_client::DrillServiceClient,
    },
    ingest::{ListStreamsRequest, stream},
};
use loadline_tests::{
    binaries, command, days,
    events::{billing, envelope},
    jobs,
    nats::NatsVersion,
    ports::{self, Ready},
    questions::{self, mode_until, stream_until, sums},
    service::{Program, Service, Settings},
    world::{Backends, World},
};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(60);
/// Whose events are published while drills are under way.
const PRODUCER: &str = "producer";
/// Longer than a roll-up takes: one whose day changes meanwhile leaves it dirty, and after two schedules that is AN-04.
const BETWEEN: Duration = Duration::from_secs(1);
/// One after the other.
const ALL_OF_THEM: Duration = Duration::from_secs(400);
/// Nothing is proven by waiting for a minute that is not proven by waiting for this; the drills say that they waited for less.
const TIMES_AT_MOST: &str = "1s";

fn drills_of(address: SocketAddr) -> Result<DrillServiceClient<Channel>> {
    Ok(DrillServiceClient::new(Endpoint::from_shared(format!("http://{address}"))?.connect_lazy()))
}

/// `loadline up` with traffic of its own.
struct Node {
    service: Service,
    _folder: TempDir,
}

/// Where the services of a product answer.
#[derive(Clone, Copy)]
struct Addresses {
    ingest: SocketAddr,
    query: SocketAddr,
    rollup: SocketAddr,
    serving: SocketAddr,
}

impl Addresses {
    fn command(self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binaries::ours("loadline")?);
        command.args(arguments).env("NO_COLOR", "1");
        command.env("LOADLINE_INGEST", self.ingest.to_string());
        command.env("LOADLINE_QUERY", self.query.to_string());
        command.env("LOADLINE_ROLLUP", self.rollup.to_string());
        command.env("LOADLINE_SERVING", self.serving.to_string());
        Ok(command)
    }

    /// What `loadline drill … --json` prints, by mode and service; it has to end with 0.
    async fn drill(self, arguments: &[&str]) -> Result<Runs> {
        let arguments = [&["drill", "--json"], arguments].concat();
        let printed = command::run(self.command(&arguments)?, ALL_OF_THEM).await?.with_code(0)?;
        let printed: Value = serde_json::from_str(&printed).with_context(|| format!("no JSON: {printed}"))?;
        let drills = printed["drills"].as_array().context("drills")?.iter();
        let text = |drill: &Value, key: &str| drill[key].as_str().unwrap_or_default().to_owned();
        Ok(drills.map(|drill| ((text(drill, "failure_mode"), text(drill, "service")), drill.clone())).collect())
    }

    /// Every drill and every control passes, and nothing is unaccounted for before, between and after.
    async fn prove_all(self, unaccounted: impl AsyncFn() -> Result<i64>) -> Result<Runs> {
        assert_eq!(unaccounted().await?, 0, "before");
        let proven = self.drill(&["--all"]).await?;
        for ((mode, _), drill) in &proven {
            let passed = (&drill["verdict"], &drill["times_at_most"]);
            assert_eq!(passed, (&json!("VERDICT_PASSED"), &json!(TIMES_AT_MOST)), "{mode}: {drill}");
            let (lost, duplicated, control) = (&drill["lost"], &drill["duplicated"], &drill["control"]);
            assert_eq!((lost, duplicated, control), (&json!(0), &json!(0), &json!(false)), "{drill}");
            for part in ["detected_after", "contained_after", "remedied_after", "verified_after"] {
                assert!(drill[part].is_string(), "{mode} has no {part}: {drill}");
            }
        }
        ensure_one_at_a_time(&proven)?;
        assert_eq!(unaccounted().await?, 0, "after");
        let controls = self.drill(&["--all", "--control"]).await?;
        assert!(controls.keys().eq(proven.keys()), "{:?}", controls.keys());
        for ((mode, _), control) in &controls {
            assert_eq!(control["verdict"], "VERDICT_PASSED", "{mode} without a fault: {control}");
            assert_eq!(control["detected_after"], Value::Null, "{control}");
        }
        assert_eq!(unaccounted().await?, 0, "after the controls");
        Ok(proven)
    }
}

/// What the program says that it is: its version, and the commit that it was made from.
async fn build() -> Result<String> {
    let mut command = Command::new(binaries::ours("loadline")?);
    command.arg("--version");
    let told = command::run(command, PATIENCE).await?.with_code(0)?;
    let build = told.trim().strip_prefix("loadline ").with_context(|| format!("no version: {told}"))?;
    let commit = build.strip_prefix(concat!(env!("CARGO_PKG_VERSION"), "+")).with_context(|| format!("no commit: {build}"))?;
    ensure!(!commit.is_empty(), "no commit: {build}");
    Ok(build.to_owned())
}

/// Drills as they are printed, by mode and service.
type Runs = BTreeMap<(String, String), Value>;

/// None began before the one before it had ended, whatever service it is of.
fn ensure_one_at_a_time(runs: &Runs) -> Result<()> {
    let time = |run: &Value, key: &str| -> Result<Timestamp> { Ok(run[key].as_str().context("a time")?.parse()?) };
    let mut spans =
        runs.values().map(|run| Ok((time(run, "started_at")?, time(run, "finished_at")?))).collect::<Result<Vec<_>>>()?;
    spans.sort();
    ensure!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "drills overlap: {spans:?}");
    Ok(())
}

impl Node {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let settings = Settings::new(Program::Node, &file("log.db"), &file("store.db"));
        let settings = settings.set("drills.times_at_most", TIMES_AT_MOST);
        let service = Service::start(settings.set("simulate.enabled", "true").set("simulate.rate", "100")).await?;
        Ok(Self { service, _folder: folder })
    }

    fn addresses(&self) -> Addresses {
        let Self { service, .. } = self;
        Addresses {
            ingest: service.ingest_address(),
            query: service.query_address(),
            rollup: service.rollup_address(),
            serving: service.serving_address(),
        }
    }

    /// Modes that some part of the product detects, as the catalogue says.
    async fn detected(&self) -> Result<BTreeSet<String>> {
        let listed = self.service.ingest()?.failure_modes.list_catalogue(ListCatalogueRequest {}).await?.into_inner();
        let detected = listed.failure_modes.into_iter().filter(|mode| !mode.planned);
        Ok(detected.map(|mode| mode.id).collect())
    }

    /// Modes that its services can drill.
    async fn drillable(&self) -> Result<BTreeSet<String>> {
        let mut modes = BTreeSet::new();
        let Addresses { ingest, query, rollup, serving } = self.addresses();
        for address in [ingest, query, rollup, serving] {
            let mut client = drills_of(address)?;
            let drills = client.list(ListDrillsRequest {}).await?.into_inner().drills;
            modes.extend(drills.into_iter().map(|drill| drill.failure_mode));
        }
        Ok(modes)
    }

    /// Records that nobody accounts for, of all streams, which all have been read.
    async fn unaccounted(&self) -> Result<i64> {
        let streams = self.service.ingest()?.streams.list(ListStreamsRequest {}).await?.into_inner().streams;
        ensure!(streams.len() >= 3, "the stream of drills is not there: {streams:?}");
        let read =
            |stream: &&loadline_proto::ingest::Stream| stream.progress.as_ref().is_some_and(|progress| progress.applied > 0);
        ensure!(streams.iter().filter(read).count() >= 2, "nothing is read: {streams:?}");
        Ok(streams.iter().map(|stream| stream.unaccounted).sum())
    }

    /// Waits until a service has its drills, and what it proved, again.
    async fn proven(&self, address: SocketAddr, known: usize) -> Result<Vec<DrillRun>> {
        let mut client = drills_of(address)?;
        let mut last = Vec::new();
        ports::wait_until("the drills of before", PATIENCE, || {
            let mut client: DrillServiceClient<Channel> = client.clone();
            async move {
                let listed = client.list(ListDrillsRequest {}).await?.into_inner().drills;
                let known_now = listed.into_iter().filter(|drill| drill.last.is_some()).count();
                Ok(if known_now >= known { Ready::Yes } else { Ready::No(format!("{known_now} of {known}")) })
            }
        })
        .await?;
        for drill in client.list(ListDrillsRequest {}).await?.into_inner().drills {
            last.extend(drill.last);
        }
        Ok(last)
    }
}

#[tokio::test]
async fn every_drill_passes_under_traffic_its_control_is_silent_and_the_proof_survives_a_restart() -> Result<()> {
    let mut node = Node::start().await?;
    mode_until(&node.service.ingest()?, "AN-09", PATIENCE, |mode| mode.state() == State::Ok).await?;
    ports::wait_until("traffic", PATIENCE, || async {
        Ok(node.unaccounted().await.map_or_else(|error| Ready::No(error.to_string()), |_| Ready::Yes))
    })
    .await?;
    let proven = node.addresses().prove_all(async || node.unaccounted().await).await?;
    let modes: BTreeSet<_> = proven.keys().map(|(mode, _)| mode.clone()).collect();
    assert_eq!(modes, node.detected().await?);

    node.service.restart()?;
    node.service.ready().await?;
    let build = build().await?;
    let services = [
        ("ingest", node.service.ingest_address(), 8),
        ("query", node.service.query_address(), 6),
        ("rollup", node.service.rollup_address(), 8),
        ("serving", node.service.serving_address(), 5),
    ];
    for (service, address, known) in services {
        for run in node.proven(address, known).await? {
            assert_eq!((run.verdict(), run.control), (Verdict::Passed, false), "{run:?}");
            // What every service has, a process or a store, is proven by the service that proved it last.
            let mut of_mode = proven.iter().filter(|((mode, _), _)| *mode == run.failure_mode);
            assert!(of_mode.any(|(_, drill)| drill["id"] == json!(run.id)), "{service}: the proof of before: {run:?}");
            assert!(run.finished_at.is_some(), "{run:?}");
            assert_eq!(run.build, build, "{service}: a proof is of the build that --version tells");
        }
    }
    Ok(())
}

/// Each event once, to an account of its own, until told to stop; how many.
async fn publish_until(world: &World, mut stop: tokio::sync::oneshot::Receiver<()>) -> Result<u64> {
    let clients = world.ingest.ingest()?;
    for round in 0_u64.. {
        let event = |n: u64| envelope(billing(PRODUCER, &format!("{round}-{n}"), SystemClock.now()));
        // A drill may refuse for a moment what an upstream service would then send again, with the same ids.
        days::publish(&clients, (0..40).map(event).collect()).await?;
        if tokio::time::timeout(BETWEEN, &mut stop).await.is_ok() {
            return Ok((round + 1) * 40);
        }
    }
    Ok(0)
}

/// The services alone, in the production profile, on a NATS server and a PostgreSQL server.
#[tokio::test]
async fn every_drill_passes_on_nats_and_postgres_while_events_are_published_and_each_is_counted_once() -> Result<()> {
    let values = [("drills.enabled", "true"), ("drills.times_at_most", TIMES_AT_MOST), ("ingest.lease_ttl", "5s")];
    let world = World::start_with(Backends::Real(NatsVersion::Nats215), &values).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    let serving = Service::start(world.rollup.clone().of(Program::Serving)).await?;
    let ingest = world.ingest.ingest()?;
    mode_until(&ingest, "AN-09", PATIENCE, |mode| mode.state() == State::Ok).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let addresses = Addresses {
        ingest: world.ingest.ingest_address(),
        query: world.query.query_address(),
        rollup: rollup.rollup_address(),
        serving: serving.serving_address(),
    };
    let unaccounted = async || -> Result<i64> {
        let streams = ingest.clone().streams.list(ListStreamsRequest {}).await?.into_inner().streams;
        ensure!(streams.len() == 3, "{streams:?}");
        Ok(streams.iter().map(|stream| stream.unaccounted).sum())
    };
    let proving = async {
        let proven = addresses.prove_all(unaccounted).await;
        // The publisher may have ended with an error of its own, which is told then.
        let _ = stop.send(());
        proven
    };
    let (proven, published) = tokio::join!(proving, publish_until(&world, stopped));
    let (proven, published) = (proven.with_context(|| format!("rollup wrote:\n{}", rollup.output()))?, published?);
    let services: BTreeSet<_> = proven.keys().map(|(_, service)| service.as_str()).collect();
    assert_eq!(services, ["ingest", "query", "rollup", "serving"].into());
    world.drained().await?;
    let usage = questions::usage(&mut world.query.query()?, PRODUCER, SystemClock.now()).await?;
    assert_eq!(sums(&usage)[0] as u64, published, "each id is counted once");
    assert!(published > 1_000, "hardly anything was published meanwhile: {published}");
    Ok(())
}

/// Hours of three hours ago, as parameters of a verification.
fn hours_ago(repair: bool) -> String {
    let hour = SystemClock.now().minus(Duration::from_secs(3 * 3_600)).hour();
    json!({ "from": hour.start().to_string(), "to": hour.next().start().to_string(), "repair": repair }).to_string()
}

#[tokio::test]
async fn a_drill_that_takes_the_store_away_takes_nothing_else() -> Result<()> {
    const OTHERS: [&str; 3] = ["PR-13", "PR-14", "PR-15"];
    let node = Node::start().await?;
    let mut ingest = node.service.ingest()?;
    for id in OTHERS.into_iter().chain(["AN-01"]) {
        mode_until(&ingest, id, PATIENCE, questions::is_ok).await?;
    }
    let mut drills = drills_of(node.service.ingest_address())?;
    let drill = drills.start(StartDrillRequest { failure_mode: "AN-01".to_owned(), control: false }).await?.into_inner();
    let started = Instant::now();
    loop {
        for id in OTHERS {
            let seen = questions::mode(&mut ingest, id).await?;
            ensure!(questions::is_ok(&seen), "{id} has nothing to do with the store: {seen:?}");
        }
        let listed = drills.list(ListDrillsRequest {}).await?.into_inner().drills;
        if let Some(run) = listed.into_iter().filter_map(|drill| drill.last).find(|run| run.id == drill.id) {
            ensure!(run.verdict() == Verdict::Passed, "{run:?}");
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "the drill does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// AN-03 is drilled in one process while AN-08 really opens in another one.
#[tokio::test]
async fn what_is_really_wrong_in_another_service_ends_a_drill_and_lets_none_begin() -> Result<()> {
    let values = [("drills.enabled", "true"), ("drills.times_at_most", "5s"), ("rollup.jobs.verify.schedule", "")];
    let world = World::start_with(Backends::Embedded, &values).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    let (ingest, modes) = (world.ingest.ingest()?, rollup.rollup()?);
    let at = SystemClock.now().minus(Duration::from_secs(3 * 3_600)).hour().start();
    days::publish(&ingest, (0..10).map(|n| envelope(billing(PRODUCER, &n.to_string(), at))).collect()).await?;
    world.drained().await?;
    mode_until(&ingest, "AN-03", PATIENCE, |mode| mode.state() == State::Ok).await?;
    mode_until(&modes, "AN-08", PATIENCE, |mode| mode.state() == State::Ok).await?;
    let mut store = SqliteConnection::connect(&world.store).await?;
    let planted = sqlx::query("UPDATE usage_hourly SET messages = messages - 1 WHERE account = ?1").bind(PRODUCER);
    ensure!(planted.execute(&mut store).await?.rows_affected() == 1);

    let drills = drills_of(world.ingest.ingest_address())?;
    let start = async |control| drills.clone().start(StartDrillRequest { failure_mode: "AN-03".to_owned(), control }).await;
    let drill = start(false).await?.into_inner();
    mode_until(&ingest, "AN-03", PATIENCE, |mode| mode.state() != State::Ok && mode.drill_id == drill.id).await?;
    jobs::run_with(&rollup, "verify", "finds it", &hours_ago(false)).await?;
    mode_until(&modes, "AN-08", PATIENCE, |mode| mode.state() == State::Open && mode.severity() == Severity::P2).await?;
    let ended = ports::wait_until("the end of the drill", PATIENCE, || async {
        let listed = drills.clone().list(ListDrillsRequest {}).await?.into_inner().drills;
        let last = listed.into_iter().find(|drill| drill.failure_mode == "AN-03").and_then(|drill| drill.last);
        Ok(match last {
            Some(run) if run.id == drill.id => {
                ensure!(run.verdict() == Verdict::Aborted && run.detail.contains("AN-08 of rollup is open"), "{run:?}");
                Ready::Yes
            }
            other => Ready::No(format!("{other:?}")),
        })
    });
    ended.await?;
    for control in [false, true] {
        let refused = start(control).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
        assert!(refused.message().contains("AN-08 of rollup"), "{refused:?}");
    }
    jobs::run_with(&rollup, "verify", "repairs it", &hours_ago(true)).await?;
    jobs::run_with(&rollup, "verify", "agrees", &hours_ago(false)).await?;
    mode_until(&modes, "AN-08", PATIENCE, |mode| mode.state() == State::Ok).await?;
    ports::wait_until("a drill to begin", PATIENCE, || async {
        Ok(start(true).await.map_or_else(|refused| Ready::No(refused.message().to_owned()), |_| Ready::Yes))
    })
    .await
}

#[tokio::test]
async fn no_mode_that_is_detected_is_without_its_drill() -> Result<()> {
    let node = Node::start().await?;
    assert_eq!(node.drillable().await?, node.detected().await?, "write its drill, or say in the catalogue that it is planned");
    Ok(())
}

#[tokio::test]
async fn what_a_drill_left_that_died_with_its_process_is_gone_with_the_next_one() -> Result<()> {
    let mut node = Node::start().await?;
    let ingest = node.service.ingest()?;
    mode_until(&ingest, "AN-03", PATIENCE, |mode| mode.state() == State::Ok).await?;
    let address = node.service.ingest_address();
    let mut drills = drills_of(address)?;
    drills.start(StartDrillRequest { failure_mode: "AN-03".to_owned(), control: false }).await?;
    let open = mode_until(&ingest, "AN-03", PATIENCE, |mode| mode.state() != State::Ok && !mode.drill_id.is_empty()).await?;
    assert!(!open.drill_id.is_empty());
    node.service.kill();
    node.service.restart()?;
    node.service.ready().await?;
    stream_until(&node.service.ingest()?, "LOADLINE-DRILL", PATIENCE, |stream| {
        stream.state() != stream::State::Stopped && stream.progress.as_ref().is_some_and(|progress| progress.applied >= 140)
    })
    .await?;
    // What was left is read now, and becomes dead letters: news for a minute.
    mode_until(&ingest, "AN-03", PATIENCE, |mode| mode.state() == State::Open && mode.drill_id.is_empty()).await?;
    mode_until(&ingest, "AN-03", PATIENCE * 2, |mode| mode.state() == State::Ok).await?;
    // The lease of the dead process lasts for a quarter of a minute.
    let started = ports::wait_until("the lease of the dead process to end", PATIENCE, || {
        let mut drills = drills.clone();
        async move {
            let control = StartDrillRequest { failure_mode: "AN-03".to_owned(), control: true };
            Ok(drills.start(control).await.map_or_else(|refused| Ready::No(refused.message().to_owned()), |_| Ready::Yes))
        }
    });
    started.await?;
    ports::wait_until("the control to pass", PATIENCE, || {
        let mut drills = drills.clone();
        async move {
            let listed = drills.list(ListDrillsRequest {}).await?.into_inner().drills;
            let control = listed.into_iter().filter(|drill| drill.failure_mode == "AN-03").find_map(|drill| drill.last_control);
            Ok(match control {
                Some(run) if run.verdict() == Verdict::Passed => Ready::Yes,
                other => Ready::No(format!("{other:?}")),
            })
        }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn where_drills_are_off_nothing_can_be_started_and_the_command_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let settings = Settings::new(Program::Node, &file("log.db"), &file("store.db")).set("drills.enabled", "false");
    let node = Node { service: Service::start(settings).await?, _folder: folder };
    let address = node.service.query_address();
    let mut drills = drills_of(address)?;
    let refused = drills.start(StartDrillRequest { failure_mode: "AN-10".to_owned(), control: false }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("drills.enabled"), "{refused:?}");
    let printed = command::run(node.addresses().command(&["drill", "--all"])?, PATIENCE).await?;
    assert_eq!(printed.code, Some(2), "{printed:?}");
    assert!(printed.errors.contains("drills.enabled"), "{printed:?}");
    let streams = node.service.ingest()?.streams.list(ListStreamsRequest {}).await?.into_inner().streams;
    assert_eq!(streams.len(), 2, "no stream of drills: {streams:?}");
    Ok(())
}
