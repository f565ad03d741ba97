//! Delivery rates, how mature they are, and how long delivery took.

use crate::world::{HOUR, MINUTE, Published as _, World, bill, noon, receipt, time};
use loadline_proto::{
    event::{self as wire, DeliveryStatus},
    query::{Dimension, GetDeliveryRequest, GetDeliveryResponse},
};
use std::time::Duration;

async fn ask(world: &World, group_by: &[Dimension]) -> GetDeliveryResponse {
    let request = GetDeliveryRequest {
        account: "acme".to_owned(),
        from: Some(time(noon().minus(HOUR))),
        to: Some(time(noon())),
        group_by: group_by.iter().map(|dimension| (*dimension).into()).collect(),
        filter: None,
    };
    world.serve().await.operator().get_delivery(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_rate_compares_final_receipts_and_says_how_many_are_still_out() {
    let world = World::new().await;
    let at = noon().minus(MINUTE * 30);
    let statuses = [DeliveryStatus::Delivered, DeliveryStatus::Delivered, DeliveryStatus::Delivered, DeliveryStatus::Failed];
    let receipts = statuses.into_iter().enumerate().map(|(i, status)| receipt(&format!("m{i}"), at, status).event());
    let bills = (0..5).map(|i| bill(&i.to_string(), at).event());
    world.count(bills.chain(receipts)).await;
    world.count([receipt("m4", at, DeliveryStatus::Enroute).event()]).await;
    let total = ask(&world, &[]).await.total.unwrap();
    assert_eq!((total.messages, total.delivery_rate, total.maturity), (5, Some(0.75), Some(0.8)));
    let latency = total.latency.unwrap();
    assert_eq!(latency.count, 3);
    let p50 = Duration::try_from(latency.p50.unwrap()).unwrap().as_secs_f64();
    assert!((1.9..=2.1).contains(&p50), "{p50}");
}

#[tokio::test]
async fn a_carrier_that_repeats_itself_does_not_move_the_rate() {
    let world = World::new().await;
    let at = noon().minus(MINUTE * 30);
    let first = receipt("m", at, DeliveryStatus::Delivered);
    let again = wire::DeliveryReceipt { reported_at: Some(time(at.plus(MINUTE))), ..first.clone() };
    world.count([bill("1", at).event(), first.event()]).await;
    let before = ask(&world, &[]).await.total;
    world.count([again.event()]).await;
    assert_eq!(ask(&world, &[]).await.total, before);
}

#[tokio::test]
async fn without_final_receipts_there_is_no_rate() {
    let world = World::new().await;
    world.count([bill("1", noon().minus(MINUTE)).event()]).await;
    let total = ask(&world, &[]).await.total.unwrap();
    assert_eq!((total.delivery_rate, total.maturity, total.latency), (None, Some(0.0), None));
}

#[tokio::test]
async fn groups_have_their_own_rates_and_the_total_is_over_all() {
    let world = World::new().await;
    let at = noon().minus(MINUTE * 30);
    let to_france = |mut receipt: wire::DeliveryReceipt| {
        receipt.country = "FR".to_owned();
        receipt.event()
    };
    world
        .count([
            bill("1", at).event(),
            wire::BillingEvent { country: "FR".to_owned(), ..bill("2", at) }.event(),
            receipt("m1", at, DeliveryStatus::Delivered).event(),
            to_france(receipt("m2", at, DeliveryStatus::Undelivered)),
        ])
        .await;
    let answer = ask(&world, &[Dimension::Country]).await;
    let rows: Vec<_> = answer.rows.iter().map(|row| (row.country.as_str(), row.messages, row.delivery_rate)).collect();
    assert_eq!(rows, [("DE", 1, Some(1.0)), ("FR", 1, Some(0.0))]);
    assert_eq!(answer.rows[1].latency, None, "only deliveries have a latency");
    let total = answer.total.unwrap();
    assert_eq!((total.country.as_str(), total.messages, total.delivery_rate), ("", 2, Some(0.5)));
}
