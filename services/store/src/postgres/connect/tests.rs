//! What connections know as they open, and which of them are used again.

use super::*;
use crate::{
    Export,
    contract::{Owner, Subject, billing, noon},
    postgres::{export, postgres_server::PostgresServer},
};
use futures::{StreamExt as _, TryStreamExt as _};

/// Statements about hours that are planned already.
const PLANNED: &str = "SELECT count(*) FROM pg_prepared_statements
    WHERE generic_plans > 0 AND statement LIKE '%stream_progress%usage_hourly%' AND statement NOT LIKE '%pg_prepared_statements%'";

async fn planned(store: &PostgresStore) -> i64 {
    let mut connection = store.pool.acquire().await.unwrap();
    sqlx::query_scalar(PLANNED).fetch_one(&mut *connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_for_answers_has_planned_them_when_it_opens() {
    let server = PostgresServer::start().await;
    let options = Options { answers: true, max_connections: 2, ..Options::default() };
    let store = PostgresStore::connect(&server.service_url(), options).unwrap();
    // Before there are tables it opens all the same.
    assert_eq!(planned(&store).await, 0);
    store.migrate().await.unwrap();
    assert_eq!(planned(&store).await, 4);
    let plain = PostgresStore::connect(&server.service_url(), Options { answers: false, ..options }).unwrap();
    assert_eq!(planned(&plain).await, 0);
}

/// Waits until no connection is in use; how many there are.
async fn idle(pool: &Pool) -> u32 {
    let pool = pool.0.read().unwrap().clone();
    let all_back = async {
        while pool.num_idle() != pool.size() as usize {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pool.size()
    };
    timeout(Duration::from_secs(10), all_back).await.expect("a connection stays in use")
}

async fn chunks(export: Export) -> usize {
    export.try_collect::<Vec<_>>().await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_copies_one_day_after_another_unless_a_copy_was_left_midway() {
    let server = PostgresServer::start().await;
    let subject = Subject::new(server.service_url()).await;
    let events: Vec<_> = (0..30_000).map(|i| billing(&format!("e-{i}"), &format!("account-{i}"), noon())).collect();
    Owner::of(&subject.store, "BILLING").await.count(&events).await;
    let store = PostgresStore::connect(&server.service_url(), Options::default()).unwrap();
    let export = || export::export(store.copies.clone(), noon().day(), 0);
    for _ in 0..3 {
        assert_eq!(chunks(export()).await, 4);
        assert_eq!(idle(&store.copies).await, 1);
    }
    let mut left = export();
    left.next().await.unwrap().unwrap();
    drop(left);
    assert_eq!(idle(&store.copies).await, 0);
    assert_eq!(chunks(export()).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_for_the_locks_of_all_connections_is_told_what_to_set() {
    let server = PostgresServer::start().await;
    let store = PostgresStore::connect(&server.service_url(), Options::default()).unwrap();
    store.migrate().await.unwrap();
    let mut connection = store.pool.acquire().await.unwrap();
    assert_eq!(locks::gap(&mut connection, 4).await.unwrap(), None);
    let gap = locks::gap(&mut connection, 1_000).await.unwrap().unwrap();
    assert!(gap.contains("set max_locks_per_transaction to ") && gap.contains("store.max_connections"), "{gap}");
}
