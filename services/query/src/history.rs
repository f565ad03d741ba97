//! What history adds to hot rows.
//!
//! The store lists the archived parts in the snapshot that gave the hot rows, so both together are all there is, whatever
//! moves meanwhile. Without an answer of history the hot part is answered all the same, and the rest is named as missing.

use crate::{
    Query,
    completeness::{Periods, at_most},
    convert,
    request::Range,
    status::QueryError,
    unanswered::{Asked, What},
};
use loadline_domain::{
    AccountScope, Day,
    archive::Part,
    completeness::PeriodState,
    question::{Grain, UsageQuery, UsageRow, added_up},
};
use loadline_history::HistoryError;
use loadline_proto::query::{Part as WirePart, part::Origin};
use loadline_store::{AsOf, Sources};
use std::{collections::BTreeSet, future::Future};
use tokio::time::timeout;

/// An answer of history, or why there is none. Nothing is missing where nothing was archived.
#[derive(Debug, Default)]
pub(crate) struct Archived<T> {
    /// What it adds.
    pub rows: T,
    /// Why it adds nothing although parts are listed.
    pub missing: Option<String>,
}

/// What history last added to a question that is asked again: under its token a part never changes, so the same parts add the
/// same.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    parts: Vec<Part>,
    archived: Archived<Vec<UsageRow>>,
}

impl Kept {
    /// Whether it is all of exactly these parts.
    fn is_of(&self, parts: &[Part]) -> bool {
        self.archived.missing.is_none() && self.parts == parts
    }
}

impl Query {
    /// Rows of the parts that the snapshot lists, asked for unless they are kept. What is kept is of this scope and question.
    pub(crate) async fn archived_usage<'k>(
        &self,
        scope: &AccountScope,
        question: &UsageQuery,
        as_of: &AsOf,
        kept: &'k mut Kept,
    ) -> &'k Archived<Vec<UsageRow>> {
        let parts = &as_of.sources.parts;
        if !kept.is_of(parts) {
            let asking = self.parts.history.usage(scope, parts, question);
            let archived = self.archived(scope, parts, asking, || What::Usage(question.clone())).await;
            *kept = Kept { parts: parts.clone(), archived };
        }
        &kept.archived
    }

    /// Asks history, unless there is nothing to ask for. `what` is kept where there is no answer.
    pub(crate) async fn archived<T: Default>(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        asking: impl Future<Output = Result<T, HistoryError>>,
        what: impl FnOnce() -> What,
    ) -> Archived<T> {
        if parts.is_empty() {
            return Archived { rows: T::default(), missing: None };
        }
        match self.of_history(scope, parts, asking, what).await {
            Ok(rows) => Archived { rows, missing: None },
            Err(error) => Archived { rows: T::default(), missing: Some(told(&error)) },
        }
    }

    /// Waits for history no longer than callers can wait for all of their answer. `what` is kept where there is none.
    pub(crate) async fn of_history<T>(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        asking: impl Future<Output = Result<T, HistoryError>>,
        what: impl FnOnce() -> What,
    ) -> Result<T, HistoryError> {
        let patience = self.parts.settings.history_patience;
        let slow = |_| Err(HistoryError::Unavailable(format!("no answer within {patience:?}")));
        timeout(patience, asking).await.unwrap_or_else(slow).inspect_err(|error| {
            tracing::warn!(%error, parts = parts.len(), "history did not answer; the question is kept and asked again");
            self.unanswered.keep(Asked { scope: scope.clone(), parts: parts.to_vec(), what: what() }, error);
        })
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
pub(crate) fn merged(mut hot: Vec<UsageRow>, archived: &[UsageRow]) -> Result<Vec<UsageRow>, QueryError> {
    if archived.is_empty() {
        return Ok(hot);
    }
    hot.extend_from_slice(archived);
    added_up(hot).ok_or(QueryError::Overflow)
}

/// The range in pieces, in order and without gap or overlap, each with where it was read. An archived day is of history; what came
/// late to it is hot, and added.
pub(crate) fn pieces(range: Range, grain: Grain, as_of: &AsOf, missing: Option<&str>) -> Vec<WirePart> {
    let Sources { dirty_days, parts, .. } = &as_of.sources;
    let archived: BTreeSet<Day> = parts.iter().map(|part| part.day).collect();
    let dirty: BTreeSet<Day> = dirty_days.iter().copied().collect();
    let origin = |day: Day| match grain {
        _ if archived.contains(&day) => Origin::History,
        Grain::Day if !dirty.contains(&day) => Origin::Daily,
        Grain::Day | Grain::Hour => Origin::Hourly,
    };
    let mut pieces: Vec<(Range, Origin)> = Vec::new();
    let mut from = range.from;
    while from < range.to {
        let (to, origin) = (from.day().end().hour().min(range.to), origin(from.day()));
        match pieces.last_mut() {
            Some((piece, last)) if *last == origin => piece.to = to,
            _ => pieces.push((Range { from, to }, origin)),
        }
        from = to;
    }
    let wire = |(piece, origin): (Range, Origin)| WirePart {
        from: Some(convert::timestamp(piece.from.start())),
        to: Some(convert::timestamp(piece.to.start())),
        origin: origin.into(),
        missing: missing.filter(|_| origin == Origin::History).unwrap_or_default().to_owned(),
    };
    pieces.into_iter().map(wire).collect()
}

/// Hours of these parts, which are not in the answer, are not told as counted.
pub(crate) fn without(periods: Periods, parts: &[Part]) -> Periods {
    let days: BTreeSet<Day> = parts.iter().map(|part| part.day).collect();
    at_most(periods, PeriodState::Pending, |hour| days.contains(&hour.day()))
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
        let rows = merged(vec![row(2, 1), row(5, 7)], &[row(1, 3), row(2, 40)]).unwrap();
        assert_eq!(rows, [row(1, 3), row(2, 41), row(5, 7)]);
    }

    #[test]
    fn what_is_kept_is_of_the_same_parts_only_and_only_when_it_is_whole() {
        let part = |number, token: &str| Part { day: Day::from_index(1), number, token: token.to_owned() };
        let parts = vec![part(0, "a")];
        assert!(Kept::default().is_of(&[]), "history is not asked where nothing is archived");
        assert!(!Kept::default().is_of(&parts));
        let missing = Some("away".to_owned());
        assert!(!Kept { parts: parts.clone(), archived: Archived { rows: vec![], missing } }.is_of(&parts));
        let kept = Kept { parts: parts.clone(), archived: Archived { rows: vec![row(24, 1)], missing: None } };
        assert!(kept.is_of(&parts));
        for others in [vec![], vec![part(0, "b")], vec![part(0, "a"), part(1, "b")]] {
            assert!(!kept.is_of(&others), "{others:?}");
        }
    }

    #[test]
    fn hours_that_history_does_not_answer_are_pending_whatever_they_were() {
        let (hour, part) = (Hour::from_index, Part { day: Day::from_index(1), number: 0, token: String::new() });
        let periods = vec![(hour(20), hour(60), PeriodState::Final), (hour(60), hour(70), PeriodState::Provisional)];
        let expected = [
            (hour(20), hour(24), PeriodState::Final),
            (hour(24), hour(48), PeriodState::Pending),
            (hour(48), hour(60), PeriodState::Final),
            (hour(60), hour(70), PeriodState::Provisional),
        ];
        assert_eq!(without(periods, &[part]), expected);
    }

    /// Origin, and hours from the first on.
    fn told(range: (i32, i32), grain: Grain, dirty: &[i32], archived: &[i32]) -> Vec<(Origin, i64, i64, bool)> {
        let part = |day: &i32| Part { day: Day::from_index(*day), number: 0, token: String::new() };
        let dirty_days = dirty.iter().copied().map(Day::from_index).collect();
        let sources = Sources { daily_days: 0, dirty_days, parts: archived.iter().map(part).collect() };
        let as_of = AsOf { progress: vec![], dead_letters: 0, lost: 0, sources };
        let range = Range { from: Hour::from_index(range.0), to: Hour::from_index(range.1) };
        let hour = |time: &Option<prost_types::Timestamp>| time.as_ref().map_or(0, |time| time.seconds / 3_600);
        let pieces = pieces(range, grain, &as_of, Some("away"));
        let told = |part: &WirePart| (part.origin(), hour(&part.from), hour(&part.to), !part.missing.is_empty());
        pieces.iter().map(told).collect()
    }

    #[test]
    fn pieces_cover_the_range_in_order_without_gap_or_overlap() {
        use Origin::{Daily, History, Hourly};
        // Days 10 and 11 are archived, and 13; 12 was never moved, 15 is dirty, and so is 11, to which something came late.
        let found = told((240, 17 * 24), Grain::Day, &[15, 11], &[11, 10, 13, 11]);
        let expected = [
            (History, 240, 288, true),
            (Daily, 288, 312, false),
            (History, 312, 336, true),
            (Daily, 336, 360, false),
            (Hourly, 360, 384, false),
            (Daily, 384, 408, false),
        ];
        assert_eq!(found, expected);
        // By hours, and not of whole days.
        let found = told((245, 345), Grain::Hour, &[], &[10, 11, 13]);
        assert_eq!(
            found,
            [(History, 245, 288, true), (Hourly, 288, 312, false), (History, 312, 336, true), (Hourly, 336, 345, false)]
        );
        assert_eq!(told((245, 245), Grain::Hour, &[], &[]), []);
    }
}
