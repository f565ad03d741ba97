//! The one map from this service's errors to gRPC statuses.

use loadline_runtime::errors;
use loadline_store::StoreError;
use std::time::Duration;
use tonic::Status;

/// An error of the store. Its own words may name what is inside: they go to the log.
pub fn store(error: StoreError) -> Status {
    // A queue that was told twice knows the key.
    if error.is_retryable() || matches!(error, StoreError::Unknown(_) | StoreError::Stale(_)) {
        tracing::warn!(%error, "store unavailable");
        return errors::unavailable("STORE_UNAVAILABLE", "the store cannot be reached; try again", Duration::from_secs(1));
    }
    tracing::error!(%error, "the store answered in a way that no retry mends");
    errors::internal("STORE_BROKEN", "the store cannot answer this; its operator finds the cause in the log of rollup")
}
