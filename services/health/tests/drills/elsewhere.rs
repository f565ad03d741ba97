//! What services that share a store know of each other: one drill over all of them, and what is really wrong in any.

use super::{bench::seconds, stage::Stage};
use loadline_health::{Reading, Severity};
use loadline_proto::health::drill_run::Verdict;
use std::{sync::atomic::Ordering::SeqCst, time::Duration};
use tokio::time::sleep;

const TOLD_BY_QUERY: &str = "incident AN-06 of query";
const TOLD_HERE: &str = "incident AN-02 of ingest";

fn far_behind() -> Reading {
    Reading::bad(2_000.0, "BILLING is far behind").raised(Severity::P2)
}

#[tokio::test(start_paused = true)]
async fn no_drill_begins_while_another_service_tells_of_an_incident() {
    let stage = Stage::new().await;
    stage.bench.leases.steal(TOLD_BY_QUERY);
    let refused = stage.start(false).await.unwrap_err();
    assert_eq!(refused.reason(), "REAL_INCIDENT");
    assert!(refused.to_string().contains("AN-06 of query"), "{refused}");
    assert_eq!(stage.start(true).await.unwrap_err().reason(), "REAL_INCIDENT");
    stage.bench.leases.held.lock().unwrap().remove(TOLD_BY_QUERY);
    assert_eq!(stage.verdict().await.0, Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn an_incident_that_another_service_tells_of_ends_the_drill_under_way() {
    for control in [false, true] {
        let stage = Stage::new().await;
        stage.bench.toy.steps.store(100, SeqCst);
        stage.start(control).await.unwrap();
        sleep(seconds(3)).await;
        stage.bench.leases.steal(TOLD_BY_QUERY);
        let run = stage.ended().await;
        assert_eq!(run.verdict(), Verdict::Aborted, "{}", run.detail);
        assert!(run.detail.contains("AN-06 of query"), "{}", run.detail);
        assert!(!stage.bench.toy.bad.load(SeqCst), "its fault is still there");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_really_wrong_is_told_while_it_is_and_no_longer() {
    let stage = Stage::new().await;
    let told = || stage.bench.leases.holder(TOLD_HERE).is_some();
    assert!(!told());
    for _ in 0..10 {
        stage.bench.monitor.observe("AN-02", far_behind());
        sleep(seconds(2)).await;
        assert!(told(), "it is told again before its time is over");
    }
    stage.bench.monitor.observe("AN-02", Reading::bad(400.0, "BILLING is less behind"));
    sleep(seconds(1)).await;
    assert!(!told(), "P3 is no reason to stop anything");
    stage.bench.monitor.observe("AN-02", far_behind());
    sleep(seconds(1)).await;
    assert!(told());
    stage.drills.shut_down().await;
    sleep(seconds(11)).await;
    assert!(!told(), "a process that is gone is not believed for ever");
}

#[tokio::test(start_paused = true)]
async fn what_this_process_tells_is_not_another_ones_incident() {
    let stage = Stage::new().await;
    stage.start(true).await.unwrap();
    sleep(seconds(2)).await;
    stage.bench.monitor.observe("AN-02", far_behind());
    let run = stage.ended().await;
    assert_eq!(run.verdict(), Verdict::FalseAlarm, "{}", run.detail);
    // Long after it was told, and not yet taken back.
    for _ in 0..4 {
        stage.bench.monitor.observe("AN-02", far_behind());
        sleep(seconds(2)).await;
    }
    assert!(stage.bench.leases.holder(TOLD_HERE).is_some());
    let refused = stage.start(false).await.unwrap_err().to_string();
    assert!(refused.starts_with("AN-02 is open"), "by its own monitor: {refused}");
}

#[tokio::test(start_paused = true)]
async fn what_a_drill_causes_is_not_told() {
    let stage = Stage::new().await;
    stage.bench.toy.is_severe.store(true, SeqCst);
    stage.bench.toy.steps.store(3, SeqCst);
    stage.start(false).await.unwrap();
    let mut was_open = false;
    for _ in 0..200 {
        was_open |= stage.bench.monitor.open_modes().iter().any(|mode| mode.severity() == Severity::P2.into());
        assert_eq!(stage.bench.leases.holder("incident AN-03 of ingest"), None);
        sleep(Duration::from_millis(100)).await;
    }
    assert!(was_open);
    assert_eq!(stage.ended().await.verdict(), Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn a_drill_with_shortened_times_says_so() {
    let stage = Stage::new().await;
    stage.bench.monitor.wait_at_most(seconds(2));
    stage.start(false).await.unwrap();
    let run = stage.ended().await;
    assert_eq!((run.verdict(), run.times_at_most.map(|longest| longest.seconds)), (Verdict::Passed, Some(2)), "{}", run.detail);
    assert!(run.detail.contains("no time of a mode longer than 2s"), "{}", run.detail);
}
