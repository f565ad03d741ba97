//! What happens to a log from outside: deleted records, streams made again, restarts.

use super::*;
use crate::LogError;

/// Deletes these, and checks that they are the losses of a read.
async fn assert_lost(
    log: &dyn EventLog,
    spec: &StreamSpec,
    incarnation: &Incarnation,
    lost: &[(Sequence, Sequence)],
) -> Vec<Loss> {
    let entries = read_through(log, spec, incarnation, 1, 20).await;
    let losses = losses(&entries);
    assert_eq!(losses.iter().map(|loss| (loss.first, loss.last)).collect::<Vec<_>>(), lost);
    let kept = (1..=20).filter(|sequence| !lost.iter().any(|(first, last)| (first..=last).contains(&sequence)));
    assert!(records(&entries).iter().map(|record| record.sequence).eq(kept));
    losses
}

/// Records deleted from the middle and from the end are losses, with the times of their neighbours; nothing else is.
pub async fn deleted_records_are_lost_not_skipped(log: &dyn EventLog, spec: StreamSpec, backstage: &dyn Backstage) {
    let incarnation = made(log, &spec).await;
    for round in 0..20 {
        append(log, &spec, numbers(round..round + 1)).await;
    }
    let before = records(&read_through(log, &spec, &incarnation, 1, 20).await);
    for sequence in [5, 9, 10, 11, 20] {
        backstage.delete_record(&spec.name, sequence).await;
    }
    let losses = assert_lost(log, &spec, &incarnation, &[(5, 5), (9, 11), (20, 20)]).await;
    for loss in &losses {
        assert_eq!(loss.cause, LossCause::Deleted);
        let lost = &before[loss.first as usize - 1..loss.last as usize];
        assert!(loss.after.is_some_and(|after| lost.iter().all(|record| after <= record.recorded_at)));
        assert!(loss.before.is_some_and(|before| lost.iter().all(|record| record.recorded_at <= before)));
    }
    assert_eq!(log.peek(&spec.name, 9).await.expect("peek"), Some((12, before[11].recorded_at)));
    assert_eq!(log.peek(&spec.name, 20).await.expect("peek"), None);
    let inside = read_through(log, &spec, &incarnation, 10, 20).await;
    assert_eq!(inside.first().map(|entry| (first(entry), entry.last())), Some((10, 11)), "reading on from within a hole");
    assert_eq!(append(log, &spec, numbers(20..21)).await, [21]);
    assert_eq!(log.seek(&spec.name, loadline_domain::Timestamp::END).await.expect("seek"), 22);
}

/// A stream made again is another incarnation: it starts at 1, and a reader of the old one is told, also while it waits.
pub async fn a_stream_made_again_is_another_incarnation(log: &dyn EventLog, spec: StreamSpec, backstage: &dyn Backstage) {
    let old = made(log, &spec).await;
    append(log, &spec, numbers(0..10)).await;
    read_through(log, &spec, &old, 1, 10).await;
    let waiting = log.read(&spec.name, &old, 11, ALL, Duration::from_secs(3_600));
    let replacing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        backstage.delete_stream(&spec.name).await;
        made(log, &spec).await
    };
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(waiting, replacing) }).await;
    let (told, new) = both.expect("a waiting reader is told in bounded time");
    // It may have looked between the deletion and the making.
    assert!(
        matches!(&told, Err(LogError::Recreated { current, .. }) if *current == new)
            || matches!(&told, Err(LogError::StreamNotFound(stream)) if *stream == spec.name),
        "{told:?}"
    );
    assert_ne!(old, new);
    assert_eq!(append(log, &spec, numbers(50..53)).await, [1, 2, 3]);
    let told = log.read(&spec.name, &old, 11, ALL, Duration::from_secs(5)).await;
    assert!(matches!(&told, Err(LogError::Recreated { stream, current }) if *stream == spec.name && *current == new), "{told:?}");
    let entries = read_through(log, &spec, &new, 1, 3).await;
    assert_eq!(payloads(&entries), ["record 50", "record 51", "record 52"]);
}

/// A stream deleted under a waiting reader is not found, in bounded time.
pub async fn a_deleted_stream_is_not_found_by_its_reader(log: &dyn EventLog, spec: StreamSpec, backstage: &dyn Backstage) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..10)).await;
    read_through(log, &spec, &incarnation, 1, 10).await;
    let waiting = log.read(&spec.name, &incarnation, 11, ALL, Duration::from_secs(3_600));
    let deleting = backstage.delete_stream(&spec.name);
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(waiting, deleting) });
    let (told, ()) = both.await.expect("a waiting reader is told in bounded time");
    assert!(matches!(&told, Err(LogError::StreamNotFound(_))), "{told:?}");
    let refused = log.append(&spec.name, numbers(0..1)).await;
    assert!(matches!(&refused, Err(LogError::StreamNotFound(_))), "{refused:?}");
}

/// A restart keeps records, sequences, times, incarnation and retention.
pub async fn a_restart_keeps_everything(log: &dyn EventLog, mut spec: StreamSpec, backstage: &dyn Backstage) {
    spec.retention = Retention { max_age: Some(Duration::from_secs(86_400)), max_bytes: Some(1 << 30) };
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..500)).await;
    let (bounds_before, entries) = (bounds(log, &spec).await, read_through(log, &spec, &incarnation, 1, 500).await);
    let again = backstage.reopen().await;
    let again = &*again;
    assert_eq!(bounds(again, &spec).await, bounds_before);
    assert_eq!(read_through(again, &spec, &incarnation, 1, 500).await, entries);
    assert_eq!(append(again, &spec, numbers(500..501)).await, [501]);
}
