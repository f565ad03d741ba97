//! What only the embedded log has: a clock that can be set, single-record batches by the thousand, several openings of one file.
#![allow(clippy::unwrap_used)]

use loadline_domain::{Clock, StreamName, Timestamp};
use loadline_event_log::{Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec, embedded::Embedded};
use sqlx::Connection as _;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

const ALL: ReadLimit = ReadLimit { records: 100_000, bytes: 64 * 1024 * 1024 };

/// Stands still unless it is set.
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl Set {
    fn at(seconds: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(seconds * 1_000_000)))
    }

    fn set(&self, seconds: i64) {
        self.0.store(seconds * 1_000_000, Ordering::SeqCst);
    }
}

fn spec(max_age: Option<Duration>) -> StreamSpec {
    let retention = Retention { max_age, max_bytes: None };
    StreamSpec { name: StreamName::new("BILLING").unwrap(), subject: "billing".into(), retention }
}

fn record() -> NewRecord {
    NewRecord { key: "acme".into(), payload: "payload".into(), traceparent: None }
}

#[tokio::test]
async fn record_times_do_not_go_back_with_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Set::at(1_000);
    let log = Embedded::open_with(folder.path().join("log.db"), clock.clone()).await.unwrap();
    let name = spec(None).name;
    log.ensure(&spec(None)).await.unwrap();
    for seconds in [1_000, 2_000, 1_500, 2_500] {
        clock.set(seconds);
        log.append(&name, vec![record()]).await.unwrap();
    }
    let incarnation = log.bounds(&name).await.unwrap().incarnation;
    let entries = log.read(&name, &incarnation, 1, ALL, Duration::ZERO).await.unwrap();
    let times = entries.iter().map(|entry| match entry {
        Entry::Record(record) => record.recorded_at.micros() / 1_000_000,
        Entry::Lost(loss) => panic!("{loss:?}"),
    });
    assert_eq!(times.collect::<Vec<_>>(), [1_000, 2_000, 2_000, 2_500]);
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_once_is_not_followed() {
    const DAYS: i64 = 10 * 86_400;
    let folder = tempfile::tempdir().unwrap();
    let clock = Set::at(1_000);
    let log = Embedded::open_with(folder.path().join("log.db"), clock.clone()).await.unwrap();
    let spec = spec(Some(Duration::from_secs(86_400)));
    log.ensure(&spec).await.unwrap();
    let incarnation = log.bounds(&spec.name).await.unwrap().incarnation;
    let times = [1_000, 1_000 + DAYS, 1_001 + DAYS, 1_010, 1_020, 1_030];
    for seconds in times {
        clock.set(seconds);
        log.append(&spec.name, vec![record()]).await.unwrap();
    }
    let recorded = |entries: &[Entry]| -> Vec<i64> {
        let records = entries.iter().filter_map(|entry| if let Entry::Record(record) = entry { Some(record) } else { None });
        records.map(|record| record.recorded_at.micros() / 1_000_000).collect()
    };
    let entries = log.read(&spec.name, &incarnation, 2, ALL, Duration::ZERO).await.unwrap();
    assert_eq!(recorded(&entries), times[1..]);
    // Whoever looks for a time begins at it, or before.
    for (at, sequence) in [(1_010, 4), (1_020, 5), (1_030, 6)] {
        let found = log.seek(&spec.name, Timestamp::from_micros(at * 1_000_000)).await.unwrap();
        assert!((1..=sequence).contains(&found), "{found} for {at}");
    }
    // What is stamped ahead is kept longer, and lets go what stands behind it then.
    clock.set(1_001 + DAYS + 2 * 86_400);
    let bounds = log.bounds(&spec.name).await.unwrap();
    assert_eq!((bounds.first, bounds.last), (7, 6));
    assert_eq!(log.append(&spec.name, vec![record()]).await.unwrap(), [7]);
}

#[tokio::test]
async fn a_large_discard_is_finished_by_those_who_look() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Set::at(1_000);
    let log = Embedded::open_with(folder.path().join("log.db"), clock.clone()).await.unwrap();
    let spec = spec(Some(Duration::from_secs(60)));
    log.ensure(&spec).await.unwrap();
    // One by one, so that each is a batch of its own: more of them than one transaction discards.
    for _ in 0..1_200 {
        log.append(&spec.name, vec![record()]).await.unwrap();
    }
    clock.set(1_030);
    log.append(&spec.name, vec![record(), record()]).await.unwrap();
    clock.set(1_061);
    let bounds = log.bounds(&spec.name).await.unwrap();
    assert_eq!((bounds.first, bounds.last, bounds.bytes), (1_201, 1_202, 14));
    clock.set(1_200);
    assert!(matches!(log.peek(&spec.name, 1).await, Ok(None)));
    assert_eq!(log.bounds(&spec.name).await.unwrap().first, 1_203);
    assert_eq!(log.append(&spec.name, vec![record()]).await.unwrap(), [1_203]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_what_another_opening_of_the_file_appends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let (one, other) = (Embedded::open(&path).await.unwrap(), Embedded::open(&path).await.unwrap());
    let name = spec(None).name;
    one.ensure(&spec(None)).await.unwrap();
    let incarnation = one.bounds(&name).await.unwrap().incarnation;
    let reading = one.read(&name, &incarnation, 1, ALL, Duration::from_secs(30));
    let (entries, appended) = tokio::join!(reading, other.append(&name, vec![record()]));
    assert_eq!((entries.unwrap().len(), appended.unwrap()), (1, vec![1]));
    assert_eq!(one.append(&name, vec![record()]).await.unwrap(), [2], "sequences are the file's, not the opening's");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_readers_than_connections_all_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = Embedded::open(folder.path().join("log.db")).await.unwrap();
    let name = spec(None).name;
    log.ensure(&spec(None)).await.unwrap();
    log.append(&name, (0..5_000).map(|_| record()).collect()).await.unwrap();
    for sequence in [10, 2_000] {
        log.delete_record(&name, sequence).await.unwrap();
    }
    let incarnation = log.bounds(&name).await.unwrap().incarnation;
    let reads = (0..50).map(|_| log.read(&name, &incarnation, 1, ALL, Duration::ZERO));
    for entries in futures::future::join_all(reads).await {
        assert_eq!(entries.unwrap().len(), 5_000, "4,998 records and two losses");
    }
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let refused = Embedded::open(file.join("log.db")).await.err().unwrap();
    assert!(matches!(&refused, LogError::Misconfigured(text) if text.contains("file/log.db")), "{refused}");
    let refused = Embedded::open(&file).await.err().unwrap();
    assert!(matches!(refused, LogError::Misconfigured(_)), "not a database: {refused}");
}

#[tokio::test]
async fn after_a_commit_that_failed_the_next_append_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let log = Embedded::open(&path).await.unwrap();
    log.ensure(&spec(None)).await.unwrap();
    let name = spec(None).name;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut operator = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let fault = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
                 CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER fault AFTER INSERT ON batches BEGIN INSERT INTO child VALUES (1); END";
    let execute = async |connection: &mut sqlx::SqliteConnection, sql| sqlx::raw_sql(sql).execute(connection).await.unwrap();
    execute(&mut operator, fault).await;
    for _ in 0..2 {
        let refused = log.append(&name, vec![record()]).await;
        assert!(matches!(refused, Err(LogError::Unavailable(_))), "the fault was not injected: {refused:?}");
    }
    execute(&mut operator, "DROP TRIGGER fault").await;
    assert_eq!(log.append(&name, vec![record()]).await.unwrap(), [1]);
}
