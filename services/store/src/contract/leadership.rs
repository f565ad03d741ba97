//! Who runs background work.

use super::Subject;
use crate::Leadership;
use std::{sync::Arc, time::Duration};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

async fn led(subject: &Subject, holder: &str, ttl: Duration) -> Leadership {
    subject.lead("rollup", holder, ttl).await.unwrap().unwrap()
}

async fn expiry(subject: &Subject, leadership: &Leadership) {
    while subject.now().await.unwrap() <= leadership.expires_at {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn a_free_role_is_led_and_others_wait(subject: &Subject) {
    let leadership = led(subject, "a", LONG).await;
    assert_eq!((leadership.role.as_str(), leadership.holder.as_str(), leadership.epoch), ("rollup", "a", 1));
    assert_eq!(subject.lead("rollup", "b", LONG).await.unwrap(), None);
    let other = subject.lead("other", "b", LONG).await.unwrap().unwrap();
    assert_eq!(subject.leaders().await.unwrap(), [other, leadership]);
}

pub async fn every_taking_of_a_role_raises_its_epoch(subject: &Subject) {
    let first = led(subject, "a", LONG).await;
    let second = led(subject, "a", LONG).await;
    assert!(second.epoch > first.epoch);
    assert_eq!(subject.keep_leading(&first, LONG).await.unwrap(), None);
    subject.step_down(&first).await.unwrap();
    let kept = subject.keep_leading(&second, 2 * LONG).await.unwrap().unwrap();
    assert!(kept.epoch == second.epoch && kept.expires_at > second.expires_at);
    assert_eq!(subject.leaders().await.unwrap(), [kept]);
}

pub async fn an_expired_role_is_taken_over_or_kept(subject: &Subject) {
    let old = led(subject, "a", SHORT).await;
    expiry(subject, &old).await;
    assert_eq!(subject.leaders().await.unwrap(), []);
    let kept = subject.keep_leading(&old, SHORT).await.unwrap().unwrap();
    expiry(subject, &kept).await;
    let new = led(subject, "b", LONG).await;
    assert!(new.epoch > old.epoch);
    assert_eq!(subject.keep_leading(&kept, LONG).await.unwrap(), None);
    assert_eq!(subject.leaders().await.unwrap(), [new]);
}

pub async fn a_role_given_up_is_free_at_once_and_its_epoch_still_rises(subject: &Subject) {
    let old = led(subject, "a", LONG).await;
    subject.step_down(&old).await.unwrap();
    assert_eq!(subject.keep_leading(&old, LONG).await.unwrap(), None);
    assert!(led(subject, "b", LONG).await.epoch > old.epoch);
}

pub async fn of_many_who_would_lead_at_once_one_does(subject: &Subject) {
    let asking = (0..8).map(|i| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move { store.lead("rollup", &format!("holder-{i}"), LONG).await.unwrap() })
    });
    let answers = futures::future::join_all(asking).await;
    assert_eq!(answers.into_iter().filter(|answer| answer.as_ref().unwrap().is_some()).count(), 1);
}
