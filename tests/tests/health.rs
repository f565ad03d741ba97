//! What the services say of themselves: the standard health protocol, the health stream, and what opens and closes a mode.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use loadline_domain::{
    StreamName, Timestamp,
    time::{Clock, SystemClock},
};
use loadline_event_log::{EventLog as _, NewRecord, Retention, embedded::Embedded};
use loadline_proto::{
    grpc_health::{HealthCheckRequest, HealthListRequest, health_check_response::ServingStatus, health_client::HealthClient},
    health::{Frame, ListCatalogueRequest, ModeStatus, ResumePoint, Severity, State, WatchRequest, frame::Body},
    ingest::{PublishRequest, ResumeStreamRequest, stream},
    query::GetUsageRequest,
};
use loadline_tests::{
    client::Clients,
    events::{billing, envelope, payload, proto_time},
    nats::NatsVersion,
    ports::{self, Ready},
    questions::{self, mode_until, stream_until, sums},
    service::Service,
    upstream::append,
    world::{Backends, World},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

const PATIENCE: Duration = Duration::from_secs(40);
const REAL: Backends = Backends::Real(NatsVersion::Nats215);

fn now() -> Timestamp {
    SystemClock.now()
}

async fn standard(address: SocketAddr) -> Result<HealthClient<Channel>> {
    Ok(HealthClient::new(Endpoint::from_shared(format!("http://{address}"))?.connect().await?))
}

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// The protocol follows readiness within a second.
async fn serving(client: &mut HealthClient<Channel>) -> Result<()> {
    let mut watched = client.watch(asked("")).await?.into_inner();
    let serving = async {
        while watched.message().await?.context("the watch ended")?.status() != ServingStatus::Serving {}
        anyhow::Ok(())
    };
    time::timeout(PATIENCE, serving).await.context("it does not serve")?
}

#[tokio::test]
async fn the_standard_health_protocol_answers_on_both_ports() -> Result<()> {
    let mut world = World::start(Backends::Embedded).await?;
    let ingest = ["EventService", "StreamService", "DeadLetterService"].map(|name| format!("loadline.ingest.v1.{name}"));
    let query = ["loadline.query.v1.UsageService".to_owned()];
    for (address, own) in [(world.ingest.ingest_address(), &ingest[..]), (world.query.query_address(), &query[..])] {
        let mut client = standard(address).await?;
        serving(&mut client).await?;
        let listed = client.list(HealthListRequest {}).await?.into_inner().statuses;
        let shared = ["".to_owned(), "loadline.health.v1.FailureModeService".to_owned()];
        for service in own.iter().chain(&shared) {
            let status = client.check(asked(service)).await?.into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{service:?}");
            assert_eq!(listed.get(service).map(|listed| listed.status()), Some(status), "{service:?} in {listed:?}");
        }
        assert_eq!(client.check(asked("nobody")).await.unwrap_err().code(), Code::NotFound);
        let mut watched = client.watch(asked("nobody")).await?.into_inner();
        assert_eq!(watched.message().await?.context("a status")?.status(), ServingStatus::ServiceUnknown);
        let more = time::timeout(Duration::from_millis(200), watched.message()).await;
        assert!(more.is_err(), "a watch of an unknown service stays open, and silent: {more:?}");
    }
    let mut client = standard(world.ingest.ingest_address()).await?;
    let mut watched = client.watch(asked("")).await?.into_inner();
    assert_eq!(watched.message().await?.context("a status")?.status(), ServingStatus::Serving);
    world.ingest.stop(PATIENCE).await?;
    let last = time::timeout(PATIENCE, watched.message()).await.context("nothing is said at the end")??;
    assert_eq!(last.context("a status")?.status(), ServingStatus::NotServing);
    Ok(())
}

async fn next(frames: &mut tonic::Streaming<Frame>) -> Result<Frame> {
    let frame = time::timeout(PATIENCE, frames.message()).await.context("the health stream is silent")??;
    frame.context("the health stream ended")
}

#[tokio::test]
async fn the_health_stream_starts_with_a_snapshot_and_never_falls_silent() -> Result<()> {
    let world = World::start(Backends::Embedded).await?;
    let rollup = Service::start(world.rollup.clone()).await?;
    let detected = [
        (world.ingest.ingest()?, &["AN-01", "AN-02", "AN-03", "AN-05", "AN-08", "AN-09"][..]),
        (world.query.query()?, &["AN-01", "AN-06", "AN-08"][..]),
        (rollup.rollup()?, &["AN-04", "AN-05", "AN-07", "AN-08"][..]),
    ];
    for (mut clients, own) in detected {
        let catalogue = clients.failure_modes.list_catalogue(ListCatalogueRequest {}).await?.into_inner().failure_modes;
        assert_eq!(catalogue.len(), 25);
        let mut frames = clients.failure_modes.watch(WatchRequest::default()).await?.into_inner();
        let first = next(&mut frames).await?;
        let Some(Body::Snapshot(snapshot)) = first.body else { panic!("first frame is no snapshot: {first:?}") };
        let modes: BTreeMap<&str, &ModeStatus> = snapshot.modes.iter().map(|mode| (mode.id.as_str(), mode)).collect();
        for id in own.iter().chain(&["PR-13", "PR-14", "PR-15"]) {
            assert_ne!(modes.get(id).context(*id)?.state(), State::Planned, "{id}");
        }
        let planned = catalogue.iter().filter(|mode| mode.planned);
        assert!(planned.filter_map(|mode| modes.get(mode.id.as_str())).all(|mode| mode.state() == State::Planned));
        let mut seq = first.seq;
        for _ in 0..4 {
            let frame = next(&mut frames).await?;
            assert_eq!((frame.seq, &frame.boot_id), (seq + 1, &first.boot_id));
            assert!(frame.next_within.is_some() && frame.sent_at.is_some(), "{frame:?}");
            assert!(!matches!(frame.body, Some(Body::Snapshot(_)) | None), "{frame:?}");
            seq = frame.seq;
        }
        for id in own {
            mode_until(&clients, id, PATIENCE, |mode| mode.state() == State::Ok && mode.evidence.is_some()).await?;
        }
        let resume = Some(ResumePoint { boot_id: first.boot_id.clone(), seq });
        let mut resumed = clients.failure_modes.watch(WatchRequest { resume }).await?.into_inner();
        let frame = next(&mut resumed).await?;
        assert_eq!((frame.seq, frame.boot_id), (seq + 1, first.boot_id), "it goes on where it was left");
        let resume = Some(ResumePoint { boot_id: "another".to_owned(), seq });
        let mut fresh = clients.failure_modes.watch(WatchRequest { resume }).await?.into_inner();
        assert!(matches!(next(&mut fresh).await?.body, Some(Body::Snapshot(_))), "another boot's place means nothing");
    }
    Ok(())
}

/// How PostgreSQL goes away and comes back.
#[derive(Clone, Copy)]
enum Outage {
    /// Connections stay open and nobody answers.
    Silent,
    /// Killed, and started again.
    Killed,
    /// Nothing reaches it, and every connection breaks.
    Cut,
}

async fn a_store_that_is_down_opens_an_01_and_publishing_goes_on(outage: Outage) -> Result<()> {
    let mut world = World::start(REAL).await?;
    world.drained().await?;
    let (ingest, query) = (world.ingest.ingest()?, world.query.query()?);
    for clients in [&ingest, &query] {
        mode_until(clients, "AN-01", PATIENCE, |mode| mode.state() == State::Ok).await?;
    }
    let to_postgres = world.to_postgres.as_ref().context("a proxy")?;
    let postgres = world.postgres.as_mut().context("PostgreSQL")?;
    match outage {
        Outage::Silent => postgres.pause()?,
        Outage::Killed => postgres.kill()?,
        Outage::Cut => to_postgres.cut(),
    }
    let open = mode_until(&ingest, "AN-01", PATIENCE, |mode| mode.state() == State::Open).await?;
    assert!(open.severity() == Severity::P2 || open.severity() == Severity::P1, "{open:?}");
    mode_until(&query, "AN-01", PATIENCE, |mode| mode.state() == State::Open && mode.severity() == Severity::P1).await?;

    let event = |n: u32| envelope(billing("acme", &format!("meanwhile-{n}"), now()));
    let request = PublishRequest { events: (0..10).map(event).collect(), skip_duplicates: false };
    assert_eq!(ingest.clone().events.publish(request).await?.into_inner().accepted, 10, "the log does not need the store");
    let range = GetUsageRequest {
        account: "acme".to_owned(),
        from: Some(proto_time(now())),
        to: Some(proto_time(now().plus(PATIENCE))),
        ..Default::default()
    };
    let refused = query.clone().usage.get_usage(range).await.expect_err("usage without a store");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let retry = refused.get_details_retry_info().and_then(|info| info.retry_delay);
    ensure!(retry.is_some_and(|delay| !delay.is_zero()), "it does not say when to try again: {refused:?}");

    let to_postgres = world.to_postgres.as_ref().context("a proxy")?;
    let postgres = world.postgres.as_mut().context("PostgreSQL")?;
    match outage {
        Outage::Silent => postgres.resume()?,
        Outage::Killed => postgres.restart().await?,
        Outage::Cut => to_postgres.pass(),
    }
    for clients in [&ingest, &query] {
        mode_until(clients, "AN-01", PATIENCE, |mode| mode.state() == State::Ok).await?;
    }
    world.drained().await?;
    assert_eq!(sums(&questions::usage(&mut query.clone(), "acme", now()).await?)[0], 10);
    Ok(())
}

#[tokio::test]
async fn a_silent_postgres_opens_an_01_and_publishing_goes_on() -> Result<()> {
    a_store_that_is_down_opens_an_01_and_publishing_goes_on(Outage::Silent).await
}

#[tokio::test]
async fn a_killed_postgres_opens_an_01_and_publishing_goes_on() -> Result<()> {
    a_store_that_is_down_opens_an_01_and_publishing_goes_on(Outage::Killed).await
}

#[tokio::test]
async fn a_postgres_that_nobody_reaches_opens_an_01_and_publishing_goes_on() -> Result<()> {
    a_store_that_is_down_opens_an_01_and_publishing_goes_on(Outage::Cut).await
}

/// As many unreadable records as stop a stream, each of the size of the events here: headroom goes by the average record.
fn noise() -> impl Iterator<Item = Bytes> {
    let bytes = payload(billing("acme", "e-100", now())).len();
    (0..100).map(move |n| [vec![0x0f], vec![n; bytes - 1]].concat().into())
}

async fn stopped(clients: &Clients) -> Result<()> {
    let stopped = |stream: &loadline_proto::ingest::Stream| stream.state() == stream::State::Stopped;
    stream_until(clients, "BILLING", PATIENCE, stopped).await.map(drop)
}

/// A stopped stream is one that nobody reads while everybody watches.
async fn retention_that_comes_near_unread_records_opens_an_09(backends: Backends) -> Result<()> {
    // A loss is news for an hour.
    let mut world = World::start_with(backends, &[("drills.times_at_most", "6s")]).await?;
    world.drained().await?;
    let clients = world.ingest.ingest()?;
    mode_until(&clients, "AN-09", PATIENCE, |mode| mode.state() == State::Ok).await?;
    append(&world, "BILLING", "acme", noise().collect()).await?;
    stopped(&clients).await?;
    let event = |n: u32| payload(billing("acme", &format!("e-{n}"), now()));
    append(&world, "BILLING", "acme", (100..300).map(event).collect()).await?;

    // The unread end takes four fifths of what is kept, then nineteen twentieths, then more than all.
    let (log, name) = (loadline_event_log::open(&world.log).await?, StreamName::new("BILLING")?);
    let all = log.bounds(&name).await?;
    let unread = all.bytes * 200 / (all.last + 1 - all.first);
    let keep = |bytes| Retention { max_age: None, max_bytes: Some(bytes) };
    log.set_retention(&name, keep(unread * 5 / 4)).await?;
    let open = |severity| move |mode: &ModeStatus| mode.state() == State::Open && mode.severity() == severity;
    let mode = mode_until(&clients, "AN-09", PATIENCE, open(Severity::P3)).await?;
    assert!(mode.evidence.is_some_and(|evidence| evidence.value <= 0.25 && evidence.detail.contains("BILLING")));
    log.set_retention(&name, keep(unread * 20 / 19)).await?;
    mode_until(&clients, "AN-09", PATIENCE, open(Severity::P2)).await?;
    log.set_retention(&name, keep(unread / 2)).await?;
    let first = log.bounds(&name).await?.first;
    assert!(first > 101, "{first}");

    // A reader may hold records that were still there when it read ahead: those are not lost, so another process reads on.
    world.ingest.stop(PATIENCE).await?;
    world.ingest.restart()?;
    world.ingest.ready().await?;
    let resume = ResumeStreamRequest { stream: "BILLING".to_owned(), through_sequence: 0 };
    assert!(clients.clone().streams.resume(resume).await?.into_inner().resumed);
    let mode = mode_until(&clients, "AN-09", PATIENCE, open(Severity::P1)).await?;
    let lost = first - 101;
    assert!(mode.evidence.is_some_and(|evidence| evidence.detail == format!("BILLING: {lost} records lost")));
    world.drained().await?;
    assert_eq!(questions::counters(&mut clients.clone(), "BILLING").await?, [300, 200 - lost, 0, 100, lost]);
    let usage = questions::usage(&mut world.query.query()?, "acme", now()).await?;
    assert_eq!(usage.completeness.context("completeness")?.lost, lost, "the answer says what it may miss");
    mode_until(&clients, "AN-09", PATIENCE, |mode| mode.state() == State::Ok).await?;
    Ok(())
}

#[tokio::test]
async fn retention_that_comes_near_unread_records_opens_an_09_on_embedded_backends() -> Result<()> {
    retention_that_comes_near_unread_records_opens_an_09(Backends::Embedded).await
}

#[tokio::test]
async fn retention_that_comes_near_unread_records_opens_an_09_on_nats_and_postgres() -> Result<()> {
    retention_that_comes_near_unread_records_opens_an_09(REAL).await
}

/// A log's clock that is behind.
struct Behind(Duration);

impl Clock for Behind {
    fn now(&self) -> Timestamp {
        SystemClock.now().minus(self.0)
    }
}

/// The stream goes on, and the last record of what waited is counted.
async fn read_on(world: &World) -> Result<()> {
    let clients = world.ingest.ingest()?;
    let resume = ResumeStreamRequest { stream: "BILLING".to_owned(), through_sequence: 0 };
    assert!(clients.clone().streams.resume(resume).await?.into_inner().resumed);
    mode_until(&clients, "AN-02", PATIENCE, |mode| mode.state() == State::Ok).await?;
    ports::wait_until("usage of what waited", PATIENCE, || async {
        let usage = questions::usage(&mut world.query.query()?, "acme", now()).await?;
        Ok(if sums(&usage)[0] == 1 { Ready::Yes } else { Ready::No(format!("{usage:?}")) })
    })
    .await
}

/// The clock of a server is not ours to set; the limit of what is too old is.
#[tokio::test]
async fn records_of_nats_that_nobody_reads_open_an_02_past_its_limit_until_they_are_read() -> Result<()> {
    let world = World::start_with(REAL, &[("ingest.lag_limit", "2s")]).await?;
    world.drained().await?;
    let clients = world.ingest.ingest()?;
    mode_until(&clients, "AN-02", PATIENCE, |mode| mode.state() == State::Ok).await?;
    append(&world, "BILLING", "acme", noise().chain([payload(billing("acme", "waiting", now()))]).collect()).await?;
    stopped(&clients).await?;
    for (severity, seconds) in [(Severity::P3, 2.0), (Severity::P2, 8.0)] {
        let open = |mode: &ModeStatus| mode.state() == State::Open && mode.severity() == severity;
        let open = mode_until(&clients, "AN-02", PATIENCE, open).await?;
        let evidence = open.evidence.context("evidence")?;
        assert!(evidence.value > seconds && evidence.threshold == 2.0 && evidence.detail.contains("BILLING"), "{evidence:?}");
    }
    read_on(&world).await
}

/// The embedded log takes a clock: there a record can be old at once.
#[tokio::test]
async fn records_that_wait_for_minutes_open_an_02_until_they_are_read() -> Result<()> {
    for (behind, severity) in [(Duration::from_secs(600), Severity::P3), (Duration::from_secs(1_500), Severity::P2)] {
        let world = World::start(Backends::Embedded).await?;
        world.drained().await?;
        let clients = world.ingest.ingest()?;
        let path = world.log.strip_prefix("sqlite:").context("an embedded log")?;
        let log = Embedded::open_with(path, Arc::new(Behind(behind))).await?;
        let event = payload(billing("acme", "waiting", now().minus(behind)));
        let record = |payload| NewRecord { key: "acme".to_owned(), payload, traceparent: None };
        log.append(&StreamName::new("BILLING")?, noise().chain([event]).map(record).collect()).await?;
        stopped(&clients).await?;
        let open = mode_until(&clients, "AN-02", PATIENCE, |mode| mode.state() == State::Open).await?;
        assert_eq!(open.severity(), severity, "{open:?}");
        assert!(open.evidence.is_some_and(|evidence| evidence.value >= behind.as_secs_f64() && evidence.threshold == 300.0));
        read_on(&world).await?;
    }
    Ok(())
}
