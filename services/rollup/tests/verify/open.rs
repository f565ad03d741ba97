//! What a verification found stays open until that was put right, found right, or accepted.

use crate::{
    damage,
    world::{Backend, DAY, HOUR, World, asked, at, night, of, stream},
};
use loadline_domain::Timestamp;
use loadline_rollup::jobs;
use loadline_store::{Expiring, RunState, contract::billing};
use serde_json::{Value, json};
use std::time::Duration;

on_both_stores! {
    what_cannot_be_told_any_more_is_open_until_it_is_accepted
    what_is_missing_stays_open_when_the_log_is_made_again
    hours_that_no_run_has_looked_at_are_those_of_the_next
    a_run_about_one_account_settles_its_part_of_a_finding
    no_number_of_other_runs_and_no_retention_drops_a_finding
    a_finding_of_a_day_that_was_archived_is_accepted
}

/// Account-hours and account-days, by the finding they belong to.
async fn open(world: &World) -> Vec<(String, u64)> {
    let open = jobs::findings_now(&*world.parts.store).await.unwrap();
    open.iter().map(|finding| (finding.to_string(), finding.count)).collect()
}

fn hours(count: u64) -> (String, u64) {
    ("2026-11-20T00:00:00Z/2026-11-21T00:00:00Z".to_owned(), count)
}

fn of_zeta() -> (String, u64) {
    ("2026-11-20T00:00:00Z/2026-11-21T00:00:00Z days".to_owned(), 1)
}

fn the_day(more: Value) -> Value {
    let mut parameters = json!({ "from": asked(0), "to": asked(24) });
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parameters
}

async fn what_cannot_be_told_any_more_is_open_until_it_is_accepted(backend: Backend) {
    let world = World::busy(backend).await;
    damage(&world).await;
    world.verify(json!({})).await;
    assert_eq!(open(&world).await, [hours(4), of_zeta()]);
    // Eleven can be told and is repaired; the others cannot, and are still what was found, though of bolt there is no row anywhere.
    world.counting.forget_before(at(10).plus(Duration::from_secs(60))).await;
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!((&told["repaired"], &told["days"]["repaired"]), (&json!(1), &json!(0)), "{told}");
    let places = json!([["acme", asked(9)], ["bolt", asked(10)], ["zeta", asked(3)]]);
    assert_eq!((told["open"][0]["places"].clone(), open(&world).await), (places, vec![hours(3), of_zeta()]));
    let before = world.rows().await;
    let one = world.verify(the_day(json!({ "account": "zeta", "accept": "invented, and written off" }))).await;
    assert_eq!((&one["accepted"], open(&world).await), (&json!(2), vec![hours(2)]), "{one}");
    assert_eq!(world.verify(the_day(json!({ "accept": "invoiced by hand" }))).await["accepted"], 2);
    assert_eq!((open(&world).await, world.rows().await), (vec![], before));
    assert_eq!(world.verify(the_day(json!({ "accept": "again" }))).await["accepted"], 0);
    let mut accepted = world.audit().await;
    accepted.retain(|entry| entry.action == "accept_findings");
    assert_eq!(accepted.len(), 2, "{accepted:?}");
    assert!(accepted[0].target.ends_with(" zeta") && accepted[0].reason.ends_with("invented, and written off"), "{accepted:?}");
    assert!(accepted[0].actor == "operator" && accepted[0].before.contains("zeta") && !accepted[0].after.contains("zeta"));
}

/// What was missing is in the former making, and what is there now agrees with that on nothing.
async fn what_is_missing_stays_open_when_the_log_is_made_again(backend: Backend) {
    let world = World::new(backend).await;
    world.counting.clock.set(at(8));
    world.counting.count("BILLING", &[billing("a", "acme", at(8))]).await;
    world.counting.clock.set(night());
    world.counting.tamper(format!("DELETE FROM usage_hourly WHERE {}", of("acme", 8)), 1).await;
    assert_eq!(world.verify(json!({})).await["different"], 1);
    world.counting.log.delete_stream(&stream("BILLING")).await.unwrap();
    world.counting.ensure("BILLING").await;
    world.counting.apply("BILLING").await;
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!((&told["unknown"], &told["repaired"], open(&world).await), (&json!(1), &json!(0), vec![hours(1)]), "{told}");
}

/// A night without a verification is made up for by the next one, and no longer time is.
async fn hours_that_no_run_has_looked_at_are_those_of_the_next(backend: Backend) {
    let world = World::new(backend).await;
    let looked = async |days: u32| {
        world.counting.clock.set(night().plus(DAY * days));
        let told = world.verify(json!({})).await;
        let time = |end: &str| told[end].as_str().unwrap().parse::<Timestamp>().unwrap();
        (time("from").since(at(0)).as_secs() / 86_400, time("to").since(at(0)).as_secs() / 86_400)
    };
    assert_eq!(looked(0).await, (0, 1));
    assert_eq!(looked(0).await, (0, 1));
    assert_eq!(looked(2).await, (1, 3));
    assert_eq!(looked(3).await, (3, 4));
    assert_eq!(looked(9).await, (7, 10));
}

async fn a_run_about_one_account_settles_its_part_of_a_finding(backend: Backend) {
    let world = World::busy(backend).await;
    damage(&world).await;
    world.verify(json!({})).await;
    world.verify(json!({ "account": "acme", "repair": true })).await;
    assert_eq!(open(&world).await, [hours(2), of_zeta()]);
    let at_ten = json!({ "from": asked(10), "to": asked(11), "repair": true });
    world.verify(at_ten).await;
    assert_eq!(open(&world).await, [hours(1), of_zeta()]);
    world.verify(json!({ "repair": true })).await;
    assert_eq!(open(&world).await, [], "zeta's day is right without its hours");
}

async fn no_number_of_other_runs_and_no_retention_drops_a_finding(backend: Backend) {
    let world = World::busy(backend).await;
    damage(&world).await;
    world.verify(json!({})).await;
    let leading = world.lead("one");
    for _ in 0..60 {
        let other = world.enqueue(&json!({ "from": asked(0), "to": asked(1) })).await;
        assert_eq!(world.ended(&other).await.state, RunState::Succeeded);
    }
    // The last run of all failed, and tells nothing.
    world.counting.clock.set(night().plus(DAY * 2));
    let archived = world.enqueue_job("archive", &json!({})).await;
    assert_eq!(world.ended(&archived).await.state, RunState::Succeeded);
    let refused = world.enqueue(&json!({ "from": at(0).minus(DAY).to_string(), "to": asked(1) })).await;
    assert_eq!(world.ended(&refused).await.state, RunState::Failed);
    leading.stop().await;
    let leader = world.parts.store.lead("rollup", "retention", HOUR).await.unwrap().unwrap();
    assert!(world.parts.store.expire(&leader, Expiring::FinishedRuns, Timestamp::END, 1_000).await.unwrap() >= 60);
    assert_eq!(open(&world).await, [hours(4), of_zeta()]);
}

async fn a_finding_of_a_day_that_was_archived_is_accepted(backend: Backend) {
    let world = World::busy(backend).await;
    damage(&world).await;
    world.verify(json!({ "account": "acme" })).await;
    world.counting.clock.set(night().plus(DAY * 4));
    let leading = world.lead("one");
    let archived = world.enqueue_job("archive", &json!({})).await;
    assert_eq!(world.ended(&archived).await.state, RunState::Succeeded);
    let refused = world.ended(&world.enqueue(&the_day(json!({ "repair": true }))).await).await;
    leading.stop().await;
    let error = refused.error.unwrap_or_default();
    assert!(refused.state == RunState::Failed && error.contains("`accept`"), "{error}");
    assert_eq!(open(&world).await, [("2026-11-20T00:00:00Z/2026-11-21T00:00:00Z acme".to_owned(), 2)]);
    assert_eq!(world.verify(the_day(json!({ "account": "acme", "accept": "corrected on the invoice" }))).await["accepted"], 2);
    assert_eq!(open(&world).await, []);
}
