//! Hourly usage of one account.

use crate::{
    Query,
    calendar::Calendar,
    completeness::{Periods, at_most},
    convert,
    history::{Kept, merged},
    request::Range,
    status::QueryError,
};
use loadline_domain::{
    AccountScope, Hour,
    completeness::PeriodState,
    event::Currency,
    question::{Grain, UsageQuery, UsageRow, added_up},
    usage::Usage,
};
use loadline_proto::query::{GetUsageResponse, UsageTotals};
use std::collections::{BTreeMap, BTreeSet};

/// What is asked of one account: rows as they are read, and the periods they are told in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub query: UsageQuery,
    pub calendar: Calendar,
}

impl Query {
    /// Answers a question whose account is in scope. Rows are split by currency, asked for or not: amounts of several
    /// currencies have no sum.
    pub(crate) async fn usage(&self, scope: &AccountScope, asked: &Asked) -> Result<GetUsageResponse, QueryError> {
        self.usage_again(scope, asked, &mut Kept::default()).await
    }

    /// The same answer to a question that was asked before, with what is kept of its archived rows.
    pub(crate) async fn usage_again(
        &self,
        scope: &AccountScope,
        asked: &Asked,
        kept: &mut Kept,
    ) -> Result<GetUsageResponse, QueryError> {
        let mut question = asked.query.clone();
        question.group_by.currency = true;
        let (hot, as_of) = self.parts.store.usage(scope, &question).await?;
        let archived = self.archived_usage(scope, &question, &as_of, kept).await;
        let rows = merged(hot, &archived.rows)?;
        let range = Range { from: question.from, to: question.to };
        let (periods, completeness) = self.completeness(range, question.grain, &as_of, archived.missing.as_deref()).await;
        let periods = doubt(periods, &overdelivered(&rows, question.grain));
        let rows = told_by(&asked.calendar, rows)?;
        Ok(GetUsageResponse {
            account: question.account.to_string(),
            totals: totals(&rows)?,
            rows: rows.iter().map(convert::usage_row).collect(),
            periods: periods.into_iter().map(convert::period).collect(),
            completeness: Some(completeness),
        })
    }
}

/// Rows of hours or days as rows of the calendar's periods.
fn told_by(calendar: &Calendar, mut rows: Vec<UsageRow>) -> Result<Vec<UsageRow>, QueryError> {
    if calendar.is_hourly() {
        return Ok(rows);
    }
    for row in &mut rows {
        row.hour = row.hour.map(|hour| calendar.start(hour)).transpose()?;
    }
    added_up(rows).ok_or(QueryError::Overflow)
}

/// One sum per currency, receipts under none.
fn totals(rows: &[UsageRow]) -> Result<Vec<UsageTotals>, QueryError> {
    let mut sums: BTreeMap<Currency, Usage> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(row.currency.unwrap_or(Currency::UNKNOWN)).or_default();
        *sum = add(*sum, row.usage)?;
    }
    Ok(sums.iter().map(|(currency, usage)| convert::totals(*currency, usage)).collect())
}

/// The sum of two usages.
///
/// # Errors
/// [`QueryError::Overflow`] rather than a wrong number.
pub(crate) fn add(sum: Usage, more: Usage) -> Result<Usage, QueryError> {
    sum.checked_add(more).ok_or(QueryError::Overflow)
}

/// Hours of periods in which more messages ended than were charged for: a sign of double counting. Rows come by hour.
fn overdelivered(rows: &[UsageRow], grain: Grain) -> BTreeSet<Hour> {
    let hours = if grain == Grain::Day { 24 } else { 1 };
    let surplus = |rows: &[UsageRow]| rows.iter().map(|row| row.usage.final_receipts() - row.usage.messages).sum::<i64>();
    let periods = rows.chunk_by(|one, next| one.hour == next.hour).filter(|rows| surplus(rows) > 0);
    let doubtful = periods.filter_map(|rows| rows[0].hour).map(Hour::index);
    doubtful.flat_map(|first| (first..first + hours).map(Hour::from_index)).collect()
}

/// What is doubtful is not final.
fn doubt(periods: Periods, doubtful: &BTreeSet<Hour>) -> Periods {
    if doubtful.is_empty() {
        return periods;
    }
    at_most(periods, PeriodState::Provisional, |hour| doubtful.contains(&hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(hour: i32, currency: &str, usage: Usage) -> UsageRow {
        UsageRow { hour: Some(Hour::from_index(hour)), channel: None, country: None, currency: Currency::parse(currency), usage }
    }

    fn amount(amount_micros: i64) -> Usage {
        Usage { events: 1, messages: 1, segments: 1, amount_micros, ..Usage::default() }
    }

    #[test]
    fn totals_are_one_sum_per_currency() {
        let receipts = Usage { events: 2, delivered: 2, ..Usage::default() };
        let rows = [row(1, "EUR", amount(7)), row(1, "USD", amount(5)), row(2, "EUR", amount(3)), row(2, "", receipts)];
        let totals = totals(&rows).unwrap();
        let sums: Vec<_> = totals.iter().map(|total| (total.currency.as_str(), total.amount_micros, total.events)).collect();
        assert_eq!(sums, [("", 0, 2), ("EUR", 10, 2), ("USD", 5, 1)]);
    }

    #[test]
    fn a_sum_that_does_not_fit_is_refused() {
        let rows = [row(1, "EUR", amount(i64::MAX)), row(2, "EUR", amount(1))];
        assert!(matches!(totals(&rows), Err(QueryError::Overflow)));
    }

    #[test]
    fn an_hour_with_more_receipts_than_messages_is_not_final() {
        let receipts = Usage { events: 2, delivered: 2, ..Usage::default() };
        let rows = [row(1, "EUR", amount(7)), row(2, "EUR", amount(7)), row(2, "", receipts)];
        let hour = Hour::from_index;
        let periods = doubt(vec![(hour(0), hour(4), PeriodState::Final)], &overdelivered(&rows, Grain::Hour));
        let expected = [(0, 2, PeriodState::Final), (2, 3, PeriodState::Provisional), (3, 4, PeriodState::Final)]
            .map(|(a, b, s)| (hour(a), hour(b), s));
        assert_eq!(periods, expected);
    }

    #[test]
    fn doubt_never_makes_a_pending_hour_look_counted() {
        let hour = Hour::from_index;
        let pending = vec![(hour(0), hour(2), PeriodState::Pending)];
        assert_eq!(doubt(pending.clone(), &[hour(1)].into()), pending);
    }
}
