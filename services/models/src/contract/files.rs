//! What is downloaded is what was registered, or nothing is.

use super::{Subject, is_not_found};
use crate::{Sha256, registry::RegistryError};
use bytes::Bytes;

pub async fn a_file_comes_back_byte_for_byte(subject: &Subject) {
    let name = subject.name("match");
    // Not a text, longer than any buffer on the way, and with every byte.
    let large: Vec<u8> = (0..3_000_017_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let every: Vec<u8> = (0..=255).collect();
    for (number, bytes) in
        [(1, &b"\0"[..]), (2, &every), (3, &large), (4, b"{\"error_code\": \"INTERNAL_ERROR\"}"), (5, b"<html>")]
    {
        assert_eq!(subject.plain(&name, bytes).await.number, number);
        let came = subject.again().download(&name, number, bytes.len() as u64).await.unwrap();
        assert!(came == bytes, "version {number} is another");
    }
}

pub async fn a_file_above_the_limit_is_refused(subject: &Subject) {
    let name = subject.name("match");
    subject.plain(&name, b"hundred bytes".repeat(8).as_slice()).await;
    for limit in [0, 1, 103] {
        let refused = subject.download(&name, 1, limit).await;
        assert!(matches!(&refused, Err(RegistryError::TooLarge { limit: at, .. }) if *at == limit), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("104 bytes"));
    }
    assert_eq!(subject.download(&name, 1, 104).await.unwrap().len(), 104);
    assert_eq!(subject.download(&name, 1, u64::MAX).await.unwrap().len(), 104);
}

pub async fn an_absent_version_is_not_found(subject: &Subject) {
    let name = subject.name("match");
    subject.plain(&name, b"one").await;
    for absent in [0, 2, 1 << 40, u64::MAX] {
        let answer = subject.download(&name, absent, 10).await;
        assert!(is_not_found(&answer), "{absent}: {answer:?}");
    }
}

pub async fn changed_bytes_are_said_and_never_given(subject: &Subject) {
    let (name, whole) = (subject.name("match"), b"bytes that are changed on the way");
    subject.plain(&name, whole).await;
    let mut flipped = whole.to_vec();
    flipped[7] ^= 1;
    for changed in [&flipped[..], &whole[..20], b""] {
        subject.harm(whole, Some(changed));
        let refused = subject.download(&name, 1, 1_000).await;
        let (expected, found) = (Sha256::of(whole), Sha256::of(changed));
        assert_eq!(refused, Err(RegistryError::WrongSha { expected, found }));
        assert_eq!(subject.plain(&name, whole).await.number, 1);
        assert_eq!(subject.download(&name, 1, 1_000).await.unwrap(), &whole[..], "registered again, it is put back");
    }
    subject.harm(whole, Some(&b"grown ".repeat(1_000)));
    let refused = subject.download(&name, 1, 1_000).await;
    assert!(matches!(refused, Err(RegistryError::TooLarge { limit: 1_000, .. })), "{refused:?}");
}

pub async fn a_lost_file_is_said_and_can_be_put_back(subject: &Subject) {
    let (name, whole) = (subject.name("match"), b"bytes that are lost");
    subject.plain(&name, whole).await;
    subject.harm(whole, None);
    let lost = subject.download(&name, 1, 1_000).await;
    assert_eq!(lost, Err(RegistryError::Lost { name: name.clone(), version: 1 }));
    assert_eq!(subject.get(&name).await.unwrap().versions.len(), 1, "the version is there all the same");
    assert_eq!(subject.plain(&name, whole).await.number, 1);
    assert_eq!(subject.download(&name, 1, 1_000).await.unwrap(), &whole[..]);
}

pub async fn a_file_that_cannot_be_a_model_is_not_registered(subject: &Subject) {
    let (name, small) = (subject.name("match"), crate::registry::Options { largest: 100, ..Default::default() });
    let refused = subject.register(&name, Bytes::new(), Default::default()).await;
    assert!(matches!(refused, Err(RegistryError::Refused(_))), "{refused:?}");
    let limited = crate::registry::open(&subject.url, small).unwrap();
    let refused = limited.register(&name, Bytes::from(vec![1; 101]), Default::default()).await;
    assert!(matches!(refused, Err(RegistryError::TooLarge { limit: 100, .. })), "{refused:?}");
    assert!(is_not_found(&subject.get(&name).await));
    limited.register(&name, Bytes::from(vec![1; 100]), Default::default()).await.unwrap();
}
