//! Each way in which a proof can fail, by its name.

use super::{bench::seconds, stage::Stage};
use loadline_health::{Reading, Severity, drill::Tally};
use loadline_proto::health::{State, drill_run::Verdict, remedy_run::Outcome};
use std::sync::atomic::Ordering::SeqCst;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_mode_that_is_seen_contained_repaired_and_over_is_proven() {
    let stage = Stage::new().await;
    stage.start(false).await.unwrap();
    sleep(seconds(4)).await;
    let (mode, drill) = (stage.bench.mode(), stage.shown().await);
    assert_eq!((mode.drill_id, drill.verdict()), (drill.id, Verdict::Running), "who causes it is shown");
    let run = stage.ended().await;
    assert_eq!(run.verdict(), Verdict::Passed, "{}", run.detail);
    let took = [run.detected_after, run.contained_after, run.remedied_after, run.verified_after];
    assert!(took.iter().all(Option::is_some), "{took:?}");
    assert!(run.started_at.is_some() && run.finished_at.is_some() && run.build == "test");
    let remedies = stage.bench.snapshot().await.runs;
    assert_eq!(remedies.iter().map(|run| run.outcome()).collect::<Vec<_>>(), [Outcome::Verified]);
    assert!(remedies.iter().all(|remedy| remedy.drill_id == run.id), "its remedies are known as a drill's");
    let story = stage.bench.audit.story();
    assert_eq!(story, ["drill.start RUNNING", "remedy.plan PLANNED", "remedy.execute RUNNING", "remedy.finish VERIFIED"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_injected_proves_nothing() {
    let stage = Stage::new().await;
    stage.act.inject_fails.store(true, SeqCst);
    assert_eq!(stage.verdict().await.0, Verdict::NotInjected);
    let stage = Stage::new().await;
    stage.act.is_without_effect.store(true, SeqCst);
    assert_eq!(stage.verdict().await, (Verdict::NotInjected, "no call met it".to_owned()));
    assert_eq!(stage.bench.executions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_opens_too_late_or_never_is_not_detected_in_time() {
    for (after, verdict) in [(4, Verdict::Passed), (9, Verdict::Late), (200, Verdict::Undetected)] {
        let stage = Stage::new().await;
        *stage.act.bad_after.lock().unwrap() = seconds(after);
        let (met, why) = stage.verdict().await;
        assert_eq!(met, verdict, "after {after} s: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_mode_than_the_one_caused_is_a_wrong_diagnosis() {
    let stage = Stage::new().await;
    *stage.act.bad_after.lock().unwrap() = seconds(200);
    stage.start(false).await.unwrap();
    sleep(seconds(3)).await;
    stage.bench.monitor.observe("AN-02", Reading::bad(400.0, "BILLING is behind"));
    let run = stage.ended().await;
    assert_eq!(run.verdict(), Verdict::Misdiagnosed, "{}", run.detail);
    assert!(run.detail.contains("AN-02") && run.detail.contains("BILLING is behind"), "{}", run.detail);
}

#[tokio::test(start_paused = true)]
async fn harm_that_spreads_a_key_that_does_not_help_and_rows_left_behind_have_their_verdicts() {
    let stage = Stage::new().await;
    stage.act.is_uncontained.store(true, SeqCst);
    assert_eq!(stage.verdict().await, (Verdict::Uncontained, "it spreads".to_owned()));
    let stage = Stage::new().await;
    stage.bench.toy.fails.store(true, SeqCst);
    assert_eq!(stage.verdict().await.0, Verdict::Unremediated);
    let stage = Stage::new().await;
    stage.bench.toy.helps.store(false, SeqCst);
    assert_eq!(stage.verdict().await.0, Verdict::Unverified);
    let stage = Stage::new().await;
    stage.act.leaves_something.store(true, SeqCst);
    assert_eq!(stage.verdict().await, (Verdict::Residue, "a row is left".to_owned()));
    let stage = Stage::new().await;
    stage.act.undo_fails.store(true, SeqCst);
    assert_eq!(stage.verdict().await.0, Verdict::Residue);
    assert_eq!(stage.act.undone.load(SeqCst), 3, "it is tried again");
}

#[tokio::test(start_paused = true)]
async fn a_lost_event_counts_more_than_all_that_went_well() {
    let stage = Stage::new().await;
    stage.act.lost.store(2, SeqCst);
    assert_eq!(stage.verdict().await.0, Verdict::Lossy);
    let run = stage.shown().await;
    assert_eq!((run.lost, run.duplicated), (2, 0));
    let stage = Stage::new().await;
    stage.act.duplicated.store(1, SeqCst);
    assert_eq!(stage.verdict().await.0, Verdict::Duplicated);
    let stage = Stage::new().await;
    stage.start(false).await.unwrap();
    sleep(seconds(4)).await;
    *stage.books.0.lock().unwrap() = Tally { lost: 1, duplicated: 0 };
    assert_eq!(stage.ended().await.verdict(), Verdict::Lossy, "the books of everything count too");
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_is_still_active_is_part_of_the_verdict() {
    let stage = Stage::new().await;
    stage.start(false).await.unwrap();
    sleep(seconds(4)).await;
    stage.faults.lock().unwrap().push("drill AN-03: hang of commit".to_owned());
    let run = stage.ended().await;
    assert_eq!(run.verdict(), Verdict::Residue, "{}", run.detail);
    assert!(run.detail.contains("hang of commit"), "{}", run.detail);
    assert_eq!(stage.verdict().await.0, Verdict::NotRun, "and the next one does not begin on top of it");
}

#[tokio::test(start_paused = true)]
async fn a_real_incident_ends_a_drill_and_its_remedy_at_once() {
    let stage = Stage::new().await;
    stage.bench.toy.steps.store(100, SeqCst);
    stage.start(false).await.unwrap();
    sleep(seconds(10)).await;
    assert_eq!(stage.bench.mode().state(), State::Remediating);
    stage.bench.monitor.observe("AN-02", Reading::bad(2_000.0, "BILLING is far behind").raised(Severity::P2));
    let run = stage.ended().await;
    assert_eq!(run.verdict(), Verdict::Aborted, "{}", run.detail);
    assert!(run.detail.contains("AN-02 is open") && run.detail.contains("BILLING is far behind"), "{}", run.detail);
    assert_eq!(stage.act.undone.load(SeqCst), 1);
    let remedies = stage.bench.snapshot().await.runs;
    assert_eq!(remedies[0].outcome(), Outcome::Aborted);
    stage.bench.monitor.observe("AN-02", Reading::bad(2_000.0, "BILLING is far behind").raised(Severity::P2));
    assert_eq!(stage.start(false).await.unwrap_err().reason(), "REAL_INCIDENT");
}

#[tokio::test(start_paused = true)]
async fn a_control_injects_nothing_and_hears_every_alarm() {
    let stage = Stage::new().await;
    stage.start(true).await.unwrap();
    let run = stage.ended().await;
    assert_eq!((run.verdict(), stage.act.injected.load(SeqCst)), (Verdict::Passed, 0), "{}", run.detail);
    assert_eq!(stage.bench.executions(), 0);
    stage.start(true).await.unwrap();
    sleep(seconds(3)).await;
    stage.bench.monitor.observe("AN-02", Reading::bad(2_000.0, "BILLING").raised(Severity::P2));
    let run = stage.ended().await;
    assert_eq!(run.verdict(), Verdict::FalseAlarm, "{}", run.detail);
}
