//! Reads records, and says of every hole why it is there.

use super::{batch::Batch, state::StreamState};
use crate::{Entry, LogError, ReadLimit};
use futures::TryStreamExt;
use loadline_domain::{Incarnation, Loss, LossCause, Record, Sequence, StreamName, Timestamp};
use sqlx::{SqliteExecutor, SqlitePool};

type Row = (i64, i64, i64, Vec<u8>, Vec<u8>);

/// By incarnation, so that a stream made again meanwhile reads as empty, and is found out next time. Not a join: the index must
/// give the order, or every page would sort the rest of the log.
const BATCHES: &str = "SELECT first_sequence, last_sequence, recorded_at, lengths, payloads FROM batches
    WHERE stream = (SELECT id FROM streams WHERE incarnation = ?1) AND last_sequence >= ?2
    ORDER BY last_sequence LIMIT ?3";

/// Reads what is there from `from` on, given the stream's state of a moment ago.
pub(super) async fn entries(
    readers: &SqlitePool,
    stream: &StreamName,
    state: &StreamState,
    from: Sequence,
    limit: ReadLimit,
) -> Result<Vec<Entry>, LogError> {
    let mut page = Page { entries: Vec::new(), next: from, limit, bytes: 0, last_at: None };
    if from <= state.last && from < state.first {
        page.lose(state.first - 1, LossCause::Retention, None, Some(state.oldest_at.unwrap_or(state.last_recorded_at)));
    }
    let (batches, exhausted) = fetch(readers, state, page.next, limit).await?;
    for batch in batches {
        if page.next < batch.first {
            explain_hole(readers, stream, &mut page, batch.first, batch.recorded_at).await?;
        }
        if page.is_full() || !batch.records(page.next).all(|record| page.add(record)) {
            return Ok(page.entries);
        }
    }
    // No batch covers the rest, though it had been appended before we looked: it is gone.
    if exhausted && !page.is_full() && page.next <= state.last {
        explain_hole(readers, stream, &mut page, state.last + 1, state.last_recorded_at).await?;
    }
    Ok(page.entries)
}

/// The batches from `from` on, as many as the limit needs, and whether these are all.
async fn fetch(
    readers: &SqlitePool,
    state: &StreamState,
    from: Sequence,
    limit: ReadLimit,
) -> Result<(Vec<Batch>, bool), sqlx::Error> {
    let mut rows = sqlx::query_as::<_, Row>(BATCHES)
        .bind(state.incarnation.as_str())
        .bind(position(from))
        .bind(i64::try_from(limit.records.max(1)).unwrap_or(i64::MAX))
        .fetch(readers);
    let (mut batches, mut records, mut bytes) = (Vec::new(), 0, 0);
    while records < limit.records.max(1) && (batches.is_empty() || bytes < limit.bytes) {
        let Some(batch) = rows.try_next().await?.map(batch) else {
            let exhausted = batches.len() < limit.records.max(1);
            return Ok((batches, exhausted));
        };
        let wanted = batch.records(from).map(|record| record.payload.len());
        (records, bytes) = wanted.fold((records, bytes), |(records, bytes), length| (records + 1, bytes + length));
        batches.push(batch);
    }
    Ok((batches, false))
}

/// The first batch that ends at `sequence` or later.
pub(super) async fn batch_at(
    executor: impl SqliteExecutor<'_>,
    incarnation: &Incarnation,
    sequence: Sequence,
) -> Result<Option<Batch>, sqlx::Error> {
    let row = sqlx::query_as::<_, Row>(BATCHES).bind(incarnation.as_str()).bind(position(sequence)).bind(1i64);
    Ok(row.fetch_optional(executor).await?.map(batch))
}

/// SQLite's integers are signed.
fn position(sequence: Sequence) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn batch((first, last, recorded_at, lengths, payloads): Row) -> Batch {
    let recorded_at = Timestamp::from_micros(recorded_at);
    Batch { first: first as u64, last: last as u64, recorded_at, lengths, payloads: payloads.into() }
}

/// Adds the losses from the page's position up to `end`, exclusive. The state is read after the batches were: what was
/// discarded in between is known to be.
async fn explain_hole(
    readers: &SqlitePool,
    stream: &StreamName,
    page: &mut Page,
    end: Sequence,
    before: Timestamp,
) -> Result<(), LogError> {
    let state = StreamState::read(readers, stream).await?.ok_or_else(|| LogError::StreamNotFound(stream.clone()))?;
    let discarded = state.first.min(end);
    if page.next < discarded {
        page.lose(discarded - 1, LossCause::Retention, page.last_at, Some(before));
    }
    if page.next < end && !page.is_full() {
        let after = match page.last_at {
            Some(at) => Some(at),
            None => time_before(readers, &state, page.next).await?,
        };
        page.lose(end - 1, LossCause::Deleted, after, Some(before));
    }
    Ok(())
}

const BEFORE: &str =
    "SELECT recorded_at FROM batches WHERE stream = ?1 AND last_sequence < ?2 ORDER BY last_sequence DESC LIMIT 1";

/// Time of the last record before `sequence` that is still there.
async fn time_before(readers: &SqlitePool, state: &StreamState, sequence: Sequence) -> Result<Option<Timestamp>, sqlx::Error> {
    let at: Option<i64> = sqlx::query_scalar(BEFORE).bind(state.id).bind(position(sequence)).fetch_optional(readers).await?;
    Ok(at.map(Timestamp::from_micros))
}

/// Entries being gathered.
struct Page {
    entries: Vec<Entry>,
    next: Sequence,
    limit: ReadLimit,
    bytes: usize,
    last_at: Option<Timestamp>,
}

impl Page {
    fn is_full(&self) -> bool {
        !self.entries.is_empty() && (self.entries.len() >= self.limit.records || self.bytes >= self.limit.bytes)
    }

    /// False when it no longer fits.
    fn add(&mut self, record: Record) -> bool {
        let bytes = self.bytes + record.payload.len();
        if self.is_full() || (!self.entries.is_empty() && bytes > self.limit.bytes) {
            return false;
        }
        (self.next, self.bytes, self.last_at) = (record.sequence + 1, bytes, Some(record.recorded_at));
        self.entries.push(Entry::Record(record));
        true
    }

    fn lose(&mut self, last: Sequence, cause: LossCause, after: Option<Timestamp>, before: Option<Timestamp>) {
        self.entries.push(Entry::Lost(Loss { first: self.next, last, cause, after, before }));
        self.next = last + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_is_found_by_the_index_and_not_by_sorting_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let (_writer, readers, _options) = super::super::schema::connect(&folder.path().join("log.db")).await.unwrap();
        for statement in [BATCHES, BEFORE] {
            let plan = format!("EXPLAIN QUERY PLAN {statement}");
            let steps: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(plan)).fetch_all(&readers).await.unwrap();
            let text = steps.into_iter().map(|step| step.3).collect::<Vec<_>>().join("; ");
            assert!(text.contains("SEARCH batches USING INDEX") && !text.contains("TEMP B-TREE"), "{text}");
        }
    }
}
