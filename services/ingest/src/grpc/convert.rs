//! Between the domain's words and the contract's.

use loadline_domain::{AccountId, DeadLetterReason, LossCause, StreamName, Timestamp, dead_letter::Refusal, progress::Progress};
use loadline_event_log::Bounds;
use loadline_proto::{
    common::{StreamProgress, StreamRange},
    ingest::{self as wire, LogBounds, ReasonCount, Rejection, RejectionReason},
};
use loadline_runtime::errors;
use loadline_store::{DeadLetterFilter, DeadLetterState, StoredDeadLetter, StoredLoss};
use std::{collections::HashMap, time::Duration};
use tonic::Status;

pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}

pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs() as i64, nanos: duration.subsec_nanos() as i32 }
}

pub fn rejection(index: usize, refusal: Refusal) -> Rejection {
    let reason = match refusal.reason {
        DeadLetterReason::Undecodable | DeadLetterReason::Invalid => RejectionReason::Invalid,
        DeadLetterReason::Future => RejectionReason::Future,
        DeadLetterReason::Late => RejectionReason::Late,
        DeadLetterReason::Conflict => RejectionReason::Conflict,
    };
    Rejection { index: index as u32, reason: reason.into(), field: refusal.field.to_owned(), detail: refusal.detail }
}

pub fn progress(progress: &Progress) -> StreamProgress {
    StreamProgress {
        stream: progress.stream.to_string(),
        incarnation: progress.incarnation.to_string(),
        applied: progress.applied,
        counted: progress.counted,
        duplicates: progress.duplicates,
        dead_lettered: progress.dead_lettered,
        lost: progress.lost,
        applied_at: progress.applied_at.map(timestamp),
        committed_at: progress.committed_at.map(timestamp),
    }
}

pub fn bounds(bounds: &Bounds) -> LogBounds {
    LogBounds {
        first_sequence: bounds.first,
        last_sequence: bounds.last,
        bytes: bounds.bytes,
        oldest_at: bounds.oldest_at.map(timestamp),
        max_age: bounds.retention.max_age.map(duration),
        max_bytes: bounds.retention.max_bytes.unwrap_or(0),
    }
}

pub fn loss(stored: StoredLoss) -> wire::Loss {
    let cause = match stored.loss.cause {
        LossCause::Retention => wire::loss::Cause::Retention,
        LossCause::Deleted => wire::loss::Cause::Deleted,
        LossCause::Recreated => wire::loss::Cause::Recreated,
    };
    wire::Loss {
        id: stored.id as u64,
        range: Some(StreamRange {
            stream: stored.stream.to_string(),
            incarnation: stored.incarnation.to_string(),
            first_sequence: stored.loss.first,
            last_sequence: stored.loss.last,
        }),
        cause: cause.into(),
        after: stored.loss.after.map(timestamp),
        before: stored.loss.before.map(timestamp),
        recorded_at: Some(timestamp(stored.recorded_at)),
    }
}

/// The payload goes out only where it was asked for.
pub fn dead_letter(stored: StoredDeadLetter, with_payload: bool) -> wire::DeadLetter {
    let letter = stored.letter;
    let state = match stored.state {
        DeadLetterState::Open => wire::DeadLetterState::Open,
        DeadLetterState::Counted => wire::DeadLetterState::Counted,
        DeadLetterState::Duplicate => wire::DeadLetterState::Duplicate,
        DeadLetterState::Discarded => wire::DeadLetterState::Discarded,
    };
    wire::DeadLetter {
        id: stored.id as u64,
        stream: stored.stream.to_string(),
        incarnation: stored.incarnation.to_string(),
        sequence: letter.sequence,
        reason: reason(letter.refusal.reason).into(),
        detail: [letter.refusal.field, &letter.refusal.detail].join(" ").trim().to_owned(),
        account: letter.refusal.account.map(|account| account.to_string()).unwrap_or_default(),
        event_time: letter.refusal.event_time.map(timestamp),
        recorded_at: Some(timestamp(letter.recorded_at)),
        state: state.into(),
        resolved_at: stored.resolved_at.map(timestamp),
        payload: if with_payload { letter.payload } else { Default::default() },
    }
}

pub fn reason(reason: DeadLetterReason) -> wire::DeadLetterReason {
    match reason {
        DeadLetterReason::Undecodable => wire::DeadLetterReason::Undecodable,
        DeadLetterReason::Invalid => wire::DeadLetterReason::Invalid,
        DeadLetterReason::Future => wire::DeadLetterReason::Future,
        DeadLetterReason::Late => wire::DeadLetterReason::Late,
        DeadLetterReason::Conflict => wire::DeadLetterReason::Conflict,
    }
}

pub fn reason_counts(counts: HashMap<DeadLetterReason, u64>) -> Vec<ReasonCount> {
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    counts.sort();
    counts.into_iter().map(|(of, count)| ReasonCount { reason: reason(of).into(), count }).collect()
}

pub fn state(state: i32) -> Result<DeadLetterState, Status> {
    Ok(match wire::DeadLetterState::try_from(state) {
        Ok(wire::DeadLetterState::Unspecified | wire::DeadLetterState::Open) => DeadLetterState::Open,
        Ok(wire::DeadLetterState::Counted) => DeadLetterState::Counted,
        Ok(wire::DeadLetterState::Duplicate) => DeadLetterState::Duplicate,
        Ok(wire::DeadLetterState::Discarded) => DeadLetterState::Discarded,
        Err(_) => return Err(errors::invalid("state", "is not known; use OPEN, COUNTED, DUPLICATE or DISCARDED")),
    })
}

pub fn filter(filter: Option<wire::DeadLetterFilter>) -> Result<DeadLetterFilter, Status> {
    let filter = filter.unwrap_or_default();
    let reason = match wire::DeadLetterReason::try_from(filter.reason) {
        Ok(wire::DeadLetterReason::Unspecified) => None,
        Ok(wire::DeadLetterReason::Undecodable) => Some(DeadLetterReason::Undecodable),
        Ok(wire::DeadLetterReason::Invalid) => Some(DeadLetterReason::Invalid),
        Ok(wire::DeadLetterReason::Future) => Some(DeadLetterReason::Future),
        Ok(wire::DeadLetterReason::Late) => Some(DeadLetterReason::Late),
        Ok(wire::DeadLetterReason::Conflict) => Some(DeadLetterReason::Conflict),
        Err(_) => {
            return Err(errors::invalid("filter.reason", "is not known; use UNDECODABLE, INVALID, FUTURE, LATE or CONFLICT"));
        }
    };
    let account = (!filter.account.is_empty()).then(|| AccountId::new(&filter.account)).transpose();
    Ok(DeadLetterFilter {
        stream: stream(&filter.stream, "filter.stream")?,
        reason,
        account: account.map_err(|error| errors::invalid("filter.account", error.to_string()))?,
        from: instant(filter.from, "filter.from")?,
        to: instant(filter.to, "filter.to")?,
        ids: filter.ids.into_iter().map(|id| row_id(id, "filter.ids")).collect::<Result<_, _>>()?,
    })
}

/// `None` for an empty name.
pub fn stream(name: &str, field: &'static str) -> Result<Option<StreamName>, Status> {
    let name = (!name.is_empty()).then(|| StreamName::new(name)).transpose();
    name.map_err(|error| errors::invalid(field, error.to_string()))
}

pub fn row_id(id: u64, field: &'static str) -> Result<i64, Status> {
    i64::try_from(id).map_err(|_| errors::invalid(field, format!("{id} is no id of this list")))
}

fn instant(time: Option<prost_types::Timestamp>, field: &'static str) -> Result<Option<Timestamp>, Status> {
    let Some(time) = time else { return Ok(None) };
    let instant = Timestamp::from_parts(time.seconds, time.nanos);
    instant.map(Some).ok_or_else(|| errors::invalid(field, "is not a time between the years 1970 and 9999"))
}
