//! Reads a stream and folds it into batches, one ahead of the one that commits.

use crate::watch::StreamStatus;
use loadline_domain::{Batch, Incarnation, Rules, Sequence, StreamName, Timestamp, breaker::Breaker, progress::Progress};
use loadline_event_log::{Entry, EventLog, LogError, ReadLimit, ensure_held};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How long a read waits for the first record.
const READ_WAIT: Duration = Duration::from_secs(1);
/// Pause after a failed read.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// A stream that is behind is read in batches up to this many times the configured size.
const GROWTH: usize = 4;

/// Where and how to read.
pub struct Reader {
    pub log: Arc<dyn EventLog>,
    pub stream: StreamName,
    pub incarnation: Incarnation,
    pub rules: Rules,
    /// As configured; what is read at once is for the stream's status to say.
    pub batch_records: usize,
    pub batch_bytes: usize,
    pub status: Arc<StreamStatus>,
}

impl Reader {
    /// Reads from `progress` on and sends sealed batches, until one stops the stream, the receiver is gone, or the log says
    /// something no retry mends.
    pub async fn run(self, progress: Progress, batches: mpsc::Sender<Batch>) -> Result<(), LogError> {
        let mut breaker = Breaker::default();
        let (mut applied, mut applied_at) = (progress.applied, progress.applied_at);
        let mut limit = ReadLimit { records: self.least(), bytes: self.batch_bytes };
        // The owner has just looked. After a silence or a failure the log may have come back with another past.
        let mut is_in_doubt = false;
        while !batches.is_closed() {
            let read = self.read((applied, applied_at), limit, is_in_doubt).await;
            is_in_doubt = !matches!(&read, Ok(entries) if !entries.is_empty());
            let entries = match read {
                Ok(entries) if entries.is_empty() => continue,
                Ok(entries) => entries,
                Err(error) if error.is_retryable() => {
                    tracing::warn!(stream = %self.stream, %error, "reading the log failed; trying again");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            limit.records = self.next_limit(limit.records, entries.len());
            let folded = self.fold(bounded(entries, applied_at), applied, progress.resume_through, breaker).await;
            let Folded { batch, breaker: after } = folded;
            (breaker, applied) = (after, batch.to());
            applied_at = batch.last_recorded_at().or(applied_at);
            let stops = batch.stops().is_some();
            if batches.send(batch).await.is_err() || stops {
                break;
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        applied: (Sequence, Option<Timestamp>),
        limit: ReadLimit,
        is_in_doubt: bool,
    ) -> Result<Vec<Entry>, LogError> {
        if is_in_doubt {
            ensure_held(&*self.log, &self.stream, &self.incarnation, applied).await?;
        }
        self.log.read(&self.stream, &self.incarnation, applied.0 + 1, limit, READ_WAIT).await
    }

    /// Grows while reads come back full, shrinks when the stream is caught up.
    fn next_limit(&self, limit: usize, read: usize) -> usize {
        let least = self.least();
        if read >= limit { (limit * 2).clamp(least, least * GROWTH) } else { (limit / 2).max(least) }
    }

    /// What a batch holds when the stream is caught up: less when the store is overtaxed, more when the stream was widened.
    fn least(&self) -> usize {
        self.status.batch_records(self.batch_records)
    }

    /// On a blocking thread: folding thousands of records would hold up the requests of this worker.
    async fn fold(&self, entries: Vec<Entry>, applied: Sequence, resume_through: Sequence, breaker: Breaker) -> Folded {
        let batch = Batch::new(self.stream.clone(), self.incarnation.clone(), applied);
        let rules = self.rules;
        tokio::task::spawn_blocking(move || fold(entries, batch, rules, resume_through, breaker))
            .await
            .expect("folding does not panic: hostile bytes are refused, not trusted")
    }
}

/// What is lost was appended after the last record before it, which the log no longer knows but we do.
fn bounded(mut entries: Vec<Entry>, applied_at: Option<Timestamp>) -> Vec<Entry> {
    if let Some(Entry::Lost(loss)) = entries.first_mut() {
        loss.after = loss.after.or(applied_at);
    }
    entries
}

struct Folded {
    batch: Batch,
    breaker: Breaker,
}

/// Stops at the record that trips the breaker: what follows is read again after the stream was resumed.
fn fold(entries: Vec<Entry>, mut batch: Batch, rules: Rules, resume_through: Sequence, mut breaker: Breaker) -> Folded {
    for entry in entries {
        match entry {
            Entry::Lost(loss) => batch.push_loss(loss),
            Entry::Record(record) => {
                let (sequence, recorded_at) = (record.sequence, record.recorded_at);
                let decodable = batch.push(record, recorded_at, &rules);
                let trip = if sequence > resume_through { breaker.observe(decodable) } else { None };
                if let Some(why) = trip {
                    batch.stop(format!("{why}, up to sequence {sequence}"));
                    break;
                }
            }
        }
    }
    Folded { batch: batch.seal(), breaker }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use loadline_domain::Record;

    fn garbage(sequence: Sequence) -> Entry {
        let recorded_at = Timestamp::from_micros(1_800_000_000_000_000);
        Entry::Record(Record { sequence, recorded_at, payload: Bytes::from_static(b"\xff\xff\xff") })
    }

    fn empty() -> Batch {
        Batch::new(StreamName::new("BILLING").unwrap(), Incarnation::new("1"), 0)
    }

    #[test]
    fn the_batch_ends_where_the_breaker_trips() {
        let folded = fold((1..=250).map(garbage).collect(), empty(), Rules::default(), 0, Breaker::default());
        assert_eq!(folded.batch.to(), 100);
        assert!(folded.batch.stops().is_some_and(|why| why.contains("100 undecodable")));
    }

    #[test]
    fn a_resumed_stream_takes_garbage_up_to_the_sequence_it_was_allowed() {
        let folded = fold((1..=250).map(garbage).collect(), empty(), Rules::default(), 200, Breaker::default());
        assert_eq!(folded.batch.to(), 250);
        assert_eq!(folded.batch.stops(), None);
    }
}
