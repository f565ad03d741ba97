//! What is counted, what may still change, and what cannot be known.

use crate::world::{HOUR, MINUTE, Published as _, Served, World, bill, billing, noon, receipt, receipts, time};
use loadline_domain::{StreamName, Timestamp};
use loadline_event_log::{EventLog as _, Retention};
use loadline_proto::{
    event as wire,
    query::{GetUsageRequest, GetUsageResponse, period::State},
};
use std::time::Duration;

async fn ask(world: &World, from: Timestamp, to: Timestamp) -> GetUsageResponse {
    ask_at(&world.serve().await, from, to).await
}

async fn ask_at(served: &Served, from: Timestamp, to: Timestamp) -> GetUsageResponse {
    let request =
        GetUsageRequest { account: "acme".to_owned(), from: Some(time(from)), to: Some(time(to)), ..GetUsageRequest::default() };
    served.operator().get_usage(request).await.unwrap().into_inner()
}

/// Hours before `end` that each period lasts, with its state, oldest first.
fn periods(answer: &GetUsageResponse) -> Vec<(i64, State)> {
    let hours = |period: &loadline_proto::query::Period| (period.to.unwrap().seconds - period.from.unwrap().seconds) / 3_600;
    answer.periods.iter().map(|period| (hours(period), period.state())).collect()
}

#[tokio::test]
async fn an_hour_becomes_final_when_every_horizon_has_passed() {
    let world = World::new().await;
    world.count([bill("1", noon().minus(HOUR)).event()]).await;
    let to = noon().plus(HOUR * 2);
    let first = ask(&world, noon().minus(HOUR * 2), to).await;
    assert_eq!(periods(&first), [(4, State::Provisional)]);
    // And a little more: clocks may differ.
    world.clock.set(noon().plus(HOUR * 96 + MINUTE));
    let later = ask(&world, noon().minus(HOUR * 2), to).await;
    assert_eq!(periods(&later), [(2, State::Final), (2, State::Provisional)]);
    assert_eq!(later.totals, first.totals);
}

#[tokio::test]
async fn zero_usage_is_told_from_usage_not_counted_yet() {
    let world = World::new().await;
    world.count([wire::BillingEvent { account: "bolt".to_owned(), ..bill("1", noon().minus(MINUTE)) }.event()]).await;
    let (from, to) = (noon(), noon().plus(HOUR));
    world.clock.set(noon().plus(HOUR * 2));
    let zero = ask(&world, from, to).await;
    assert_eq!((zero.rows.len(), periods(&zero)), (0, vec![(1, State::Provisional)]));

    world.append(billing(), [bill("2", noon().plus(MINUTE)).event()]).await;
    world.clock.set(noon().plus(HOUR * 2 + MINUTE * 2));
    let waiting = ask(&world, from, to).await;
    assert_eq!((waiting.rows.len(), periods(&waiting)), (0, vec![(1, State::Pending)]));
    let lag = waiting.completeness.unwrap().streams[0].lag.unwrap();
    assert_eq!(lag.seconds, 120);

    world.apply().await;
    let counted = ask(&world, from, to).await;
    assert_eq!((counted.rows.len(), periods(&counted)), (1, vec![(1, State::Provisional)]));
}

#[tokio::test]
async fn a_stream_that_was_never_counted_holds_every_hour_back() {
    let world = World::new().await;
    world.append(receipts(), [receipt("m", noon(), wire::DeliveryStatus::Delivered).event()]).await;
    world.apply_stream(&billing()).await;
    let answer = ask(&world, noon().minus(HOUR * 24), noon()).await;
    assert_eq!(periods(&answer), [(24, State::Pending)]);
    let dlr = answer.completeness.unwrap().streams[1].progress.clone().unwrap();
    assert_eq!((dlr.stream.as_str(), dlr.applied), ("DLR", 0));
}

#[tokio::test]
async fn a_stream_is_waited_for_while_the_log_has_it_even_when_it_is_no_longer_configured() {
    let world = World::new().await;
    let old = StreamName::new("BILLING-OLD").unwrap();
    world.ensure(old.clone()).await;
    world.append(old.clone(), [bill("1", noon()).event()]).await;
    world.apply_stream(&old).await;
    world.append(old.clone(), [bill("2", noon()).event()]).await;
    world.apply().await;
    world.clock.set(noon().plus(HOUR * 3));
    assert_eq!(periods(&ask(&world, noon().plus(HOUR), noon().plus(HOUR * 2)).await), [(1, State::Pending)]);
    world.log.delete_stream(&old).await.unwrap();
    assert_eq!(periods(&ask(&world, noon().plus(HOUR), noon().plus(HOUR * 2)).await), [(1, State::Provisional)]);
}

#[tokio::test]
async fn dead_letters_and_losses_that_could_change_the_answer_are_told() {
    let world = World::new().await;
    let broken = wire::BillingEvent { amount_micros: -1, ..bill("1", noon().minus(MINUTE)) }.event();
    let foreign = wire::BillingEvent { account: "bolt".to_owned(), amount_micros: -1, ..bill("2", noon().minus(MINUTE)) }.event();
    world.count([broken, foreign]).await;
    world.append_raw(billing(), [b"\xff\xff".to_vec()]).await;
    world.apply().await;
    let doubts =
        |answer: GetUsageResponse| answer.completeness.map(|completeness| (completeness.dead_letters, completeness.lost));
    assert_eq!(doubts(ask(&world, noon().minus(HOUR), noon()).await), Some((2, 0)), "its own, and nobody's");

    world.append(billing(), [bill("3", noon()).event(), bill("4", noon()).event()]).await;
    world.clock.set(noon().plus(HOUR * 2));
    let short = Retention { max_age: Some(HOUR), max_bytes: None };
    world.log.set_retention(&billing(), short).await.unwrap();
    world.append(billing(), [bill("5", noon().plus(HOUR)).event()]).await;
    world.apply().await;
    assert_eq!(doubts(ask(&world, noon(), noon().plus(HOUR)).await), Some((1, 2)));
}

#[tokio::test]
async fn an_hour_with_more_receipts_than_messages_does_not_become_final() {
    let world = World::new().await;
    let nine = noon().minus(HOUR * 3);
    world
        .count([
            bill("1", nine.plus(HOUR)).event(),
            receipt("m1", nine, wire::DeliveryStatus::Delivered).event(),
            receipt("m2", nine.plus(HOUR), wire::DeliveryStatus::Delivered).event(),
        ])
        .await;
    world.clock.set(noon().plus(Duration::from_secs(200 * 3_600)));
    let answer = ask(&world, nine.minus(HOUR), nine.plus(HOUR * 2)).await;
    assert_eq!(periods(&answer), [(1, State::Final), (1, State::Provisional), (1, State::Final)]);
}
