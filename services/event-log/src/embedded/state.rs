//! What the file says about a stream.

use crate::{Bounds, Retention};
use loadline_domain::{Incarnation, Sequence, StreamName, Timestamp, time::Clock};
use sqlx::SqliteExecutor;
use std::time::Duration;

/// One stream's row, with its oldest batch.
#[derive(Debug, Clone)]
pub(super) struct StreamState {
    pub id: i64,
    pub incarnation: Incarnation,
    /// First sequence still there, `last + 1` when there is none.
    pub first: Sequence,
    pub last: Sequence,
    pub last_recorded_at: Timestamp,
    pub bytes: u64,
    pub oldest_at: Option<Timestamp>,
    pub retention: Retention,
}

type Row = (i64, String, i64, i64, i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

impl StreamState {
    /// Reads it; `None` when there is no such stream. One statement, so one snapshot.
    pub async fn read(executor: impl SqliteExecutor<'_>, stream: &StreamName) -> Result<Option<Self>, sqlx::Error> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT s.id, s.incarnation, s.first_sequence, s.last_sequence, s.last_recorded_at, s.bytes,
                    s.max_age_micros, s.max_bytes, b.first_sequence, b.recorded_at
             FROM streams s LEFT JOIN batches b ON b.stream = s.id
              AND b.last_sequence = (SELECT min(last_sequence) FROM batches WHERE stream = s.id)
             WHERE s.name = ?1",
        )
        .bind(stream.as_str())
        .fetch_optional(executor)
        .await?;
        Ok(row.map(Self::of))
    }

    fn of((id, incarnation, first, last, last_recorded_at, bytes, max_age, max_bytes, oldest_first, oldest_at): Row) -> Self {
        Self {
            id,
            incarnation: Incarnation::new(incarnation),
            first: oldest_first.map_or(last + 1, |oldest| oldest.max(first)) as u64,
            last: last as u64,
            last_recorded_at: Timestamp::from_micros(last_recorded_at),
            bytes: bytes as u64,
            oldest_at: oldest_at.map(Timestamp::from_micros),
            retention: Retention {
                max_age: max_age.map(|micros| Duration::from_micros(micros as u64)),
                max_bytes: max_bytes.map(|bytes| bytes as u64),
            },
        }
    }

    /// Whether something is to be discarded now.
    pub fn is_discard_due(&self, clock: &dyn Clock) -> bool {
        self.oldest_at.is_some_and(|oldest_at| self.is_too_old(oldest_at, clock.now()) || self.is_too_large(self.bytes))
    }

    /// Whether a record of that time is past its age.
    pub fn is_too_old(&self, recorded_at: Timestamp, now: Timestamp) -> bool {
        self.retention.max_age.is_some_and(|max_age| now.since(recorded_at) > max_age)
    }

    /// Whether so many bytes are more than allowed.
    pub fn is_too_large(&self, bytes: u64) -> bool {
        self.retention.max_bytes.is_some_and(|max_bytes| bytes > max_bytes)
    }

    /// As others see it.
    pub fn bounds(self) -> Bounds {
        Bounds {
            incarnation: self.incarnation,
            first: self.first,
            last: self.last,
            bytes: self.bytes,
            oldest_at: self.oldest_at,
            retention: self.retention,
        }
    }
}
