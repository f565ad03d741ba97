//! An account sees only its own data.

use crate::world::{HOUR, MINUTE, Published as _, Served, World, bill, noon, time};
use loadline_proto::{
    event as wire,
    query::{ExplainUsageRequest, GetDeliveryRequest, GetUsageRequest, ListTopAccountsRequest, WatchUsageRequest},
};
use loadline_runtime::errors;
use tonic::{Code, Status};

fn usage(account: &str) -> GetUsageRequest {
    GetUsageRequest {
        account: account.to_owned(),
        from: Some(time(noon().minus(HOUR))),
        to: Some(time(noon())),
        ..GetUsageRequest::default()
    }
}

async fn two_accounts() -> (World, Served) {
    let world = World::new().await;
    let of = |account: &str| wire::BillingEvent { account: account.to_owned(), ..bill(account, noon().minus(MINUTE)) }.event();
    world.count([of("acme"), of("bolt")]).await;
    let served = world.serve().await;
    (world, served)
}

/// Every way of asking for an account, as a caller with the accounts of `client`.
async fn refusals(served: &Served, caller: &'static str, account: &str) -> Vec<Status> {
    let mut client = served.service(caller);
    let GetUsageRequest { account, from, to, .. } = usage(account);
    let delivery = GetDeliveryRequest { account: account.clone(), from, to, ..GetDeliveryRequest::default() };
    let watched = WatchUsageRequest { usage: Some(usage(&account)), min_interval: None };
    vec![
        client.get_usage(usage(&account)).await.map(drop).unwrap_err(),
        client.get_delivery(delivery).await.map(drop).unwrap_err(),
        client.watch_usage(watched).await.map(drop).unwrap_err(),
        client.explain_usage(ExplainUsageRequest { account, hour: from }).await.map(drop).unwrap_err(),
    ]
}

#[tokio::test]
async fn a_service_sees_its_own_account_and_need_not_name_it() {
    let (_world, served) = two_accounts().await;
    let named = served.service("acme").get_usage(usage("acme")).await.unwrap().into_inner();
    let unnamed = served.service("acme").get_usage(usage("")).await.unwrap().into_inner();
    assert_eq!((named.account.as_str(), named.totals[0].events), ("acme", 1));
    assert_eq!((unnamed.account.as_str(), unnamed.rows), ("acme", named.rows));
}

#[tokio::test]
async fn a_foreign_account_is_refused_in_the_same_words_whether_it_exists_or_not() {
    let (_world, served) = two_accounts().await;
    let existing = refusals(&served, "acme", "bolt").await;
    let absent = refusals(&served, "acme", "nobody").await;
    for (existing, absent) in existing.iter().zip(&absent) {
        assert_eq!((existing.code(), absent.code()), (Code::PermissionDenied, Code::PermissionDenied));
        assert_eq!(existing.message().replace("bolt", "X"), absent.message().replace("nobody", "X"));
        assert_eq!(
            (errors::reason(existing), errors::reason(absent)),
            (Some("OUTSIDE_SCOPE".into()), Some("OUTSIDE_SCOPE".into()))
        );
    }
}

#[tokio::test]
async fn an_account_must_be_named_when_there_are_several() {
    let (_world, served) = two_accounts().await;
    for status in refusals(&served, "acme,bolt", "").await {
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let second = served.service("acme,bolt").get_usage(usage("bolt")).await.unwrap().into_inner();
    assert_eq!(second.account, "bolt");
    assert_eq!(served.operator().get_usage(usage("")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_identity_without_a_usable_account_sees_nothing() {
    let (_world, served) = two_accounts().await;
    for (caller, account) in [("", "acme"), ("", ""), ("acme,not an account", "acme")] {
        for status in refusals(&served, caller, account).await {
            assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        }
    }
}

#[tokio::test]
async fn only_an_operator_ranks_accounts() {
    let (_world, served) = two_accounts().await;
    let GetUsageRequest { from, to, .. } = usage("");
    let request = ListTopAccountsRequest { from, to, ..ListTopAccountsRequest::default() };
    let refused = served.service("acme").list_top_accounts(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(served.operator().list_top_accounts(request).await.is_ok());
}
