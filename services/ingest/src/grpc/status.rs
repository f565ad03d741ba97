//! The one map from this service's errors to gRPC statuses.

use crate::publish::{MAX_EVENTS, PublishError};
use loadline_event_log::LogError;
use loadline_runtime::errors;
use loadline_store::StoreError;
use std::time::Duration;
use tonic::Status;

const RETRY_AFTER: Duration = Duration::from_secs(1);

pub fn publish(error: PublishError) -> Status {
    match error {
        PublishError::TooMany(events) => {
            errors::invalid("events", format!("has {events} events; send at most {MAX_EVENTS} in one request"))
        }
        PublishError::Log(error) => log(error),
        PublishError::Store(error) => store(error),
    }
}

pub fn log(error: LogError) -> Status {
    match error {
        LogError::Unavailable(_) => {
            tracing::warn!(%error, "event log unavailable");
            errors::unavailable(
                "EVENT_LOG_UNAVAILABLE",
                "the event log cannot be reached; send the same events again, duplicates count once",
                RETRY_AFTER,
            )
        }
        // Made again by its owner within a second.
        LogError::StreamNotFound(_) | LogError::Recreated { .. } => {
            errors::unavailable("STREAM_MISSING", error.to_string(), RETRY_AFTER)
        }
        LogError::TooLarge { .. } => errors::invalid("events", error.to_string()),
        LogError::Misconfigured(_) | LogError::LostItsEnd { .. } => internal(&error),
    }
}

pub fn store(error: StoreError) -> Status {
    match error {
        StoreError::Unavailable(_) | StoreError::Unknown(_) => {
            tracing::warn!(%error, "store unavailable");
            errors::unavailable("STORE_UNAVAILABLE", "the store cannot be reached; try again", RETRY_AFTER)
        }
        StoreError::Stale(_) => errors::unavailable("STALE", error.to_string(), RETRY_AFTER),
        StoreError::OutOfScope(_) | StoreError::NeedsAllAccounts => Status::permission_denied(error.to_string()),
        StoreError::Overflow(_) => errors::failed_precondition("OVERFLOW", "usage", error.to_string()),
        StoreError::NewerSchema { .. } | StoreError::Misconfigured(_) | StoreError::Broken(_) => internal(&error),
    }
}

pub fn foreign_account(caller: &str) -> Status {
    Status::permission_denied(format!("{caller} may publish for its own accounts only"))
}

fn internal(error: &dyn std::error::Error) -> Status {
    tracing::error!(%error, "internal error");
    Status::internal("internal error; the service's log says what happened")
}
