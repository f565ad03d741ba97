//! Hourly usage: rows, sums, filters.

use crate::world::{HOUR, MINUTE, Published as _, World, bill, noon, receipt, time};
use loadline_proto::{
    event as wire,
    query::{Dimension, GetUsageRequest, GetUsageResponse, UsageFilter, UsageRow},
};

/// From three hours before noon to noon.
fn morning(account: &str) -> GetUsageRequest {
    GetUsageRequest {
        account: account.to_owned(),
        from: Some(time(noon().minus(HOUR * 3))),
        to: Some(time(noon())),
        ..GetUsageRequest::default()
    }
}

/// Two hours of mixed usage, and another account's.
async fn mixed() -> World {
    let world = World::new().await;
    let (nine, ten) = (noon().minus(HOUR * 3), noon().minus(HOUR * 2));
    world
        .count([
            bill("1", nine).event(),
            wire::BillingEvent { country: "FR".to_owned(), messages: 2, segments: 3, ..bill("2", nine.plus(MINUTE)) }.event(),
            wire::BillingEvent { currency: "USD".to_owned(), amount_micros: 100, ..bill("3", nine.plus(MINUTE * 2)) }.event(),
            wire::BillingEvent { channel: wire::Channel::Whatsapp.into(), ..bill("4", ten) }.event(),
            wire::BillingEvent { account: "bolt".to_owned(), ..bill("5", ten) }.event(),
            receipt("m1", nine, wire::DeliveryStatus::Delivered).event(),
            receipt("m2", nine, wire::DeliveryStatus::Expired).event(),
            receipt("m3", nine, wire::DeliveryStatus::Enroute).event(),
        ])
        .await;
    world
}

/// Hour (relative to nine), channel, country, currency, messages, amount, final receipts.
fn row(row: &UsageRow) -> (i64, i32, &str, &str, u64, i64, u64) {
    let usage = row.usage.as_ref().unwrap();
    let receipts = usage.receipts.as_ref().unwrap();
    let hour = (row.hour.unwrap().seconds - time(noon().minus(HOUR * 3)).seconds) / 3_600;
    assert_eq!(row.currency, usage.currency);
    let finals = receipts.delivered + receipts.undelivered + receipts.expired + receipts.rejected + receipts.failed;
    (hour, row.channel, &row.country, &row.currency, usage.messages, usage.amount_micros, finals)
}

async fn ask(world: &World, request: GetUsageRequest) -> GetUsageResponse {
    world.serve().await.operator().get_usage(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn amounts_of_two_currencies_are_never_in_one_row_or_sum() {
    let answer = ask(&mixed().await, morning("acme")).await;
    let rows: Vec<_> = answer.rows.iter().map(row).collect();
    let expected =
        [(0, 0, "", "", 0, 0, 2), (0, 0, "", "EUR", 3, 15_000, 0), (0, 0, "", "USD", 1, 100, 0), (1, 0, "", "EUR", 1, 7_500, 0)];
    assert_eq!(rows, expected);
    let totals: Vec<_> = answer.totals.iter().map(|sum| (sum.currency.as_str(), sum.events, sum.amount_micros)).collect();
    assert_eq!(totals, [("", 3, 0), ("EUR", 3, 22_500), ("USD", 1, 100)]);
    let receipts = answer.totals[0].receipts.as_ref().unwrap();
    assert_eq!((receipts.delivered, receipts.expired, receipts.not_final), (1, 1, 1));
}

#[tokio::test]
async fn rows_are_kept_apart_by_what_was_asked() {
    let world = mixed().await;
    let group_by = vec![Dimension::Channel.into(), Dimension::Country.into()];
    let answer = ask(&world, GetUsageRequest { group_by, ..morning("acme") }).await;
    let rows: Vec<_> = answer.rows.iter().map(row).collect();
    let expected = [
        (0, 1, "DE", "", 0, 0, 2),
        (0, 1, "DE", "EUR", 1, 7_500, 0),
        (0, 1, "DE", "USD", 1, 100, 0),
        (0, 1, "FR", "EUR", 2, 7_500, 0),
        (1, 4, "DE", "EUR", 1, 7_500, 0),
    ];
    assert_eq!(rows, expected);
    let apart = answer.totals;
    assert_eq!(apart, ask(&world, morning("acme")).await.totals, "sums do not depend on the grouping");
}

#[tokio::test]
async fn a_filter_restricts_rows_and_sums() {
    let world = mixed().await;
    let only = |filter| ask(&world, GetUsageRequest { filter: Some(filter), ..morning("acme") });
    let messages = |answer: &GetUsageResponse| answer.totals.iter().map(|sum| sum.messages).sum::<u64>();
    let channel = only(UsageFilter { channels: vec![wire::Channel::Whatsapp.into()], ..UsageFilter::default() }).await;
    assert_eq!((channel.rows.len(), messages(&channel)), (1, 1));
    let countries = only(UsageFilter { countries: vec!["FR".to_owned(), "IT".to_owned()], ..UsageFilter::default() }).await;
    assert_eq!((countries.rows.len(), messages(&countries)), (1, 2));
    let currency = only(UsageFilter { currencies: vec!["USD".to_owned()], ..UsageFilter::default() }).await;
    assert_eq!(currency.totals.iter().map(|sum| sum.currency.as_str()).collect::<Vec<_>>(), ["USD"]);
    let without = only(UsageFilter { currencies: vec![String::new()], ..UsageFilter::default() }).await;
    assert_eq!((without.totals.len(), messages(&without)), (1, 0));
}

#[tokio::test]
async fn an_event_on_the_hour_belongs_to_the_hour_it_begins() {
    let world = World::new().await;
    let eleven = noon().minus(HOUR);
    let before = eleven.minus(std::time::Duration::from_micros(1));
    world.count([bill("last", before).event(), bill("first", eleven).event()]).await;
    let ask = |from, to| ask(&world, GetUsageRequest { from: Some(time(from)), to: Some(time(to)), ..morning("acme") });
    assert_eq!(ask(noon().minus(HOUR * 2), eleven).await.totals[0].events, 1);
    assert_eq!(ask(eleven, noon()).await.totals[0].events, 1);
    let both = ask(before, eleven.plus(MINUTE)).await;
    assert_eq!((both.rows.len(), both.totals[0].events), (2, 2), "both ends are widened to whole hours");
}

#[tokio::test]
async fn an_answer_says_how_far_each_stream_was_counted() {
    let answer = ask(&mixed().await, morning("acme")).await;
    let completeness = answer.completeness.unwrap();
    let streams: Vec<_> = completeness
        .streams
        .iter()
        .map(|stream| (stream.progress.clone().unwrap(), stream.lag.unwrap()))
        .map(|(progress, lag)| (progress.stream.clone(), progress.applied, progress.counted, lag.seconds))
        .collect();
    assert_eq!(streams, [("BILLING".to_owned(), 5, 5, 0), ("DLR".to_owned(), 3, 3, 0)]);
    assert_eq!(completeness.parts.len(), 1);
}
