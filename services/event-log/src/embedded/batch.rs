//! A run of records as one row.

use bytes::Bytes;
use loadline_domain::{Record, Sequence, Timestamp};

/// Payload bytes after which the next batch begins: small enough to read a few records cheaply, large enough to write fast.
const BATCH_BYTES: usize = 256 * 1024;
/// Records after which the next batch begins.
const BATCH_RECORDS: usize = 4_096;

/// Records that are stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub first: Sequence,
    pub last: Sequence,
    pub recorded_at: Timestamp,
    pub lengths: Vec<u8>,
    pub payloads: Bytes,
}

impl Batch {
    /// Packs payloads, the first of which gets `first`; at least one.
    fn pack(first: Sequence, recorded_at: Timestamp, records: &[Bytes]) -> Self {
        let mut lengths = Vec::with_capacity(records.len() * 4);
        let mut payloads = Vec::with_capacity(records.iter().map(Bytes::len).sum());
        for record in records {
            lengths.extend_from_slice(&(record.len() as u32).to_le_bytes());
            payloads.extend_from_slice(record);
        }
        Self { first, last: first + records.len() as u64 - 1, recorded_at, lengths, payloads: payloads.into() }
    }

    /// Packs any number of payloads into as many batches as it takes.
    pub fn pack_all(first: Sequence, recorded_at: Timestamp, records: &[Bytes]) -> Vec<Self> {
        let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
        for (at, record) in records.iter().enumerate() {
            bytes += record.len();
            if bytes >= BATCH_BYTES || at + 1 - start >= BATCH_RECORDS || at + 1 == records.len() {
                batches.push(Self::pack(first + start as u64, recorded_at, &records[start..=at]));
                (start, bytes) = (at + 1, 0);
            }
        }
        batches
    }

    /// The records from `from` on, sharing the batch's bytes.
    pub fn records(&self, from: Sequence) -> impl Iterator<Item = Record> + '_ {
        let mut start = 0;
        (self.first..).zip(lengths(&self.lengths)).filter_map(move |(sequence, length)| {
            let end = start + length;
            let payload = (sequence >= from).then(|| self.payloads.slice(start..end));
            start = end;
            payload.map(|payload| Record { sequence, recorded_at: self.recorded_at, payload })
        })
    }

    /// The batch without one of its records: what is before it, and what is after it.
    pub fn without(&self, sequence: Sequence) -> Vec<Self> {
        let payloads: Vec<Bytes> = self.records(self.first).map(|record| record.payload).collect();
        let at = (sequence - self.first) as usize;
        let parts = [(self.first, &payloads[..at]), (sequence + 1, &payloads[at + 1..])];
        let left = parts.into_iter().filter(|(_, records)| !records.is_empty());
        left.map(|(first, records)| Self::pack(first, self.recorded_at, records)).collect()
    }
}

/// Lengths of payloads, as packed.
pub(super) fn lengths(packed: &[u8]) -> impl Iterator<Item = usize> + '_ {
    packed.as_chunks::<4>().0.iter().map(|length| u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_records_come_out_as_they_went_in() {
        let records: Vec<Bytes> = (0..10_000u32).map(|n| Bytes::from(vec![n as u8; (n % 90) as usize])).collect();
        let batches = Batch::pack_all(7, Timestamp::from_micros(1), &records);
        assert!(batches.len() > 1);
        let out: Vec<Record> = batches.iter().flat_map(|batch| batch.records(0).collect::<Vec<_>>()).collect();
        assert!(out.iter().zip(7..).all(|(record, sequence)| record.sequence == sequence));
        assert!(out.iter().map(|record| &record.payload).eq(&records));
        assert_eq!(batches[1].records(batches[1].last).count(), 1);
    }

    #[test]
    fn a_batch_without_a_record_has_a_hole_there() {
        let records: Vec<Bytes> = ["a", "", "c"].map(Bytes::from).into();
        let batch = &Batch::pack_all(1, Timestamp::default(), &records)[0];
        for sequence in 1..=3 {
            let left: Vec<_> =
                batch.without(sequence).iter().flat_map(|part| part.records(0).collect::<Vec<_>>()).map(|r| r.sequence).collect();
            assert!(left.iter().copied().eq((1..=3).filter(|other| *other != sequence)), "{left:?}");
        }
        assert!(Batch::pack_all(1, Timestamp::default(), &records[..1])[0].without(1).is_empty());
        assert!(Batch::pack_all(1, Timestamp::default(), &[]).is_empty());
    }
}
