//! The accounts with most usage.

use crate::world::{HOUR, MINUTE, Published as _, Served, World, bill, noon, time};
use loadline_proto::{
    event as wire,
    query::{ListTopAccountsRequest, UsageFilter, list_top_accounts_request::OrderBy},
};

/// Few messages of many segments, many messages, and much money in dollars.
async fn three_accounts() -> (World, Served) {
    let world = World::new().await;
    let of = |account: &str, messages, segments, currency: &str, amount_micros| {
        let bill = bill(account, noon().minus(MINUTE));
        let (account, currency) = (account.to_owned(), currency.to_owned());
        wire::BillingEvent { account, messages, segments, currency, amount_micros, ..bill }.event()
    };
    world.count([of("few", 1, 90, "EUR", 10), of("many", 50, 50, "EUR", 20), of("rich", 2, 2, "USD", 1_000)]).await;
    let second = wire::BillingEvent { account: "few".to_owned(), currency: "USD".to_owned(), ..bill("2", noon().minus(MINUTE)) };
    world.count([second.event()]).await;
    let served = world.serve().await;
    (world, served)
}

fn ranking(order_by: OrderBy) -> ListTopAccountsRequest {
    ListTopAccountsRequest {
        from: Some(time(noon().minus(HOUR))),
        to: Some(time(noon())),
        order_by: order_by.into(),
        ..ListTopAccountsRequest::default()
    }
}

async fn names(served: &Served, request: ListTopAccountsRequest) -> Vec<String> {
    let answer = served.operator().list_top_accounts(request).await.unwrap().into_inner();
    answer.accounts.into_iter().map(|account| account.account).collect()
}

#[tokio::test]
async fn accounts_are_ranked_by_what_was_asked() {
    let (_world, served) = three_accounts().await;
    assert_eq!(names(&served, ranking(OrderBy::Unspecified)).await, ["many", "few", "rich"]);
    assert_eq!(names(&served, ranking(OrderBy::Segments)).await, ["few", "many", "rich"]);
    let dollars = UsageFilter { currencies: vec!["USD".to_owned()], ..UsageFilter::default() };
    assert_eq!(
        names(&served, ListTopAccountsRequest { filter: Some(dollars), ..ranking(OrderBy::Amount) }).await,
        ["few", "rich"]
    );
}

#[tokio::test]
async fn a_ranking_has_at_most_the_accounts_asked_for() {
    let (_world, served) = three_accounts().await;
    assert_eq!(names(&served, ListTopAccountsRequest { limit: 1, ..ranking(OrderBy::Messages) }).await, ["many"]);
}

#[tokio::test]
async fn an_accounts_sums_are_kept_apart_by_currency() {
    let (_world, served) = three_accounts().await;
    let answer = served.operator().list_top_accounts(ranking(OrderBy::Segments)).await.unwrap().into_inner();
    let few: Vec<_> = answer.accounts[0].totals.iter().map(|sum| (sum.currency.as_str(), sum.amount_micros)).collect();
    assert_eq!(few, [("EUR", 10), ("USD", 7_500)]);
    assert_eq!(answer.completeness.unwrap().streams.len(), 2);
}
