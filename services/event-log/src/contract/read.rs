//! Reading.

use super::*;

/// Past the end there is nothing: the call waits as long as it was told to, and says so.
pub async fn past_the_end_a_read_waits_and_is_empty(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    for (from, records) in [(1, 0), (4, 3)] {
        append(log, &spec, numbers(0..records)).await;
        let began = Instant::now();
        let wait = Duration::from_millis(1_500);
        assert_eq!(log.read(&spec.name, &incarnation, from, ALL, wait).await.expect("a read past the end is fine"), []);
        assert!(began.elapsed() >= wait);
        assert_eq!(log.read(&spec.name, &incarnation, from, ALL, Duration::ZERO).await.expect("so is one without waiting"), []);
    }
}

/// Without waiting, what is there is read all the same.
pub async fn a_read_without_waiting_finds_what_is_there(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..10)).await;
    let entries = log.read(&spec.name, &incarnation, 1, ALL, Duration::ZERO).await.expect("readable");
    assert!(!entries.is_empty());
}

/// A waiting read returns when something is appended, not when its time is over.
pub async fn a_waiting_read_wakes_for_an_append(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    for round in 0..5u64 {
        let waiting = log.read(&spec.name, &incarnation, round + 1, ALL, Duration::from_secs(3_600));
        let appending = async {
            tokio::time::sleep(Duration::from_millis(50 * round)).await;
            append(log, &spec, numbers(round..round + 1)).await
        };
        let both = tokio::time::timeout(PATIENCE, async { tokio::join!(waiting, appending) });
        let (entries, _) = both.await.expect("the append ends the wait");
        assert_eq!(payloads(&entries.expect("readable")), [Bytes::from(format!("record {round}"))]);
    }
}

/// Limits hold: on records, on bytes; and one record is read however large.
pub async fn limits_hold_and_one_record_is_always_read(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, (0..20u8).map(|n| record("a", vec![n; 100])).collect()).await;
    for (limit, expected) in [
        (ReadLimit { records: 7, bytes: 1_000_000 }, 7),
        (ReadLimit { records: 100, bytes: 550 }, 5),
        (ReadLimit { records: 100, bytes: 500 }, 5),
        (ReadLimit { records: 100, bytes: 10 }, 1),
        (ReadLimit { records: 0, bytes: 0 }, 1),
    ] {
        let (mut next, mut seen) = (1, Vec::new());
        while next <= 20 {
            let entries = read(log, &spec, &incarnation, next, limit).await;
            assert!(!entries.is_empty() && entries.len() <= expected, "{limit:?} gave {}", entries.len());
            next = entries.last().map_or(next, Entry::last) + 1;
            seen.extend(payloads(&entries));
        }
        assert!(seen.iter().map(|payload| payload[0]).eq(0..20), "{limit:?}");
    }
}

/// Two readers at different positions each see everything from there.
pub async fn two_readers_do_not_disturb_each_other(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..1_000)).await;
    let limit = ReadLimit { records: 90, bytes: 1_000_000 };
    let reader = |start: Sequence| {
        let (spec, incarnation) = (&spec, &incarnation);
        async move {
            let (mut next, mut seen) = (start, Vec::new());
            while next <= 1_000 {
                let entries = read(log, spec, incarnation, next, limit).await;
                next = entries.last().map_or(next, Entry::last) + 1;
                seen.extend(payloads(&entries));
            }
            assert!(seen.into_iter().eq((start - 1..1_000).map(|n| Bytes::from(format!("record {n}")))), "from {start}");
        }
    };
    tokio::join!(reader(1), reader(500), reader(1), reader(10));
}

/// What was read can be read again, from any position.
pub async fn a_position_can_be_read_again(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    append(log, &spec, numbers(0..100)).await;
    for from in [1, 50, 50, 2, 100, 1] {
        let entries = read_through(log, &spec, &incarnation, from, 100).await;
        assert_eq!(records(&entries)[0].payload, format!("record {}", from - 1));
    }
}

/// A read that is given up loses nothing: the next one from the same position has it all.
pub async fn a_cancelled_read_loses_nothing(log: &dyn EventLog, spec: StreamSpec) {
    let incarnation = made(log, &spec).await;
    let mut next = 1;
    for round in 0..30u64 {
        append(log, &spec, numbers(round * 10..round * 10 + 10)).await;
        let given_up = log.read(&spec.name, &incarnation, next, ALL, Duration::from_secs(5));
        if let Ok(entries) = tokio::time::timeout(Duration::from_micros(300 * round), given_up).await {
            next = entries.expect("readable").last().map_or(next, Entry::last) + 1;
        }
    }
    let rest = read_through(log, &spec, &incarnation, next, 300).await;
    assert!(payloads(&rest).into_iter().eq((next - 1..300).map(|n| Bytes::from(format!("record {n}")))));
}
