//! Starting, and being looked at.

use super::Subject;

pub async fn preparing_again_keeps_everything(subject: &Subject) {
    let name = subject.name("match");
    subject.plain(&name, b"one").await;
    subject.set_alias(&name, "champion", 1).await.unwrap();
    let before = subject.mine().await;
    subject.again().prepare().await.unwrap();
    subject.prepare().await.unwrap();
    assert_eq!(subject.mine().await, before);
    assert_eq!(subject.download(&name, 1, 10).await.unwrap(), &b"one"[..]);
}

pub async fn many_may_prepare_at_once(subject: &Subject) {
    let many = (0..8).map(|_| {
        let registry = subject.again();
        tokio::spawn(async move { registry.prepare().await })
    });
    for prepared in futures::future::join_all(many).await {
        prepared.unwrap().unwrap();
    }
}

pub async fn a_working_registry_answers_the_probe(subject: &Subject) {
    subject.probe().await.unwrap();
    subject.again().probe().await.unwrap();
}

pub async fn it_says_what_it_cannot_promise(subject: &Subject) {
    assert!(!subject.caveats().is_empty() && subject.caveats().iter().all(|caveat| caveat.len() > 20));
}
