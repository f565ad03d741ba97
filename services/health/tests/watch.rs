//! `FailureModeService` over a real socket: what a console relies on.

#![allow(clippy::unwrap_used)] // a test may panic, its helpers too

mod server;

use futures::StreamExt as _;
use loadline_health::{Monitor, Reading, Severity, failure_modes};
use loadline_proto::health::{
    Caller, Frame, ListCatalogueRequest, ModeStatus, ResumePoint, Severity as WireSeverity, State, WatchRequest,
    failure_mode_service_client::FailureModeServiceClient, failure_mode_service_server::FailureModeService as _, frame::Body,
};
use loadline_runtime::identity::{Identity, Role};
use server::Server;
use std::{collections::HashMap, time::Duration};
use tokio::time::timeout;
use tonic::{Code, Request, Streaming, transport::Channel};

type Client = FailureModeServiceClient<Channel>;

const DETECTS: &[&str] = &["AN-01", "AN-02", "AN-03", "AN-05", "AN-08", "AN-09"];
/// Only so that a broken stream fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    monitor: Monitor,
    client: Client,
    _server: Server,
}

async fn scene() -> Scene {
    let monitor = Monitor::new("ingest", "test-build", DETECTS).unwrap();
    let server = Server::start(|routes| routes.add_service(failure_modes::server(monitor.clone()))).await;
    // The smallest window, so that a watcher that does not read is felt at once.
    let endpoint = server.endpoint().initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let client = Client::new(endpoint.connect().await.unwrap());
    Scene { monitor, client, _server: server }
}

impl Scene {
    async fn watch(&mut self, resume: Option<ResumePoint>) -> Streaming<Frame> {
        self.client.watch(WatchRequest { resume }).await.unwrap().into_inner()
    }
}

async fn next(frames: &mut Streaming<Frame>) -> Frame {
    timeout(PATIENCE, frames.message()).await.expect("a frame").unwrap().expect("an open stream")
}

fn modes(frame: &Frame) -> HashMap<String, ModeStatus> {
    let modes = match frame.body.as_ref().unwrap() {
        Body::Snapshot(snapshot) => &snapshot.modes,
        Body::Delta(delta) => &delta.modes,
        Body::Heartbeat(_) => return HashMap::new(),
    };
    modes.iter().map(|mode| (mode.id.clone(), mode.clone())).collect()
}

fn is_snapshot(frame: &Frame) -> bool {
    matches!(frame.body, Some(Body::Snapshot(_)))
}

fn point(frame: &Frame) -> Option<ResumePoint> {
    Some(ResumePoint { boot_id: frame.boot_id.clone(), seq: frame.seq })
}

/// Reads frames until one holds a mode in this state; none may be missing on the way.
async fn until(frames: &mut Streaming<Frame>, mut seq: u64, id: &str, state: State) -> (Frame, ModeStatus) {
    let found = async {
        loop {
            let frame = next(frames).await;
            assert_eq!(frame.seq, seq + 1, "a frame is missing");
            seq = frame.seq;
            if let Some(status) = modes(&frame).remove(id).filter(|status| status.state() == state) {
                break (frame, status);
            }
        }
    };
    timeout(PATIENCE, found).await.expect("the state, sooner or later")
}

#[tokio::test]
async fn the_catalogue_is_listed_whole() {
    let mut scene = scene().await;
    let listed = scene.client.list_catalogue(ListCatalogueRequest {}).await.unwrap().into_inner().failure_modes;
    assert_eq!(listed.len(), 25);
    assert_eq!(listed.iter().filter(|mode| mode.planned).count(), 6);
    let retention = listed.iter().find(|mode| mode.id == "AN-09").unwrap();
    assert_eq!(retention.base_severity(), WireSeverity::P3);
    assert_eq!(retention.raises.iter().map(|rule| rule.severity()).collect::<Vec<_>>(), [WireSeverity::P2, WireSeverity::P1]);
    assert_eq!(retention.alert, "AnlytRetentionHeadroom, AnlytEventsLost");
}

#[tokio::test]
async fn the_first_frame_is_a_snapshot_in_which_nothing_is_ok_without_a_reading() {
    let mut scene = scene().await;
    scene.monitor.observe("AN-02", Reading::good(1.0, "BILLING"));
    let frame = next(&mut scene.watch(None).await).await;
    assert!(is_snapshot(&frame) && 0 < frame.seq);
    assert_eq!((frame.service.as_str(), frame.build.as_str()), ("ingest", "test-build"));
    assert_eq!(frame.boot_id, scene.monitor.boot_id());
    let modes = modes(&frame);
    assert_eq!(
        modes.len(),
        16,
        "AN-04, AN-06, AN-07, AN-10, PR-07, PR-08, PR-10, PR-11 and PR-12 are for other services to speak of"
    );
    for (id, mode) in modes {
        let expected = match id.as_str() {
            "AN-02" => State::Ok,
            "AN-01" | "AN-03" | "AN-05" | "AN-08" | "AN-09" | "PR-09" | "PR-13" | "PR-14" | "PR-15" => State::Unknown,
            _ => State::Planned,
        };
        assert_eq!(mode.state(), expected, "{id}");
    }
}

#[tokio::test]
async fn a_mode_that_a_service_owns_but_does_not_detect_is_unknown_and_one_of_another_service_is_left_to_it() {
    let monitor = Monitor::new("query", "test-build", &["AN-01"]).unwrap();
    let states: HashMap<String, State> = monitor.statuses().into_iter().map(|mode| (mode.id.clone(), mode.state())).collect();
    assert_eq!(states.get("AN-08"), Some(&State::Unknown));
    assert_eq!(states.get("AN-02"), None);
    assert_eq!(states.get("AN-10"), Some(&State::Unknown));
    assert_eq!(states.get("PR-03"), Some(&State::Planned));
    assert_eq!(states.get("PR-15"), Some(&State::Unknown));
}

#[tokio::test]
async fn an_idle_stream_beats_and_its_numbers_have_no_gap() {
    let mut scene = scene().await;
    let mut frames = scene.watch(None).await;
    let first = next(&mut frames).await;
    for seq in 1..=4 {
        let frame = next(&mut frames).await;
        assert_eq!(frame.seq, first.seq + seq);
        assert!(matches!(frame.body, Some(Body::Heartbeat(_))));
    }
}

#[tokio::test]
async fn every_frame_says_of_which_installation_it_is_and_that_times_are_shortened() {
    let mut scene = scene().await;
    let plain = next(&mut scene.watch(None).await).await;
    assert_eq!((plain.installation.as_str(), plain.times_at_most), ("", None), "as in production, until it is told otherwise");
    scene.monitor.belongs_to("prod-eu1");
    scene.monitor.wait_at_most(Duration::from_secs(3));
    let mut frames = scene.watch(None).await;
    for is_first in [true, false] {
        let frame = next(&mut frames).await;
        assert_eq!(is_snapshot(&frame), is_first);
        assert_eq!((frame.installation.as_str(), frame.times_at_most.unwrap().seconds), ("prod-eu1", 3));
    }
}

#[tokio::test]
async fn a_change_is_a_delta_and_only_of_what_changed() {
    let mut scene = scene().await;
    let mut frames = scene.watch(None).await;
    let first = next(&mut frames).await;
    let reading = Reading::bad(0.05, "BILLING").raised(Severity::P1).losing_in(Duration::from_secs(60));
    scene.monitor.observe("AN-09", reading);
    let (frame, status) = until(&mut frames, first.seq, "AN-09", State::Open).await;
    assert_eq!(modes(&frame).len(), 1);
    assert_eq!(status.severity(), WireSeverity::P1);
    assert_eq!(status.rule, "P1 when unread records were discarded");
    assert_eq!(status.time_to_loss.unwrap().seconds, 60);
    let evidence = status.evidence.unwrap();
    assert_eq!((evidence.value, evidence.threshold, evidence.unit.as_str()), (0.05, 0.25, "of the retention"));
    assert_eq!((evidence.detail.as_str(), evidence.history), ("BILLING", vec![0.05]));
}

#[tokio::test]
async fn new_evidence_without_a_change_of_state_arrives_too() {
    let mut scene = scene().await;
    scene.monitor.observe("AN-02", Reading::good(1.0, ""));
    let mut frames = scene.watch(None).await;
    next(&mut frames).await;
    scene.monitor.observe("AN-02", Reading::good(42.0, ""));
    let arrived = async {
        loop {
            let evidence = modes(&next(&mut frames).await).remove("AN-02").and_then(|mode| mode.evidence);
            if let Some(evidence) = evidence.filter(|evidence| evidence.value == 42.0) {
                break evidence.history;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, arrived).await.expect("the evidence, sooner or later"), [1.0, 42.0]);
}

#[tokio::test]
async fn a_watcher_resumes_without_a_snapshot_and_misses_nothing() {
    let mut scene = scene().await;
    let mut frames = scene.watch(None).await;
    let seen = next(&mut frames).await;
    drop(frames);
    scene.monitor.observe("AN-09", Reading::bad(0.2, "BILLING"));
    scene.monitor.observe("AN-03", Reading::bad(1.0, "one record"));
    let mut frames = scene.watch(point(&seen)).await;
    let (last, _) = until(&mut frames, seen.seq, "AN-09", State::Open).await;
    until(&mut frames, last.seq, "AN-03", State::Open).await;
}

#[tokio::test]
async fn what_cannot_be_resumed_starts_with_a_snapshot() {
    let mut scene = scene().await;
    let boot_id = scene.monitor.boot_id();
    let foreign = ResumePoint { boot_id: "4f7c2a52-0000-4000-8000-000000000000".to_owned(), seq: 1 };
    let future = ResumePoint { boot_id: boot_id.clone(), seq: 1_000_000 };
    let zero = ResumePoint { boot_id, seq: 0 };
    for resume in [foreign, future, zero, ResumePoint::default()] {
        let frame = next(&mut scene.watch(Some(resume.clone())).await).await;
        assert!(is_snapshot(&frame), "{resume:?}");
        assert_eq!(frame.boot_id, scene.monitor.boot_id());
    }
}

#[tokio::test]
async fn a_watcher_gone_for_too_long_gets_a_snapshot() {
    let mut scene = scene().await;
    let seen = next(&mut scene.watch(None).await).await;
    flap(&scene.monitor, 1_000);
    let frame = next(&mut scene.watch(point(&seen)).await).await;
    assert!(is_snapshot(&frame));
    assert_eq!(modes(&frame)["AN-09"].evidence.as_ref().unwrap().value, 999.0);
}

/// Changes the severity of AN-09 so many times, each time a delta.
fn flap(monitor: &Monitor, times: u32) {
    for n in 0..times {
        let severity = if n % 2 == 0 { Severity::P1 } else { Severity::P2 };
        monitor.observe("AN-09", Reading::bad(f64::from(n), "flapping").raised(severity));
    }
}

#[tokio::test]
async fn a_slow_watcher_is_brought_back_by_a_snapshot_and_never_sees_a_silent_gap() {
    const TIMES: u32 = 5_000;
    let mut scene = scene().await;
    let mut frames = scene.watch(None).await;
    let mut last = next(&mut frames).await;
    for n in 0..TIMES {
        flap(&scene.monitor, 1);
        scene.monitor.observe("AN-09", Reading::bad(f64::from(n), "flapping").raised(Severity::P2));
        // Lets the server send what the window has room for.
        tokio::task::yield_now().await;
    }
    let mut snapshots = 0;
    // No more frames than there were changes: a watcher that is never brought up to date fails instead of going on.
    for _ in 0..4 * TIMES {
        let frame = next(&mut frames).await;
        if is_snapshot(&frame) {
            assert!(last.seq < frame.seq);
            snapshots += 1;
        } else {
            assert_eq!(frame.seq, last.seq + 1, "a gap without a snapshot");
        }
        last = frame;
        let evidence = modes(&last).remove("AN-09").and_then(|mode| mode.evidence);
        if evidence.is_some_and(|evidence| evidence.value == f64::from(TIMES - 1)) {
            break;
        }
    }
    assert!(0 < snapshots, "the watcher was never behind: the test has not tested anything");
    assert!(2 * u64::from(TIMES) <= last.seq);
}

#[tokio::test]
async fn two_watchers_see_the_same_numbers() {
    let mut scene = scene().await;
    let (mut one, mut two) = (scene.watch(None).await, scene.watch(None).await);
    let (first, second) = (next(&mut one).await, next(&mut two).await);
    scene.monitor.observe("AN-03", Reading::bad(1.0, ""));
    let (one, _) = until(&mut one, first.seq, "AN-03", State::Open).await;
    let (two, _) = until(&mut two, second.seq, "AN-03", State::Open).await;
    assert_eq!(one, two);
}

#[tokio::test]
async fn a_detector_that_falls_silent_is_unknown_on_the_stream() {
    let mut scene = scene().await;
    scene.monitor.expect_every("AN-02", Duration::from_millis(100)).unwrap();
    let mut frames = scene.watch(None).await;
    let first = next(&mut frames).await;
    scene.monitor.observe("AN-02", Reading::good(1.0, ""));
    let (frame, _) = until(&mut frames, first.seq, "AN-02", State::Ok).await;
    let (_, status) = until(&mut frames, frame.seq, "AN-02", State::Unknown).await;
    assert_eq!(status.rule, "no reading for 300ms; it was Ok before");
}

#[tokio::test]
async fn closing_ends_every_watch_with_unavailable() {
    let mut scene = scene().await;
    let mut frames = scene.watch(None).await;
    next(&mut frames).await;
    scene.monitor.close();
    let status = loop {
        match timeout(PATIENCE, frames.message()).await.expect("an end") {
            Ok(frame) => assert!(frame.is_some(), "ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn each_watcher_is_told_whom_it_is_taken_for() {
    let service = failure_modes::service(Monitor::new("ingest", "test-build", DETECTS).unwrap());
    for (name, role) in [("ana", Role::Operator), ("billing", Role::Service)] {
        let mut request = Request::new(WatchRequest::default());
        request.extensions_mut().insert(Identity { name: name.to_owned(), role, accounts: Vec::new() });
        let first = service.watch(request).await.unwrap().into_inner().next().await.unwrap().unwrap();
        let Some(Body::Snapshot(snapshot)) = first.body else { panic!("no snapshot first: {first:?}") };
        assert_eq!(snapshot.caller, Some(Caller { name: name.to_owned(), role: role.name().to_owned() }));
    }
}
