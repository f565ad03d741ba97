//! The shared tier of the cache on a real Redis server: what it keeps, for how long, and what is an error.

#![allow(clippy::unwrap_used)] // also in what the tests share

use loadline_models::{Sha256, Tensor, Values};
use loadline_runtime::config::SecretUrl;
use loadline_serving::cache::{
    Entry, Key,
    shared::{Shared, SharedError, open},
};
use loadline_tests::redis::RedisServer;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3_600);

fn tier(url: &str, ttl: Duration) -> Arc<dyn Shared> {
    open(&SecretUrl::new(url), ttl, None).unwrap()
}

async fn answering(server: &RedisServer, ttl: Duration) -> Arc<dyn Shared> {
    let tier = tier(&server.url(), ttl);
    tier.probe().await.unwrap();
    tier
}

fn entry(artifact: &[u8], value: f32) -> Entry {
    let tensor = |name| Tensor::new(name, [1], Values::F32(vec![value]));
    Entry { key: Key::of(Sha256::of(artifact), &[tensor("x")]), outputs: vec![tensor("y")].into() }
}

fn is_down<T>(answer: Result<T, SharedError>) -> bool {
    matches!(answer, Err(SharedError::Unavailable(_)))
}

#[tokio::test]
async fn what_is_kept_is_found_under_its_key_alone_until_its_time_is_over() {
    let server = RedisServer::start().await.unwrap();
    let tier = answering(&server, HOUR).await;
    assert_eq!(tier.get(&entry(b"a", 1.0).key).await, Ok(None));
    tier.put(&entry(b"a", 1.0)).await.unwrap();
    assert_eq!(tier.get(&entry(b"a", 1.0).key).await, Ok(Some(entry(b"a", 1.0))));
    for other in [entry(b"a", 2.0), entry(b"b", 1.0)] {
        assert_eq!(tier.get(&other.key).await, Ok(None));
    }
    let short = answering(&server, Duration::from_millis(50)).await;
    short.put(&entry(b"a", 3.0)).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(tier.get(&entry(b"a", 3.0).key).await, Ok(None));
}

#[tokio::test]
async fn a_flush_takes_out_one_artifacts_or_all_and_nothing_of_others() {
    let server = RedisServer::start().await.unwrap();
    let tier = answering(&server, HOUR).await;
    for value in 0..2_500 {
        tier.put(&entry(b"a", value as f32)).await.unwrap();
    }
    tier.put(&entry(b"b", 1.0)).await.unwrap();
    server.command("SET somebody elses").await.unwrap();
    assert_eq!(tier.flush(Some(&Sha256::of(b"a"))).await, Ok(2_500));
    assert_eq!(tier.get(&entry(b"b", 1.0).key).await, Ok(Some(entry(b"b", 1.0))));
    assert_eq!(tier.flush(None).await, Ok(1));
    assert!(server.command("GET somebody").await.unwrap().contains("elses"));
}

#[tokio::test]
async fn what_is_no_entry_is_damaged_and_not_down() {
    let server = RedisServer::start().await.unwrap();
    let tier = answering(&server, HOUR).await;
    tier.put(&entry(b"a", 1.0)).await.unwrap();
    let spoil = "EVAL \"for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('SETRANGE', key, 70, 'x') end return 1\" 0";
    assert!(server.command(spoil).await.unwrap().starts_with(":1"));
    assert!(matches!(tier.get(&entry(b"a", 1.0).key).await, Err(SharedError::Damaged(_))));
    tier.put(&entry(b"a", 1.0)).await.unwrap();
    assert_eq!(tier.get(&entry(b"a", 1.0).key).await, Ok(Some(entry(b"a", 1.0))));
}

#[tokio::test]
async fn a_server_that_is_gone_or_silent_is_an_error_until_a_probe_finds_it_again() {
    let mut server = RedisServer::start().await.unwrap();
    let tier = answering(&server, HOUR).await;
    tier.put(&entry(b"a", 1.0)).await.unwrap();
    server.stop().unwrap();
    assert!(is_down(tier.get(&entry(b"a", 1.0).key).await));
    assert!(is_down(tier.probe().await), "it takes connections and says nothing");
    server.go_on().unwrap();
    assert!(is_down(tier.put(&entry(b"a", 2.0)).await), "nobody waits for a connection");
    tier.probe().await.unwrap();
    assert_eq!(tier.get(&entry(b"a", 1.0).key).await, Ok(Some(entry(b"a", 1.0))));
    server.kill();
    assert!(is_down(tier.get(&entry(b"a", 1.0).key).await));
    assert!(is_down(tier.reconnect().await));
    server.restart().await.unwrap();
    tier.reconnect().await.unwrap();
    assert_eq!(tier.get(&entry(b"a", 1.0).key).await, Ok(None), "it kept nothing");
}

#[test]
fn a_url_that_is_none_is_refused_without_what_it_holds() {
    let refused = open(&SecretUrl::new("redis://user:secret@:port/"), HOUR, None).err().unwrap();
    assert!(matches!(&refused, SharedError::Misconfigured(why) if !why.contains("secret")), "{refused}");
}
