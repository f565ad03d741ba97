//! Errors to statuses: the one map of this service. Every variant is named, so a new one does not compile until it has a code.

use crate::{request::Invalid, scope::ScopeError};
use loadline_event_log::LogError;
use loadline_history::HistoryError;
use loadline_recount::RecountError;
use loadline_runtime::errors;
use loadline_store::StoreError;
use std::time::Duration;
use tonic::{Code, Status};

/// After how long to ask again when a server behind this one is down.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// After how long to ask again while account data is closed.
const REOPENS_AFTER: Duration = Duration::from_secs(60);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A field of the request.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Who asks.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// History.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A sum that does not fit the contract's 64 bits.
    #[error("the sum over this range does not fit 64 bits; ask for a shorter range")]
    Overflow,
    /// An hour with more events than may be held.
    #[error("the hour has more events than one explanation may hold; an operator may verify it instead")]
    TooMuch,
    /// As many explanations as are allowed are being worked on.
    #[error("too many explanations at once: each reads the log; ask again in a moment")]
    Busy,
    /// Somebody was given another account's data.
    #[error("account data is closed: an isolation probe was given data of another account; an operator finds it as AN-10")]
    Closed,
    /// This process is about to end.
    #[error("this server is shutting down; ask another one, or this one again when it is back")]
    ShuttingDown,
}

impl From<RecountError> for QueryError {
    fn from(error: RecountError) -> Self {
        match error {
            RecountError::Store(error) => Self::Store(error),
            RecountError::Log(error) => Self::Log(error),
            RecountError::TooMany { .. } => Self::TooMuch,
        }
    }
}

impl From<QueryError> for Status {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Invalid(Invalid { field, detail }) => errors::invalid(field, detail),
            QueryError::Scope(error) => scope(&error, message),
            QueryError::Store(error) => store(&error, message),
            QueryError::Log(error) => log(&error, message),
            QueryError::History(error) if error.is_retryable() => {
                errors::unavailable("HISTORY_UNAVAILABLE", message, RETRY_AFTER)
            }
            QueryError::History(_) => {
                tracing::error!(error = %message, "history answered in a way that no retry mends");
                errors::internal("HISTORY_BROKEN", "history cannot answer this; its operator finds the cause in the log of query")
            }
            QueryError::Overflow => errors::rich(Code::OutOfRange, "SUM_OVERFLOW", message, [("bits", "64")]),
            QueryError::TooMuch => errors::failed_precondition("HOUR_TOO_LARGE", "hour", message),
            QueryError::Busy => errors::exhausted("EXPLANATIONS_BUSY", message, RETRY_AFTER),
            QueryError::Closed => errors::unavailable("ISOLATION_BREACH", message, REOPENS_AFTER),
            QueryError::ShuttingDown => errors::unavailable("SHUTTING_DOWN", message, RETRY_AFTER),
        }
    }
}

fn scope(error: &ScopeError, message: String) -> Status {
    match error {
        ScopeError::Anonymous => errors::rich(Code::Unauthenticated, "UNKNOWN_CALLER", message, [("scope", "none")]),
        ScopeError::NoAccounts(_) | ScopeError::BrokenIdentity { .. } => errors::permission_denied("NO_ACCOUNTS", message),
        ScopeError::Outside(_) => errors::permission_denied("OUTSIDE_SCOPE", message),
        ScopeError::OperatorsOnly => errors::permission_denied("OPERATORS_ONLY", message),
    }
}

fn store(error: &StoreError, message: String) -> Status {
    match error {
        StoreError::Unavailable(_) => errors::unavailable("STORE_UNAVAILABLE", message, RETRY_AFTER),
        StoreError::Unknown(_) | StoreError::Stale(_) => {
            errors::rich(Code::Aborted, "STORE_CONFLICT", message, [("retry", "true")])
        }
        StoreError::OutOfScope(account) => {
            scope(&ScopeError::Outside(account.clone()), ScopeError::Outside(account.clone()).to_string())
        }
        StoreError::NeedsAllAccounts => errors::permission_denied("OPERATORS_ONLY", message),
        StoreError::Overflow(_) => errors::failed_precondition("OVERFLOW", "usage", message),
        StoreError::NewerSchema { .. } => errors::failed_precondition("NEWER_SCHEMA", "store", message),
        StoreError::Misconfigured(_) => errors::failed_precondition("STORE_MISCONFIGURED", "store", message),
        StoreError::Broken(_) => {
            tracing::error!(error = %message, "the store answered in a way that no retry mends");
            errors::internal("STORE_BROKEN", "the store cannot answer this; its operator finds the cause in the log of query")
        }
    }
}

fn log(error: &LogError, message: String) -> Status {
    match error {
        LogError::Unavailable(_) => errors::unavailable("LOG_UNAVAILABLE", message, RETRY_AFTER),
        LogError::StreamNotFound(stream) => errors::not_found("stream", stream.as_str(), "is the ingest service running?"),
        LogError::Recreated { .. } => errors::rich(Code::Aborted, "STREAM_RECREATED", message, [("retry", "true")]),
        LogError::LostItsEnd { .. } => errors::rich(Code::DataLoss, "LOG_LOST_ITS_END", message, [("retry", "false")]),
        LogError::TooLarge { .. } => errors::internal("LOG_BROKEN", message),
        LogError::Misconfigured(_) => errors::failed_precondition("LOG_MISCONFIGURED", "event log", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::AccountId;

    #[test]
    fn a_store_that_is_down_invites_to_ask_again() {
        let status = Status::from(QueryError::Store(StoreError::Unavailable("refused".to_owned())));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(errors::retry_after(&status), Some(RETRY_AFTER));
    }

    #[test]
    fn being_out_of_scope_reads_the_same_from_the_store_and_from_the_query_layer() {
        let account = AccountId::new("bolt").unwrap();
        let ours = Status::from(QueryError::Scope(ScopeError::Outside(account.clone())));
        let stores = Status::from(QueryError::Store(StoreError::OutOfScope(account)));
        assert_eq!(ours.code(), Code::PermissionDenied);
        assert_eq!((ours.message(), ours.details()), (stores.message(), stores.details()));
    }

    #[test]
    fn what_is_broken_inside_is_not_told_outside() {
        let status = Status::from(QueryError::Store(StoreError::Broken("column secret".to_owned())));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"));
    }

    #[test]
    fn an_invalid_field_is_named() {
        let error = Invalid { field: "usage.from".to_owned(), detail: "is absent; give a time".to_owned() };
        let status = Status::from(QueryError::Invalid(error));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "usage.from: is absent; give a time"));
    }
}
