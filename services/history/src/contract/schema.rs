//! Preparing, probing, opening again.

use super::{Subject, first_day};
use crate::HistoryError;

pub async fn preparing_again_keeps_everything(subject: &Subject) {
    let book = subject.archive_days(first_day(), 2).await;
    subject.prepare().await.unwrap();
    let again = Subject::new(subject.url.clone()).await;
    again.assert_answers(&book).await;
}

pub async fn it_belongs_to_the_store_that_claimed_it_first(subject: &Subject) {
    subject.claim("first").await.unwrap();
    subject.claim("first").await.unwrap();
    let again = Subject::again(subject.url.clone());
    again.prepare().await.unwrap();
    again.claim("first").await.unwrap();
    let refused = again.claim("another").await.unwrap_err();
    assert!(matches!(&refused, HistoryError::Foreign { owner, store } if owner == "first" && store == "another"), "{refused}");
    assert!(!refused.is_retryable());
}

pub async fn many_may_prepare_at_once(subject: &Subject) {
    let preparing: Vec<_> = (0..4).map(|_| tokio::spawn(Subject::new(subject.url.clone()))).collect();
    for subject in preparing {
        subject.await.unwrap().probe().await.unwrap();
    }
}

pub async fn a_working_history_answers_the_probe(subject: &Subject) {
    subject.probe().await.unwrap();
    subject.probe_writing().await.unwrap();
}

pub async fn it_says_what_it_cannot_promise(subject: &Subject) {
    assert!(!subject.caveats().is_empty());
}
