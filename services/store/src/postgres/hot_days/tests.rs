//! What only the store itself can show: an answer of several statements, and a store of before there were days.

use super::*;
use crate::{
    Archived, Exported, Options,
    contract::{Owner, Subject, billing, noon, receipt},
    postgres::{export, postgres_server::PostgresServer, transact::Reach},
};
use futures::TryStreamExt as _;
use loadline_domain::archive::{Part, Totals};
use loadline_proto::event::DeliveryStatus;
use sqlx::{Connection as _, migrate::Migrator, raw_sql};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// Events that are hot, and those of listed parts.
const HOT: &str = "SELECT coalesce(sum(events), 0)::bigint FROM usage_hourly";
const ARCHIVED: &str = "SELECT coalesce(sum((hourly::json->>0)::bigint), 0)::bigint FROM archived_part";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_several_statements_sees_a_day_here_or_there_however_long_it_takes() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    Owner::of(&subject.store, "BILLING").await.count(&[billing("a", "acme", noon()), billing("b", "beta", noon())]).await;
    let store = PostgresStore::connect(&subject.url, Options::default()).unwrap();
    let leadership = subject.lead("rollup", "only", Duration::from_secs(60)).await.unwrap().unwrap();
    let part = Part { day: noon().day(), number: 0, token: "first".to_owned() };
    let moved = subject.archive(&leadership, &part, &Totals::default()).await.unwrap();
    let Archived::Moved { found } = moved else { panic!("{moved:?}") };
    let (asked, begun) = oneshot::channel();
    let answering = tokio::spawn(async move {
        store
            .read(Reach::Table, move |connection| {
                Box::pin(async move {
                    let archived: i64 = sqlx::query_scalar(ARCHIVED).fetch_one(&mut *connection).await?;
                    asked.send(()).unwrap();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let hot: i64 = sqlx::query_scalar(HOT).fetch_one(&mut *connection).await?;
                    Ok((archived, hot))
                })
            })
            .await
    });
    begun.await.unwrap();
    assert_eq!(subject.archive(&leadership, &part, &found).await.unwrap(), Archived::Done);
    assert_eq!(answering.await.unwrap().unwrap(), (0, 2), "it began before the day moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_two_make_at_once_is_made_by_one() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let day = Day::from_index(noon().day().index() + 100);
    let store = Arc::new(PostgresStore::connect(&subject.url, Options::default()).unwrap());
    // A connection that has made days reads no catalog on its way to the next one, and does not hear of tables made meanwhile.
    for before in 1..4 {
        store.make_day(Day::from_index(day.index() - before)).await.unwrap();
    }
    let mut first = PgConnection::connect(&subject.url).await.unwrap();
    raw_sql("BEGIN").execute(&mut first).await.unwrap();
    make(&mut first, [day], &KnownDays::default()).await.unwrap();
    let second = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.make_day(day).await }
    });
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut first).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    raw_sql("COMMIT").execute(&mut first).await.unwrap();
    second.await.unwrap().unwrap();
    assert!(store.days_before(Day::from_index(day.index() + 1)).await.unwrap().contains(&day));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_exported_in_the_same_order_wherever_it_is_sorted() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    for batch in 0..3 {
        let of = |i: u32| (format!("{batch}-{i}"), format!(r"{}\account", (i * 7_919 + batch) % 1_000));
        let at = |i: u32| noon().minus(Duration::from_secs(u64::from(i % 12) * 3_600));
        let billed = |i: u32| billing(&of(i).0, &of(i).1, at(i));
        owner.count(&(0..3_000).map(billed).collect::<Vec<_>>()).await;
        let delivered = |i: u32| receipt(&of(i).0, &of(i).1, at(i), DeliveryStatus::Delivered);
        owner.count(&(0..3_000).map(delivered).collect::<Vec<_>>()).await;
    }
    let store = PostgresStore::connect(&subject.url, Options::default()).unwrap();
    let exported = |sorted_here| export::export(store.copies.clone(), noon().day(), sorted_here).try_collect::<Vec<_>>();
    let (mut here, mut by_key) = ((vec![], vec![]), (vec![], vec![]));
    for (sorted_here, (hourly, latency)) in [(i64::MAX, &mut here), (0, &mut by_key)] {
        for rows in exported(sorted_here).await.unwrap() {
            match rows {
                Exported::Hourly(rows) => hourly.extend(rows),
                Exported::Latency(rows) => latency.extend(rows),
            }
        }
    }
    assert!(here.0.len() > 9_000 && here.1.len() > 5_000, "{} and {}", here.0.len(), here.1.len());
    assert_eq!(here, by_key);
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_of_before_there_were_tables_a_day_are_all_there() {
    let server = PostgresServer::start().await;
    let mut before = PgConnection::connect(&server.service_url()).await.unwrap();
    let mut older = sqlx::migrate!("migrations/postgres");
    older.migrations = older.migrations.iter().filter(|migration| migration.version < 8).cloned().collect();
    Migrator::run_direct(&older, None, &mut before, false).await.unwrap();
    raw_sql(
        "SET loadline.account TO 'every account';
         INSERT INTO usage_hourly SELECT account, hour, 1, 'DE', 'EUR', 1, 1, 1, 1, 0, 0, 0, 0, 0, 0
         FROM generate_series(-30, 500000, 997) AS hour, (VALUES ('acme'), ('beta')) AS accounts (account);
         INSERT INTO latency_hourly SELECT account, hour, channel, country, 3, events FROM usage_hourly",
    )
    .execute(&mut before)
    .await
    .unwrap();
    let hot: i64 = sqlx::query_scalar(HOT).fetch_one(&mut before).await.unwrap();
    let store = crate::open(&server.service_url(), Options::default()).await.unwrap();
    store.migrate().await.unwrap();
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_before%'";
    let (now, left): (i64, i64) = (
        sqlx::query_scalar(HOT).fetch_one(&mut before).await.unwrap(),
        sqlx::query_scalar(left).fetch_one(&mut before).await.unwrap(),
    );
    assert_eq!((now, left), (hot, 0));
    let latencies: i64 =
        sqlx::query_scalar("SELECT sum(count)::bigint FROM latency_hourly").fetch_one(&mut before).await.unwrap();
    assert_eq!(latencies, hot);
    // And it counts on, for days that were there and for others.
    let mut owner = Owner::of(&store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    owner.count(&[receipt("m", "acme", noon(), DeliveryStatus::Delivered)]).await;
    let now: i64 = sqlx::query_scalar(HOT).fetch_one(&mut before).await.unwrap();
    assert_eq!(now, hot + 2);
}
