//! Everything that was done or refused is in the audit, and what cannot be written there is not done.

use crate::bench::{Bench, alice, person, seconds};
use loadline_health::audit::{GENESIS, verify};
use loadline_proto::health::remedy_run::Outcome;
use loadline_runtime::identity::Role;
use std::sync::atomic::Ordering::SeqCst;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_run_leaves_a_whole_story_in_an_unbroken_chain() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verified).await;
    bench.undo(&run.id).await.unwrap();
    bench.until(&run.id, Outcome::RolledBack).await;
    let story = [
        "remedy.plan PLANNED",
        "remedy.execute RUNNING",
        "remedy.finish VERIFIED",
        "remedy.undo UNDOING",
        "remedy.undone ROLLED_BACK",
    ];
    assert_eq!(bench.audit.story(), story);
    let entries = bench.audit.entries.lock().unwrap().clone();
    verify(GENESIS, &entries).unwrap();
    let actors: Vec<&str> = entries.iter().map(|entry| entry.record.actor.as_str()).collect();
    assert_eq!(actors, ["alice", "alice", "alice", "bob", "bob"]);
    assert!(entries.iter().all(|entry| entry.record.target == "AN-03 K BILLING"));
    let finish = &entries[2].record;
    assert_eq!((finish.before.as_str(), finish.after.as_str()), ("open letters 12", "3 steps done"));
    assert_eq!((entries[0].record.reason.as_str(), entries[1].record.reason.as_str()), ("it stopped", "now"));
}

#[tokio::test(start_paused = true)]
async fn every_refusal_is_written_down_with_its_reason() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    let _ = bench.execute_as(&alice(), "made up", "y", "1").await.unwrap_err();
    let _ = bench.execute_as(&alice(), &plan.id, "no", "2").await.unwrap_err();
    let _ = bench.execute_as(&person("billing", Role::Service), &plan.id, "y", "3").await.unwrap_err();
    bench.toy.letters.store(13, SeqCst);
    let _ = bench.execute(&plan).await.unwrap_err();
    let _ = bench.plan_of(&alice(), "Z", "").await.unwrap_err();
    let _ = bench.abort("made up").await.unwrap_err();
    let _ = bench.undo("made up").await.unwrap_err();
    let story = [
        "remedy.plan PLANNED",
        "remedy.execute NOT_FOUND",
        "remedy.execute WRONG_CONFIRM",
        "remedy.execute ACCESS_DENIED",
        "remedy.execute WORLD_MOVED",
        "remedy.plan NOT_FOUND",
        "remedy.abort NOT_FOUND",
        "remedy.undo NOT_FOUND",
    ];
    assert_eq!(bench.audit.story(), story);
    let entries = bench.audit.entries.lock().unwrap().clone();
    assert_eq!(entries[3].record.actor, "billing");
    assert!(entries[4].record.after.contains("open letters was 12, is 13"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_down_is_not_done() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    bench.audit.is_down.store(true, SeqCst);
    assert_eq!(bench.execute(&plan).await.unwrap_err().reason(), "AUDIT_UNAVAILABLE");
    assert_eq!(bench.plan_of(&alice(), "K", "").await.unwrap_err().reason(), "AUDIT_UNAVAILABLE");
    assert_eq!((bench.executions(), bench.leases.holder("remedy K BILLING")), (0, None));
    bench.audit.is_down.store(false, SeqCst);
    bench.execute(&plan).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_audit_that_does_not_answer_is_one_that_cannot_be_written() {
    let bench = Bench::new().await;
    let plan = bench.plan().await;
    bench.audit.hangs.store(true, SeqCst);
    assert_eq!(bench.execute(&plan).await.unwrap_err().reason(), "AUDIT_UNAVAILABLE");
    sleep(seconds(5)).await;
    assert_eq!(bench.executions(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_audit_that_fails_after_the_beginning_is_told_with_the_run() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verifying).await;
    bench.audit.is_down.store(true, SeqCst);
    let ended = bench.until(&run.id, Outcome::Verified).await;
    assert!(ended.note.contains("not in the audit"), "{}", ended.note);
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_of_the_audit_loses_no_end() {
    let bench = Bench::new().await;
    let run = bench.begun().await;
    bench.until(&run.id, Outcome::Verifying).await;
    sleep(seconds(9)).await;
    bench.audit.is_down.store(true, SeqCst);
    sleep(seconds(3)).await;
    bench.audit.is_down.store(false, SeqCst);
    bench.until(&run.id, Outcome::Verified).await;
    assert_eq!(bench.audit.story().last().unwrap(), "remedy.finish VERIFIED");
}
