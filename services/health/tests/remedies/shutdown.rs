//! The process ends while a remedy is under way.

use crate::bench::{Bench, seconds};
use loadline_proto::health::remedy_run::Outcome;
use std::sync::atomic::Ordering::SeqCst;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_run_stops_between_two_steps_and_is_written_down_before_the_process_ends() {
    let bench = Bench::new().await;
    bench.toy.steps.store(100, SeqCst);
    let run = bench.begun().await;
    sleep(seconds(3)).await;
    let since = Instant::now();
    bench.desk.stop().await;
    assert!(since.elapsed() < seconds(3));
    let last = bench.audit.last();
    assert_eq!((last.action.as_str(), last.outcome), ("remedy.finish", format!("ABORTED {}", run.id)));
    assert!(last.reason.contains("shutting down"), "{}", last.reason);
    let ended = bench.run(&run.id).await;
    assert_eq!((ended.outcome(), ended.actual[0].count < 6), (Outcome::Aborted, true));
    assert_eq!(bench.leases.holder("remedy K BILLING"), None, "the successor does not have to wait");
}

#[tokio::test(start_paused = true)]
async fn what_was_executed_and_not_yet_verified_stays_unverified() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verifying).await;
    bench.desk.stop().await;
    let ended = bench.run(&run.id).await;
    assert_eq!(ended.outcome(), Outcome::ExecutedUnverified);
    assert!(ended.note.contains("shutting down"), "{}", ended.note);
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_any_more() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    bench.desk.stop().await;
    assert_eq!(bench.execute(&plan).await.unwrap_err().reason(), "SHUTTING_DOWN");
    assert_eq!(bench.plan_of(&crate::bench::alice(), "K", "").await.unwrap_err().reason(), "SHUTTING_DOWN");
    assert_eq!(bench.executions(), 0);
}
