//! A run is taken back while its horizon is open, once, and in the reverse order.

use crate::bench::{Bench, alice, person, seconds};
use loadline_health::{desk::Refusal, remedy::Effect};
use loadline_proto::health::{UndoRemedyRequest, remedy_run::Outcome};
use loadline_runtime::identity::Role;
use std::sync::atomic::Ordering::SeqCst;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_run_is_undone_in_time() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verified).await;
    sleep(seconds(280)).await;
    assert_eq!(bench.undo(&run.id).await.unwrap().outcome(), Outcome::Undoing);
    let undone = bench.until(&run.id, Outcome::RolledBack).await;
    assert_eq!((undone.note.as_str(), undone.actual[0].text.as_str()), ("undone by bob", "steps done"));
    assert_eq!(*bench.toy.undone.lock().unwrap(), [[Effect::new("steps done", 3)]]);
    assert_eq!(bench.undo(&run.id).await.unwrap_err(), Refusal::NotUndoable("it is undone".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn too_late_is_too_late_and_counted_from_the_end_of_the_work() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verifying).await;
    sleep(seconds(300)).await;
    assert_eq!(bench.undo(&run.id).await.unwrap_err().reason(), "UNDO_EXPIRED");
    assert!(bench.toy.undone.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_aborted_half_way_is_undone_as_far_as_it_came() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    sleep(seconds(1) / 2).await;
    bench.abort(&run.id).await.unwrap();
    bench.until(&run.id, Outcome::Aborted).await;
    bench.undo(&run.id).await.unwrap();
    bench.until(&run.id, Outcome::RolledBack).await;
    assert_eq!(*bench.toy.undone.lock().unwrap(), [[Effect::new("steps done", 1)]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_or_not_of_the_kind_cannot_be_undone() {
    let bench = Bench::new().await;
    assert_eq!(bench.undo("made up").await.unwrap_err().reason(), "NOT_FOUND");
    let run = bench.begun().await;
    assert_eq!(bench.undo(&run.id).await.unwrap_err().reason(), "BUSY");
    let plan = bench.plan_of(&alice(), "D", "").await.unwrap();
    let risky = bench.execute(&plan).await.unwrap();
    bench.until(&risky.id, Outcome::Verified).await;
    assert_eq!(bench.undo(&risky.id).await.unwrap_err().reason(), "NOT_UNDOABLE");
    let ask = UndoRemedyRequest { run_id: run.id.clone(), reason: String::new() };
    let refused = bench.desk.undo(&person("billing", Role::Service), ask).await.unwrap_err();
    assert_eq!(refused.reason(), "ACCESS_DENIED");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_another_built_upon_is_undone_after_it() {
    let bench = Bench::new().await;
    let first = bench.begun().await;
    bench.until(&first.id, Outcome::Verified).await;
    sleep(seconds(11)).await;
    let second = bench.begun().await;
    bench.until(&second.id, Outcome::Verified).await;
    assert_eq!(bench.undo(&first.id).await.unwrap_err(), Refusal::Superseded(second.id.clone()));
    bench.undo(&second.id).await.unwrap();
    bench.until(&second.id, Outcome::RolledBack).await;
    assert_eq!(bench.undo(&first.id).await.unwrap_err().reason(), "BUSY", "the target rests");
    sleep(seconds(11)).await;
    bench.undo(&first.id).await.unwrap();
    bench.until(&first.id, Outcome::RolledBack).await;
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_leaves_the_run_as_it_was_and_can_be_tried_again() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verified).await;
    bench.toy.undo_fails.store(true, SeqCst);
    bench.undo(&run.id).await.unwrap();
    sleep(seconds(5)).await;
    let after = bench.run(&run.id).await;
    assert_eq!(after.outcome(), Outcome::Verified);
    assert!(after.note.contains("not undone") && after.note.contains("the store did not answer"), "{}", after.note);
    bench.toy.undo_fails.store(false, SeqCst);
    bench.undo(&run.id).await.unwrap();
    bench.until(&run.id, Outcome::RolledBack).await;
}

#[tokio::test(start_paused = true)]
async fn two_undos_at_once_are_one() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verified).await;
    let (one, two) = tokio::join!(bench.undo(&run.id), bench.undo(&run.id));
    assert_eq!((one.is_ok(), two.unwrap_err().reason()), (true, "BUSY"));
    bench.until(&run.id, Outcome::RolledBack).await;
    assert_eq!(bench.toy.undone.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_cannot_be_written_down_is_refused() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verified).await;
    bench.audit.is_down.store(true, SeqCst);
    assert_eq!(bench.undo(&run.id).await.unwrap_err().reason(), "AUDIT_UNAVAILABLE");
    sleep(seconds(5)).await;
    assert!(bench.toy.undone.lock().unwrap().is_empty());
    assert_eq!(bench.run(&run.id).await.outcome(), Outcome::Verified);
}
