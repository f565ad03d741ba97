//! Counting an hour again from the log.

use crate::world::{HOUR, MINUTE, Published as _, Served, World, bill, billing, noon, receipt, receipts, time};
use loadline_domain::{DeadLetterReason, Timestamp};
use loadline_event_log::{EventLog as _, Retention};
use loadline_proto::{
    event::{self as wire, DeliveryStatus},
    query::{ExplainUsageRequest, ExplainUsageResponse},
};
use loadline_store::DeadLetterFilter;
use tonic::Code;

fn ten() -> Timestamp {
    noon().minus(HOUR * 2)
}

async fn explain(served: &Served) -> ExplainUsageResponse {
    let request = ExplainUsageRequest { account: "acme".to_owned(), hour: Some(time(ten())) };
    served.operator().explain_usage(request).await.unwrap().into_inner()
}

/// Ten o'clock of `acme`, in logs that reach back to the day before.
async fn aged() -> World {
    let world = World::new().await;
    world.clock.set(noon().minus(HOUR * 30));
    let long_ago = noon().minus(HOUR * 30);
    world.count([bill("old", long_ago).event(), receipt("old", long_ago, DeliveryStatus::Delivered).event()]).await;
    world.clock.set(noon());
    world
}

async fn busy() -> World {
    let world = aged().await;
    let mut events = Vec::new();
    for i in 0..50 {
        events.push(bill(&format!("e{i}"), ten().plus(MINUTE * (i % 60))).event());
        events.push(wire::BillingEvent { account: "bolt".to_owned(), ..bill(&format!("e{i}"), ten()) }.event());
    }
    events.push(wire::BillingEvent { currency: "USD".to_owned(), ..bill("usd", ten()) }.event());
    events.push(bill("e1", ten().plus(MINUTE)).event());
    events.push(wire::BillingEvent { amount_micros: 1, ..bill("e2", ten().plus(MINUTE * 2)) }.event());
    events.push(wire::BillingEvent { messages: 0, ..bill("broken", ten()) }.event());
    events.push(receipt("m1", ten(), DeliveryStatus::Delivered).event());
    events.push(receipt("m2", ten(), DeliveryStatus::Enroute).event());
    events.push(receipt("m1", ten(), DeliveryStatus::Delivered).event());
    world.count(events).await;
    world
}

#[tokio::test]
async fn an_honest_store_agrees_with_the_log() {
    let world = busy().await;
    // Appended and not applied: neither side may count it.
    world.append(billing(), [bill("later", ten()).event()]).await;
    let answer = explain(&world.serve().await).await;
    assert!(answer.conclusive, "{}", answer.detail);
    assert_eq!(answer.stored, answer.recounted);
    assert!(answer.differences.is_empty());
    let rows: Vec<_> = answer.stored.iter().map(|row| (row.currency.as_str(), row.usage.as_ref().unwrap().events)).collect();
    assert_eq!(rows, [("", 2), ("EUR", 50), ("USD", 1)]);
    assert_eq!((answer.duplicates, answer.dead_letters), (2, 2));
    let scanned: Vec<_> =
        answer.scanned.iter().map(|range| (range.stream.as_str(), range.first_sequence, range.last_sequence)).collect();
    assert_eq!(scanned, [("BILLING", 2, 105), ("DLR", 2, 4)]);
}

#[tokio::test]
async fn a_tampered_row_is_found() {
    let world = busy().await;
    world.tamper("UPDATE usage_hourly SET amount_micros = amount_micros + 5, delivered = delivered + 1 WHERE account = 'acme' AND currency = 'USD'").await;
    let answer = explain(&world.serve().await).await;
    assert!(answer.conclusive, "{}", answer.detail);
    let [difference] = answer.differences.as_slice() else { panic!("{answer:?}") };
    assert_eq!(difference.row.as_ref().unwrap().currency, "USD");
    assert_eq!((difference.events, difference.amount_micros, difference.receipts), (0, -5, -1));
}

#[tokio::test]
async fn a_row_that_is_gone_is_found() {
    let world = busy().await;
    world.tamper("DELETE FROM usage_hourly WHERE account = 'acme' AND currency = 'EUR' AND amount_micros > 100000").await;
    let answer = explain(&world.serve().await).await;
    assert!(answer.conclusive, "{}", answer.detail);
    assert_eq!((answer.differences.len(), answer.differences[0].events, answer.stored.len()), (1, 50, 2));
}

#[tokio::test]
async fn a_conflict_with_an_event_of_another_hour_is_not_counted_again() {
    let world = aged().await;
    world.clock.set(noon().minus(HOUR * 4));
    world.count([bill("same", noon().minus(HOUR * 4)).event()]).await;
    world.clock.set(noon());
    world.count([bill("same", ten()).event()]).await;
    let answer = explain(&world.serve().await).await;
    assert!(answer.conclusive && answer.differences.is_empty(), "{answer:?}");
    assert_eq!((answer.recounted.len(), answer.dead_letters), (0, 1));
}

#[tokio::test]
async fn a_conflict_with_an_event_of_another_day_is_not_counted_again() {
    let world = aged().await;
    // `old` was counted the day before.
    world.count([bill("old", ten()).event(), bill("new", ten()).event()]).await;
    let answer = explain(&world.serve().await).await;
    assert!(answer.conclusive && answer.differences.is_empty(), "{answer:?}");
    assert_eq!((answer.recounted[0].usage.as_ref().unwrap().events, answer.dead_letters), (1, 1));
}

#[tokio::test]
async fn the_same_event_in_two_streams_is_counted_once() {
    let world = aged().await;
    world.append(billing(), [bill("same", ten()).event()]).await;
    world.append(receipts(), [bill("same", ten()).event()]).await;
    world.apply().await;
    let answer = explain(&world.serve().await).await;
    assert!(answer.conclusive && answer.differences.is_empty(), "{answer:?}");
    assert_eq!(answer.duplicates, 1);
}

#[tokio::test]
async fn a_young_log_that_is_the_first_proves_agreement_shortage_and_surplus() {
    let world = World::new().await;
    world.count([bill("1", ten()).event(), bill("2", ten().plus(MINUTE)).event()]).await;
    let served = world.serve().await;
    assert!(explain(&served).await.conclusive);
    world.tamper("UPDATE usage_hourly SET messages = messages - 1").await;
    let short = explain(&served).await;
    assert!(short.conclusive && short.differences[0].messages == 1, "{short:?}");
    world.tamper("UPDATE usage_hourly SET messages = messages + 2").await;
    let surplus = explain(&served).await;
    assert!(surplus.conclusive && surplus.detail.contains("differs from the log in one row"), "{surplus:?}");
    assert_eq!(surplus.differences[0].messages, -1);
}

#[tokio::test]
async fn a_log_that_has_forgotten_the_hour_proves_nothing() {
    let world = aged().await;
    world.clock.set(ten());
    world.count([bill("1", ten()).event()]).await;
    world.clock.set(noon());
    world.count([bill("2", ten().plus(MINUTE)).event()]).await;
    let short = Retention { max_age: Some(MINUTE * 90), max_bytes: None };
    world.log.set_retention(&billing(), short).await.unwrap();
    let answer = explain(&world.serve().await).await;
    assert!(!answer.conclusive && answer.detail.contains("retention has passed it"), "{answer:?}");
    assert_eq!((answer.recounted[0].usage.as_ref().unwrap().events, answer.differences[0].events), (1, -1));
}

#[tokio::test]
async fn a_hole_in_the_log_proves_nothing() {
    let world = busy().await;
    world.log.delete_record(&billing(), 40).await.unwrap();
    let answer = explain(&world.serve().await).await;
    assert!(!answer.conclusive && answer.detail.contains("records 40 to 40 of BILLING"), "{answer:?}");
}

#[tokio::test]
async fn a_loss_that_may_have_held_events_of_the_hour_is_a_doubt() {
    let world = busy().await;
    world.append(billing(), [bill("gone", ten()).event()]).await;
    let last = 106;
    world.log.delete_record(&billing(), last).await.unwrap();
    world.apply().await;
    let answer = explain(&world.serve().await).await;
    assert!(!answer.conclusive && answer.detail.contains("lost before they were counted"), "{answer:?}");
}

#[tokio::test]
async fn a_stream_that_was_made_again_is_a_doubt() {
    let world = busy().await;
    world.log.delete_stream(&billing()).await.unwrap();
    world.ensure(billing()).await;
    let answer = explain(&world.serve().await).await;
    assert!(!answer.conclusive && answer.detail.contains("BILLING was made again"), "{answer:?}");
    world.log.delete_stream(&billing()).await.unwrap();
    let answer = explain(&world.serve().await).await;
    assert!(!answer.conclusive && answer.detail.contains("no longer in the log"), "{answer:?}");
}

#[tokio::test]
async fn a_redriven_dead_letter_is_a_doubt() {
    let world = aged().await;
    // Ahead of its record when it was appended; countable an hour later.
    world.clock.set(ten().minus(HOUR));
    world.count([bill("ahead", ten()).event()]).await;
    world.clock.set(noon());
    let future = DeadLetterFilter { reason: Some(DeadLetterReason::Future), ..DeadLetterFilter::default() };
    let redriven = world.store.redrive(&future, &world.rules, noon(), 10, false).await.unwrap();
    assert_eq!(redriven.counted, 1);
    let answer = explain(&world.serve().await).await;
    assert!(!answer.conclusive && answer.detail.contains("redriven"), "{answer:?}");
    assert_eq!(answer.differences[0].events, -1);
}

#[tokio::test]
async fn a_log_too_long_to_read_is_read_in_part_and_told_so() {
    let world = busy().await;
    let served = Served::over(&world, |parts| parts.settings.explain_max_records = 20).await;
    let answer = explain(&served).await;
    assert!(!answer.conclusive && answer.detail.contains("more than 20 records"), "{answer:?}");
    assert_eq!((answer.scanned[0].first_sequence, answer.scanned[0].last_sequence), (2, 21));
}

#[tokio::test]
async fn more_explanations_than_allowed_are_told_to_come_back() {
    let world = busy().await;
    let served = Served::over(&world, |parts| parts.settings.explain_at_once = 0).await;
    let request = ExplainUsageRequest { account: "acme".to_owned(), hour: Some(time(ten())) };
    let status = served.operator().explain_usage(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(loadline_runtime::errors::retry_after(&status).is_some());
}

#[tokio::test]
async fn an_hour_without_usage_agrees_at_zero() {
    let world = aged().await;
    let answer = explain(&world.serve().await).await;
    assert!(answer.conclusive && answer.stored.is_empty() && answer.recounted.is_empty(), "{answer:?}");
    assert!(answer.scanned.is_empty(), "all that was applied is older than the hour");
}
