//! A store behind faults: without any it keeps every word of the contract (see `contract.rs`); with one it fails as a real store
//! would, and what it says of a lost reply is true.
#![allow(clippy::unwrap_used)] // a test may panic, its helpers too

#[path = "../../fault/tests/both/mod.rs"]
mod both;

use both::Both;
use loadline_fault::{Calls, Kind};
use loadline_store::{
    Options, Store, StoreError, behind,
    contract::{Owner, billing, noon},
};

type World = Both<dyn Store>;

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.db").display());
        let plain = loadline_store::open(&url, Options::default()).await.unwrap();
        plain.migrate().await.unwrap();
        Self::of(plain, behind, folder)
    }
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_in_the_store_once_and_nobody_was_told() {
    let world = World::new().await;
    let mut owner = Owner::of(&world.faulty, "BILLING").await;
    let batch = owner.batch(&[billing("1", "acme", noon())]);
    let dropped = world.inject(Kind::DropReply, Calls::only(&["commit"]).about("BILLING"));
    let lost = owner.try_commit(&batch).await.unwrap_err();
    assert!(matches!(&lost, StoreError::Unknown(why) if why.contains("dropped reply of commit")), "{lost:?}");
    assert_eq!(world.plain.conservation().await.unwrap().counted, 1, "it happened");
    drop(dropped);
    let again = owner.try_commit(&batch).await;
    assert!(matches!(again, Err(StoreError::Stale(_))), "the fence knows that it happened: {again:?}");
    assert_eq!(world.plain.conservation().await.unwrap().counted, 1);
}

#[tokio::test]
async fn a_commit_that_fails_is_not_in_the_store_and_other_streams_are_not_met() {
    let world = World::new().await;
    let (mut met, mut other) = (Owner::of(&world.faulty, "DRILL").await, Owner::of(&world.faulty, "BILLING").await);
    let injected = world.inject(Kind::Error, Calls::only(&["commit"]).about("DRILL"));
    let batch = met.batch(&[billing("1", "acme", noon())]);
    assert!(matches!(met.try_commit(&batch).await, Err(StoreError::Unavailable(_))));
    let batch = other.batch(&[billing("2", "acme", noon())]);
    other.try_commit(&batch).await.unwrap();
    assert_eq!((injected.met(), world.plain.conservation().await.unwrap().counted), (1, 1));
}

#[tokio::test]
async fn connecting_anew_cures_what_says_so() {
    let world = World::new().await;
    let injected = world.inject_until("reconnect", Kind::Error, Calls::all_but(&[]));
    assert!(matches!(world.faulty.probe().await, Err(StoreError::Unavailable(_))));
    assert_eq!(world.faults.active().len(), 1);
    world.faulty.reconnect().await;
    world.faulty.probe().await.unwrap();
    assert!(!injected.is_active() && world.faults.active().is_empty());
}

#[tokio::test]
async fn a_corrupted_sum_is_wrong_in_the_answer_alone() {
    let world = World::new().await;
    let mut owner = Owner::of(&world.faulty, "BILLING").await;
    let batch = owner.batch(&[billing("1", "acme", noon())]);
    owner.try_commit(&batch).await.unwrap();
    let injected = world.inject(Kind::Corrupt, Calls::only(&["conservation", "commit"]));
    let seen = world.faulty.conservation().await.unwrap();
    assert_eq!((seen.counted, seen.usage_events), (1, 2));
    let batch = owner.batch(&[billing("2", "acme", noon())]);
    owner.try_commit(&batch).await.unwrap();
    assert_eq!(injected.met(), 1, "a commit has nothing to corrupt");
    let sums = world.plain.conservation().await.unwrap();
    assert_eq!((sums.counted, sums.usage_events), (2, 2));
}
