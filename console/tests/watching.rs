//! The console and services over gRPC: it connects, resumes, asks for a snapshot after a gap, and comes back.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "fixture/mod.rs"]
mod fixture;
#[path = "fixture/server.rs"]
mod server;

use fixture::{catalogue, delta, frame, heartbeat, snapshot, status, target, well};
use loadline_console::{
    action::KeyMap,
    clock::Clock,
    connection::Connections,
    headless::Headless,
    model::{Model, endpoint::Link, standing::Knowledge, world::Target},
    plain::{self, Plain, Verdict},
};
use loadline_proto::health::{ResumePoint, Severity as Wire, State as WireState};
use server::Fake;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn headless(targets: &[Target]) -> Headless {
    let clock = Clock::system();
    let addresses: Vec<String> = targets.iter().map(|target| target.address.clone()).collect();
    let (connections, inputs) = Connections::start(&addresses, clock);
    Headless { model: Model::new(targets, KeyMap::default(), clock.now()), connections, inputs, clock }
}

async fn until(headless: &mut Headless, what: &str, done: impl Fn(&Headless) -> bool) {
    let end = tokio::time::Instant::now() + LONG;
    while !done(headless) {
        assert!(tokio::time::Instant::now() < end, "never: {what}; {}", plain::report(&headless.model));
        headless.listen(Duration::from_millis(20)).await;
    }
}

fn query(modes: Vec<loadline_proto::health::ModeStatus>) -> Vec<loadline_proto::health::Frame> {
    vec![frame("query", 1, snapshot(modes))]
}

fn live(headless: &Headless) -> usize {
    headless.model.world.known(Knowledge::Live)
}

#[tokio::test]
async fn it_watches_a_service_and_comes_back_where_it_was() {
    let fake = Fake::start(vec![query(well("query"))]).await;
    let address = fake.address;
    let mut headless = headless(&[target("query", &address.to_string())]);
    until(&mut headless, "live", |headless| live(headless) == 1).await;
    fake.send(&frame("query", 2, heartbeat()));
    until(&mut headless, "seq 2", |headless| headless.model.world.endpoints[0].position.as_ref().unwrap().1 == 2).await;
    fake.kill().await;
    until(&mut headless, "down", |headless| matches!(headless.model.world.endpoints[0].link, Link::Down { .. })).await;
    assert_eq!(live(&headless), 0, "a broken connection is not live");
    let fake = Fake::at(address, vec![vec![frame("query", 3, heartbeat())]]).await;
    until(&mut headless, "live again", |headless| live(headless) == 1).await;
    assert_eq!(fake.resumes(), [Some(ResumePoint { boot_id: "boot of query".to_owned(), seq: 2 })]);
    assert_eq!(headless.model.world.endpoints[0].gaps, 0);
}

#[tokio::test]
async fn after_a_gap_it_watches_anew_from_a_snapshot() {
    let gapped = vec![frame("query", 1, snapshot(well("query"))), frame("query", 3, heartbeat())];
    let whole = vec![frame("query", 3, snapshot(vec![status("AN-06", WireState::Open, Wire::P2)]))];
    let fake = Fake::start(vec![gapped, whole]).await;
    let mut headless = headless(&[target("query", &fake.address.to_string())]);
    until(&mut headless, "open", |headless| Verdict::of(&headless.model) == Verdict::Critical && live(headless) == 1).await;
    assert_eq!(fake.resumes(), [None, None]);
    assert_eq!(headless.model.world.endpoints[0].gaps, 1);
}

#[tokio::test]
async fn a_new_boot_of_the_service_starts_over() {
    let fake = Fake::start(vec![query(well("query"))]).await;
    let mut headless = headless(&[target("query", &fake.address.to_string())]);
    until(&mut headless, "live", |headless| live(headless) == 1).await;
    let mut reborn = frame("query", 1, snapshot(vec![status("AN-06", WireState::Unknown, Wire::P2)]));
    reborn.boot_id = "another".to_owned();
    fake.send(&reborn);
    until(&mut headless, "reborn", |headless| headless.model.world.endpoints[0].position.as_ref().unwrap().0 == "another").await;
    assert_eq!(headless.model.world.endpoints[0].modes.len(), 1, "nothing of the boot before is left");
}

#[tokio::test]
async fn a_snapshot_of_five_megabytes_arrives() {
    let modes = (0..25_000).map(|number| {
        let mut status = status(&format!("XX-{number}"), WireState::Ok, Wire::P3);
        status.rule = "x".repeat(100);
        status
    });
    let fake = Fake::start(vec![query(modes.collect())]).await;
    let mut headless = headless(&[target("query", &fake.address.to_string())]);
    until(&mut headless, "all modes", |headless| headless.model.world.endpoints[0].modes.len() == 25_000).await;
}

#[tokio::test]
async fn nothing_listening_is_said_with_a_countdown_and_tried_again() {
    let gone = Fake::start(vec![]).await;
    let address = gone.address;
    gone.kill().await;
    let mut headless = headless(&[target("query", &address.to_string())]);
    until(&mut headless, "refused", |headless| match &headless.model.world.endpoints[0].link {
        Link::Down { error, retry_at } => error.contains("refused") && *retry_at > headless.model.now.elapsed,
        _ => false,
    })
    .await;
    let fake = Fake::at(address, vec![query(well("query"))]).await;
    until(&mut headless, "live", |headless| live(headless) == 1).await;
    drop(fake);
}

#[tokio::test]
async fn a_check_says_by_its_code_how_bad_it_is_and_how_sure() {
    let well_query = || well("query");
    let with = |change| well_query().into_iter().filter(|status| status.id != "AN-06").chain([change]).collect();
    let cases = [
        (with(status("AN-06", WireState::Open, Wire::P2)), Verdict::Critical, 2),
        (with(status("AN-06", WireState::Open, Wire::P3)), Verdict::Unknown, 3),
        (well_query(), Verdict::Unknown, 3),
    ];
    for (modes, verdict, code) in cases {
        let fake = Fake::start(vec![query(modes)]).await;
        let mut headless = headless(&[target("query", &fake.address.to_string())]);
        headless.gather(LONG).await;
        let found = Verdict::of(&headless.model);
        assert_eq!((found, found.code()), (verdict, code), "ingest and rollup own modes too, and are not seen");
        assert_eq!(plain::json(&headless.model)["code"], code);
    }
}

#[tokio::test]
async fn all_services_well_is_code_0_and_a_p3_is_code_1() {
    let services = ["ingest", "query", "rollup"];
    for (trouble, verdict) in
        [(None, Verdict::Ok), (Some(WireState::Suspect), Verdict::Warning), (Some(WireState::Open), Verdict::Warning)]
    {
        let (mut fakes, mut targets) = (Vec::new(), Vec::new());
        for service in services {
            let mut frames = vec![frame(service, 1, snapshot(well(service)))];
            if let Some(state) = trouble.filter(|_| service == "rollup") {
                frames.push(frame(service, 2, delta(vec![status("AN-04", state, Wire::P3)])));
            }
            let fake = Fake::start(vec![frames]).await;
            targets.push(target(service, &fake.address.to_string()));
            fakes.push(fake);
        }
        let mut headless = headless(&targets);
        until(&mut headless, verdict.name(), |headless| {
            !headless.model.world.catalogue.is_empty() && Verdict::of(&headless.model) == verdict
        })
        .await;
        let text = plain::prometheus(&headless.model);
        assert!(
            text.contains(&format!("loadline_check_code {}\n", verdict.code()))
                && text.contains("loadline_check_seen{service=\"query\""),
            "{text}"
        );
    }
}

#[tokio::test]
async fn plain_lines_tell_what_happens_once_and_in_order() {
    let fake = Fake::start(vec![query(well("query"))]).await;
    let mut headless = headless(&[target("query", &fake.address.to_string())]);
    headless.gather(LONG).await;
    let mut plain = Plain::default();
    let first = plain.lines(&headless.model);
    assert!(first.last().unwrap().contains("STATUS worst=none"), "{first:?}");
    fake.send(&frame("query", 2, delta(vec![status("AN-06", WireState::Open, Wire::P2)])));
    until(&mut headless, "open", |headless| headless.model.world.board.worst().is_some()).await;
    let lines = plain.lines(&headless.model);
    assert!(lines[0].ends_with("AN-06 opened P2 118>100 records (query)") && lines[1].contains("STATUS worst=P2"), "{lines:?}");
    assert_eq!(plain.lines(&headless.model), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_catalogue_says_arrives_once_for_all_services() {
    let fake = Fake::start(vec![query(well("query"))]).await;
    let mut headless = headless(&[target("query", &fake.address.to_string())]);
    until(&mut headless, "catalogue", |headless| !headless.model.world.catalogue.is_empty()).await;
    assert_eq!(headless.model.world.catalogue.len(), catalogue().failure_modes.len());
}

#[tokio::test]
async fn a_process_that_dies_is_a_mode_of_its_own_in_every_form() {
    let fakes = [Fake::start(vec![query(well("query"))]).await, Fake::start(vec![query(well("query"))]).await];
    let targets = fakes.each_ref().map(|fake| target("query", &fake.address.to_string()));
    let mut headless = headless(&targets);
    until(&mut headless, "live", |headless| live(headless) == 2).await;
    let mut plain = Plain::default();
    plain.lines(&headless.model);
    let [first, second] = fakes;
    first.kill().await;
    let told = |headless: &Headless, severity: &str| {
        plain::report(&headless.model).contains(&format!("{severity} PR-09 Service process crashed: OPEN"))
    };
    until(&mut headless, "P2", |headless| told(headless, "P2")).await;
    assert!(plain::json(&headless.model)["modes"].to_string().contains("query: "), "what was found is in JSON too");
    second.kill().await;
    until(&mut headless, "P1", |headless| told(headless, "P1")).await;
    assert_eq!(Verdict::of(&headless.model), Verdict::Critical);
    let lines = plain.lines(&headless.model);
    assert!(lines.iter().any(|line| line.contains("PR-09 opened P2")), "{lines:?}");
    let text = loadline_console::headless::frame(&headless.model, 120, 40);
    assert!(text.contains("P1 FULL OUTAGE  PR-09 Service process crashed"), "{text}");
}
