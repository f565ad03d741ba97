//! P: dedup tables past their horizon are dropped, those that were planned.

use crate::{
    Backend, Desk, on_both_stores,
    operator::DONE,
    world::{DAY, World, night},
};
use loadline_domain::Day;
use loadline_proto::health::{State, remedy_run::Outcome};
use loadline_rollup::jobs::PURGE_DEDUP;
use loadline_store::contract::billing;
use serde_json::{Value, json};
use std::collections::BTreeSet;

on_both_stores! {
    tables_past_their_horizon_are_dropped_and_no_others
    a_run_for_named_tables_drops_none_that_is_needed
}

async fn tables(world: &World) -> BTreeSet<String> {
    world.parts.store.partitions().await.unwrap().into_iter().map(|(name, _)| name).collect()
}

async fn tables_past_their_horizon_are_dropped_and_no_others(backend: Backend) {
    let world = World::busy(backend).await;
    let past = tables(&world).await;
    let now = night().plus(DAY * 10);
    world.counting.clock.set(now);
    world.parts.store.prepare_partitions(now.day(), now.day()).await.unwrap();
    // By the log's clock too.
    world.counting.count("BILLING", &[billing("now", "acme", now)]).await;
    let needed: BTreeSet<_> = tables(&world).await.difference(&past).cloned().collect();
    let desk = Desk::of(&world).await;

    let early = desk.planned("AN-05", "P", "").await;
    assert_eq!((early.count, early.confirm.clone()), (past.len() as u64, past.len().to_string()), "{early:?}");
    assert_eq!(desk.not_executed(&early, "y").await.0, "WRONG_CONFIRM");
    let older = Day::from_index(night().day().index() - 5);
    world.parts.store.prepare_partitions(older, older).await.unwrap();
    let (reason, difference) = desk.not_executed(&early, &early.confirm).await;
    assert!(reason == "WORLD_MOVED" && difference.contains("past their horizon was"), "{reason}: {difference}");

    desk.operator.sees("AN-05", State::Open).await;
    let plan = desk.planned("AN-05", "P", "").await;
    assert_eq!((plan.count, plan.effects[0].count), (past.len() as u64 + 2, plan.count));
    let run = desk.operator.execute(&plan).await.unwrap();
    let ended = desk.operator.ends(&run, Outcome::Verified).await;
    assert_eq!((ended.actual[0].count, ended.done), (plan.count, plan.count), "{ended:?}");
    assert_eq!(tables(&world).await, needed);
    let story = desk.operator.story("P").await;
    assert_eq!(story[story.len() - 3..], DONE, "{story:?}");
    let (reason, why) = desk.operator.refused("AN-05", "P", "").await;
    assert!(reason == "REMEDY_UNAVAILABLE" && why.contains("no dedup table"), "{why}");
    desk.leading.stop().await;
}

async fn a_run_for_named_tables_drops_none_that_is_needed(backend: Backend) {
    let world = World::busy(backend).await;
    let leading = world.lead("one");
    let all = tables(&world).await;
    let run = world.ended(&world.enqueue_job(PURGE_DEDUP, &json!({ "tables": all })).await).await;
    let told: Value = serde_json::from_str(run.result.as_deref().unwrap()).unwrap();
    // The log is counted to its end: what is two days old is past, the days before and after are not.
    let left = tables(&world).await;
    assert_eq!(told["dropped"].as_u64().unwrap() as usize, all.len() - left.len(), "{told}");
    assert!(!left.is_empty(), "a day's receipts are kept for four");
    leading.stop().await;
}
