//! No name leads anywhere else.

use super::{Subject, said};
use crate::registry::RegistryError;
use bytes::Bytes;

/// Names that have led out of folders, URLs, headers and filters.
const HOSTILE: [&str; 14] = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "a/../../b",
    "/etc/passwd",
    "a\\..\\b",
    "a\0b",
    "a%2e%2e%2fb",
    "a?b=c",
    "a#b",
    "a' OR 'x'='x",
    "a\r\nHost: elsewhere",
    ".new-1",
];

fn is_refused<T: std::fmt::Debug>(answer: Result<T, RegistryError>) {
    assert!(matches!(&answer, Err(RegistryError::Refused(_))), "{answer:?}");
}

pub async fn hostile_names_of_models_are_refused(subject: &Subject) {
    let long = "x".repeat(129);
    for name in HOSTILE.into_iter().chain([long.as_str()]) {
        is_refused(subject.get(name).await);
        is_refused(subject.register(name, Bytes::from_static(b"x"), said(&[])).await);
        is_refused(subject.set_alias(name, "champion", 1).await);
        is_refused(subject.remove_alias(name, "champion").await);
        is_refused(subject.download(name, 1, 10).await);
    }
    assert_eq!(subject.mine().await, []);
}

pub async fn hostile_aliases_are_refused(subject: &Subject) {
    let name = subject.name("match");
    subject.plain(&name, b"one").await;
    for alias in HOSTILE.into_iter().chain(["latest", "v1", "1", "a.b"]) {
        is_refused(subject.set_alias(&name, alias, 1).await);
        is_refused(subject.remove_alias(&name, alias).await);
    }
    assert!(subject.get(&name).await.unwrap().aliases.is_empty());
}

pub async fn hostile_properties_are_refused_and_nothing_is_registered(subject: &Subject) {
    let name = subject.name("match");
    let (long, many) = ("x".repeat(5_001), (0..65).map(|at| format!("k{at}")).collect::<Vec<_>>());
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), "")).collect();
    let wrong = [said(&[("sha256", "0")]), said(&[("size", "0")]), said(&[("k", "\0")]), said(&[("k", &long)]), said(&many)];
    let keys = HOSTILE.map(|key| said(&[(key, "")]));
    for new in wrong.into_iter().chain(keys) {
        is_refused(subject.register(&name, Bytes::from_static(b"x"), new).await);
    }
    assert_eq!(subject.mine().await, []);
}

pub async fn longest_and_oddest_names_that_can_be_are_taken(subject: &Subject) {
    let odd = subject.name("Elo_v2.1-b");
    let longest = format!("{}{}", odd, "x".repeat(128 - odd.len()));
    let alias = "a".repeat(64);
    for name in [odd, longest] {
        subject.plain(&name, b"one").await;
        subject.set_alias(&name, &alias, 1).await.unwrap();
        assert_eq!(subject.get(&name).await.unwrap().aliases[&alias], 1);
        assert_eq!(subject.download(&name, 1, 10).await.unwrap(), &b"one"[..]);
    }
}
