//! R: failed and late jobs are run again.

use crate::{
    Backend, Desk, on_both_stores,
    operator::{DONE, until},
    watched::{Eye, Watched},
    world::{DAY, World, night},
};
use async_trait::async_trait;
use loadline_domain::archive::Part;
use loadline_fault::{Calls, Fault, Faults, Kind};
use loadline_proto::health::{State, remedy_run::Outcome};
use loadline_rollup::jobs::{ARCHIVE, DAILY_ROLLUP, DAYS_ARCHIVED_AT_ONCE, TIDY_HISTORY};
use loadline_store::{RunFilter, RunState, contract::billing};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// More than the desk waits for a step that has to stop.
const STATEMENT_TAKES: Duration = Duration::from_secs(16);

on_both_stores! {
    a_failed_roll_up_is_run_again_and_fails_again_while_its_fault_lasts
    days_that_wait_for_the_archive_are_archived
    a_history_that_cannot_be_tidied_is_told_and_tidied_again
    a_remedy_that_is_aborted_cancels_its_run
    without_a_leader_or_beside_another_run_nothing_is_planned
}

async fn a_failed_roll_up_is_run_again_and_fails_again_while_its_fault_lasts(backend: Backend) {
    let world = World::busy(backend).await;
    let desk = Desk::of(&world).await;
    world.counting.tamper("ALTER TABLE usage_daily RENAME TO usage_away", 0).await;
    let failed = world.ended(&world.enqueue_job(DAILY_ROLLUP, &json!({})).await).await;
    assert_eq!(failed.state, RunState::Failed, "{failed:?}");
    desk.operator.sees("AN-04", State::Open).await;

    let plan = desk.planned("AN-04", "R", "").await;
    assert_eq!((plan.target.as_str(), plan.confirm.as_str(), plan.effects[0].count), (DAILY_ROLLUP, "y", 4), "{plan:?}");
    assert_eq!(desk.not_executed(&plan, "yes").await.0, "WRONG_CONFIRM");
    assert_eq!(desk.operator.refused("AN-04", "R", ARCHIVE).await.0, "REMEDY_UNAVAILABLE");
    world.ended(&world.enqueue_job(DAILY_ROLLUP, &json!({})).await).await;
    let (reason, difference) = desk.not_executed(&plan, "y").await;
    assert!(reason == "WORLD_MOVED" && difference.contains("last run was"), "{reason}: {difference}");

    let run = desk.begun("AN-04", "R", "").await;
    let ended = desk.operator.ends(&run, Outcome::Failed).await;
    assert!(ended.note.contains("usage_daily"), "{ended:?}");
    world.counting.tamper("ALTER TABLE usage_away RENAME TO usage_daily", 0).await;
    let run = desk.begun("AN-04", "R", DAILY_ROLLUP).await;
    let ended = desk.operator.ends(&run, Outcome::Verified).await;
    assert_eq!(ended.actual.iter().map(|effect| effect.count).collect::<Vec<_>>(), [1, 4], "{ended:?}");
    assert_eq!(world.parts.store.dirty().await.unwrap().account_days, 0);
    let story = desk.operator.story("R").await;
    assert_eq!(story[story.len() - 3..], DONE, "{story:?}");
    let newest = world.parts.store.job_runs(&RunFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!((newest.asked.job.as_str(), newest.asked.requested_by.as_str()), (DAILY_ROLLUP, "remedy R"));
    desk.leading.stop().await;
}

async fn days_that_wait_for_the_archive_are_archived(backend: Backend) {
    let world = World::busy(backend).await;
    let desk = Desk::of(&world).await;
    world.counting.clock.set(night().plus(DAY * 10));
    desk.operator.sees("AN-07", State::Open).await;
    let plan = desk.planned("AN-07", "R", "").await;
    assert_eq!((plan.target.as_str(), plan.effects[0].count), (ARCHIVE, 2), "{plan:?}");
    let run = desk.operator.execute(&plan).await.unwrap();
    let ended = desk.operator.ends(&run, Outcome::Verified).await;
    assert!(ended.actual.iter().any(|effect| effect.text == "days moved to history" && effect.count == 2), "{ended:?}");
    assert!(world.rows().await.is_empty());
    let story = desk.operator.story("R").await;
    assert_eq!(story[story.len() - 3..], DONE, "{story:?}");
    desk.leading.stop().await;
}

async fn a_history_that_cannot_be_tidied_is_told_and_tidied_again(backend: Backend) {
    let mut world = World::busy(backend).await;
    let faults = Faults::default();
    world.parts.history = loadline_history::behind(world.parts.history.clone(), Some(&faults));
    let desk = Desk::of(&world).await;
    world.counting.clock.set(night().plus(DAY * 10));
    let archived = world.ended(&world.enqueue_job(ARCHIVE, &json!({})).await).await;
    assert_eq!(archived.state, RunState::Succeeded, "{archived:?}");
    let calls = Calls::only(&["compact"]);
    let (name, ttl) = ("test".to_owned(), Duration::from_secs(60));
    let broken = faults.inject(Fault { name, kind: Kind::Break, calls, ttl, cured_by: None });
    let failed = world.ended(&world.enqueue_job(TIDY_HISTORY, &json!({})).await).await;
    assert!(failed.state == RunState::Failed && broken.met() == 1, "{failed:?}");
    desk.operator.sees("AN-07", State::Open).await;
    assert_eq!(desk.operator.refused("AN-07", "R", ARCHIVE).await.0, "REMEDY_UNAVAILABLE");
    drop(broken);
    let plan = desk.planned("AN-07", "R", "").await;
    assert_eq!((plan.target.as_str(), plan.confirm.as_str()), (TIDY_HISTORY, "y"), "{plan:?}");
    let run = desk.operator.execute(&plan).await.unwrap();
    let ended = desk.operator.ends(&run, Outcome::Verified).await;
    assert!(ended.actual.iter().any(|effect| effect.text == "run of tidy_history"), "{ended:?}");
    desk.leading.stop().await;
}

/// Lets nobody count a part until it may.
struct Gate(Semaphore);

#[async_trait]
impl Eye for Gate {
    async fn sees(&self, end: &'static str, _: &Part) {
        if end == "count" {
            self.0.acquire().await.unwrap().forget();
        }
    }
}

async fn a_remedy_that_is_aborted_cancels_its_run(backend: Backend) {
    let mut world = World::busy(backend).await;
    let gate = Arc::new(Gate(Semaphore::new(0)));
    world.parts.history = Arc::new(Watched { history: world.parts.history.clone(), eye: gate.clone() });
    let desk = Desk::of(&world).await;
    // One day more than are under way at once: two are there.
    let at_once = u32::try_from(DAYS_ARCHIVED_AT_ONCE).unwrap();
    for later in 1..at_once {
        world.counting.clock.set(night().plus(DAY * (later + 1)));
        world.counting.count("BILLING", &[billing(&format!("{later} later"), "acme", night().plus(DAY * later))]).await;
    }
    world.counting.clock.set(night().plus(DAY * 20));
    desk.operator.sees("AN-07", State::Open).await;
    let run = desk.begun("AN-07", "R", "").await;
    // None is done yet.
    until("its progress", async || desk.operator.run(&run).await.total == u64::from(at_once) + 1).await;
    desk.operator.abort(&run).await;
    let newest = async || world.parts.store.job_runs(&RunFilter::default(), None, 1).await.unwrap().remove(0);
    until("the request", async || newest().await.cancel_requested).await;
    gate.0.add_permits(100);
    let ended = desk.operator.ends(&run, Outcome::Aborted).await;
    assert_eq!(newest().await.state, RunState::Cancelled);
    // The days under way were finished, and no other begun.
    assert_eq!(ended.actual[0].count, u64::from(at_once), "{ended:?}");
    assert_eq!(world.parts.store.archivable(night().plus(DAY * 15).day()).await.unwrap().len(), 1);
    assert!(world.parts.store.boundary().await.unwrap().is_some());
    assert_eq!(desk.operator.story("R").await.pop().as_deref(), Some("remedy.finish ABORTED"));
    desk.leading.stop().await;
}

/// Within one statement nobody asks whether to stop. It is not cut: what it writes is whole, and nothing after it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_run_in_a_long_statement_ends_with_that_statement_on_postgres() {
    let world = World::busy(Backend::Postgres).await;
    let desk = Desk::of(&world).await;
    let slow = format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({}); RETURN NULL; END $$",
        STATEMENT_TAKES.as_secs()
    );
    world.counting.tamper(slow, 0).await;
    let trigger = "CREATE TRIGGER slow AFTER INSERT ON usage_daily FOR EACH STATEMENT EXECUTE FUNCTION slow()";
    world.counting.tamper(trigger, 0).await;
    desk.operator.sees("AN-04", State::Ok).await;
    let run = desk.begun("AN-04", "R", "").await;
    let runs = async || world.parts.store.job_runs(&RunFilter::default(), None, 1).await.unwrap();
    until("the statement", async || runs().await.iter().any(|run| run.progress.total == Some(4))).await;
    let newest = async || runs().await.remove(0);
    desk.operator.abort(&run).await;
    let ended = desk.operator.ends(&run, Outcome::Failed).await;
    assert!(ended.note.starts_with("aborted by") && ended.note.contains("did not stop within 10s"), "{ended:?}");
    let under_way = newest().await;
    assert!(under_way.state == RunState::Running && under_way.cancel_requested, "{under_way:?}");
    let (reason, why) = desk.operator.refused("AN-04", "R", "").await;
    assert!(reason == "REMEDY_UNAVAILABLE" && why.contains(&under_way.id.to_string()), "{why}");

    until("the end of the statement", async || newest().await.state.is_final()).await;
    assert_eq!(newest().await.state, RunState::Cancelled);
    assert_eq!(world.parts.store.dirty().await.unwrap().account_days, 0, "a chunk is whole or not at all");
    world.counting.tamper("DROP TRIGGER slow ON usage_daily", 0).await;
    let again = desk.begun("AN-04", "R", "").await;
    desk.operator.ends(&again, Outcome::Verified).await;
    desk.leading.stop().await;
}

async fn without_a_leader_or_beside_another_run_nothing_is_planned(backend: Backend) {
    let world = World::busy(backend).await;
    let desk = Desk::of(&world).await;
    desk.operator.sees("AN-04", State::Ok).await;
    desk.leading.stop().await;
    let (reason, why) = desk.operator.refused("AN-04", "R", "").await;
    assert!(reason == "REMEDY_UNAVAILABLE" && why.contains("no process runs jobs"), "{why}");
    let queued = world.enqueue_job(DAILY_ROLLUP, &json!({})).await;
    let (reason, why) = desk.operator.refused("AN-04", "R", "").await;
    assert!(reason == "REMEDY_UNAVAILABLE" && why.contains(&queued.id.to_string()), "{why}");
}
