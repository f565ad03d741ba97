//! Verification: what differs is found and put right exactly, and what cannot be told is left alone.

#![allow(clippy::unwrap_used)]

macro_rules! on_both_stores {
    ($($fact:ident)*) => {$(
        mod $fact {
            #[tokio::test]
            async fn on_sqlite() {
                super::$fact(crate::Backend::Sqlite).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                super::$fact(crate::Backend::Postgres).await;
            }
        }
    )*};
}

mod open;
#[path = "../../../store/tests/postgres_server.rs"]
mod postgres_server;
mod unknown;
mod world;

use futures::FutureExt as _;
use loadline_rollup::{job::Running, jobs, leader::ROLE};
use loadline_store::{RunFilter, RunState, contract::billing};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;
use world::{Backend, DAY, World, asked, at, hour_of, of};

on_both_stores! {
    a_store_that_agrees_is_found_equal_and_left_alone
    rows_changed_removed_and_invented_are_found_exactly
    a_repair_makes_it_right_is_written_down_and_repeats_as_nothing
    a_row_that_moves_between_comparison_and_repair_is_not_touched
    an_old_leader_that_wakes_up_repairs_nothing
    a_killed_run_is_done_again_and_repairs_the_rest
    while_events_are_counted_nothing_differs
    what_the_log_has_forgotten_is_unknown_and_stays
    a_record_refused_for_its_total_is_not_counted_again
    archived_days_are_refused_with_what_to_ask_for
    events_from_before_and_long_after_the_day_are_counted_again
    days_that_differ_from_their_hours_are_found_and_computed_again
}

/// The account-hours of a busy day: three accounts, four hours.
const ACCOUNT_HOURS: u64 = 12;

/// Equal, different, unknown, repaired, moved.
fn counts(told: &Value) -> [u64; 5] {
    ["equal", "different", "unknown", "repaired", "moved"].map(|name| told[name].as_u64().unwrap())
}

/// Account, hour of the day, and one of the numbers counted and recounted, of each row listed.
fn rows<'a>(told: &'a Value, number: &str) -> Vec<(&'a str, String, Option<i64>, Option<i64>)> {
    let row = |row: &'a Value| {
        let side = |side: &str| row[side].is_object().then(|| row[side][number].as_i64().unwrap_or(0));
        (row["account"].as_str().unwrap(), row["hour"].as_str().unwrap().to_owned(), side("counted"), side("recounted"))
    };
    told["differences"].as_array().unwrap().iter().map(row).collect()
}

/// One row changed, one removed, one invented for an account that never was, one status swapped for another.
async fn damage(world: &World) {
    let hours = &world.counting;
    hours
        .tamper(format!("UPDATE usage_hourly SET messages = messages + 3 WHERE {} AND currency = 'EUR'", of("acme", 9)), 1)
        .await;
    hours.tamper(format!("DELETE FROM usage_hourly WHERE {}", of("bolt", 10)), 1).await;
    let invented = format!(
        "INSERT INTO usage_hourly SELECT 'zeta', {}, channel, country, currency, 2, 2, 4, 150000, 0, 0, 0, 0, 0, 0
         FROM usage_hourly WHERE {}",
        hour_of(3).index(),
        of("core", 8)
    );
    hours.tamper(invented, 1).await;
    let swapped = format!("UPDATE usage_hourly SET delivered = 0, failed = delivered WHERE {} AND currency = ''", of("acme", 11));
    hours.tamper(swapped, 1).await;
}

async fn a_store_that_agrees_is_found_equal_and_left_alone(backend: Backend) {
    let world = World::busy(backend).await;
    let before = world.rows().await;
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&told), [ACCOUNT_HOURS, 0, 0, 0, 0], "{told}");
    assert_eq!((&told["from"], &told["hours"], &told["findings"]), (&json!("2026-11-20T00:00:00Z"), &json!(24), &json!(0)));
    let one = world.verify(json!({ "account": "bolt", "from": asked(8), "to": asked(10), "repair": true })).await;
    assert_eq!(counts(&one), [2, 0, 0, 0, 0], "{one}");
    // The hour of the oldest records too, and those that have not ended.
    let (from, to) = (at(0).minus(DAY).to_string(), "2026-11-21T05:00:00Z");
    let wide = world.verify(json!({ "from": from, "to": to })).await;
    assert_eq!(counts(&wide), [ACCOUNT_HOURS + 1, 0, 0, 0, 0], "{wide}");
    assert_eq!((world.rows().await, world.audit().await), (before, vec![]));
}

async fn rows_changed_removed_and_invented_are_found_exactly(backend: Backend) {
    let world = World::busy(backend).await;
    damage(&world).await;
    let damaged = world.rows().await;
    let told = world.verify(json!({})).await;
    assert_eq!(counts(&told), [ACCOUNT_HOURS - 3, 4, 0, 0, 0], "{told}");
    let expected = [
        ("acme", asked(9), Some(13), Some(10)),
        ("acme", asked(11), Some(0), Some(0)),
        ("bolt", asked(10), None, Some(5)),
        ("zeta", asked(3), Some(2), None),
    ];
    assert_eq!(rows(&told, "messages"), expected, "{told}");
    assert_eq!(rows(&told, "failed")[1], ("acme", asked(11), Some(5), Some(0)));
    assert_eq!((&told["findings"], &told["days"]["different"]), (&json!(5), &json!(1)), "zeta's hours are in no day: {told}");
    // A narrower question finds what is in it, and nothing else.
    let bolt = world.verify(json!({ "account": "bolt" })).await;
    assert_eq!((counts(&bolt), rows(&bolt, "events")), ([3, 1, 0, 0, 0], vec![("bolt", asked(10), None, Some(5))]));
    let early = world.verify(json!({ "from": asked(0), "to": asked(9) })).await;
    assert_eq!((counts(&early), rows(&early, "events")), ([3, 1, 0, 0, 0], vec![("zeta", asked(3), Some(2), None)]));
    assert_eq!((world.rows().await, world.audit().await), (damaged, vec![]), "nothing was to be repaired");
}

async fn a_repair_makes_it_right_is_written_down_and_repeats_as_nothing(backend: Backend) {
    let world = World::busy(backend).await;
    let right = world.rows().await;
    damage(&world).await;
    let leader = world.parts.store.lead(ROLE, "roll-up", Duration::from_secs(60)).await.unwrap().unwrap();
    while world.parts.store.roll_up(&leader, 100).await.unwrap().more {}
    world.parts.store.step_down(&leader).await.unwrap();
    let told = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&told), [ACCOUNT_HOURS - 3, 4, 0, 4, 0], "{told}");
    assert_eq!(world.rows().await, right);
    let entries = world.audit().await;
    let targets: Vec<_> = entries.iter().map(|entry| entry.target.clone()).collect();
    assert_eq!(
        targets,
        [("acme", 9), ("acme", 11), ("bolt", 10), ("zeta", 3)].map(|(name, hour)| format!("{name} {}", asked(hour)))
    );
    assert!(entries.iter().all(|entry| entry.actor == "operator" && entry.action == "repair_usage"));
    assert!(entries[2].reason.contains("up to BILLING 87, DLR 25"), "{:?}", entries[2].reason);
    assert!(entries[2].before == "[]" && entries[2].after.contains("[5,5,10,375000,"), "{:?}", entries[2]);
    assert!(entries[3].before.contains("[2,2,4,150000,") && entries[3].after == "[]", "{:?}", entries[3]);
    assert_eq!(world.parts.store.dirty().await.unwrap().account_days, 3, "the days of acme, bolt and zeta follow");
    let conservation = world.parts.store.conservation().await.unwrap();
    assert_eq!(conservation.counted, conservation.usage_events);
    let again = world.verify(json!({ "repair": true })).await;
    assert_eq!(counts(&again), [ACCOUNT_HOURS, 0, 0, 0, 0], "{again}");
    assert_eq!((world.rows().await, world.audit().await), (right, entries));
}

async fn a_row_that_moves_between_comparison_and_repair_is_not_touched(backend: Backend) {
    let world = World::busy(backend).await;
    damage(&world).await;
    let counting = world.counting.clone();
    world
        .meddled
        .before_window(0, move || async move { counting.count("BILLING", &[billing("moving", "acme", at(9))]).await }.boxed());
    let told = world.verify(json!({ "repair": true })).await;
    // As of the snapshot: the new event is on neither side.
    assert_eq!(counts(&told), [ACCOUNT_HOURS - 3, 4, 0, 3, 1], "{told}");
    assert_eq!(rows(&told, "events")[0], ("acme", asked(9), Some(10), Some(10)));
    let moved = world.rows().await.into_iter().find(|(key, _)| key.hour == hour_of(9) && key.currency.is_known());
    assert_eq!(moved.map(|(_, usage)| (usage.events, usage.messages)), Some((11, 14)), "as it was, with what came");
    assert_eq!(world.audit().await.len(), 3);
    let again = world.verify(json!({ "repair": true })).await;
    assert_eq!((counts(&again), world.audit().await.len()), ([ACCOUNT_HOURS - 1, 1, 0, 1, 0], 4));
}

async fn an_old_leader_that_wakes_up_repairs_nothing(backend: Backend) {
    let world = World::busy(backend).await;
    damage(&world).await;
    let damaged = world.rows().await;
    let store = world.parts.store.clone();
    let old = store.lead(ROLE, "old", Duration::from_millis(300)).await.unwrap().unwrap();
    let asked_for = world.enqueue(&json!({ "repair": true })).await;
    let run = store.claim(&old).await.unwrap().unwrap();
    assert_eq!(run.id, asked_for.id);
    // Paused after it had compared, for longer than its lease.
    let taking = store.clone();
    world.meddled.before_window(0, move || {
        async move {
            sleep(Duration::from_millis(500)).await;
            taking.lead(ROLE, "new", Duration::from_secs(60)).await.unwrap().expect("the lease has expired");
        }
        .boxed()
    });
    let verify = jobs::all(&world.parts).into_iter().find(|job| job.name() == "verify").unwrap();
    let refused = verify.run(&Running { run, leadership: old, store }).await.unwrap_err();
    assert!(refused.is_stale(), "{refused}");
    assert_eq!((world.rows().await, world.audit().await), (damaged, vec![]));
}

async fn a_killed_run_is_done_again_and_repairs_the_rest(backend: Backend) {
    let world = World::busy(backend).await;
    let right = world.rows().await;
    let stray = |hour: u32, day: i32| {
        format!(
            "INSERT INTO usage_hourly SELECT 'stray', {}, channel, country, currency, 1, 1, 2, 75000, 0, 0, 0, 0, 0, 0
             FROM usage_hourly WHERE {}",
            hour_of(hour).index() + day * 24,
            of("core", 8)
        )
    };
    world.counting.tamper(stray(6, -1), 1).await;
    world.counting.tamper(stray(6, 0), 1).await;
    // The second day never ends.
    world.meddled.before_window(1, || std::future::pending().boxed());
    let first = world.lead("first");
    let run = world.enqueue(&json!({ "from": at(0).minus(DAY).to_string(), "to": asked(24), "repair": true })).await;
    while world.audit().await.is_empty() {
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_millis(300)).await;
    first.die().await;
    let second = world.lead("second");
    assert_eq!(world.ended(&run).await.state, RunState::Interrupted);
    let again = world.parts.store.job_runs(&RunFilter::default(), None, 1).await.unwrap().remove(0);
    let ended = world.ended(&again).await;
    second.stop().await;
    let told: Value = serde_json::from_str(ended.result.as_deref().unwrap()).unwrap();
    assert_eq!((ended.asked.attempt, counts(&told)), (2, [ACCOUNT_HOURS + 1, 1, 0, 1, 0]), "{told}");
    assert_eq!((world.rows().await, world.audit().await.len()), (right, 2));
}

async fn while_events_are_counted_nothing_differs(backend: Backend) {
    let world = World::busy(backend).await;
    let counting = world.counting.clone();
    let traffic = tokio::spawn(async move {
        for round in 0.. {
            let events: Vec<_> = (0..60_usize)
                .map(|n| billing(&format!("{round}-{}", n % 50), ["acme", "bolt", "new"][n % 3], at(8 + n as u32 % 14)))
                .collect();
            // Appended always, counted now and then: the log is ahead of the store.
            counting.append("BILLING", &events).await;
            if round % 3 == 0 {
                counting.apply("BILLING").await;
            }
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..4 {
        let told = world.verify(json!({ "repair": true })).await;
        assert_eq!(counts(&told)[1..], [0, 0, 0, 0], "{told}");
        assert!(counts(&told)[0] >= ACCOUNT_HOURS, "{told}");
    }
    traffic.abort();
    let _ = traffic.await;
    assert_eq!(world.audit().await, []);
}

async fn what_the_log_has_forgotten_is_unknown_and_stays(backend: Backend) {
    let world = World::busy(backend).await;
    damage(&world).await;
    let damaged = world.rows().await;
    // The log reaches back to half past nine: ten and eleven can be told, eight and nine cannot, nor three.
    world.counting.forget_before(at(9).plus(Duration::from_secs(60))).await;
    let told = world.verify(json!({ "repair": true })).await;
    // Acme at eleven and bolt at ten differ; what is before ten is unknown, changed or not.
    assert_eq!(counts(&told), [4, 2, 7, 2, 0], "{told}");
    let reasons = told["reasons"].as_array().unwrap();
    assert!(reasons.iter().all(|reason| reason["reason"].as_str().unwrap().contains("retention has passed it")), "{told}");
    let (mut before, mut after) = (damaged, world.rows().await);
    before.retain(|key, _| key.hour < hour_of(10));
    after.retain(|key, _| key.hour < hour_of(10));
    assert_eq!(after, before);
    assert_eq!(world.audit().await.into_iter().filter(|entry| entry.action == "repair_usage").count(), 2);
}

async fn a_record_refused_for_its_total_is_not_counted_again(backend: Backend) {
    let world = World::busy(backend).await;
    let amount = |sum: &str| format!("UPDATE usage_hourly SET amount_micros = {sum} WHERE {}", of("core", 9));
    world.counting.tamper(amount("9223372036854775807"), 1).await;
    world.counting.clock.set(at(21));
    world.counting.count("BILLING", &[billing("too much", "core", at(9)), billing("fits", "core", at(10))]).await;
    world.counting.clock.set(world::night());
    world.counting.tamper(amount("75000"), 1).await;
    let told = world.verify(json!({})).await;
    assert_eq!(counts(&told), [ACCOUNT_HOURS, 0, 0, 0, 0], "the refused record is in the dead letters: {told}");
}

async fn archived_days_are_refused_with_what_to_ask_for(backend: Backend) {
    let world = World::busy(backend).await;
    // Three days stay beside today: the busy day is the oldest of them.
    world.counting.clock.set(world::night().plus(DAY * 2));
    let leading = world.lead("one");
    let archived = world.enqueue_job("archive", &json!({})).await;
    assert_eq!(world.ended(&archived).await.state, RunState::Succeeded);
    assert_eq!(world.parts.store.boundary().await.unwrap(), Some(at(0).day()));
    let (from, to) = (at(0).minus(DAY).to_string(), asked(12));
    let run = world.ended(&world.enqueue(&json!({ "from": from, "to": to, "repair": true })).await).await;
    let error = run.error.unwrap_or_default();
    assert!(run.state == RunState::Failed && error.contains("ask from 2026-11-20T00:00:00Z on"), "{error}");
    leading.stop().await;
    assert_eq!(counts(&world.verify(json!({ "from": asked(0), "to": asked(12) })).await), [ACCOUNT_HOURS, 0, 0, 0, 0]);
}

async fn events_from_before_and_long_after_the_day_are_counted_again(backend: Backend) {
    let world = World::busy(backend).await;
    let night = world::night();
    // The morning's clock was three minutes ahead of the log's, and behind thousands of the next day's comes one of the evening.
    world.counting.clock.set(night.day().start().minus(Duration::from_secs(180)));
    world.counting.count("BILLING", &[billing("ahead", "early", night.day().start())]).await;
    world.counting.clock.set(night);
    let many: Vec<_> = (0..10_100).map(|n| billing(&n.to_string(), "busy", night)).collect();
    world.counting.count("BILLING", &many).await;
    world.counting.clock.set(night.plus(DAY));
    world.counting.count("BILLING", &[billing("behind", "tardy", at(22))]).await;
    let day_before = world.verify(json!({ "from": asked(0), "to": asked(24) })).await;
    assert_eq!(counts(&day_before), [ACCOUNT_HOURS + 1, 0, 0, 0, 0], "{day_before}");
    let day = world.verify(json!({})).await;
    assert_eq!((counts(&day), &day["from"]), ([2, 0, 0, 0, 0], &json!("2026-11-21T00:00:00Z")), "{day}");
}

/// Hours are right; of the days, one says too much, another is gone, a third is older than what is verified every night.
async fn days_that_differ_from_their_hours_are_found_and_computed_again(backend: Backend) {
    let world = World::busy(backend).await;
    let leader = world.parts.store.lead(ROLE, "roll-up", Duration::from_secs(60)).await.unwrap().unwrap();
    while world.parts.store.roll_up(&leader, 100).await.unwrap().more {}
    world.parts.store.step_down(&leader).await.unwrap();
    assert_eq!(world.verify(json!({})).await["findings"], 0);
    let (today, before) = (at(0).day().index(), at(0).day().index() - 1);
    let too_much = "UPDATE usage_daily SET messages = messages + 35 WHERE account = 'acme' AND currency = 'EUR' AND day";
    world.counting.tamper(format!("{too_much} = {today}"), 1).await;
    world.counting.tamper(format!("{too_much} = {before}"), 1).await;
    world.counting.tamper(format!("DELETE FROM usage_daily WHERE account = 'bolt' AND day = {today}"), 1).await;

    let told = world.verify(json!({})).await;
    assert_eq!((counts(&told), &told["findings"]), ([ACCOUNT_HOURS, 0, 0, 0, 0], &json!(3)), "{told}");
    let wrong = json!([
        { "from": at(0).minus(DAY).to_string(), "different": 1, "repaired": 0, "accounts": ["acme"] },
        { "from": asked(0), "different": 2, "repaired": 0, "accounts": ["acme", "bolt"] },
    ]);
    assert_eq!((&told["days"]["wrong"], &told["days"]["different"]), (&wrong, &json!(3)), "{told}");
    assert_eq!(world.parts.store.dirty().await.unwrap().account_days, 0, "nothing was to be repaired");
    assert_eq!((&told["days"]["from"], &told["days"]["to"]), (&json!("2000-01-01T00:00:00Z"), &json!(asked(24))), "{told}");
    // Part of a day says nothing of it.
    let part = world.verify(json!({ "from": asked(1), "to": asked(24) })).await;
    assert_eq!(part["days"]["different"], 0);
    let one = world.verify(json!({ "repair": true, "repair_at_most": 1 })).await;
    assert_eq!((&one["days"]["repaired"], &one["findings"]), (&json!(1), &json!(3)), "{one}");
    let rest = world.verify(json!({ "repair": true })).await;
    assert_eq!((&rest["days"]["repaired"], &rest["findings"]), (&json!(2), &json!(2)), "{rest}");
    assert_eq!(world.verify(json!({})).await["findings"], 0, "what is marked is answered by hours");
    let targets: Vec<_> = world.audit().await.into_iter().map(|entry| (entry.action, entry.target)).collect();
    let expected = ["acme 2026-11-19", "acme 2026-11-20", "bolt 2026-11-20"];
    assert_eq!(targets, expected.map(|target| ("recompute_day".to_owned(), target.to_owned())));
    assert_eq!(world.parts.store.dirty().await.unwrap().account_days, 3);
}
