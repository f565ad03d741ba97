//! Whether history is the one that the days of this store moved to, and no other store's.

use crate::job::JobError;
use loadline_domain::Day;
use loadline_history::History;
use loadline_store::Store;

/// Before anything is written to history or removed from it: prepares it, once it is known to be the right one.
///
/// # Errors
/// What speaks against it: it does not hold what was archived last, or belongs to another store.
pub async fn ensure_ours(store: &dyn Store, history: &dyn History) -> Result<(), JobError> {
    match ensure_same(store, history).await {
        // What its shape lacks says more than what came of it.
        Err(JobError::History(error)) if !error.is_retryable() => {
            history.prepare().await?;
            return Err(error.into());
        }
        same => same?,
    }
    history.prepare().await?;
    Ok(history.claim(&store.identity().await?).await?)
}

/// A folder that is not mounted, or a bucket that was emptied, must not be taken for a new history: days that moved there
/// would be missing when the right one is back.
async fn ensure_same(store: &dyn Store, history: &dyn History) -> Result<(), JobError> {
    let listed = store.parts(Day::from_index(i32::MIN), Day::from_index(i32::MAX)).await?;
    let Some(newest) = listed.into_iter().max_by_key(|listed| listed.archived_at) else { return Ok(()) };
    let found = history.totals(&newest.part).await?;
    if found != newest.totals {
        let (day, totals) = (newest.part.day, newest.totals);
        return Err(JobError::Refused(format!("history no longer holds what was archived for {day}: {totals:?}, but {found:?}")));
    }
    Ok(())
}
