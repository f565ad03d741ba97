//! What may need a moment: tried again, a step of the run each time.

use loadline_health::remedy::{RemedyError, Running};
use std::{fmt::Display, time::Duration};
use tokio::time::sleep;

const TRIES: u64 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the first try that works gives.
///
/// # Errors
/// Of the last try; when the run was aborted.
pub async fn retried<T, E: Display, F>(running: &Running, attempt: impl Fn() -> F) -> Result<T, RemedyError>
where
    F: Future<Output = Result<T, E>>,
{
    let mut done = 0;
    loop {
        running.step(done, TRIES)?;
        done += 1;
        match attempt().await {
            Ok(given) => return Ok(given),
            Err(error) if done == TRIES => return Err(failed(error)),
            Err(_) => sleep(RETRY_AFTER).await,
        }
    }
}

/// A remedy that did not do what it is for.
pub fn failed(error: impl Display) -> RemedyError {
    RemedyError::Failed(error.to_string())
}
