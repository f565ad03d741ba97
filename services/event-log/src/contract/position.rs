//! Bounds, and positions by sequence and time.

use super::*;

/// An empty stream begins at 1 and holds nothing.
pub async fn an_empty_stream_has_bounds(log: &dyn EventLog, spec: StreamSpec) {
    made(log, &spec).await;
    let bounds = bounds(log, &spec).await;
    assert_eq!((bounds.first, bounds.last, bounds.bytes, bounds.oldest_at), (1, 0, 0, None));
    assert_eq!(bounds.retention, spec.retention);
    assert_eq!(log.peek(&spec.name, 1).await.expect("peek"), None);
    assert_eq!(log.seek(&spec.name, loadline_domain::Timestamp::EARLIEST).await.expect("seek"), 1);
}

/// Bounds follow appends.
pub async fn bounds_follow_appends(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..10)).await;
    let ten = bounds(log, &spec).await;
    assert_eq!((ten.first, ten.last), (1, 10));
    let entries = read_through(log, &spec, &incarnation, 1, 10).await;
    assert_eq!(ten.oldest_at, Some(records(&entries)[0].recorded_at));
    append(log, &spec, numbers(10..15)).await;
    let fifteen = bounds(log, &spec).await;
    assert_eq!((fifteen.first, fifteen.last, fifteen.oldest_at), (1, 15, ten.oldest_at));
    let payload: usize = numbers(0..15).iter().map(|record| record.payload.len()).sum();
    assert!(fifteen.bytes > ten.bytes && fifteen.bytes >= payload as u64);
}

/// Peeking finds the first record at or after a sequence, below the first too.
pub async fn peek_finds_the_next_record_there_is(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, (0..100).map(|_| record("a", vec![1; 1_000])).collect()).await;
    log.set_retention(&spec.name, Retention { max_age: None, max_bytes: Some(50_000) }).await.expect("set");
    let bounds = until_first_is(log, &spec, |bounds| bounds.bytes <= 50_000).await;
    let entries = read_through(log, &spec, &incarnation, bounds.first, 100).await;
    for (asked, found) in [(0, bounds.first), (1, bounds.first), (bounds.first, bounds.first), (80, 80), (100, 100)] {
        let at = records(&entries)[(found - bounds.first) as usize].recorded_at;
        assert_eq!(log.peek(&spec.name, asked).await.expect("peek"), Some((found, at)), "asked for {asked}");
    }
    for asked in [101, 1 << 40, u64::MAX] {
        assert_eq!(log.peek(&spec.name, asked).await.expect("peek"), None, "asked for {asked}");
    }
}

/// Seeking finds the first record at or after a time.
pub async fn seek_finds_the_first_record_since(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    for round in 0..8u64 {
        append(log, &spec, numbers(round * 3..round * 3 + 3)).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let records = records(&read_through(log, &spec, &incarnation, 1, 24).await);
    let first_since = |time| records.iter().find(|record| record.recorded_at >= time).map_or(25, |record| record.sequence);
    for record in &records {
        for time in [record.recorded_at, record.recorded_at.plus(Duration::from_micros(1))] {
            assert_eq!(log.seek(&spec.name, time).await.expect("seek"), first_since(time));
        }
    }
    assert_eq!(log.seek(&spec.name, loadline_domain::Timestamp::EARLIEST).await.expect("seek"), 1);
    assert_eq!(log.seek(&spec.name, loadline_domain::Timestamp::END).await.expect("seek"), 25);
}

/// A log in use says that it can be reached, and what it cannot promise.
pub async fn a_log_in_use_can_be_probed(log: &dyn EventLog, spec: StreamSpec) {
    made(log, &spec).await;
    log.probe().await.expect("reachable");
    assert!(log.caveats().await.expect("known").iter().all(|caveat| !caveat.is_empty()));
    assert_eq!(bounds(log, &spec).await.last, 0, "probing leaves nothing behind");
}
