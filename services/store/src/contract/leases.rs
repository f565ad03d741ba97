//! Who may apply a stream.

use super::Subject;
use loadline_domain::{StreamName, Timestamp, progress::Lease};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

fn stream() -> StreamName {
    StreamName::new("BILLING").unwrap()
}

async fn taken(subject: &Subject, holder: &str, ttl: Duration) -> Lease {
    subject.acquire(&stream(), holder, ttl).await.unwrap().unwrap()
}

/// Waits until it has expired, by the store's clock.
async fn expiry(subject: &Subject, lease: &Lease) -> Timestamp {
    loop {
        let now = subject.now().await.unwrap();
        if now > lease.expires_at {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn a_free_lease_is_taken_and_others_wait(subject: &Subject) {
    let lease = taken(subject, "a", LONG).await;
    assert_eq!((lease.holder.as_str(), lease.epoch, lease.stream.as_str()), ("a", 1, "BILLING"));
    let now = subject.now().await.unwrap();
    assert!(lease.expires_at > now.plus(LONG / 2) && lease.expires_at <= now.plus(LONG));
    assert_eq!(subject.acquire(&stream(), "b", LONG).await.unwrap(), None);
    assert_eq!(subject.leases().await.unwrap(), [lease]);
}

pub async fn every_taking_raises_the_epoch_also_by_the_same_holder(subject: &Subject) {
    let first = taken(subject, "a", LONG).await;
    let second = taken(subject, "a", LONG).await;
    assert!(second.epoch > first.epoch);
    assert_eq!(subject.renew(&first, LONG).await.unwrap(), None);
    assert_eq!(subject.leases().await.unwrap(), [second]);
}

pub async fn a_renewed_lease_keeps_its_epoch_and_lasts_longer(subject: &Subject) {
    let lease = taken(subject, "a", LONG).await;
    let renewed = subject.renew(&lease, 2 * LONG).await.unwrap().unwrap();
    assert_eq!(renewed.epoch, lease.epoch);
    assert!(renewed.expires_at > lease.expires_at);
    assert_eq!(subject.leases().await.unwrap(), [renewed]);
}

pub async fn an_expired_lease_is_taken_over_for_good(subject: &Subject) {
    let old = taken(subject, "a", SHORT).await;
    expiry(subject, &old).await;
    assert_eq!(subject.leases().await.unwrap(), []);
    let new = taken(subject, "b", LONG).await;
    assert!(new.epoch > old.epoch);
    assert_eq!(subject.renew(&old, LONG).await.unwrap(), None);
    subject.release(&old).await.unwrap();
    assert_eq!(subject.leases().await.unwrap(), [new]);
}

pub async fn an_expired_lease_that_nobody_took_can_be_renewed(subject: &Subject) {
    let lease = taken(subject, "a", SHORT).await;
    expiry(subject, &lease).await;
    let renewed = subject.renew(&lease, LONG).await.unwrap().unwrap();
    assert_eq!(renewed.epoch, lease.epoch);
    assert_eq!(subject.acquire(&stream(), "b", LONG).await.unwrap(), None);
}

pub async fn a_released_lease_is_free_at_once_and_its_epoch_still_rises(subject: &Subject) {
    let old = taken(subject, "a", LONG).await;
    subject.release(&old).await.unwrap();
    assert_eq!(subject.leases().await.unwrap(), []);
    assert_eq!(subject.renew(&old, LONG).await.unwrap(), None);
    assert!(taken(subject, "b", LONG).await.epoch > old.epoch);
}

pub async fn leases_of_streams_are_apart(subject: &Subject) {
    let billing = taken(subject, "a", LONG).await;
    let dlr = subject.acquire(&StreamName::new("DLR").unwrap(), "b", LONG).await.unwrap().unwrap();
    assert_eq!(subject.leases().await.unwrap(), [billing, dlr]);
}

pub async fn of_many_who_ask_at_once_one_gets_the_lease(subject: &Subject) {
    let asking = (0..8).map(|i| {
        let store = std::sync::Arc::clone(&subject.store);
        tokio::spawn(async move { store.acquire(&stream(), &format!("holder-{i}"), LONG).await.unwrap() })
    });
    let answers = futures::future::join_all(asking).await;
    assert_eq!(answers.into_iter().filter(|answer| answer.as_ref().unwrap().is_some()).count(), 1);
}
