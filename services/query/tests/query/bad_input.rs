//! Every field that can be wrong is named, with what to do about it.

use crate::world::{HOUR, Published as _, World, bill, noon, time};
use loadline_domain::Timestamp;
use loadline_proto::query::{
    ExplainUsageRequest, GetDeliveryRequest, GetUsageRequest, Granularity, ListTopAccountsRequest, UsageFilter,
    WatchUsageRequest, list_top_accounts_request::OrderBy,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The fields a refusal names.
fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert!(violations.iter().all(|violation| violation.description.len() > 8), "{status}");
    violations.into_iter().map(|violation| violation.field).collect()
}

fn good() -> GetUsageRequest {
    GetUsageRequest {
        account: "acme".to_owned(),
        from: Some(time(noon().minus(HOUR))),
        to: Some(time(noon())),
        ..GetUsageRequest::default()
    }
}

fn bad_questions() -> Vec<(&'static str, GetUsageRequest)> {
    let at = |hours: i64| {
        let mut at = time(noon());
        at.seconds += hours * 3_600;
        Some(at)
    };
    let filter = |filter| Some(filter);
    let euro = UsageFilter { currencies: vec!["euro".to_owned()], ..UsageFilter::default() };
    let ninth_channel = UsageFilter { channels: vec![9], ..UsageFilter::default() };
    let germany = UsageFilter { countries: vec!["Germany\u{1b}[2J".to_owned()], ..UsageFilter::default() };
    vec![
        ("account", GetUsageRequest { account: String::new(), ..good() }),
        ("account", GetUsageRequest { account: "a b".to_owned(), ..good() }),
        ("account", GetUsageRequest { account: "x".repeat(129), ..good() }),
        ("from", GetUsageRequest { from: None, ..good() }),
        ("to", GetUsageRequest { to: None, ..good() }),
        ("to", GetUsageRequest { from: at(0), to: at(-1), ..good() }),
        ("to", GetUsageRequest { from: at(0), to: at(0), ..good() }),
        ("to", GetUsageRequest { from: at(-400 * 24 - 1), to: at(0), ..good() }),
        ("from", GetUsageRequest { from: at(25), to: at(26), ..good() }),
        ("from", GetUsageRequest { from: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }), ..good() }),
        ("to", GetUsageRequest { to: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), ..good() }),
        ("to", GetUsageRequest { to: Some(prost_types::Timestamp { seconds: i64::MIN, nanos: -5 }), ..good() }),
        ("group_by", GetUsageRequest { group_by: vec![0], ..good() }),
        ("group_by", GetUsageRequest { group_by: vec![1, 77], ..good() }),
        ("filter.currencies", GetUsageRequest { filter: filter(euro), ..good() }),
        ("filter.channels", GetUsageRequest { filter: filter(ninth_channel), ..good() }),
        ("filter.countries", GetUsageRequest { filter: filter(germany), ..good() }),
    ]
}

#[tokio::test]
async fn a_bad_usage_question_names_its_field() {
    let world = World::new().await;
    let served = world.serve().await;
    for (field, request) in bad_questions() {
        let status = served.operator().get_usage(request.clone()).await.unwrap_err();
        assert_eq!(fields(&status), [field], "{request:?}");
    }
}

#[tokio::test]
async fn a_bad_watched_question_names_its_field_by_path() {
    let world = World::new().await;
    let served = world.serve().await;
    for (field, usage) in bad_questions() {
        let request = WatchUsageRequest { usage: Some(usage), min_interval: None };
        let status = served.operator().watch_usage(request).await.map(drop).unwrap_err();
        assert_eq!(fields(&status), [format!("usage.{field}")]);
    }
    let fast = Some(prost_types::Duration { seconds: 0, nanos: 1 });
    let status = served.operator().watch_usage(WatchUsageRequest { usage: Some(good()), min_interval: fast }).await;
    assert_eq!(fields(&status.map(drop).unwrap_err()), ["min_interval"]);
    let nothing = served.operator().watch_usage(WatchUsageRequest::default()).await.map(drop).unwrap_err();
    assert_eq!(fields(&nothing), ["usage.account"]);
}

/// On Lord Howe Island, whose days begin on the hour of UTC from 3 October 2027 on and before 4 April, and on the half between.
fn on_lord_howe(granularity: Granularity, from: &str, to: &str) -> GetUsageRequest {
    let at = |text: &str| Some(time(text.parse::<Timestamp>().unwrap()));
    let time_zone = "Australia/Lord_Howe".to_owned();
    GetUsageRequest { from: at(from), to: at(to), granularity: granularity.into(), time_zone, ..good() }
}

#[tokio::test]
async fn a_zone_is_refused_for_its_periods_and_not_for_the_usage_in_them() {
    let world = World::new().await;
    let served = world.serve().await;
    let submitted: Timestamp = "2027-10-12T11:00:00Z".parse().unwrap();
    world.clock.set(submitted.plus(HOUR));
    let (from, to) = ("2027-10-09T13:00:00Z", "2027-10-19T13:00:00Z");
    let by_day = on_lord_howe(Granularity::Day, from, to);
    // The month begins before the days asked for, and the winter lies between the ends of the year.
    let by_month = on_lord_howe(Granularity::Month, from, to);
    let by_day_of_the_year = on_lord_howe(Granularity::Day, "2026-12-31T13:00:00Z", "2027-12-31T13:00:00Z");
    for rows in [0, 1] {
        let answer = served.operator().get_usage(by_day.clone()).await.unwrap().into_inner();
        assert_eq!(answer.rows.len(), rows);
        for usage in [&by_month, &by_day_of_the_year] {
            let refused = served.operator().get_usage(usage.clone()).await.unwrap_err();
            assert_eq!(fields(&refused), ["time_zone"], "with {rows} rows");
            let watch = WatchUsageRequest { usage: Some(usage.clone()), min_interval: None };
            let refused = served.operator().watch_usage(watch).await.map(drop).unwrap_err();
            assert_eq!(fields(&refused), ["usage.time_zone"], "with {rows} rows");
        }
        world.count([bill("1", submitted).event()]).await;
    }
}

#[tokio::test]
async fn a_bad_delivery_question_names_its_field() {
    let world = World::new().await;
    let served = world.serve().await;
    for (field, GetUsageRequest { account, from, to, group_by, filter, .. }) in bad_questions() {
        let status =
            served.operator().get_delivery(GetDeliveryRequest { account, from, to, group_by, filter }).await.unwrap_err();
        assert_eq!(fields(&status), [field]);
    }
    let GetUsageRequest { account, from, to, .. } = good();
    let good = GetDeliveryRequest { account, from, to, ..GetDeliveryRequest::default() };
    let by_currency = GetDeliveryRequest { group_by: vec![3], ..good.clone() };
    assert_eq!(fields(&served.operator().get_delivery(by_currency).await.unwrap_err()), ["group_by"]);
    let euro = UsageFilter { currencies: vec!["EUR".to_owned()], ..UsageFilter::default() };
    let in_euro = GetDeliveryRequest { filter: Some(euro), ..good };
    assert_eq!(fields(&served.operator().get_delivery(in_euro).await.unwrap_err()), ["filter.currencies"]);
}

#[tokio::test]
async fn a_bad_ranking_names_its_field() {
    let world = World::new().await;
    let served = world.serve().await;
    let GetUsageRequest { from, to, .. } = good();
    let good = ListTopAccountsRequest { from, to, ..ListTopAccountsRequest::default() };
    let two = UsageFilter { currencies: vec!["EUR".to_owned(), "USD".to_owned()], ..UsageFilter::default() };
    for (field, request) in [
        ("from", ListTopAccountsRequest { from: None, ..good.clone() }),
        ("to", ListTopAccountsRequest { from: to, to: from, ..good.clone() }),
        ("limit", ListTopAccountsRequest { limit: 1_001, ..good.clone() }),
        ("order_by", ListTopAccountsRequest { order_by: 42, ..good.clone() }),
        ("filter.currencies", ListTopAccountsRequest { order_by: OrderBy::Amount.into(), ..good.clone() }),
        ("filter.currencies", ListTopAccountsRequest { order_by: OrderBy::Amount.into(), filter: Some(two), ..good.clone() }),
    ] {
        assert_eq!(fields(&served.operator().list_top_accounts(request).await.unwrap_err()), [field]);
    }
}

#[tokio::test]
async fn a_bad_hour_to_explain_is_named() {
    let world = World::new().await;
    let served = world.serve().await;
    let account = "acme".to_owned();
    for hour in [None, Some(prost_types::Timestamp::default()), Some(time(noon().plus(HOUR * 25)))] {
        let request = ExplainUsageRequest { account: account.clone(), hour };
        assert_eq!(fields(&served.operator().explain_usage(request).await.unwrap_err()), ["hour"]);
    }
    let nobody = ExplainUsageRequest { account: String::new(), hour: Some(time(noon())) };
    assert_eq!(fields(&served.operator().explain_usage(nobody).await.unwrap_err()), ["account"]);
}

#[tokio::test]
async fn a_question_that_is_too_large_is_refused() {
    let world = World::new().await;
    let served = world.serve().await;
    let status = served.operator().get_usage(GetUsageRequest { account: "x".repeat(100_000), ..good() }).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status}");
}
