//! What cannot be told: for each cause a difference is planted, asked to be repaired, and must stay, told with the reason.

use crate::{
    ACCOUNT_HOURS, counts, damage,
    world::{Backend, DAY, HOUR, World, asked, at, night, of, stream},
};
use futures::FutureExt as _;
use loadline_domain::{DeadLetterReason, Rules};
use loadline_event_log::{EventLog as _, Retention};
use loadline_proto::event::DeliveryStatus;
use loadline_store::{
    DeadLetterFilter, RunState,
    contract::{billing, receipt},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// Account-hours on either side of a damaged day: one was invented.
const WITH_INVENTED: u64 = ACCOUNT_HOURS + 1;
/// Of these in the store: one is gone.
const HELD: u64 = WITH_INVENTED - 1;

/// The story of a busy day, damaged.
async fn damaged() -> World {
    let world = World::busy(Backend::Sqlite).await;
    damage(&world).await;
    world
}

fn reasons(told: &Value) -> String {
    let listed = told["reasons"].as_array().unwrap();
    listed.iter().map(|reason| reason["reason"].as_str().unwrap()).collect::<Vec<_>>().join("; ")
}

/// Nothing is found different or repaired, everything is unknown, and this is why.
async fn all_unknown(world: &World, account_hours: u64, why: &str) {
    let before = world.rows().await;
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&told), [0, 0, account_hours, 0, 0], "{told}");
    assert!(reasons(&told).contains(why), "{told}");
    assert_eq!(world.rows().await, before);
    // The hours that were invented are in no day; days follow their hours, whatever the log says.
    let actions: Vec<_> = world.audit().await.into_iter().map(|entry| (entry.action, entry.target)).collect();
    assert_eq!(actions, [("recompute_day".to_owned(), "zeta 2026-11-20".to_owned())]);
}

#[tokio::test]
async fn a_hole_in_the_log_makes_all_that_it_may_have_held_unknown() {
    let world = damaged().await;
    world.counting.log.delete_record(&stream("BILLING"), 30).await.unwrap();
    all_unknown(&world, WITH_INVENTED, "records 30 to 30 of BILLING are no longer in the log").await;
}

#[tokio::test]
async fn a_hole_just_before_the_first_record_of_the_day_is_no_less_a_hole() {
    let world = World::new(Backend::Sqlite).await;
    world.counting.clock.set(at(8));
    world
        .counting
        .count("BILLING", &[billing("a", "acme", at(8)), billing("b", "acme", at(8)), billing("c", "acme", at(8))])
        .await;
    world.counting.clock.set(night());
    world.counting.log.delete_record(&stream("BILLING"), 2).await.unwrap();
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&told), [0, 0, 1, 0, 0], "{told}");
    assert!(reasons(&told).contains("before 3 of BILLING"), "{told}");
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn records_lost_before_they_were_counted_make_their_hours_unknown() {
    let world = damaged().await;
    world.counting.clock.set(at(21));
    world.counting.append("BILLING", &[billing("gone", "acme", at(9))]).await;
    world.counting.log.delete_record(&stream("BILLING"), 88).await.unwrap();
    world.counting.apply("BILLING").await;
    world.counting.clock.set(night());
    all_unknown(&world, WITH_INVENTED, "1 records that may have belonged to the hour were lost").await;
}

#[tokio::test]
async fn a_stream_that_was_made_again_makes_all_unknown() {
    let world = damaged().await;
    world.counting.log.delete_stream(&stream("BILLING")).await.unwrap();
    all_unknown(&world, HELD, "BILLING is no longer in the log").await;
    world.counting.ensure("BILLING").await;
    all_unknown(&world, HELD, "BILLING was made again since").await;
    // Counted on under its new making: what the old one had is more in the store than in the log.
    world.counting.count("BILLING", &[billing("new", "acme", night())]).await;
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!((counts(&told)[1], counts(&told)[3]), (0, 0), "{told}");
    assert!(reasons(&told).contains("BILLING was made again since"), "{told}");
    assert_eq!(told["undecided"][0]["recounted"], Value::Null, "what the store has is told all the same: {told}");
    assert!(world.audit().await.iter().all(|entry| entry.action != "repair_usage"));
}

#[tokio::test]
async fn an_hour_with_a_redriven_letter_is_unknown_and_the_others_are_told() {
    let world = World::new(Backend::Sqlite).await;
    world.counting.clock.set(at(5));
    world.counting.count("BILLING", &[billing("ahead", "acme", at(8)), billing("in time", "bolt", at(5))]).await;
    world.counting.clock.set(night());
    let future = DeadLetterFilter { reason: Some(DeadLetterReason::Future), ..DeadLetterFilter::default() };
    let redriven = world.parts.store.redrive(&future, &Rules::default(), night(), 10, false).await.unwrap();
    assert_eq!(redriven.counted, 1);
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&told), [1, 0, 1, 0, 0], "{told}");
    assert!(reasons(&told).contains("redriven and counted"), "{told}");
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn more_in_the_store_is_unknown_where_redriven_letters_may_have_been_deleted() {
    let mut world = damaged().await;
    world.parts.settings.retention.resolved_dead_letters = loadline_runtime::config::HumanDuration::secs(20 * 3_600);
    let told = world.verify(json!({ "repair": true })).await;
    // Of the four, the invented row of three o'clock alone lies before the letters that are surely there.
    assert_eq!(counts(&told), [ACCOUNT_HOURS - 3, 3, 1, 3, 0], "{told}");
    assert!(reasons(&told).contains("may have been deleted since"), "{told}");
}

#[tokio::test]
async fn without_their_keys_a_conflict_proves_nothing() {
    let world = World::busy(Backend::Sqlite).await;
    // Past their horizon the keys of the days are purged, while the log is kept.
    world.counting.tamper("DELETE FROM dedup_partition", 4).await;
    let told = world.verify(json!({ "repair": true })).await;
    // The event of eight o'clock whose id was counted another day looks like one that counts; it was refused.
    assert_eq!(counts(&told), [ACCOUNT_HOURS - 1, 0, 1, 0, 0], "{told}");
    assert!(reasons(&told).contains("the store has no key of"), "{told}");
    assert_eq!(world.audit().await, []);
}

#[tokio::test]
async fn beyond_the_budget_of_records_nothing_is_told() {
    let mut world = damaged().await;
    world.parts.settings.verify.max_records = 40;
    all_unknown(&world, HELD, "more than 40 records would have to be read").await;
    // A second window finds nothing left of it.
    let told = world.verify(json!({ "from": asked(0), "to": "2026-11-21T04:00:00Z" })).await;
    assert_eq!(counts(&told), [0, 0, HELD + 4, 0, 0], "{told}");
    assert!(reasons(&told).contains("rollup.verify.max_records"), "{told}");
}

#[tokio::test]
async fn a_day_in_any_number_of_pieces_is_told_the_same() {
    let mut world = damaged().await;
    let by_name = |mut told: Value| {
        let listed = told["differences"].as_array_mut().unwrap();
        listed.sort_by_key(|row| (row["account"].to_string(), row["hour"].to_string()));
        told
    };
    let whole = by_name(world.verify(json!({})).await);
    // The hour of eight has 23 identities, conflicts included, the others 22.
    for most in [40, 23] {
        world.parts.settings.verify.max_events = most;
        let mut told = by_name(world.verify(json!({})).await);
        assert!(told["records"].as_u64() > whole["records"].as_u64(), "it read no more than at once: {told}");
        (told["records"], told["turn"]) = (whole["records"].clone(), whole["turn"].clone());
        assert_eq!(told, whole, "{most} at once");
    }
    world.parts.settings.verify.max_events = 4;
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&told), [0, 1, 4, 1, 0], "only the hour without events is told: {told}");
    assert!(reasons(&told).contains("more than 4 events would have to be held in memory"), "{told}");
}

#[tokio::test]
async fn a_day_archived_while_it_is_verified_is_unknown() {
    let world = damaged().await;
    // As if the day went to history between the first look and the snapshot of the second window.
    let counting = world.counting.clone();
    world.meddled.before_window(0, move || {
        async move {
            let part = format!(
                "INSERT INTO archived_part (day, number, token, hourly_rows, hourly, latency_rows, latency, archived_at)
                 VALUES ({}, 0, 'token', 0, '[\"0\",\"0\",\"0\",\"0\",\"0\",\"0\",\"0\",\"0\",\"0\",\"0\"]', 0, '0', 0)",
                at(0).day().index()
            );
            counting.tamper(part, 1).await;
        }
        .boxed()
    });
    let told = world.verify(json!({ "from": at(0).minus(DAY).to_string(), "to": asked(24), "repair": true })).await;
    assert_eq!(counts(&told), [1, 0, 24, 0, 0], "{told}");
    assert!(reasons(&told).contains("archived meanwhile"), "{told}");
}

#[tokio::test]
async fn a_cancelled_run_ends_in_the_middle_of_a_comparison() {
    let world = damaged().await;
    world.meddled.before_window(0, || std::future::pending().boxed());
    let leading = world.lead("one");
    let run = world.enqueue(&json!({ "repair": true })).await;
    while world.parts.store.job_run(run.id).await.unwrap().unwrap().progress.note.is_empty() {
        sleep(Duration::from_millis(50)).await;
    }
    world.parts.store.request_cancel(run.id).await.unwrap();
    let ended = world.ended(&run).await;
    leading.stop().await;
    assert_eq!((ended.state, world.audit().await), (RunState::Cancelled, vec![]));
    assert!(ended.progress.note.contains("comparing from 2026-11-20T00:00:00Z"), "{:?}", ended.progress);
}

/// Acme and bolt at eight, counted; then acme has too little in the store and bolt too much.
async fn too_little_and_too_much(world: &World) -> Value {
    world.counting.clock.set(at(8).plus(HOUR / 2));
    world.counting.count("BILLING", &[billing("a", "acme", at(8)), billing("b", "bolt", at(8))]).await;
    world.counting.clock.set(night());
    world.counting.tamper(format!("UPDATE usage_hourly SET messages = 0 WHERE {}", of("acme", 8)), 1).await;
    world.counting.tamper(format!("UPDATE usage_hourly SET messages = 9 WHERE {}", of("bolt", 8)), 1).await;
    world.verify(json!({ "repair": true })).await
}

async fn made_again(world: &World, name: &str) {
    world.counting.log.delete_stream(&stream(name)).await.unwrap();
    world.counting.ensure(name).await;
    world.counting.apply(name).await;
}

#[tokio::test]
async fn a_log_that_was_made_again_that_day_proves_no_surplus_of_the_time_before() {
    let world = World::new(Backend::Sqlite).await;
    world.counting.clock.set(at(7));
    world.counting.count("DLR", &[receipt("early", "core", at(7), DeliveryStatus::Delivered)]).await;
    made_again(&world, "DLR").await;
    // At seven the former making ended: what core had then is no longer in the log, and nothing of eight was ever in it.
    let told = too_little_and_too_much(&world).await;
    assert_eq!(counts(&told), [0, 2, 1, 2, 0], "{told}");
    assert!(reasons(&told).contains("DLR was made again since"), "{told}");
    world.counting.clock.set(at(12));
    world.counting.count("DLR", &[receipt("first", "core", at(12), DeliveryStatus::Delivered)]).await;
    world.counting.clock.set(night());
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&told), [3, 0, 1, 0, 0], "{told}");
}

/// Another making came between and went: what it had was counted after the present one began.
#[tokio::test]
async fn a_log_that_was_put_back_hides_what_the_one_between_had() {
    let world = World::new(Backend::Sqlite).await;
    let between = format!(
        "INSERT INTO stream_progress (stream, incarnation, is_current, epoch, applied, counted, applied_at)
         VALUES ('BILLING', 'between', 0, 1, 5, 5, {})",
        at(12).micros()
    );
    world.counting.tamper(between, 1).await;
    let told = too_little_and_too_much(&world).await;
    // Acme lacks something, but what the log has of it may not be all.
    assert_eq!(counts(&told), [0, 1, 1, 0, 0], "{told}");
    assert!(reasons(&told).contains("BILLING was made again since"), "{told}");
    assert!(reasons(&told).contains("less than the log has, which may not be all"), "{told}");
}

#[tokio::test]
async fn a_log_that_lost_its_end_and_was_filled_again_tells_nothing() {
    let world = damaged().await;
    // Another record stands where counting stopped.
    world
        .counting
        .tamper("UPDATE stream_progress SET applied_at = applied_at - 1000000 WHERE stream = 'BILLING' AND is_current", 1)
        .await;
    all_unknown(&world, HELD, "it lost its end").await;
}

/// What came before the clock went back is out of sight of a search by time: nothing of it may be called a surplus.
#[tokio::test]
async fn a_log_whose_clock_went_back_proves_no_surplus() {
    let world = World::busy(Backend::Sqlite).await;
    let right = world.rows().await;
    world.counting.clock.set(at(8).minus(DAY * 2));
    world.counting.count("BILLING", &[billing("then", "core", at(8).minus(DAY * 2))]).await;
    world.counting.clock.set(night());
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!((counts(&told)[1], counts(&told)[3]), (0, 0), "{told}");
    assert!(counts(&told)[2] > 0 && reasons(&told).contains("the clock of BILLING went back from"), "{told}");
    // It goes on as it should: what lies between is out of order for good, and found or not.
    world.counting.count("BILLING", &[billing("now", "core", night())]).await;
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!((counts(&told)[1], counts(&told)[3]), (0, 0), "{told}");
    let now = world.rows().await;
    assert!(right.iter().all(|(key, usage)| now.get(key) == Some(usage)));
    // Once the log has nothing of before it, its times rise again. Hours of after it are told as ever.
    world.counting.clock.set(night().plus(DAY));
    world
        .counting
        .tamper(format!("UPDATE usage_hourly SET events = 9 WHERE account = 'core' AND hour = {}", night().hour().index()), 1)
        .await;
    let told = world
        .verify(json!({ "from": night().hour().start().to_string(), "to": night().hour().next().start().to_string() }))
        .await;
    assert_eq!(counts(&told)[1], 1, "{told}");
}

/// The log keeps the second pass of the clock only: what the first brought is gone, however old the oldest record is.
#[tokio::test]
async fn what_came_before_the_clock_went_back_and_has_left_the_log_is_no_surplus() {
    let world = World::new(Backend::Sqlite).await;
    world.counting.clock.set(at(11).plus(HOUR / 2));
    world.counting.count("BILLING", &[billing("first pass", "acme", at(11))]).await;
    let right = world.rows().await;
    let retention = Retention { max_age: None, max_bytes: Some(2_000) };
    world.counting.log.set_retention(&stream("BILLING"), retention).await.unwrap();
    world.counting.clock.set(at(9));
    for n in 0..40 {
        world.counting.count("BILLING", &[billing(&format!("second pass {n}"), "bolt", at(9))]).await;
    }
    assert!(world.counting.log.bounds(&stream("BILLING")).await.unwrap().first > 3, "the first of the second pass is gone too");
    for clock in [at(12), night()] {
        world.counting.clock.set(clock);
        let told = world.verify(json!({ "from": asked(11), "to": asked(12), "repair": true })).await;
        assert_eq!((counts(&told)[1], counts(&told)[3]), (0, 0), "{told}");
        assert!(reasons(&told).contains("what came before that is no longer in the log"), "{told}");
    }
    let now = world.rows().await;
    assert!(right.iter().all(|(key, usage)| now.get(key) == Some(usage)));
}

/// Nobody has seen that the clock went back, and the search by time looks at what is not counted yet too.
#[tokio::test]
async fn a_tail_from_before_that_is_not_counted_yet_hides_nothing() {
    let world = World::new(Backend::Sqlite).await;
    world.counting.clock.set(at(11).plus(HOUR / 2));
    world.counting.count("BILLING", &[billing("counted", "acme", at(11))]).await;
    let right = world.rows().await;
    world.counting.clock.set(at(3));
    let tail: Vec<_> = (0..40).map(|n| billing(&format!("tail {n}"), "bolt", at(3))).collect();
    world.counting.append("BILLING", &tail).await;
    world.counting.clock.set(night());
    let told = world.verify(json!({ "from": asked(11), "to": asked(12), "repair": true })).await;
    assert_eq!(counts(&told), [0, 0, 1, 0, 0], "{told}");
    assert!(reasons(&told).contains("are not in the order of their times"), "{told}");
    assert_eq!(world.rows().await, right);
}

/// Its last record was taken early in the morning, because its clock had gone back from noon.
#[tokio::test]
async fn a_past_making_whose_clock_went_back_hides_what_it_had_before_that() {
    let world = World::new(Backend::Sqlite).await;
    let past = format!(
        "INSERT INTO stream_progress
             (stream, incarnation, is_current, epoch, applied, counted, applied_at, set_back_to, set_back_from, set_back_at)
         VALUES ('BILLING', 'before', 0, 1, 5, 5, {0}, {0}, {1}, 3)",
        at(3).micros(),
        at(12).micros()
    );
    world.counting.tamper(past, 1).await;
    let told = too_little_and_too_much(&world).await;
    assert_eq!(counts(&told), [0, 1, 1, 0, 0], "{told}");
    assert!(reasons(&told).contains("BILLING was made again since"), "{told}");
}

#[tokio::test]
async fn events_counted_before_the_rules_were_narrowed_are_no_surplus() {
    let mut world = World::new(Backend::Sqlite).await;
    world.counting.clock.set(at(20));
    world.counting.count("BILLING", &[billing("a day late", "acme", at(1))]).await;
    world.counting.clock.set(night());
    world.parts.rules.billing_horizon = HOUR * 3;
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&told), [0, 0, 1, 0, 0], "{told}");
    assert!(reasons(&told).contains("too late or too early by the present rules"), "{told}");
}

#[tokio::test]
async fn a_log_that_was_made_again_long_before_proves_a_surplus() {
    let world = World::new(Backend::Sqlite).await;
    made_again(&world, "DLR").await;
    assert_eq!(counts(&too_little_and_too_much(&world).await), [0, 2, 0, 2, 0]);
}

/// As on a fresh machine: of drills, and often of receipts, there is none for days.
#[tokio::test]
async fn a_stream_that_never_had_a_record_hides_no_surplus() {
    let world = World::new(Backend::Sqlite).await;
    for name in ["LOADLINE-DRILL", "YOUNG"] {
        world.counting.ensure(name).await;
        world.counting.apply(name).await;
    }
    world.counting.clock.set(at(9));
    world.counting.count("YOUNG", &[receipt("first", "core", at(9), DeliveryStatus::Delivered)]).await;
    let told = too_little_and_too_much(&world).await;
    assert_eq!(counts(&told), [1, 2, 0, 2, 0], "{told}");
    assert_eq!(counts(&world.verify(json!({})).await), [3, 0, 0, 0, 0]);
}
