//! V: hours that differ from the log are replaced by what it says, as many as were planned.

use crate::{
    Backend, Desk, on_both_stores,
    operator::{DONE, until},
    world::{DAY, World, asked, at, hour_of, night, of},
};
use loadline_proto::health::{State, remedy_run::Outcome};
use loadline_store::{RunState, contract::billing};
use serde_json::json;

on_both_stores! {
    hours_that_differ_are_repaired_after_their_number_was_typed
    no_hours_are_repaired_but_those_that_were_planned
    a_finding_is_repaired_alone_by_its_name
    a_finding_that_nobody_can_repair_holds_up_no_other
}

async fn damage(world: &World, account: &str, hour: u32) {
    let counted_twice = format!("UPDATE usage_hourly SET events = events * 2 WHERE {} AND currency = 'EUR'", of(account, hour));
    world.counting.tamper(counted_twice, 1).await;
}

/// Runs `verify` without repair.
async fn verified(world: &World, account: Option<&str>) {
    let parameters = account.map_or(json!({}), |account| json!({ "account": account }));
    let run = world.ended(&world.enqueue(&parameters).await).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
}

async fn hours_that_differ_are_repaired_after_their_number_was_typed(backend: Backend) {
    let world = World::busy(backend).await;
    let desk = Desk::of(&world).await;
    let right = world.rows().await;
    desk.operator.sees("AN-08", State::Ok).await;
    let (reason, why) = desk.operator.refused("AN-08", "V", "").await;
    assert!(reason == "REMEDY_UNAVAILABLE" && why.contains("run the job `verify`"), "{why}");
    damage(&world, "acme", 9).await;
    world.counting.tamper(format!("DELETE FROM usage_hourly WHERE {}", of("bolt", 10)), 1).await;
    verified(&world, None).await;
    desk.operator.sees("AN-08", State::Open).await;

    let stale = desk.planned("AN-08", "V", "").await;
    assert_eq!((stale.count, stale.confirm.as_str(), stale.effects[1].count), (2, "2", 24), "{stale:?}");
    assert_eq!(desk.not_executed(&stale, "y").await.0, "WRONG_CONFIRM");
    verified(&world, None).await;
    let (reason, difference) = desk.not_executed(&stale, "2").await;
    assert!(reason == "WORLD_MOVED" && difference.contains("last run was"), "{reason}: {difference}");

    let run = desk.begun("AN-08", "V", "").await;
    let ended = desk.operator.ends(&run, Outcome::Verified).await;
    assert_eq!((ended.actual.len(), ended.actual[0].count), (1, 2), "{ended:?}");
    assert_eq!(world.rows().await, right);
    let story = desk.operator.story("V").await;
    assert_eq!(story[story.len() - 3..], DONE, "{story:?}");
    let repairs = world.audit().await.into_iter().filter(|entry| entry.action == "repair_usage");
    assert_eq!(repairs.map(|entry| entry.actor).collect::<Vec<_>>(), ["remedy V", "remedy V"]);
    desk.leading.stop().await;
}

async fn no_hours_are_repaired_but_those_that_were_planned(backend: Backend) {
    let world = World::busy(backend).await;
    let desk = Desk::of(&world).await;
    let right = world.rows().await;
    damage(&world, "acme", 10).await;
    verified(&world, None).await;
    desk.operator.sees("AN-08", State::Open).await;
    let plan = desk.planned("AN-08", "V", "").await;
    // Nobody has seen these yet, and they come first.
    damage(&world, "acme", 9).await;
    damage(&world, "bolt", 9).await;
    let run = desk.operator.execute(&plan).await.unwrap();
    until("the verification", async || desk.operator.run(&run).await.outcome() == Outcome::Verifying).await;
    let now = world.rows().await;
    let wrong = right.iter().filter(|(key, usage)| now.get(key) != Some(usage));
    assert_eq!(
        wrong.map(|(key, _)| (key.account.as_str(), key.hour)).collect::<Vec<_>>(),
        [("acme", hour_of(9)), ("bolt", hour_of(9))]
    );
    // What is left keeps the mode open: it did not help enough, and says so.
    desk.operator.abort(&run).await;
    desk.operator.ends(&run, Outcome::ExecutedUnverified).await;
    let run = desk.begun("AN-08", "V", "").await;
    assert_eq!(run.plan.as_ref().unwrap().count, 2);
    desk.operator.ends(&run, Outcome::Verified).await;
    assert_eq!(world.rows().await, right);
    desk.leading.stop().await;
}

async fn a_finding_is_repaired_alone_by_its_name(backend: Backend) {
    let world = World::busy(backend).await;
    let desk = Desk::of(&world).await;
    let right = world.rows().await;
    damage(&world, "acme", 9).await;
    damage(&world, "bolt", 9).await;
    verified(&world, Some("acme")).await;
    verified(&world, Some("bolt")).await;
    desk.operator.sees("AN-08", State::Open).await;
    let (_, why) = desk.operator.refused("AN-08", "V", "yesterday").await;
    let acme = "2026-11-20T00:00:00Z/2026-11-21T00:00:00Z acme";
    assert!(why.contains(acme) && why.contains("bolt"), "{why}");
    assert_eq!(desk.planned("AN-08", "V", "").await.count, 2);
    let run = desk.begun("AN-08", "V", acme).await;
    assert_eq!(run.plan.as_ref().unwrap().count, 1);
    until("the verification", async || desk.operator.run(&run).await.outcome() == Outcome::Verifying).await;
    let wrong: Vec<_> = world.rows().await.into_iter().filter(|(key, usage)| right.get(key) != Some(usage)).collect();
    assert_eq!(wrong.iter().map(|(key, _)| key.account.as_str()).collect::<Vec<_>>(), ["bolt"]);
    desk.leading.stop().await;
}

async fn a_finding_that_nobody_can_repair_holds_up_no_other(backend: Backend) {
    let world = World::busy(backend).await;
    let desk = Desk::of(&world).await;
    damage(&world, "acme", 9).await;
    verified(&world, None).await;
    // The next day, of which nothing is archived, has a row that the log knows nothing of.
    world.counting.count("BILLING", &[billing("next", "core", at(24))]).await;
    let invented = format!(
        "INSERT INTO usage_hourly SELECT 'zeta', {}, channel, country, currency, 2, 2, 4, 150000, 0, 0, 0, 0, 0, 0
         FROM usage_hourly WHERE {}",
        hour_of(25).index(),
        of("core", 8)
    );
    world.counting.tamper(invented, 1).await;
    let next_day = json!({ "from": asked(24), "to": asked(26) });
    assert_eq!(world.ended(&world.enqueue(&next_day).await).await.state, RunState::Succeeded);
    world.counting.clock.set(night().plus(DAY * 3));
    let archived = world.enqueue_job("archive", &json!({})).await;
    assert_eq!(world.ended(&archived).await.state, RunState::Succeeded);
    desk.operator.sees("AN-08", State::Open).await;

    let run = desk.begun("AN-08", "V", "").await;
    let ended = desk.operator.ends(&run, Outcome::Failed).await;
    assert!(ended.note.contains("are archived: 2026-11-20T00:00:00Z/") && ended.note.contains("`accept`"), "{ended:?}");
    assert!(world.rows().await.keys().all(|key| key.account.as_str() != "zeta"));
    desk.operator.sees("AN-08", State::Open).await;
    let accepted = json!({ "from": asked(0), "to": asked(24), "accept": "corrected on the invoice" });
    assert_eq!(world.ended(&world.enqueue(&accepted).await).await.state, RunState::Succeeded);
    desk.operator.sees("AN-08", State::Ok).await;
    desk.leading.stop().await;
}
