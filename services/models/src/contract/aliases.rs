//! An alias names a version that is there, until it names another.

use super::{Subject, is_not_found, named};

pub async fn an_alias_names_a_version_until_it_is_moved(subject: &Subject) {
    let name = subject.name("match");
    subject.plain(&name, b"one").await;
    subject.plain(&name, b"two").await;
    for version in [1, 2, 2, 1] {
        subject.set_alias(&name, "champion", version).await.unwrap();
        let model = subject.again().get(&name).await.unwrap();
        assert_eq!(model.aliases, named(&[("champion", version)]));
        assert_eq!(model.aliased("champion").unwrap().number, version);
    }
}

pub async fn all_aliases_come_in_one_answer(subject: &Subject) {
    let name = subject.name("match");
    subject.plain(&name, b"one").await;
    subject.plain(&name, b"two").await;
    let aliases = [("champion", 2), ("challenger", 1), ("shadow_1-a", 2)];
    for (alias, version) in aliases {
        subject.set_alias(&name, alias, version).await.unwrap();
    }
    let model = subject.get(&name).await.unwrap();
    assert_eq!(model.aliases, named(&aliases));
    assert!(model.aliased("nobody").is_none());
}

pub async fn an_alias_of_an_absent_version_changes_nothing(subject: &Subject) {
    let name = subject.name("match");
    subject.plain(&name, b"one").await;
    subject.set_alias(&name, "champion", 1).await.unwrap();
    for absent in [0, 2, 1 << 40, u64::MAX] {
        let refused = subject.set_alias(&name, "champion", absent).await;
        assert!(is_not_found(&refused), "{absent}: {refused:?}");
    }
    assert_eq!(subject.get(&name).await.unwrap().aliases, named(&[("champion", 1)]));
}

pub async fn a_removed_alias_is_gone_and_may_be_removed_again(subject: &Subject) {
    let name = subject.name("match");
    subject.plain(&name, b"one").await;
    subject.set_alias(&name, "champion", 1).await.unwrap();
    subject.set_alias(&name, "shadow", 1).await.unwrap();
    for _ in 0..2 {
        subject.remove_alias(&name, "champion").await.unwrap();
        assert_eq!(subject.get(&name).await.unwrap().aliases, named(&[("shadow", 1)]));
    }
    subject.set_alias(&name, "champion", 1).await.unwrap();
    assert_eq!(subject.get(&name).await.unwrap().aliases["champion"], 1);
}

pub async fn models_have_aliases_of_their_own(subject: &Subject) {
    let (one, other) = (subject.name("one"), subject.name("other"));
    for name in [&one, &other] {
        subject.plain(name, b"one").await;
        subject.plain(name, b"two").await;
    }
    subject.set_alias(&one, "champion", 1).await.unwrap();
    subject.set_alias(&other, "champion", 2).await.unwrap();
    subject.remove_alias(&one, "champion").await.unwrap();
    assert_eq!(subject.get(&one).await.unwrap().aliases, named(&[]));
    assert_eq!(subject.get(&other).await.unwrap().aliases, named(&[("champion", 2)]));
}
