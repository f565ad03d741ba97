//! What became of sequences that were not delivered.

use super::api::{Api, StreamInfo};
use crate::LogError;
use loadline_domain::{Incarnation, Loss, LossCause, Sequence, StreamName, Timestamp};

/// Looks up what is gone from `from` on, up to the next message the stream has, and no further than `end`, exclusive. Empty when
/// the stream has `from`, or nothing was appended there yet.
pub(super) async fn losses(
    api: &Api,
    stream: &StreamName,
    incarnation: &Incarnation,
    from: Sequence,
    end: Sequence,
    after: Option<Timestamp>,
) -> Result<Vec<Loss>, LogError> {
    // The order matters: what had been appended before we looked and is not found then, is gone; and what retention discarded
    // until we have looked is seen by looking at the bounds again.
    let appended = info(api, stream, incarnation).await?;
    let found = api.next_from(stream, from).await?;
    let end = end.min(found.map_or(appended.last() + 1, |(sequence, _)| sequence));
    if end <= from {
        return Ok(Vec::new());
    }
    let now = of(api.info_with_deleted(stream).await?, stream, incarnation)?;
    if let Some(held) = now.held_within(from, end) {
        // The server steps over a file it cannot read as over messages that are gone.
        return Err(LogError::Unavailable(format!("{stream} holds message {held}, but the server cannot read it")));
    }
    let discarded = now.first().clamp(from, end);
    let before = Some(found.map_or(appended.last_at(), |(_, at)| at));
    let after = match after {
        Some(at) => Some(at),
        None => at(api, stream, from - 1).await?,
    };
    let runs = [(from, discarded, LossCause::Retention), (discarded, end, LossCause::Deleted)];
    let lost = runs.into_iter().filter(|(first, end, _)| first < end);
    Ok(lost.map(|(first, end, cause)| Loss { first, last: end - 1, cause, after, before }).collect())
}

/// The stream's state, if it is still the same.
pub(super) async fn info(api: &Api, stream: &StreamName, incarnation: &Incarnation) -> Result<StreamInfo, LogError> {
    of(api.info(stream).await?, stream, incarnation)
}

fn of(info: StreamInfo, stream: &StreamName, incarnation: &Incarnation) -> Result<StreamInfo, LogError> {
    match info.incarnation() {
        current if current == *incarnation => Ok(info),
        current => Err(LogError::Recreated { stream: stream.clone(), current }),
    }
}

/// When this very sequence was appended, if it is there.
async fn at(api: &Api, stream: &StreamName, sequence: Sequence) -> Result<Option<Timestamp>, LogError> {
    if sequence == 0 {
        return Ok(None);
    }
    Ok(api.next_from(stream, sequence).await?.filter(|(found, _)| *found == sequence).map(|(_, at)| at))
}
