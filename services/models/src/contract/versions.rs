//! A version is one file for ever, and the same file is the same version.

use super::{Subject, is_not_found, numbers, said};
use crate::{
    Sha256,
    registry::{NewVersion, names},
};
use bytes::Bytes;
use loadline_domain::{Clock as _, time::SystemClock};
use std::{collections::BTreeSet, time::Duration};

pub async fn a_version_is_listed_with_all_that_was_said(subject: &Subject) {
    let name = subject.name("match");
    let before = SystemClock.now().minus(Duration::from_secs(1));
    let new = said(&[("features", "elo-7"), ("trained-by", "rollup")]);
    let version = subject.register(&name, Bytes::from_static(b"one"), new.clone()).await.unwrap();
    assert_eq!((version.sha256, version.size), (Some(Sha256::of(b"one")), Some(3)));
    assert_eq!((version.number, &version.properties), (1, &new.properties));
    assert!((before..SystemClock.now().plus(Duration::from_secs(1))).contains(&version.registered_at));
    let model = subject.get(&name).await.unwrap();
    assert_eq!((model.name.as_str(), &model.versions[..], model.aliases.len()), (name.as_str(), &[version][..], 0));
    assert_eq!(subject.mine().await, std::slice::from_ref(&model));
    assert_eq!(subject.again().get(&name).await.unwrap(), model, "another process sees the same");
}

pub async fn other_bytes_are_another_version(subject: &Subject) {
    let name = subject.name("match");
    for (number, bytes) in [(1, b"one"), (2, b"two"), (3, b"six")] {
        assert_eq!(subject.plain(&name, bytes).await.number, number);
    }
    let model = subject.get(&name).await.unwrap();
    assert_eq!(numbers(&model), [1, 2, 3]);
    assert_eq!(model.version(2).unwrap().sha256, Some(Sha256::of(b"two")));
}

pub async fn the_same_bytes_are_the_same_version(subject: &Subject) {
    let name = subject.name("match");
    let one = Bytes::from_static(b"one");
    let first = subject.register(&name, one.clone(), said(&[("by", "first")])).await.unwrap();
    subject.plain(&name, b"two").await;
    let again = subject.register(&name, one.clone(), said(&[("by", "second")])).await.unwrap();
    assert_eq!(again, first, "what was said first stays");
    assert_eq!(numbers(&subject.get(&name).await.unwrap()), [1, 2]);
    assert_eq!(subject.plain(&subject.name("other"), &one).await.number, 1, "another model has its own versions");
}

pub async fn many_who_register_the_same_at_once_make_one_version(subject: &Subject) {
    let name = subject.name("match");
    let many = (0..4).map(|_| {
        let (registry, name) = (subject.again(), name.clone());
        tokio::spawn(async move { registry.register(&name, Bytes::from_static(b"one"), NewVersion::default()).await })
    });
    for registered in futures::future::join_all(many).await {
        assert_eq!(registered.unwrap().unwrap().sha256, Some(Sha256::of(b"one")));
    }
    assert_eq!(subject.get(&name).await.unwrap().versions.len(), 1);
}

pub async fn many_who_register_at_once_have_versions_of_their_own(subject: &Subject) {
    let name = subject.name("match");
    let many = (0..4_u8).map(|at| {
        let (registry, name) = (subject.again(), name.clone());
        tokio::spawn(async move { registry.register(&name, Bytes::from(vec![at]), NewVersion::default()).await })
    });
    let registered = futures::future::join_all(many).await.into_iter().map(|version| version.unwrap().unwrap());
    let taken: BTreeSet<u64> = registered.map(|version| version.number).collect();
    assert_eq!(taken.len(), 4, "{taken:?}");
    let model = subject.get(&name).await.unwrap();
    assert_eq!(model.versions.len(), 4);
    for version in model.versions {
        let bytes = subject.download(&name, version.number, 10).await.unwrap();
        assert_eq!(version.sha256, Some(Sha256::of(&bytes)));
    }
}

pub async fn a_model_begins_with_its_first_version(subject: &Subject) {
    let name = subject.name("match");
    assert!(is_not_found(&subject.get(&name).await));
    assert!(is_not_found(&subject.set_alias(&name, "champion", 1).await));
    assert!(is_not_found(&subject.remove_alias(&name, "champion").await));
    assert!(is_not_found(&subject.download(&name, 1, 10).await));
    assert_eq!(subject.mine().await, []);
    subject.plain(&name, b"one").await;
    assert_eq!(subject.mine().await.len(), 1);
}

pub async fn a_long_list_is_whole_and_in_order(subject: &Subject) {
    for model in 0..4_u8 {
        for version in 0..4_u8 {
            subject.plain(&subject.name(&format!("m{model}")), &[model, version]).await;
        }
        subject.set_alias(&subject.name(&format!("m{model}")), "champion", u64::from(model) + 1).await.unwrap();
    }
    let listed = subject.mine().await;
    let names: Vec<_> = listed.iter().map(|model| model.name.clone()).collect();
    assert_eq!(names, (0..4).map(|model| subject.name(&format!("m{model}"))).collect::<Vec<_>>());
    for (at, model) in listed.iter().enumerate() {
        assert_eq!(numbers(model), [1, 2, 3, 4]);
        assert_eq!(model.aliases["champion"], at as u64 + 1);
        assert_eq!(subject.get(&model.name).await.unwrap(), *model, "it is listed as it is");
    }
}

pub async fn properties_come_back_as_they_were(subject: &Subject) {
    let name = subject.name("match");
    let longest = "x".repeat(names::LONGEST_VALUE);
    let new = said(&[
        ("empty", ""),
        ("lines", "a\n\tb\r\n"),
        ("quotes", "'\"\\{}[]&<>%00"),
        ("tongues", "Größe 大きさ ⚽"),
        ("longest", &longest),
        ("dotted.key_1-a", "1"),
    ]);
    let version = subject.register(&name, Bytes::from_static(b"one"), new.clone()).await.unwrap();
    assert_eq!(version.properties, new.properties);
    assert_eq!(subject.get(&name).await.unwrap().versions[0].properties, new.properties);
}
