//! Migrations, and the store as a whole.

use super::{Owner, Subject, billing, noon};
use crate::{Options, StoreError, open};
use std::{sync::Arc, time::Duration};

pub async fn migrating_again_keeps_everything(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    subject.migrate().await.unwrap();
    let again = open(&subject.url, Options::default()).await.unwrap();
    again.migrate().await.unwrap();
    assert_eq!(again.progress(&owner.lease.stream).await.unwrap(), Some(owner.progress));
}

pub async fn a_store_has_one_name_for_good(subject: &Subject) {
    let name = subject.identity().await.unwrap();
    let again = open(&subject.url, Options::default()).await.unwrap();
    again.migrate().await.unwrap();
    assert_eq!(again.identity().await.unwrap(), name);
    assert!(name.len() >= 32, "{name}");
}

/// `url` names a store that was never migrated.
pub async fn many_may_migrate_at_once(url: &str) {
    let stores = futures::future::join_all((0..6).map(|_| open(url, Options::default()))).await;
    let migrations = stores.into_iter().map(|store| {
        let store = store.unwrap();
        tokio::spawn(async move { store.migrate().await.map(|()| store) })
    });
    for outcome in futures::future::join_all(migrations).await {
        let store = outcome.unwrap().unwrap();
        assert_eq!(store.all_progress().await.unwrap(), []);
    }
}

pub async fn a_newer_schema_is_refused_with_both_versions(subject: &Subject) {
    subject
        .tamper(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (4711, 'from the future', true, '', 0)",
        )
        .await;
    let newer = open(&subject.url, Options::default()).await.unwrap();
    let refused = newer.migrate().await;
    let Err(StoreError::NewerSchema { found: 4711, known }) = refused else { panic!("{refused:?}") };
    assert!((1..4711).contains(&known));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("4711") && text.contains(&known.to_string()), "{text}");
}

pub async fn a_working_store_answers_the_probe(subject: &Subject) {
    subject.probe().await.unwrap();
    let machine = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let store = Duration::from_micros(subject.now().await.unwrap().micros() as u64);
    assert!(machine.abs_diff(store) < Duration::from_secs(60), "{machine:?} and {store:?}");
    assert!(subject.caveats().iter().all(|caveat| !caveat.is_empty()));
}

pub async fn a_reconnected_store_goes_on(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    subject.reconnect().await;
    owner.count(&[billing("a", "acme", noon()), billing("b", "acme", noon())]).await;
    assert_eq!((owner.counters(), subject.total("acme").await.events), ((2, 1, 0, 0), 2));

    // Also while others are at work.
    let store = Arc::clone(&subject.store);
    let reconnecting = tokio::spawn(async move {
        for _ in 0..10 {
            store.reconnect().await;
        }
    });
    for i in 0..30 {
        owner.count(&[billing(&format!("busy-{i}"), "acme", noon())]).await;
    }
    reconnecting.await.unwrap();
    assert_eq!(subject.total("acme").await.events, 32);
    subject.assert_conserved().await;
}

pub async fn what_was_committed_is_there_when_opened_again(subject: &Subject) {
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    let again = Subject::new(subject.url.clone()).await;
    assert_eq!(again.progress(&owner.lease.stream).await.unwrap(), Some(owner.progress));
    let mut owner = Owner::of(&again.store, "BILLING").await;
    owner.count(&[billing("a", "acme", noon())]).await;
    assert_eq!((owner.counters(), again.total("acme").await.events), ((1, 1, 0, 0), 1));
}
