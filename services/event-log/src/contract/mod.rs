//! What every event log does: one function a behaviour, run on every backend. They panic where the log breaks its word.
//!
//! Each takes a log and the specification of a stream that does not exist yet. Those that need what the port does not offer, such
//! as deleting a record, take a [`Backstage`].

mod append;
mod position;
mod read;
mod retention;
mod surgery;

pub use append::*;
pub use position::*;
pub use read::*;
pub use retention::*;
pub use surgery::*;

use crate::{Bounds, Entry, EventLog, NewRecord, ReadLimit, Retention, StreamSpec};
use async_trait::async_trait;
use bytes::Bytes;
use loadline_domain::{Incarnation, Loss, LossCause, Record, Sequence, StreamName};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Everything that is there.
const ALL: ReadLimit = ReadLimit { records: 100_000, bytes: 64 * 1024 * 1024 };
/// Longer than anything a test waits for takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is done to a log behind its back.
#[async_trait]
pub trait Backstage: Send + Sync {
    /// Deletes one record.
    async fn delete_record(&self, stream: &StreamName, sequence: Sequence);
    /// Deletes the stream.
    async fn delete_stream(&self, stream: &StreamName);
    /// Stops the log and starts it on the same data.
    async fn reopen(&self) -> Arc<dyn EventLog>;
    /// Largest payload it takes, in bytes.
    fn max_record_bytes(&self) -> usize;
}

/// Records whose payloads are these numbers, of a few accounts.
fn numbers(range: std::ops::Range<u64>) -> Vec<NewRecord> {
    range.map(|n| record(format!("account-{}", n % 7), Bytes::from(format!("record {n}")))).collect()
}

fn record(key: impl Into<String>, payload: impl Into<Bytes>) -> NewRecord {
    NewRecord { key: key.into(), payload: payload.into(), traceparent: None }
}

/// Makes the stream, and returns its incarnation.
async fn made(log: &dyn EventLog, spec: &StreamSpec) -> Incarnation {
    log.ensure(spec).await.expect("a stream can be made");
    bounds(log, spec).await.incarnation
}

async fn append(log: &dyn EventLog, spec: &StreamSpec, records: Vec<NewRecord>) -> Vec<Sequence> {
    log.append(&spec.name, records).await.expect("records that fit are taken")
}

async fn bounds(log: &dyn EventLog, spec: &StreamSpec) -> Bounds {
    log.bounds(&spec.name).await.expect("an existing stream has bounds")
}

async fn read(log: &dyn EventLog, spec: &StreamSpec, incarnation: &Incarnation, from: Sequence, limit: ReadLimit) -> Vec<Entry> {
    log.read(&spec.name, incarnation, from, limit, Duration::from_secs(2)).await.expect("an existing stream can be read")
}

/// Reads until `last` is covered, checking that no sequence is missing or comes twice.
async fn read_through(
    log: &dyn EventLog,
    spec: &StreamSpec,
    incarnation: &Incarnation,
    from: Sequence,
    last: Sequence,
) -> Vec<Entry> {
    let (mut entries, mut next, began) = (Vec::new(), from, Instant::now());
    while next <= last {
        assert!(began.elapsed() < PATIENCE, "{} is read up to {next} only, of {last}", spec.name);
        for entry in read(log, spec, incarnation, next, ALL).await {
            assert_eq!(first(&entry), next, "sequences are contiguous");
            next = entry.last() + 1;
            entries.push(entry);
        }
    }
    assert_eq!(next, last + 1);
    entries
}

fn first(entry: &Entry) -> Sequence {
    match entry {
        Entry::Record(record) => record.sequence,
        Entry::Lost(loss) => loss.first,
    }
}

fn records(entries: &[Entry]) -> Vec<Record> {
    entries.iter().filter_map(|entry| if let Entry::Record(record) = entry { Some(record.clone()) } else { None }).collect()
}

fn losses(entries: &[Entry]) -> Vec<Loss> {
    entries.iter().filter_map(|entry| if let Entry::Lost(loss) = entry { Some(loss.clone()) } else { None }).collect()
}

fn payloads(entries: &[Entry]) -> Vec<Bytes> {
    records(entries).into_iter().map(|record| record.payload).collect()
}

/// Waits until what retention has to do is done.
async fn until_first_is(log: &dyn EventLog, spec: &StreamSpec, wanted: impl Fn(&Bounds) -> bool) -> Bounds {
    let began = Instant::now();
    loop {
        let bounds = bounds(log, spec).await;
        if wanted(&bounds) {
            return bounds;
        }
        assert!(began.elapsed() < PATIENCE, "retention has not done its work: {bounds:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
