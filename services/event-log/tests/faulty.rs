//! A log behind faults: each kind of fault on the calls that ingest lives from, and none of them longer than its time.
#![allow(clippy::unwrap_used)] // a test may panic, its helpers too

#[path = "../../fault/tests/both/mod.rs"]
mod both;

use both::{Both, HELD, TTL};
use bytes::Bytes;
use loadline_domain::{Record, Sequence, StreamName};
use loadline_event_log::{Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec, behind, open};
use loadline_fault::{Calls, Injected, Kind};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const ALL: ReadLimit = ReadLimit { records: 1_000, bytes: 1 << 20 };

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

type World = Both<dyn EventLog>;

impl World {
    /// Two streams, with a record in each.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = open(&format!("sqlite:{}", folder.path().join("log.db").display())).await.unwrap();
        let world = Self::of(plain, behind, folder);
        for name in ["DRILL", "BILLING"] {
            let retention = Retention { max_age: Some(Duration::from_secs(86_400)), max_bytes: None };
            let spec = StreamSpec { name: stream(name), subject: name.to_lowercase(), retention };
            world.faulty.ensure(&spec).await.unwrap();
            world.append(name, "one").await.unwrap();
        }
        world
    }

    /// On what ingest lives from, of one of the streams.
    fn break_drill(&self, kind: Kind, ttl: Duration) -> Injected {
        self.inject_for(ttl, kind, Calls::only(&["append", "read", "bounds", "set_retention", "probe"]).about("DRILL"))
    }

    async fn append(&self, name: &str, payload: &'static str) -> Result<Vec<Sequence>, LogError> {
        let record = NewRecord { key: "acme".to_owned(), payload: Bytes::from(payload), traceparent: None };
        self.faulty.append(&stream(name), vec![record]).await
    }

    async fn read(&self, name: &str) -> Result<Vec<Record>, LogError> {
        let incarnation = self.plain.bounds(&stream(name)).await.unwrap().incarnation;
        let entries = self.faulty.read(&stream(name), &incarnation, 1, ALL, Duration::ZERO).await?;
        let record = |entry| if let Entry::Record(record) = entry { Some(record) } else { None };
        Ok(entries.into_iter().filter_map(record).collect())
    }

    /// What really stands in it.
    async fn last(&self, name: &str) -> Sequence {
        self.plain.bounds(&stream(name)).await.unwrap().last
    }
}

#[tokio::test]
async fn what_fails_is_not_done_says_whether_a_retry_helps_and_meets_no_other_stream() {
    let world = World::new().await;
    let injected = world.break_drill(Kind::Error, TTL);
    let errors = [world.append("DRILL", "two").await.unwrap_err(), world.read("DRILL").await.unwrap_err()];
    assert!(errors.iter().all(LogError::is_retryable), "{errors:?}");
    let kept = Retention { max_age: Some(Duration::from_secs(60)), max_bytes: None };
    assert!(world.faulty.set_retention(&stream("DRILL"), kept).await.is_err());
    assert_ne!(world.plain.bounds(&stream("DRILL")).await.unwrap().retention, kept);
    assert_eq!((world.last("DRILL").await, injected.met()), (1, 3));
    assert_eq!(world.append("BILLING", "two").await.unwrap(), [2]);
    assert_eq!(world.read("BILLING").await.unwrap().len(), 2);
    drop(injected);
    let injected = world.break_drill(Kind::Break, TTL);
    let lasting = world.append("DRILL", "two").await.unwrap_err();
    assert!(!lasting.is_retryable() && lasting.to_string().contains("fault injected by test"), "{lasting}");
    drop(injected);
    assert_eq!(world.append("DRILL", "two").await.unwrap(), [2], "its end is the fault's end");
}

#[tokio::test]
async fn an_append_whose_reply_is_lost_stands_in_the_log() {
    let world = World::new().await;
    let injected = world.break_drill(Kind::DropReply, TTL);
    let unknown = world.append("DRILL", "two").await.unwrap_err();
    assert!(unknown.is_retryable(), "{unknown:?}");
    assert_eq!((world.last("DRILL").await, injected.met()), (2, 1));
}

#[tokio::test]
async fn a_garbled_record_is_garbled_in_the_answer_alone_and_keeps_its_place() {
    let world = World::new().await;
    let injected = world.break_drill(Kind::Corrupt, TTL);
    let read = world.read("DRILL").await.unwrap();
    assert_eq!((read[0].sequence, &read[0].payload[..]), (1, &b"\xffne"[..]));
    world.append("DRILL", "two").await.unwrap();
    assert_eq!(injected.met(), 1, "an append has nothing to corrupt");
    drop(injected);
    let read: Vec<_> = world.read("DRILL").await.unwrap().into_iter().map(|record| record.payload).collect();
    assert_eq!(read, [&b"one"[..], b"two"]);
}

#[tokio::test]
async fn a_call_is_held_for_as_long_as_its_fault_lasts_and_then_made() {
    for kind in [Kind::Hang, Kind::Delay(TTL)] {
        let world = World::new().await;
        let injected = world.break_drill(kind, TTL);
        let (append, read) = (world.append("DRILL", "two"), world.read("DRILL"));
        let held = async { tokio::join!(append, read) };
        tokio::pin!(held);
        assert!(timeout(HELD, &mut held).await.is_err(), "{kind:?} holds nothing");
        assert_eq!((world.last("DRILL").await, injected.met()), (1, 2));
        drop(injected);
        let (appended, read) = timeout(TTL, held).await.unwrap();
        assert_eq!((appended.unwrap(), read.unwrap().is_empty()), (vec![2], false));
    }
}

#[tokio::test]
async fn its_time_ends_a_fault_that_nobody_takes_away() {
    let world = World::new().await;
    let injected = world.break_drill(Kind::Hang, HELD);
    assert_eq!(timeout(TTL, world.append("DRILL", "two")).await.unwrap().unwrap(), [2]);
    assert!(!injected.is_active() && world.faults.active().is_empty());
    let injected = world.break_drill(Kind::Error, HELD);
    assert!(world.read("DRILL").await.is_err());
    sleep(HELD).await;
    assert_eq!((world.read("DRILL").await.unwrap().len(), injected.met()), (2, 1));
}
