//! Finds a position by time, on any log that can peek.

use crate::{EventLog, LogError};
use loadline_domain::{Sequence, StreamName, Timestamp};

/// Binary search by [`EventLog::peek`]: record times rise, so some 30 peeks search a thousand million records. Times from a clock
/// that was ahead for a while can only end the search at themselves or before, never behind the record that is sought.
pub(crate) async fn seek(log: &dyn EventLog, stream: &StreamName, time: Timestamp) -> Result<Sequence, LogError> {
    let bounds = log.bounds(stream).await?;
    let (mut low, mut high) = (bounds.first, bounds.last + 1);
    // Every record before `low` is older than `time`; none from `high` on is.
    while low < high {
        let middle = low + (high - low) / 2;
        match log.peek(stream, middle).await? {
            Some((found, at)) if found < high && at < time => low = found + 1,
            _ => high = middle,
        }
    }
    Ok(log.peek(stream, low).await?.map_or(low.max(bounds.last + 1), |(found, _)| found))
}
