//! Processes that watch each other: one that is gone is told, one that is stuck is started again, and one with another configuration
//! is found, with nothing lost or counted twice meanwhile.

use anyhow::{Context as _, Result, ensure};
use loadline_domain::time::{Clock as _, SystemClock};
use loadline_proto::{
    health::{
        ExecuteRemedyRequest, Frame, ListAuditRequest, PlanRemedyRequest, RemedyPlan, RemedyRun, Severity, State,
        UndoRemedyRequest, WatchRequest, frame::Body, remedy_run::Outcome,
    },
    ingest::{ListStreamsRequest, PublishRequest},
};
use loadline_tests::{
    client::Clients,
    events::{billing, envelope, payload},
    journal::Journal,
    nats::NatsVersion,
    ports::{self, Ready},
    questions::mode_until,
    service::{Program, Service, Settings},
    world::{Backends, World},
};
use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tempfile::TempDir;
use tonic::Status;
use tonic_types::StatusExt as _;

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(program: Program, folder: &TempDir) -> Settings {
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    Settings::new(program, &file("log.db"), &file("store.db"))
}

fn list(addresses: &[SocketAddr]) -> String {
    format!("{:?}", addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
}

async fn first_frame(clients: &Clients) -> Result<Frame> {
    let mut failure_modes = clients.failure_modes.clone();
    failure_modes.watch(WatchRequest::default()).await?.into_inner().message().await?.context("no frame")
}

/// Waits until the first frame is as it should be.
async fn frame_until(clients: &Clients, what: &str, is: impl Fn(&Frame) -> bool) -> Result<Frame> {
    ports::wait_until(what, PATIENCE, || {
        let (clients, is) = (clients.clone(), &is);
        async move {
            Ok(match first_frame(&clients).await {
                Ok(frame) if is(&frame) => Ready::Yes,
                Ok(frame) => Ready::No(format!("{frame:?}").chars().take(600).collect()),
                Err(error) => Ready::No(error.to_string()),
            })
        }
    })
    .await?;
    first_frame(clients).await
}

fn run_of(frame: &Frame, id: &str) -> Option<RemedyRun> {
    match &frame.body {
        Some(Body::Snapshot(snapshot)) => snapshot.runs.iter().find(|run| run.id == id).cloned(),
        _ => None,
    }
}

async fn verified(clients: &Clients, run: &RemedyRun) -> Result<RemedyRun> {
    let is_over = |frame: &Frame| run_of(frame, &run.id).is_some_and(|run| run.finished_at.is_some());
    let ended = run_of(&frame_until(clients, "the end of the run", is_over).await?, &run.id).context("no run")?;
    ensure!(ended.outcome() == Outcome::Verified, "{ended:?}");
    Ok(ended)
}

async fn plan(clients: &Clients, mode: &str, key: &str, target: &str) -> Result<RemedyPlan, Status> {
    let (failure_mode, key, target) = (mode.to_owned(), key.to_owned(), target.to_owned());
    let ask = PlanRemedyRequest { failure_mode, key, target, reason: "a test".to_owned() };
    Ok(clients.failure_modes.clone().plan_remedy(ask).await?.into_inner())
}

async fn execute(clients: &Clients, plan: &RemedyPlan) -> Result<RemedyRun> {
    let (plan_id, confirm, idempotency_key) = (plan.id.clone(), plan.confirm.clone(), plan.id.clone());
    let ask = ExecuteRemedyRequest { plan_id, confirm, idempotency_key, reason: "a test".to_owned() };
    Ok(clients.failure_modes.clone().execute_remedy(ask).await?.into_inner())
}

fn refusal(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn a_process_that_is_gone_is_told_and_it_is_an_outage_when_it_was_the_last() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut first = Service::start(settings(Program::Query, &folder)).await?;
    let mut second = Service::start(settings(Program::Query, &folder)).await?;
    let addresses = [first.query_address(), second.query_address()];
    let watching = Service::start(settings(Program::Ingest, &folder).set("peers.query", &list(&addresses))).await?;
    let ingest = watching.ingest()?;
    mode_until(&ingest, "PR-09", PATIENCE, |mode| mode.state() == State::Ok).await?;

    first.kill();
    let open = mode_until(&ingest, "PR-09", PATIENCE, |mode| mode.state() == State::Open).await?;
    let evidence = open.evidence.context("evidence")?;
    assert_eq!(open.severity, i32::from(Severity::P2), "another one serves: {evidence:?}");
    assert!(evidence.value >= 2.0 && evidence.detail.starts_with("query "), "{evidence:?}");
    assert!(evidence.detail.contains(&addresses[0].to_string()) && !evidence.detail.contains("never seen"), "{evidence:?}");

    second.kill();
    mode_until(&ingest, "PR-09", PATIENCE, |mode| mode.severity() == Severity::P1 && mode.state() == State::Open).await?;
    let refused = plan(&ingest, "PR-09", "S", "").await.unwrap_err();
    assert_eq!(refusal(&refused), "REMEDY_UNAVAILABLE", "of what is gone nothing can be told: {refused:?}");
    assert!(refused.message().contains("whoever supervises it"), "{refused:?}");

    for gone in [&mut first, &mut second] {
        gone.restart()?;
        gone.ready().await?;
    }
    mode_until(&ingest, "PR-09", PATIENCE, |mode| mode.state() == State::Ok).await?;
    let unwatched = mode_until(&first.query()?, "PR-09", PATIENCE, |mode| mode.state() == State::Unknown).await?;
    assert!(unwatched.rule.contains("`peers`"), "who watches nobody does not say that all is well: {unwatched:?}");
    Ok(())
}

/// Publishes to a service until told to stop; answers what it accepted.
async fn publishing(mut clients: Clients, stop: Arc<AtomicBool>) -> Result<Vec<bytes::Bytes>> {
    let mut accepted = Vec::new();
    for batch in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        let now = SystemClock.now();
        let events: Vec<_> = (0..20).map(|n| billing("acme", &format!("peers-{batch}-{n}"), now)).collect();
        accepted.extend(events.iter().cloned().map(payload));
        let events = events.into_iter().map(envelope).collect();
        let answer = clients.events.publish(PublishRequest { events, skip_duplicates: false }).await?.into_inner();
        ensure!(answer.rejections.is_empty(), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(accepted)
}

#[tokio::test]
async fn a_process_that_is_stuck_starts_again_while_others_publish_and_nothing_is_lost_or_counted_twice() -> Result<()> {
    let world = World::start_with(Backends::Real(NatsVersion::Nats215), &[("ingest.lease_ttl", "2s")]).await?;
    let (stuck, pid) = (world.ingest.ingest()?, world.ingest.pid());
    let beside = Settings::new(Program::Ingest, &world.log, &world.store).set("ingest.lease_ttl", "2s");
    let beside = Service::start(beside.set("peers.ingest", &list(&[world.ingest.ingest_address()]))).await?;
    let watching = beside.ingest()?;
    mode_until(&watching, "PR-09", PATIENCE, |mode| mode.state() == State::Ok).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let published = tokio::spawn(publishing(watching.clone(), stop.clone()));

    let before = first_frame(&stuck).await?;
    let to_nats = world.to_nats.as_ref().context("a proxy")?;
    to_nats.cut();
    let open = mode_until(&watching, "PR-09", PATIENCE, |mode| mode.state() == State::Open).await?;
    assert_eq!(open.severity, i32::from(Severity::P2), "who watches is a replica: {open:?}");
    let planned = plan(&stuck, "PR-09", "S", "").await?;
    assert!(planned.target.starts_with("ingest ") && planned.confirm == "y" && planned.undo_within.is_none(), "{planned:?}");
    let run = execute(&stuck, &planned).await?;
    mode_until(&watching, "PR-09", PATIENCE, |mode| {
        mode.state() == State::Open && mode.evidence.as_ref().is_some_and(|evidence| !evidence.detail.contains("says"))
    })
    .await?;
    to_nats.pass();

    let after = frame_until(&stuck, "another boot", |frame| frame.boot_id != before.boot_id).await?;
    assert_eq!((after.instance, world.ingest.pid()), (before.instance, pid), "whoever supervises it sees no end");
    verified(&stuck, &run).await?;
    mode_until(&watching, "PR-09", PATIENCE, |mode| mode.state() == State::Ok).await?;
    let audit = stuck.failure_modes.clone().list_audit(ListAuditRequest::default()).await?.into_inner().entries;
    let of_run: Vec<_> = audit.iter().filter(|entry| entry.outcome.contains(&run.id)).map(|entry| &*entry.action).collect();
    assert_eq!(of_run, ["remedy.execute", "remedy.finish"]);

    stop.store(true, SeqCst);
    let published = published.await??;
    assert!(published.len() > 100, "{}", published.len());
    let mut journal = Journal::default();
    published.into_iter().for_each(|payload| journal.accept(payload));
    world.ensure_exact(&mut journal).await?;
    Ok(())
}

#[tokio::test]
async fn a_peer_has_a_service_of_up_started_again_and_the_others_live_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = settings(Program::Node, &folder).set("simulate.enabled", "true").set("simulate.rate", "200");
    let node = Service::start(node).await?;
    let (ingest, query, rollup) = (node.ingest()?, node.query()?, node.rollup()?);
    for clients in [&ingest, &query, &rollup] {
        mode_until(clients, "PR-09", PATIENCE, |mode| mode.state() == State::Ok).await?;
    }
    for (asked, other, address) in [(&rollup, &ingest, node.ingest_address()), (&ingest, &query, node.query_address())] {
        let (before, of_asked) = (first_frame(other).await?, first_frame(asked).await?);
        let planned = plan(asked, "PR-09", "S", &address.to_string()).await?;
        assert!(planned.target.contains(&address.to_string()), "{planned:?}");
        let ended = verified(asked, &execute(asked, &planned).await?).await?;
        assert_eq!(ended.actual.len(), 2, "told, and back: {ended:?}");
        assert_ne!(first_frame(other).await?.boot_id, before.boot_id);
        assert_eq!(first_frame(asked).await?.boot_id, of_asked.boot_id, "who asked lives on");
        let own = frame_until(other, "its own run", |frame| match &frame.body {
            Some(Body::Snapshot(snapshot)) => snapshot.runs.iter().any(|run| run.outcome() == Outcome::Verified),
            _ => false,
        });
        own.await?;
    }
    let streams = ingest.clone().streams.list(ListStreamsRequest {}).await?.into_inner().streams;
    assert!(streams.iter().all(|stream| stream.unaccounted == 0), "{streams:?}");
    assert!(streams.iter().any(|stream| stream.progress.as_ref().is_some_and(|progress| progress.counted > 0)), "{streams:?}");
    Ok(())
}

/// Puts a line into the section of query.
fn edit(service: &Service, line: &str) -> Result<()> {
    let file = service.folder().join("loadline.toml");
    let text = fs::read_to_string(&file)?;
    let rest: Vec<_> = text.lines().filter(|line| !line.starts_with("explain_max")).collect();
    Ok(fs::write(file, rest.join("\n").replace("[query]", &format!("[query]\n{line}")) + "\n")?)
}

#[tokio::test]
async fn a_configuration_is_read_again_and_taken_back_and_replicas_that_differ_are_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // A roll-out may take half a minute.
    let settings = settings(Program::Query, &folder).set("drills.times_at_most", "3s");
    let changed = Service::start(settings.clone()).await?;
    let peers = list(&[changed.query_address()]);
    let watching = Service::start(settings.set("peers.query", &peers)).await?;
    let (clients, replica) = (changed.query()?, watching.query()?);
    for clients in [&clients, &replica] {
        mode_until(clients, "PR-14", PATIENCE, |mode| mode.state() == State::Ok).await?;
    }
    let before = first_frame(&clients).await?;
    assert!(!before.configuration.is_empty(), "{before:?}");
    assert_eq!(before.configuration, first_frame(&replica).await?.configuration, "ports and peers are each one's own");

    edit(&changed, "explain_max_records = 0\nexplain_max_recods = 1")?;
    let open = mode_until(&clients, "PR-14", PATIENCE, |mode| mode.state() == State::Open).await?;
    assert_eq!(open.severity, i32::from(Severity::P4), "caught before anything has it: {open:?}");
    let refused = plan(&clients, "PR-14", "N", "").await.unwrap_err();
    assert_eq!(refusal(&refused), "REMEDY_UNAVAILABLE");
    for part in ["explain_max_records", "did you mean", &before.configuration] {
        assert!(refused.message().contains(part), "{part} is not in: {}", refused.message());
    }

    edit(&changed, "explain_max_records = 1234")?;
    mode_until(&clients, "PR-14", PATIENCE, |mode| mode.state() == State::Ok).await?;
    let planned = plan(&clients, "PR-14", "N", "").await?;
    assert!(planned.effects[0].text.contains("query.explain_max_records") && planned.undo_within.is_some(), "{planned:?}");
    let run = execute(&clients, &planned).await?;
    verified(&clients, &run).await?;
    let after = first_frame(&clients).await?;
    assert!(after.boot_id != before.boot_id && after.configuration != before.configuration, "{after:?}");

    let open = mode_until(&replica, "PR-14", PATIENCE * 2, |mode| mode.state() == State::Open).await?;
    let evidence = open.evidence.context("evidence")?.detail;
    assert_eq!(open.severity, i32::from(Severity::P2), "{evidence}");
    for part in [&before.configuration, &after.configuration, &changed.query_address().to_string()] {
        assert!(evidence.contains(part), "{part} is not in: {evidence}");
    }

    let undo = UndoRemedyRequest { run_id: run.id, reason: "a test".to_owned() };
    clients.failure_modes.clone().undo_remedy(undo).await?;
    let is_back = |frame: &Frame| frame.configuration == before.configuration && frame.boot_id != after.boot_id;
    frame_until(&clients, "what was in force before", is_back).await?;
    mode_until(&replica, "PR-14", PATIENCE, |mode| mode.state() == State::Ok).await?;
    Ok(())
}
