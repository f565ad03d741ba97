//! Reading back the part of the log that can hold events of one hour, as far as it was counted.
//!
//! A record of an event of hour `h` was taken by the log after `h` began, less the tolerance for clocks that are ahead, and
//! before `h` ended, plus the longest dedup horizon: earlier and later ones were refused.

use crate::{Query, recount::Recount, status::QueryError};
use loadline_domain::{Hour, Record, Sequence, Timestamp, progress::Progress};
use loadline_event_log::{Bounds, Entry, LogError, ReadLimit};
use loadline_proto::common::StreamRange;
use std::{collections::HashMap, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Read at once.
const LIMIT: ReadLimit = ReadLimit { records: 5_000, bytes: 4 * 1024 * 1024 };
/// What is applied is in the log: it need not be waited for long.
const WAIT: Duration = Duration::from_secs(2);

/// A scan of all streams, one after the other.
pub(crate) struct Scan<'a> {
    query: &'a Query,
    /// What is counted.
    pub recount: Recount,
    /// Records of interest were taken from here on …
    earliest: Timestamp,
    /// … to here.
    latest: Timestamp,
    /// Records that may still be read.
    budget: usize,
    deadline: Instant,
    /// What was read.
    pub scanned: Vec<StreamRange>,
    /// Why nothing can be told from the comparison.
    pub doubts: Vec<String>,
    /// Why more in the store than in the log proves nothing.
    pub surplus_doubts: Vec<String>,
}

/// Whether to read on.
enum Step {
    Next(Sequence),
    Done,
}

impl<'a> Scan<'a> {
    /// Nothing is read yet.
    pub fn new(query: &'a Query, recount: Recount, hour: Hour, deadline: Instant) -> Self {
        let rules = &query.parts.rules;
        Self {
            query,
            recount,
            earliest: hour.start().minus(rules.future_tolerance),
            latest: hour.end().plus(rules.billing_horizon.max(rules.receipt_horizon)),
            budget: query.parts.settings.explain_max_records,
            deadline,
            scanned: Vec::new(),
            doubts: Vec::new(),
            surplus_doubts: Vec::new(),
        }
    }

    /// Reads one stream up to what was applied.
    pub async fn stream(&mut self, progress: &Progress) -> Result<(), QueryError> {
        // The log's time does not go back: all that was applied is too old for the hour.
        if progress.applied_at.is_some_and(|applied_at| applied_at < self.earliest) {
            return Ok(());
        }
        let stream = &progress.stream;
        let bounds = match self.query.parts.log.bounds(stream).await {
            Ok(bounds) if bounds.incarnation == progress.incarnation => bounds,
            Ok(_) | Err(LogError::Recreated { .. }) => {
                self.doubts.push(format!("{stream} was made again since: what was counted from it is no longer in the log"));
                return Ok(());
            }
            Err(LogError::StreamNotFound(_)) => {
                self.doubts.push(format!("{stream} is no longer in the log"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.check_reach(progress, &bounds);
        let first = self.query.parts.log.seek(stream, self.earliest).await?;
        let mut next = first;
        while next <= progress.applied {
            match self.step(progress, next).await? {
                Step::Next(sequence) => next = sequence,
                Step::Done => break,
            }
        }
        if next > first {
            self.scanned.push(StreamRange {
                stream: stream.to_string(),
                incarnation: progress.incarnation.to_string(),
                first_sequence: first,
                last_sequence: (next - 1).min(progress.applied),
            });
        }
        Ok(())
    }

    /// Says so when the log does not reach back to the first record that could matter.
    fn check_reach(&mut self, progress: &Progress, bounds: &Bounds) {
        let stream = &progress.stream;
        match bounds.oldest_at {
            Some(oldest_at) if oldest_at < self.earliest => {}
            Some(oldest_at) if bounds.first == 1 => self.surplus_doubts.push(format!(
                "{stream} was made at {oldest_at}, after the hour began: the store may hold what an earlier making of it had"
            )),
            Some(oldest_at) => self.doubts.push(format!(
                "{stream} reaches back to {oldest_at} only, and the hour needs {}: retention has passed it",
                self.earliest
            )),
            None if bounds.last == 0 => self
                .surplus_doubts
                .push(format!("{stream} never had a record: the store may hold what an earlier making of it had")),
            None => self.doubts.push(format!("{stream} holds no record any more: retention has passed the hour")),
        }
    }

    async fn step(&mut self, progress: &Progress, from: Sequence) -> Result<Step, QueryError> {
        let (stream, parts) = (&progress.stream, &self.query.parts);
        if self.budget == 0 {
            let most = parts.settings.explain_max_records;
            self.doubts.push(format!("more than {most} records would have to be read; {stream} was read up to {}", from - 1));
            return Ok(Step::Done);
        }
        let limit = ReadLimit { records: LIMIT.records.min(self.budget), ..LIMIT };
        let read = parts.log.read(stream, &progress.incarnation, from, limit, WAIT);
        let Ok(entries) = timeout_at(self.deadline, read).await else {
            self.doubts.push(format!("time was up; {stream} was read up to {}", from - 1));
            return Ok(Step::Done);
        };
        let entries = entries?;
        let Some(last) = entries.last().map(Entry::last) else {
            self.doubts.push(format!("{stream} gave nothing after {}", from - 1));
            return Ok(Step::Done);
        };
        self.budget = self.budget.saturating_sub(entries.len());
        let records = self.counted_records(progress, entries);
        // All of them: where the log's clock was ahead for a while, a single time says nothing.
        let past = !records.is_empty() && records.iter().all(|record| record.recorded_at > self.latest);
        self.count(&records).await?;
        // Nothing of interest follows: as good as read to the end.
        Ok(if past { Step::Next(progress.applied + 1) } else { Step::Next(last + 1) })
    }

    /// The records among entries that were applied; holes are told.
    fn counted_records(&mut self, progress: &Progress, entries: Vec<Entry>) -> Vec<Record> {
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Entry::Record(record) if record.sequence <= progress.applied => records.push(record),
                Entry::Lost(loss) if loss.first <= progress.applied => self
                    .doubts
                    .push(format!("records {} to {} of {} are no longer in the log", loss.first, loss.last, progress.stream)),
                Entry::Record(_) | Entry::Lost(_) => {}
            }
        }
        records
    }

    async fn count(&mut self, records: &[Record]) -> Result<(), QueryError> {
        let candidates = self.recount.judge(records, &self.query.parts.rules);
        let strangers = self.recount.strangers(&candidates);
        let known = if strangers.is_empty() { HashMap::new() } else { self.query.parts.store.known(&strangers).await? };
        self.recount.settle(&candidates, &known);
        Ok(())
    }
}
