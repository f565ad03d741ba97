//! A plan is executed once, as it was confirmed, while the world is as it was, and its mode's signal says whether it helped.

use crate::bench::{Bench, MODE, alice, bob, person, seconds};
use loadline_health::desk::Refusal;
use loadline_proto::health::{State, remedy_run::Outcome};
use loadline_runtime::identity::Role;
use std::sync::atomic::Ordering::SeqCst;
use tokio::time::{Instant, sleep};

const LEASE: &str = "remedy K BILLING";

#[tokio::test(start_paused = true)]
async fn a_remedy_that_helps_is_verified_by_the_modes_own_signal() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    assert_eq!((run.outcome(), run.started_by.as_str()), (Outcome::Running, "alice"));
    assert_eq!(bench.mode().state(), State::Remediating);
    let verifying = bench.until(&run.id, Outcome::Verifying).await;
    assert_eq!((verifying.actual[0].count, bench.mode().state()), (3, State::Verifying));
    let (since, verified) = (Instant::now(), bench.until(&run.id, Outcome::Verified).await);
    assert!(seconds(9) < since.elapsed(), "AN-03 has to be good for 10 s");
    assert_eq!(bench.mode().state(), State::Ok);
    assert!(verified.finished_at.is_some() && verified.undo_until.is_some() && verified.note.is_empty());
    assert_eq!(bench.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_remedy_that_does_not_help_leaves_its_mode_open_and_says_so() {
    let bench = Bench::new().await;
    bench.toy.helps.store(false, SeqCst);
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verifying).await;
    let since = Instant::now();
    let ended = bench.until(&run.id, Outcome::ExecutedUnverified).await;
    assert!(seconds(59) <= since.elapsed() && since.elapsed() < seconds(62));
    assert!(ended.note.contains("AN-03 is not good again by its own signal"), "{}", ended.note);
    assert_eq!(bench.mode().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_falls_silent_verifies_nothing() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verifying).await;
    bench.blind().await;
    let ended = bench.until(&run.id, Outcome::ExecutedUnverified).await;
    assert!(ended.note.contains("not good again"), "{}", ended.note);
}

#[tokio::test(start_paused = true)]
async fn good_readings_from_before_the_remedy_verify_nothing() {
    let bench = Bench::new().await;
    bench.toy.bad.store(false, SeqCst);
    sleep(seconds(12)).await;
    assert_eq!(bench.mode().state(), State::Ok);
    // Slower than its mode falls silent, so that the last reading stands from before.
    bench.monitor.expect_every(MODE, seconds(3600)).unwrap();
    bench.toy.helps.store(false, SeqCst);
    let plan = bench.plan().await;
    bench.stop_detector();
    let run = bench.execute(&plan).await.unwrap();
    bench.until(&run.id, Outcome::ExecutedUnverified).await;
    assert_eq!(bench.mode().state(), State::Ok, "and still it proves nothing about what was done since");
}

#[tokio::test(start_paused = true)]
async fn sums_that_do_not_add_up_verify_nothing() {
    let bench = Bench::new().await;
    *bench.sums.0.lock().unwrap() = Some("3 records apart".to_owned());
    let run = bench.begun().await;
    let ended = bench.until(&run.id, Outcome::ExecutedUnverified).await;
    assert!(ended.note.contains("3 records apart"), "{}", ended.note);
    assert_eq!(bench.mode().state(), State::Ok, "the signal alone closed it");
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_the_same_run_and_another_key_is_refused() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    let run = bench.execute_as(&alice(), &plan.id, "y", "once").await.unwrap();
    let again = bench.execute_as(&alice(), &plan.id, "y", "once").await.unwrap();
    assert_eq!(again.id, run.id);
    let refused = bench.execute_as(&bob(), &plan.id, "y", "twice").await.unwrap_err();
    assert_eq!(refused, Refusal::AlreadyExecuted { run: run.id.clone() });
    bench.until(&run.id, Outcome::Verified).await;
    sleep(seconds(600)).await;
    let late = bench.execute_as(&alice(), &plan.id, "y", "once").await.unwrap();
    assert_eq!((&late.id, late.outcome()), (&run.id, Outcome::Verified), "a lost answer is asked for again");
    let other = bench.plan().await;
    assert_eq!(bench.execute_as(&alice(), &other.id, "y", "once").await.unwrap_err(), Refusal::KeyTaken { run: run.id });
    assert_eq!(bench.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_operators_who_press_at_once_get_one_run() {
    let bench = Bench::new().await;
    let (one, two) = (bench.plan_of(&alice(), "K", "").await.unwrap(), bench.plan_of(&bob(), "K", "").await.unwrap());
    let (a, b) = (alice(), bob());
    let (alices, bobs) =
        tokio::join!(bench.execute_as(&a, &one.id, "y", "of alice"), bench.execute_as(&b, &two.id, "y", "of bob"));
    let run = alices.unwrap();
    assert_eq!(bobs.unwrap_err(), Refusal::Busy(format!("run {} of alice", run.id)));
    bench.until(&run.id, Outcome::Verified).await;
    assert_eq!(bench.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_plan_pressed_twice_at_once_is_one_run() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    let who = alice();
    let (one, two) = tokio::join!(bench.execute_as(&who, &plan.id, "y", "key"), bench.execute_as(&who, &plan.id, "y", "key"));
    assert_eq!(one.unwrap().id, two.unwrap().id);
    sleep(seconds(60)).await;
    assert_eq!(bench.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_plan_is_refused() {
    let bench = Bench::new().await;
    let (in_time, late) = (bench.plan_of(&alice(), "K", "").await.unwrap(), bench.plan_of(&alice(), "D", "").await.unwrap());
    sleep(seconds(29)).await;
    bench.execute(&in_time).await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(bench.execute(&late).await.unwrap_err().reason(), "PLAN_EXPIRED");
    assert_eq!(bench.risky.executions.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_nobody_made_is_not_found() {
    let bench = Bench::new().await;
    assert_eq!(bench.execute_as(&alice(), "made up", "y", "key").await.unwrap_err(), Refusal::NoPlan("made up".to_owned()));
    assert_eq!(bench.executions(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_the_exact_text_confirms() {
    let bench = Bench::new().await;
    let risky = bench.plan_of(&alice(), "D", "").await.unwrap();
    for wrong in ["", "y", "11", "13", " 12", "12 ", "012", "+12", "twelve"] {
        let refused = bench.execute_as(&alice(), &risky.id, wrong, "key").await.unwrap_err();
        assert_eq!(refused, Refusal::WrongConfirm { expected: "12".to_owned() }, "{wrong:?}");
    }
    let plain = bench.plan().await;
    for wrong in ["", "Y", "yes", "n", "12"] {
        assert_eq!(bench.execute_as(&alice(), &plain.id, wrong, "key").await.unwrap_err().reason(), "WRONG_CONFIRM", "{wrong:?}");
    }
    assert_eq!(bench.executions(), 0);
    bench.execute_as(&alice(), &risky.id, "12", "key").await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(bench.executions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_required() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    for key in [String::new(), "x".repeat(129)] {
        assert_eq!(bench.execute_as(&alice(), &plan.id, "y", &key).await.unwrap_err().reason(), "INVALID_FIELD");
    }
    assert_eq!(bench.executions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_executes_nothing() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    let refused = bench.execute_as(&person("billing", Role::Service), &plan.id, "y", "key").await.unwrap_err();
    assert_eq!(refused, Refusal::NotOperator { who: "billing".to_owned() });
    sleep(seconds(5)).await;
    assert_eq!(bench.executions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_plan_whose_world_has_moved_is_refused_with_the_difference_for_good() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    bench.toy.letters.store(14, SeqCst);
    let moved = Refusal::WorldMoved("open letters was 12, is 14".to_owned());
    assert_eq!(bench.execute(&plan).await.unwrap_err(), moved);
    bench.toy.letters.store(12, SeqCst);
    assert_eq!(bench.execute(&plan).await.unwrap_err(), moved, "what was refused is not executed when it happens to fit again");
    assert_eq!((bench.executions(), bench.leases.holder(LEASE)), (0, None));
    assert_eq!(bench.snapshot().await.armed.unwrap().plans, []);
    let again = bench.plan().await;
    bench.execute(&again).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_target_rests_before_it_is_worked_on_again_and_another_does_not_wait() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verified).await;
    let next = bench.plan().await;
    let Refusal::CoolingDown(left) = bench.execute(&next).await.unwrap_err() else { panic!("not refused") };
    assert!(seconds(9) < left && left <= seconds(10), "{left:?}");
    let other = bench.plan_of(&alice(), "K", "DLR").await.unwrap();
    bench.execute(&other).await.unwrap();
    sleep(seconds(11)).await;
    bench.execute(&next).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_another_process_works_on_is_left_alone() {
    let bench = Bench::new().await;
    bench.leases.steal(LEASE);
    let plan = bench.plan().await;
    assert_eq!(bench.execute(&plan).await.unwrap_err().reason(), "BUSY");
    bench.leases.held.lock().unwrap().clear();
    bench.leases.is_down.store(true, SeqCst);
    assert_eq!(bench.execute(&plan).await.unwrap_err().reason(), "LEASE_UNAVAILABLE");
    assert_eq!(bench.executions(), 0);
    bench.leases.is_down.store(false, SeqCst);
    bench.execute(&plan).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn other_processes_wait_out_the_pause_too() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verified).await;
    assert_eq!(bench.leases.holder(LEASE), Some(run.id));
    sleep(seconds(11)).await;
    assert_eq!(bench.leases.holder(LEASE), None);
}

#[tokio::test(start_paused = true)]
async fn a_long_run_keeps_its_lease_and_one_that_loses_it_stops() {
    let bench = Bench::new().await;
    bench.toy.steps.store(100, SeqCst);
    let run = bench.begun().await;
    sleep(seconds(45)).await;
    assert_eq!(bench.leases.holder(LEASE), Some(run.id.clone()));
    bench.leases.steal(LEASE);
    let ended = bench.until(&run.id, Outcome::Failed).await;
    assert!(ended.note.contains("lease was lost"), "{}", ended.note);
    assert!(ended.actual[0].count < 70);
    assert_eq!(bench.leases.holder(LEASE).as_deref(), Some("elsewhere"));
}

#[tokio::test(start_paused = true)]
async fn a_remedy_that_fails_panics_or_hangs_ends_as_failed() {
    let bench = Bench::new().await;
    bench.toy.fails.store(true, SeqCst);
    let failed = bench.begun().await;
    assert_eq!(bench.until(&failed.id, Outcome::Failed).await.note, "the store did not answer");
    sleep(seconds(11)).await;
    bench.toy.panics.store(true, SeqCst);
    let panicked = bench.begun().await;
    assert!(bench.until(&panicked.id, Outcome::Failed).await.note.contains("panicked"));
    sleep(seconds(11)).await;
    bench.toy.panics.store(false, SeqCst);
    *bench.toy.step_time.lock().unwrap() = seconds(100_000);
    let (since, hung) = (Instant::now(), bench.begun().await);
    assert!(bench.until(&hung.id, Outcome::Failed).await.note.contains("its step was cut"));
    assert!(since.elapsed() < seconds(135));
    assert_eq!(bench.mode().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_executed_for_a_mode_that_has_become_blind_or_a_remedy_that_has_become_unavailable() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    *bench.toy.unavailable.lock().unwrap() = Some("nothing is stopped".to_owned());
    assert_eq!(bench.execute(&plan).await.unwrap_err().reason(), "REMEDY_UNAVAILABLE");
    *bench.toy.unavailable.lock().unwrap() = None;
    bench.blind().await;
    assert_eq!(bench.execute(&plan).await.unwrap_err().reason(), "TARGET_BLIND");
    assert_eq!(bench.executions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_stops_nothing() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    let desk = bench.desk.clone();
    let ask = loadline_proto::health::ExecuteRemedyRequest {
        plan_id: plan.id.clone(),
        confirm: "y".to_owned(),
        idempotency_key: "key".to_owned(),
        reason: String::new(),
    };
    let caller = tokio::spawn(async move { desk.execute(&alice(), ask).await });
    tokio::task::yield_now().await;
    caller.abort();
    let run = bench.execute_as(&alice(), &plan.id, "y", "key").await.unwrap();
    bench.until(&run.id, Outcome::Verified).await;
    assert_eq!(bench.executions(), 1);
}
