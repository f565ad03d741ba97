//! Recorded bytes: records of the log as they were once written, which every later build must read and count the same.
//!
//! A file holds records one after the other, each as its length (4 bytes, little-endian), its log time (8 bytes, microseconds,
//! little-endian) and its payload. Beside it lie the totals, as text.

use anyhow::{Context, Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use loadline_domain::{Batch, Incarnation, Record, Rules, StreamName, Timestamp};
use std::{collections::HashMap, fmt::Write as _};

/// A record as it stood in the log.
pub type Recorded = (Timestamp, Bytes);

/// Writes records.
pub fn encode(records: &[Recorded]) -> Bytes {
    let mut bytes = BytesMut::new();
    for (recorded_at, payload) in records {
        bytes.put_u32_le(payload.len() as u32);
        bytes.put_i64_le(recorded_at.micros());
        bytes.put_slice(payload);
    }
    bytes.freeze()
}

/// Reads them back.
///
/// # Errors
/// When the file is cut short.
pub fn decode(mut bytes: Bytes) -> Result<Vec<Recorded>> {
    let mut records = Vec::new();
    while bytes.has_remaining() {
        let length = bytes.try_get_u32_le().context("a length")? as usize;
        let recorded_at = Timestamp::from_micros(bytes.try_get_i64_le().context("a time")?);
        ensure!(bytes.remaining() >= length, "a payload of {length} bytes is cut short");
        records.push((recorded_at, bytes.split_to(length)));
    }
    Ok(records)
}

/// Folds records as one stream and tells all that comes of them, one line a fact, in order.
///
/// # Panics
/// Never: the name is one.
pub fn totals(records: &[Recorded]) -> String {
    let stream = StreamName::new("CORPUS").expect("a stream name");
    let mut batch = Batch::new(stream, Incarnation::new("recorded"), 0);
    for (sequence, (recorded_at, payload)) in (1..).zip(records) {
        let record = Record { sequence, recorded_at: *recorded_at, payload: payload.clone() };
        batch.push(record, *recorded_at, &Rules::default());
    }
    let batch = batch.seal();
    let settled = batch.settle(&HashMap::new());
    let mut text = format!("records {}\ncounted {}\nduplicates {}\n", records.len(), settled.counted, settled.duplicates);
    for letter in &settled.dead_letters {
        let _ = writeln!(text, "dead {} {} {}", letter.sequence, letter.refusal.reason.as_str(), letter.refusal.field);
    }
    for (key, usage) in &settled.usage {
        let dimensions = format!("{:?} {:?} {:?}", key.channel.as_str(), key.country.as_str(), key.currency.as_str());
        let _ = writeln!(text, "usage {} {} {dimensions} {:?}", key.account, key.hour.index(), usage.columns());
    }
    for (key, count) in &settled.latency {
        let dimensions = format!("{:?} {:?}", key.channel.as_str(), key.country.as_str());
        let _ = writeln!(text, "latency {} {} {dimensions} {} {count}", key.account, key.hour.index(), key.bucket);
    }
    for candidate in batch.candidates() {
        let partition = candidate.identity.partition;
        let key = uuid::Uuid::from_bytes(candidate.identity.key);
        // Keys and fingerprints are in stores: another hash would make every retry over an upgrade a new event.
        let _ = writeln!(text, "key {} {} {key} {}", partition.kind.as_str(), partition.day, candidate.fingerprint);
    }
    text
}
