//! What history adds to hot rows.
//!
//! The store lists the archived parts in the snapshot that gave the hot rows, so both together are all there is, whatever
//! moves meanwhile. Without an answer of history the hot part is answered all the same, and the rest is named as missing.

use crate::{Query, convert, request::Range, status::QueryError};
use loadline_domain::{
    AccountScope, Day,
    archive::Part,
    question::{Grain, UsageQuery, UsageRow, added_up},
};
use loadline_history::HistoryError;
use loadline_proto::query::{Part as WirePart, part::Origin};
use loadline_store::AsOf;
use std::future::Future;
use tokio::time::timeout;

/// An answer of history, or why there is none. Nothing is missing where nothing was archived.
pub(crate) struct Archived<T> {
    /// What it adds.
    pub rows: T,
    /// Why it adds nothing although parts are listed.
    pub missing: Option<String>,
}

impl Query {
    /// Rows of the parts that the snapshot lists.
    pub(crate) async fn archived_usage(
        &self,
        scope: &AccountScope,
        question: &UsageQuery,
        as_of: &AsOf,
    ) -> Archived<Vec<UsageRow>> {
        let parts = &as_of.sources.parts;
        self.archived(parts, self.parts.history.usage(scope, parts, question)).await
    }

    /// Asks history, unless there is nothing to ask for; no longer than callers can wait for all of their answer.
    pub(crate) async fn archived<T: Default>(
        &self,
        parts: &[Part],
        asking: impl Future<Output = Result<T, HistoryError>>,
    ) -> Archived<T> {
        if parts.is_empty() {
            return Archived { rows: T::default(), missing: None };
        }
        let patience = self.parts.settings.history_patience;
        let slow = |_| Err(HistoryError::Unavailable(format!("no answer within {patience:?}")));
        match timeout(patience, asking).await.unwrap_or_else(slow) {
            Ok(rows) => Archived { rows, missing: None },
            Err(error) => {
                tracing::warn!(%error, parts = parts.len(), "history did not answer; its days are named as missing");
                Archived { rows: T::default(), missing: Some(told(&error)) }
            }
        }
    }
}

/// For callers: what is inside stays in the log.
fn told(error: &HistoryError) -> String {
    let why = if error.is_retryable() {
        "history cannot be reached; ask again later"
    } else {
        "history cannot answer this; its operator finds the cause in the log of query"
    };
    why.to_owned()
}

/// Hot and archived rows, those of one key added up, in the order of the key.
///
/// # Errors
/// [`QueryError::Overflow`] rather than a wrong number.
pub(crate) fn merged(mut hot: Vec<UsageRow>, archived: Vec<UsageRow>) -> Result<Vec<UsageRow>, QueryError> {
    if archived.is_empty() {
        return Ok(hot);
    }
    hot.extend(archived);
    added_up(hot).ok_or(QueryError::Overflow)
}

/// Where the pieces of an answer are from.
pub(crate) fn pieces(range: Range, grain: Grain, as_of: &AsOf, missing: Option<&str>) -> Vec<WirePart> {
    let piece = |range: Range, origin: Origin, missing: &str| WirePart {
        from: Some(convert::timestamp(range.from.start())),
        to: Some(convert::timestamp(range.to.start())),
        origin: origin.into(),
        missing: missing.to_owned(),
    };
    let mut pieces = Vec::new();
    if grain == Grain::Day {
        pieces.push(piece(range, Origin::Daily, ""));
    }
    if grain == Grain::Hour || as_of.sources.dirty_days > 0 {
        pieces.push(piece(range, Origin::Hourly, ""));
    }
    let missing = missing.unwrap_or_default();
    pieces.extend(runs(&as_of.sources.parts, range).into_iter().map(|run| piece(run, Origin::History, missing)));
    pieces
}

/// Archived days without a gap between them, as far as they are in the range.
fn runs(parts: &[Part], range: Range) -> Vec<Range> {
    let mut days: Vec<Day> = parts.iter().map(|part| part.day).collect();
    days.sort_unstable();
    days.dedup();
    let mut runs: Vec<Range> = Vec::new();
    for day in days {
        let hours = Range { from: day.first_hour().max(range.from), to: day.end().hour().min(range.to) };
        match runs.last_mut() {
            Some(run) if run.to == hours.from => run.to = hours.to,
            _ => runs.push(hours),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::{Hour, usage::Usage};

    fn row(hour: i32, events: i64) -> UsageRow {
        let usage = Usage { events, ..Usage::default() };
        UsageRow { hour: Some(Hour::from_index(hour)), channel: None, country: None, currency: None, usage }
    }

    #[test]
    fn what_came_late_to_an_archived_day_is_added_to_it() {
        let rows = merged(vec![row(2, 1), row(5, 7)], vec![row(1, 3), row(2, 40)]).unwrap();
        assert_eq!(rows, [row(1, 3), row(2, 41), row(5, 7)]);
    }

    #[test]
    fn runs_of_days_are_cut_by_gaps_and_by_the_range() {
        let part = |day| Part { day: Day::from_index(day), number: 0, token: String::new() };
        let hour = Hour::from_index;
        let range = Range { from: hour(10 * 24 + 5), to: hour(14 * 24) };
        let found = runs(&[part(10), part(11), part(13), part(11)], range);
        assert_eq!(found, [Range { from: hour(245), to: hour(288) }, Range { from: hour(312), to: hour(336) }]);
    }
}
