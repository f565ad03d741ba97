//! The failure modes the service reports.

use crate::{
    outage::closed_port,
    world::{HOUR, Published as _, World, bill, noon, receipt},
};
use loadline_health::Monitor;
use loadline_proto::{
    event::DeliveryStatus,
    health::{ModeStatus, Severity, State},
};
use loadline_query::{Query, detect::DETECTS};
use loadline_runtime::Shutdown;
use loadline_store::Options;
use std::time::Duration;

/// The status of a mode once it is in that state; the test runner's own limit ends a wait for nothing.
async fn reaches(monitor: &Monitor, id: &str, state: State) -> ModeStatus {
    loop {
        let status = monitor.statuses().into_iter().find(|status| status.id == id).unwrap();
        if status.state() == state {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn detecting(query: Query) -> Monitor {
    let monitor = Monitor::new("query", "test", DETECTS).unwrap();
    let reports = monitor.clone();
    tokio::spawn(async move { query.detect(&reports).await.unwrap() });
    monitor
}

#[tokio::test]
async fn a_healthy_store_is_ok_and_an_hour_with_too_many_receipts_is_not() {
    let world = World::new().await;
    let ten = noon().minus(HOUR * 2);
    world
        .count([
            bill("1", ten).event(),
            receipt("m1", ten, DeliveryStatus::Delivered).event(),
            receipt("m2", ten, DeliveryStatus::Failed).event(),
        ])
        .await;
    let shutdown = Shutdown::new();
    let monitor = detecting(Query::new(world.parts(&shutdown)));
    reaches(&monitor, "AN-01", State::Ok).await;
    let suspected = reaches(&monitor, "AN-08", State::Open).await;
    assert_eq!(suspected.evidence.unwrap().value, 1.0);
    shutdown.begin();
}

/// They come by different streams, one of which may be held up for a moment.
#[tokio::test]
async fn a_receipt_that_is_counted_before_its_message_is_no_anomaly() {
    let world = World::new().await;
    let ten = noon().minus(HOUR * 2);
    world.count([receipt("m1", ten, DeliveryStatus::Delivered).event()]).await;
    assert_eq!(world.store.overdelivered(ten.hour()).await.unwrap(), 1);
    let shutdown = Shutdown::new();
    let monitor = detecting(Query::new(world.parts(&shutdown)));
    reaches(&monitor, "AN-01", State::Ok).await;
    world.count([bill("1", ten).event()]).await;
    let unknown = |monitor: &Monitor| monitor.status("AN-08").unwrap().state() == State::Unknown;
    while unknown(&monitor) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(monitor.status("AN-08").unwrap().state(), State::Ok);
    shutdown.begin();
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_a_full_outage() {
    let world = World::new().await;
    let shutdown = Shutdown::new();
    let mut parts = world.parts(&shutdown);
    let nowhere = format!("postgres://nobody@{}/nothing", closed_port().await);
    parts.store = loadline_store::open(&nowhere, Options::default()).await.unwrap();
    let monitor = detecting(Query::new(parts));
    let status = reaches(&monitor, "AN-01", State::Open).await;
    assert_eq!(status.severity(), Severity::P1);
    shutdown.begin();
}
