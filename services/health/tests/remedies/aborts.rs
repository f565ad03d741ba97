//! A run ends between two of its steps, and says how far it came.

use crate::bench::{Bench, person, seconds};
use loadline_proto::health::{AbortRemedyRequest, State, remedy_run::Outcome};
use loadline_runtime::identity::Role;
use std::sync::atomic::Ordering::SeqCst;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn an_aborted_run_stops_after_the_step_it_is_in() {
    let bench = Bench::new().await;
    bench.toy.steps.store(10, SeqCst);
    let run = bench.begun().await;
    sleep(seconds(2) + seconds(1) / 2).await;
    let told = bench.abort(&run.id).await.unwrap();
    assert_eq!((told.outcome(), told.note.as_str()), (Outcome::Running, "told to stop by bob"));
    let ended = bench.until(&run.id, Outcome::Aborted).await;
    assert_eq!((ended.actual[0].count, ended.done, ended.total, ended.note.as_str()), (3, 3, 10, "aborted by bob"));
    assert_eq!(bench.mode().state(), State::Open);
    assert!(ended.undo_until.is_some(), "what was done can be taken back");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_does_not_end_is_cut_and_said_to_be() {
    let bench = Bench::new().await;
    bench.toy.steps.store(1_000, SeqCst);
    bench.toy.ignores_stop.store(true, SeqCst);
    let run = bench.begun().await;
    sleep(seconds(2)).await;
    bench.abort(&run.id).await.unwrap();
    let ended = bench.until(&run.id, Outcome::Failed).await;
    assert!(ended.note.contains("aborted by bob") && ended.note.contains("its step was cut"), "{}", ended.note);
    let done = ended.actual[0].count;
    sleep(seconds(60)).await;
    assert_eq!(bench.run(&run.id).await.actual[0].count, done, "nothing goes on behind it");
}

#[tokio::test(start_paused = true)]
async fn verification_can_be_ended_and_what_was_done_stays_done() {
    let bench = Bench::new().await;
    bench.toy.helps.store(false, SeqCst);
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verifying).await;
    bench.abort(&run.id).await.unwrap();
    let ended = bench.until(&run.id, Outcome::ExecutedUnverified).await;
    assert!(ended.note.contains("aborted by bob"), "{}", ended.note);
    assert_eq!(ended.actual[0].count, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_under_way_cannot_be_aborted() {
    let bench = Bench::new().await;
    assert_eq!(bench.abort("made up").await.unwrap_err().reason(), "NOT_FOUND");
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verified).await;
    assert_eq!(bench.abort(&run.id).await.unwrap_err().reason(), "NOT_RUNNING");
}

#[tokio::test(start_paused = true)]
async fn a_service_aborts_nothing() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    let ask = AbortRemedyRequest { run_id: run.id.clone(), reason: String::new() };
    let refused = bench.desk.abort(&person("billing", Role::Service), ask).await.unwrap_err();
    assert_eq!(refused.reason(), "ACCESS_DENIED");
    bench.until(&run.id, Outcome::Verified).await;
}
