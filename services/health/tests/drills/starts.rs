//! When a drill begins, when it does not, how it is stopped, and what is known of it after a restart.

use super::{
    bench::{MODE, alice, bob, person, seconds},
    stage::Stage,
};
use loadline_proto::health::drill_run::Verdict;
use loadline_runtime::identity::Role;
use std::sync::atomic::Ordering::SeqCst;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn whoever_may_not_and_whatever_is_not_to_be_is_refused() {
    let stage = Stage::new().await;
    let reader = person("reader", Role::Service);
    assert_eq!(stage.drills.start(&reader, MODE, false).await.unwrap_err().reason(), "ACCESS_DENIED");
    assert_eq!(stage.drills.start(&alice(), "AN-99", false).await.unwrap_err().reason(), "NOT_FOUND");
    stage.bench.audit.is_down.store(true, SeqCst);
    assert_eq!(stage.start(false).await.unwrap_err().reason(), "AUDIT_UNAVAILABLE");
    stage.bench.audit.is_down.store(false, SeqCst);
    stage.bench.leases.steal("drill");
    assert_eq!(stage.start(false).await.unwrap_err().reason(), "DRILL_RUNNING");
    assert_eq!(stage.act.injected.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn one_drill_at_a_time() {
    let stage = Stage::new().await;
    stage.start(false).await.unwrap();
    assert_eq!(stage.start(true).await.unwrap_err().reason(), "DRILL_RUNNING");
    let listed = stage.drills.list();
    assert!(listed[0].unavailable.contains("under way"), "{}", listed[0].unavailable);
    assert_eq!(stage.ended().await.verdict(), Verdict::Passed);
    sleep(seconds(30)).await;
    stage.start(false).await.unwrap();
    assert_eq!(stage.ended().await.verdict(), Verdict::Passed, "the lease was given up");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_under_way_at_the_end_does_not_keep_the_lease() {
    let stage = Stage::new().await;
    *stage.bench.leases.slow.lock().unwrap() = seconds(4);
    // Renewed after 5 s, for 4 s; proving ends within them.
    *stage.act.bad_after.lock().unwrap() = seconds(4);
    stage.act.is_uncontained.store(true, SeqCst);
    stage.start(false).await.unwrap();
    assert_eq!(stage.ended().await.verdict(), Verdict::Uncontained);
    sleep(seconds(1)).await;
    assert_eq!(stage.bench.leases.holder("drill"), None);
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_a_drill_is_named_and_its_fault_is_gone() {
    let stage = Stage::new().await;
    stage.bench.toy.steps.store(100, SeqCst);
    let id = stage.start(false).await.unwrap().id;
    sleep(seconds(8)).await;
    assert!(stage.bench.toy.bad.load(SeqCst));
    stage.drills.stop(&bob(), &id).await.unwrap();
    let run = stage.ended().await;
    assert_eq!((run.verdict(), run.detail.as_str()), (Verdict::Aborted, "stopped by bob"));
    assert!(!stage.bench.toy.bad.load(SeqCst));
    sleep(seconds(1)).await;
    assert_eq!(stage.drills.stop(&bob(), &id).await.unwrap_err().reason(), "NOT_RUNNING");
    assert_eq!(stage.drills.stop(&bob(), "another").await.unwrap_err().reason(), "NOT_FOUND");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_takes_the_fault_with_it() {
    let stage = Stage::new().await;
    stage.bench.toy.steps.store(100, SeqCst);
    stage.start(false).await.unwrap();
    sleep(seconds(8)).await;
    stage.drills.shut_down().await;
    assert!(!stage.bench.toy.bad.load(SeqCst));
    assert_eq!(stage.kept.0.lock().unwrap().last().unwrap().verdict(), Verdict::Aborted);
    assert_eq!(stage.start(false).await.unwrap_err().reason(), "SHUTTING_DOWN");
}

#[tokio::test(start_paused = true)]
async fn another_process_that_takes_the_lease_over_ends_the_drill() {
    let stage = Stage::new().await;
    stage.bench.toy.steps.store(100, SeqCst);
    stage.start(false).await.unwrap();
    sleep(seconds(5)).await;
    stage.bench.leases.steal("drill");
    let run = stage.ended().await;
    assert_eq!(run.verdict(), Verdict::Aborted, "{}", run.detail);
    assert!(run.detail.contains("taken over"), "{}", run.detail);
}

#[tokio::test(start_paused = true)]
async fn what_was_proven_is_known_after_a_restart() {
    let stage = Stage::new().await;
    stage.start(false).await.unwrap();
    let proof = stage.ended().await;
    stage.start(true).await.ok();
    let kept = stage.kept.clone();
    drop(stage);
    let again = Stage::with(kept).await;
    assert_eq!(again.drills.list()[0].last, Some(proof.clone()));
    assert_eq!(again.shown().await, proof);
}
