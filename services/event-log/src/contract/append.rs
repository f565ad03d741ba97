//! Appending.

use super::*;
use crate::LogError;
use std::collections::HashSet;

/// What was appended is read: the same bytes, in the same order, at the sequences that were returned, with rising times.
pub async fn what_was_appended_is_read_back(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    let mut appended = numbers(0..3_000);
    appended.push(record("", Bytes::new()));
    appended.push(record("a.b c*>%é", Bytes::from((0..=255).collect::<Vec<u8>>())));
    appended.push(NewRecord {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..record("traced", "traced")
    });
    let sequences = append(log, &spec, appended.clone()).await;
    assert!(sequences.iter().copied().eq(1..=3_003));
    let entries = read_through(log, &spec, &incarnation, 1, 3_003).await;
    assert!(payloads(&entries).iter().eq(appended.iter().map(|record| &record.payload)));
    assert!(records(&entries).is_sorted_by_key(|record| record.recorded_at));
}

/// Sequences begin at 1 and go on over calls.
pub async fn sequences_are_contiguous_from_one(log: &dyn EventLog, spec: StreamSpec) {
    made(log, &spec).await;
    let mut sequences = Vec::new();
    for size in [1, 2, 0, 5, 1] {
        sequences.extend(append(log, &spec, numbers(0..size)).await);
    }
    assert_eq!(sequences, (1..=9).collect::<Vec<_>>());
}

/// Appending nothing does nothing.
pub async fn appending_nothing_is_fine(log: &dyn EventLog, spec: StreamSpec) {
    made(log, &spec).await;
    assert!(append(log, &spec, Vec::new()).await.is_empty());
    assert_eq!(bounds(log, &spec).await.last, 0);
}

/// Appends at the same time all keep their records, each in its own order.
pub async fn concurrent_appends_are_all_kept(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    let (log_, name) = (log, &spec.name);
    let tasks = (0..20u64).map(|task| async move {
        let mut sequences = Vec::new();
        for part in 0..5 {
            let from = task * 1_000 + part * 10;
            sequences.extend(log_.append(name, numbers(from..from + 10)).await.expect("taken"));
        }
        sequences
    });
    let sequences = futures::future::join_all(tasks).await;
    assert!(sequences.iter().all(|own| own.is_sorted_by(|a, b| a < b)));
    let all: HashSet<Sequence> = sequences.iter().flatten().copied().collect();
    assert_eq!(all, (1..=1_000).collect());
    let entries = read_through(log, &spec, &incarnation, 1, 1_000).await;
    let by_sequence = payloads(&entries);
    for (task, own) in (0u64..).zip(sequences) {
        let expected = (0..5).flat_map(|part| (0..10).map(move |n| format!("record {}", task * 1_000 + part * 10 + n)));
        assert!(own.iter().map(|sequence| &by_sequence[*sequence as usize - 1][..]).eq(expected.map(String::into_bytes)));
    }
}

/// An unknown stream is named, by every call.
pub async fn an_unknown_stream_is_not_found(log: &dyn EventLog, spec: StreamSpec) {
    let name = &spec.name;
    let retention = Retention { max_age: None, max_bytes: None };
    let answers = [
        log.append(name, numbers(0..3)).await.err(),
        log.read(name, &Incarnation::new("x"), 1, ALL, Duration::ZERO).await.err(),
        log.bounds(name).await.err(),
        log.peek(name, 1).await.err(),
        log.seek(name, loadline_domain::Timestamp::EARLIEST).await.err(),
        log.set_retention(name, retention).await.err(),
    ];
    for answer in answers {
        assert!(matches!(&answer, Some(LogError::StreamNotFound(stream)) if stream == name), "{answer:?}");
    }
}

/// A record that is too large is refused with both sizes, and nothing that came with it is appended; the largest is taken.
pub async fn a_record_too_large_is_refused_whole(log: &dyn EventLog, spec: StreamSpec, backstage: &dyn Backstage) {
    let incarnation = made(log, &spec).await;
    let max = backstage.max_record_bytes();
    let refused = log.append(&spec.name, vec![record("a", "small"), record("a", vec![7; max + 1])]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { bytes, limit }) if bytes == max + 1 && limit == max), "{refused:?}");
    assert_eq!(bounds(log, &spec).await.last, 0);
    let largest = Bytes::from(vec![7; max]);
    assert_eq!(append(log, &spec, vec![record("a", largest.clone()), record("a", "after")]).await, [1, 2]);
    assert_eq!(payloads(&read_through(log, &spec, &incarnation, 1, 2).await), [largest, "after".into()]);
}

/// Ten megabytes are taken or refused, in bounded time.
pub async fn ten_megabytes_never_hang(log: &dyn EventLog, spec: StreamSpec) {
    made(log, &spec).await;
    let appended = log.append(&spec.name, vec![record("a", vec![1; 10 * 1024 * 1024])]);
    match tokio::time::timeout(PATIENCE, appended).await.expect("an answer in bounded time") {
        Ok(sequences) => assert_eq!(sequences, [1]),
        Err(error) => assert!(matches!(error, LogError::TooLarge { .. }), "{error}"),
    }
    assert!(append(log, &spec, numbers(0..1)).await[0] <= 2, "the log is usable afterwards");
}
