//! Whether a log is still the one that was read.

use crate::{EventLog, LogError};
use loadline_domain::{Incarnation, Sequence, StreamName, Timestamp};

/// Makes sure that the log still holds what was read of it. One that lost its end, in a power cut or from a backup, gives the
/// positions beyond to new records: going on where we stand would skip them.
///
/// # Errors
/// [`LogError::LostItsEnd`] when the log is shorter than what is applied, or was and has been refilled: then another record
/// stands where we stopped.
pub async fn ensure_held(
    log: &dyn EventLog,
    stream: &StreamName,
    incarnation: &Incarnation,
    (applied, applied_at): (Sequence, Option<Timestamp>),
) -> Result<(), LogError> {
    let bounds = log.bounds(stream).await?;
    if applied == 0 || bounds.incarnation != *incarnation {
        return Ok(());
    }
    let there = log.peek(stream, applied).await?;
    let is_another = there.zip(applied_at).is_some_and(|((sequence, at), applied_at)| sequence == applied && at != applied_at);
    match bounds.last < applied || is_another {
        true => Err(LogError::LostItsEnd { stream: stream.clone(), last: bounds.last, read: applied }),
        false => Ok(()),
    }
}
