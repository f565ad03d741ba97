//! What only the embedded store can go through: one file, several processes, a held lock, a runtime that ends midway.
#![allow(clippy::unwrap_used)] // helpers are no tests to clippy

use loadline_domain::{
    AccountScope,
    question::{Grain, GroupBy, UsageFilter, UsageQuery},
};
use loadline_store::{
    Options, StoreError,
    contract::{Owner, Subject, billing, noon},
    open,
};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;

async fn fresh(folder: &TempDir) -> Subject {
    Subject::new(url(&folder.path().join("store.db"))).await
}

fn url(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

async fn raw(folder: &TempDir) -> SqliteConnection {
    let file = SqliteConnectOptions::new().filename(folder.path().join("store.db"));
    SqliteConnection::connect_with(&file).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_share_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let subject = fresh(&folder).await;
    // As another process would: connections of its own.
    let other = open(&subject.url, Options::default()).await.unwrap();
    let work = [Arc::clone(&subject.store), other].into_iter().enumerate().map(|(process, store)| {
        tokio::spawn(async move {
            let mut owner = Owner::of(&store, &format!("BILLING-{process}")).await;
            for batch in 0..20 {
                // Every event is published to both.
                let events: Vec<_> = (0..50).map(|i| billing(&format!("{batch}-{i}"), "acme", noon())).collect();
                owner.count(&events).await;
            }
            owner.counters()
        })
    });
    let counters = futures::future::join_all(work).await;
    let counted: u64 = counters.iter().map(|counters| counters.as_ref().unwrap().0).sum();
    let duplicates: u64 = counters.iter().map(|counters| counters.as_ref().unwrap().1).sum();
    assert_eq!((counted, duplicates), (1_000, 1_000));
    let conservation = subject.conservation().await.unwrap();
    assert_eq!((conservation.usage_events, conservation.unaccounted), (1_000, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_held_by_another_process_makes_it_unavailable_not_broken() {
    let folder = tempfile::tempdir().unwrap();
    let subject = fresh(&folder).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    let mut other = raw(&folder).await;
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let probe = subject.probe().await;
    assert!(matches!(probe, Err(StoreError::Unavailable(_))), "{probe:?}");
    let batch = owner.batch(&[billing("a", "acme", noon())]);
    let refused = owner.try_commit(&batch).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    // Reading goes on.
    assert_eq!(subject.all_progress().await.unwrap(), [owner.progress.clone()]);
    held.rollback().await.unwrap();
    owner.try_commit(&batch).await.unwrap();
    subject.probe().await.unwrap();
    assert_eq!(owner.counters(), (1, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_one_snapshot_whatever_is_committed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let subject = fresh(&folder).await;
    let mut owner = Owner::of(&subject.store, "BILLING").await;
    owner.count(&[billing("first", "acme", noon())]).await;
    let store = Arc::clone(&subject.store);
    let writing = tokio::spawn(async move {
        for batch in 0..60 {
            owner.count(&(0..20).map(|i| billing(&format!("{batch}-{i}"), "acme", noon())).collect::<Vec<_>>()).await;
        }
    });
    let hours = UsageQuery {
        account: loadline_domain::AccountId::new("acme").unwrap(),
        from: noon().hour(),
        to: noon().hour().next(),
        filter: UsageFilter::default(),
        group_by: GroupBy::default(),
        grain: Grain::Hour,
    };
    let mut asked = 0;
    while !writing.is_finished() || asked == 0 {
        let (rows, as_of) = store.usage(&AccountScope::All, &hours).await.unwrap();
        assert_eq!(rows[0].usage.events as u64, as_of.progress[0].counted);
        let conservation = store.conservation().await.unwrap();
        assert_eq!(conservation.counted, conservation.usage_events);
        asked += 1;
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_unavailable_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let refused = open(&url(&file.join("store.db")), Options::default()).await.err().unwrap();
    assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains(&file.display().to_string())), "{refused:?}");
    assert!(refused.is_retryable());
}

#[tokio::test]
async fn a_file_that_is_no_store_is_broken_not_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    std::fs::write(&file, "this is no database, and long enough to have a header".repeat(100)).unwrap();
    let refused = open(&url(&file), Options::default()).await.err().unwrap();
    assert!(matches!(refused, StoreError::Broken(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_ends_midway_leaves_whole_batches() {
    let folder = tempfile::tempdir().unwrap();
    let subject = fresh(&folder).await;
    let store = Arc::clone(&subject.store);
    // The writer's tasks live in a runtime that is shut down under them.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let mut owner = Owner::of(&store, "BILLING").await;
            loop {
                let at = owner.progress.applied;
                owner.count(&(0..100).map(|i| billing(&format!("{at}-{i}"), "acme", noon())).collect::<Vec<_>>()).await;
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        runtime.shutdown_background();
    });
    thread.join().unwrap();
    let again = open(&subject.url, Options::default()).await.unwrap();
    let conservation = again.conservation().await.unwrap();
    assert_eq!((conservation.counted % 100, conservation.unaccounted), (0, 0));
    assert_eq!(conservation.counted, conservation.usage_events);
    let mut owner = Owner::of(&again, "BILLING").await;
    owner.count(&[billing("after", "acme", noon())]).await;
}
