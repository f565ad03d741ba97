//! Retention, and what a reader is told about what it discarded.

use super::*;

const FOR_EVER: Retention = Retention { max_age: None, max_bytes: None };

/// Checks that a read from `from` starts with the loss of everything before `first`.
async fn assert_discarded(
    log: &dyn EventLog,
    spec: &StreamSpec,
    incarnation: &Incarnation,
    from: Sequence,
    bounds: &Bounds,
) -> Loss {
    let entries = read_through(log, spec, incarnation, from, bounds.last).await;
    let [loss] = &losses(&entries)[..] else { panic!("one loss expected: {:?}", losses(&entries)) };
    assert_eq!((loss.first, loss.last, loss.cause), (from, bounds.first - 1, LossCause::Retention));
    assert_eq!(loss.count(), bounds.first - from);
    assert_eq!(records(&entries).len() as u64, bounds.last + 1 - bounds.first);
    assert_eq!(entries.first().map(first), Some(from), "the loss comes first");
    loss.clone()
}

/// A stream that outgrows its bytes discards its oldest records; a reader is told exactly which, and reads on.
pub async fn retention_by_bytes_is_told_to_the_message(log: &dyn EventLog, mut spec: StreamSpec) {
    spec.retention = Retention { max_age: None, max_bytes: Some(100_000) };
    let incarnation = made(log, &spec).await;
    for _ in 0..50 {
        append(log, &spec, (0..10).map(|_| record("a", vec![1; 1_000])).collect()).await;
    }
    let bounds = until_first_is(log, &spec, |bounds| bounds.bytes <= 100_000).await;
    assert!(bounds.first > 300 && bounds.first < 500 && bounds.last == 500, "{bounds:?}");
    for from in [1, 100] {
        let loss = assert_discarded(log, &spec, &incarnation, from, &bounds).await;
        let oldest_at = bounds.oldest_at.expect("something is left");
        assert!(loss.before.is_some_and(|before| before <= oldest_at));
        assert!(loss.after.is_none_or(|after| after <= oldest_at));
    }
}

/// Records older than the age are discarded, all of them if need be; sequences go on.
pub async fn retention_by_age_is_told_to_the_message(log: &dyn EventLog, mut spec: StreamSpec) {
    spec.retention = Retention { max_age: Some(Duration::from_millis(800)), max_bytes: None };
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..20)).await;
    let empty = until_first_is(log, &spec, |bounds| bounds.first > 20).await;
    assert_eq!((empty.first, empty.last, empty.bytes, empty.oldest_at), (21, 20, 0, None));
    let loss = assert_discarded(log, &spec, &incarnation, 1, &empty).await;
    assert_eq!(loss.count(), 20);
    assert_eq!(append(log, &spec, numbers(20..25)).await, (21..=25).collect::<Vec<_>>());
}

/// Everything expired: the bounds say so, and the next sequence is not one that was used.
pub async fn an_expired_stream_goes_on_where_it_was(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..30)).await;
    log.set_retention(&spec.name, Retention { max_age: Some(Duration::from_millis(300)), max_bytes: None }).await.expect("set");
    until_first_is(log, &spec, |bounds| bounds.first > 30).await;
    log.set_retention(&spec.name, FOR_EVER).await.expect("set");
    assert_eq!(append(log, &spec, numbers(30..33)).await, [31, 32, 33]);
    let entries = read_through(log, &spec, &incarnation, 5, 33).await;
    assert_eq!(losses(&entries).iter().map(|loss| (loss.first, loss.last)).collect::<Vec<_>>(), [(5, 30)]);
    assert_eq!(payloads(&entries), ["record 30", "record 31", "record 32"]);
}

/// A reader that waits at the end and one far behind both hear of it when retention overtakes them.
pub async fn a_reader_overtaken_by_retention_is_told(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..100)).await;
    let entries = read(log, &spec, &incarnation, 1, ReadLimit { records: 10, bytes: 1_000_000 }).await;
    let next = entries.last().map_or(1, Entry::last) + 1;
    log.set_retention(&spec.name, Retention { max_age: None, max_bytes: Some(600) }).await.expect("set");
    let bounds = until_first_is(log, &spec, |bounds| bounds.bytes <= 600).await;
    // What was on its way when it was discarded may still be read; nothing is missing or twice.
    let rest = read_through(log, &spec, &incarnation, next, 100).await;
    assert!(losses(&rest).iter().all(|loss| loss.cause == LossCause::Retention && loss.last < bounds.first));
    let seen = records(&rest).len() as u64 + losses(&rest).iter().map(Loss::count).sum::<u64>();
    assert_eq!(seen, 101 - next);
}

/// Retention that is changed holds at once, for what is there too, and is what the bounds say.
pub async fn changed_retention_holds_at_once(log: &dyn EventLog, spec: StreamSpec) {
    made(log, &spec).await;
    append(log, &spec, (0..100).map(|_| record("a", vec![1; 1_000])).collect()).await;
    assert_eq!(bounds(log, &spec).await.first, 1);
    let wanted = Retention { max_age: Some(Duration::from_secs(3_600)), max_bytes: Some(20_000) };
    log.set_retention(&spec.name, wanted).await.expect("set");
    let after = until_first_is(log, &spec, |bounds| bounds.bytes <= 20_000).await;
    assert_eq!(after.retention, wanted);
    assert!(after.first > 75 && after.last == 100, "{after:?}");
    log.set_retention(&spec.name, FOR_EVER).await.expect("set");
    append(log, &spec, (0..100).map(|_| record("a", vec![1; 1_000])).collect()).await;
    let kept = bounds(log, &spec).await;
    assert_eq!((kept.first, kept.last, kept.retention), (after.first, 200, FOR_EVER));
}

/// A stream that exists keeps its records and its own retention when it is ensured again.
pub async fn ensuring_again_changes_nothing(log: &dyn EventLog, mut spec: StreamSpec) {
    spec.retention = Retention { max_age: Some(Duration::from_secs(7 * 86_400)), max_bytes: Some(1 << 30) };
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..5)).await;
    let before = bounds(log, &spec).await;
    spec.retention = FOR_EVER;
    assert_eq!(made(log, &spec).await, incarnation);
    assert_eq!(bounds(log, &spec).await, before);
}
