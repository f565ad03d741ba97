//! One account-hour as stored, and as the log tells it.
//!
//! The stored rows and the streams' positions come from one snapshot, and the log is read only up to those positions, so
//! that both countings are of the same records however fast new ones arrive.

use crate::{
    Query, convert,
    history::merged,
    recount::{Recount, RowKey, Rows},
    scan::Scan,
    status::QueryError,
};
use loadline_domain::question::{Grain, GroupBy, UsageFilter, UsageQuery, UsageRow};
use loadline_domain::{AccountId, AccountScope, DeadLetterReason, Hour, decode::decode, usage::Usage};
use loadline_proto::query::{ExplainUsageResponse, UsageDifference, UsageRow as WireRow};
use loadline_store::{AsOf, DeadLetterFilter, DeadLetterState};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Redriven dead letters are read in pages of this many …
const PAGE: u32 = 500;
/// … up to so many pages.
const MAX_PAGES: u32 = 20;

impl Query {
    /// Counts an account-hour again; the account is in scope. What cannot be read before `deadline` is told as a doubt.
    pub(crate) async fn explain(
        &self,
        scope: &AccountScope,
        account: AccountId,
        hour: Hour,
        deadline: Instant,
    ) -> Result<ExplainUsageResponse, QueryError> {
        let _turn = self.explaining.try_acquire().map_err(|_| QueryError::Busy)?;
        let (stored, as_of) = self.stored(scope, &account, hour).await?;
        let mut scan = Scan::new(self, Recount::new(account.clone(), hour), hour, deadline);
        for progress in &as_of.progress {
            scan.stream(progress).await?;
        }
        let redriven = self.redriven(&account, hour).await?;
        let Scan { recount, scanned, mut doubts, surplus_doubts, .. } = scan;
        doubts.extend(redriven);
        doubts.extend(lost(&as_of));
        if stored.iter().any(|(key, stored)| exceeds(stored, recount.rows().get(key))) {
            doubts.extend(surplus_doubts);
        }
        let differences = differences(hour, &stored, recount.rows());
        Ok(ExplainUsageResponse {
            account: account.to_string(),
            hour: Some(convert::timestamp(hour.start())),
            stored: wire_rows(hour, &stored),
            recounted: wire_rows(hour, recount.rows()),
            conclusive: doubts.is_empty(),
            detail: detail(&doubts, differences.len()),
            differences,
            scanned,
            duplicates: recount.duplicates(),
            dead_letters: recount.dead_letters(),
        })
    }

    async fn stored(&self, scope: &AccountScope, account: &AccountId, hour: Hour) -> Result<(Rows, AsOf), QueryError> {
        let question = UsageQuery {
            account: account.clone(),
            from: hour,
            to: hour.next(),
            filter: UsageFilter::default(),
            group_by: GroupBy { channel: true, country: true, currency: true },
            grain: Grain::Hour,
        };
        let (hot, as_of) = self.parts.store.usage(scope, &question).await?;
        let rows = match as_of.sources.parts.as_slice() {
            [] => hot,
            parts => merged(hot, self.parts.history.usage(scope, parts, &question).await?)?,
        };
        let keyed = |row: UsageRow| Some(((row.channel?, row.country?, row.currency?), row.usage));
        Ok((rows.into_iter().filter_map(keyed).collect(), as_of))
    }

    /// A redriven letter was counted as of its redrive, not as of its record: the scan cannot tell what became of it.
    async fn redriven(&self, account: &AccountId, hour: Hour) -> Result<Option<String>, QueryError> {
        let of_account = DeadLetterFilter { account: Some(account.clone()), ..DeadLetterFilter::default() };
        // What could not be decoded was nobody's when it was written.
        let of_nobody = DeadLetterFilter { reason: Some(DeadLetterReason::Undecodable), ..DeadLetterFilter::default() };
        let mut found = 0;
        for filter in [of_account, of_nobody] {
            let mut after = 0;
            for page in 0.. {
                if page == MAX_PAGES {
                    return Ok(Some("too many redriven dead letters to look through".to_owned()));
                }
                let letters = self.parts.store.dead_letters(&filter, DeadLetterState::Counted, after, PAGE).await?;
                let Some(last) = letters.last() else { break };
                after = last.id;
                let events = letters.iter().filter_map(|letter| decode(&letter.letter.payload).ok());
                found += events.filter(|event| event.account() == account && event.time().hour() == hour).count();
            }
        }
        Ok((found > 0).then(|| format!("at least {found} dead letters of the hour were redriven and counted")))
    }
}

fn lost(as_of: &AsOf) -> Option<String> {
    (as_of.lost > 0)
        .then(|| format!("{} records that may have belonged to the hour were lost before they were counted", as_of.lost))
}

fn detail(doubts: &[String], differences: usize) -> String {
    let finding = match differences {
        0 => "the store agrees with the log".to_owned(),
        1 => "the store differs from the log in one row".to_owned(),
        rows => format!("the store differs from the log in {rows} rows"),
    };
    match doubts {
        [] => finding,
        doubts => format!("{finding}, but nothing is proven: {}", doubts.join("; ")),
    }
}

/// Whether any number of `stored` is larger than recounted.
fn exceeds(stored: &Usage, recounted: Option<&Usage>) -> bool {
    let recounted = recounted.copied().unwrap_or_default();
    stored.columns().into_iter().zip(recounted.columns()).any(|(stored, recounted)| stored > recounted)
}

/// Rows in which any number differs, recounted less stored, with the recounted row beside.
fn differences(hour: Hour, stored: &Rows, recounted: &Rows) -> Vec<UsageDifference> {
    let keys: BTreeSet<_> = stored.keys().chain(recounted.keys()).collect();
    let difference = |key: &RowKey| {
        let (stored, recounted) = (stored.get(key).copied().unwrap_or_default(), recounted.get(key).copied().unwrap_or_default());
        let mut difference = recounted;
        difference -= stored;
        (recounted != stored).then(|| UsageDifference {
            row: Some(wire_row(hour, *key, recounted)),
            events: difference.events,
            messages: difference.messages,
            segments: difference.segments,
            amount_micros: difference.amount_micros,
            receipts: difference.final_receipts() + difference.not_final,
        })
    };
    keys.into_iter().filter_map(difference).collect()
}

fn wire_rows(hour: Hour, rows: &Rows) -> Vec<WireRow> {
    rows.iter().map(|(key, usage)| wire_row(hour, *key, *usage)).collect()
}

fn wire_row(hour: Hour, (channel, country, currency): RowKey, usage: Usage) -> WireRow {
    let row = UsageRow { hour: Some(hour), channel: Some(channel), country: Some(country), currency: Some(currency), usage };
    convert::usage_row(&row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::event::{Channel, Country, Currency};

    fn rows(usage: Usage) -> Rows {
        [((Channel::SMS, Country::UNKNOWN, Currency::parse("EUR").unwrap()), usage)].into()
    }

    #[test]
    fn a_swap_of_two_statuses_is_a_difference_although_the_sums_agree() {
        let (stored, recounted) = (Usage { delivered: 1, ..Usage::default() }, Usage { failed: 1, ..Usage::default() });
        let found = differences(Hour::from_index(1), &rows(stored), &rows(recounted));
        assert_eq!((found.len(), found[0].receipts), (1, 0));
        assert!(exceeds(&stored, Some(&recounted)));
    }

    #[test]
    fn a_row_on_one_side_only_is_a_difference() {
        let usage = Usage { events: 2, messages: 3, amount_micros: 10, ..Usage::default() };
        let missing = differences(Hour::from_index(1), &Rows::new(), &rows(usage));
        assert_eq!((missing[0].events, missing[0].messages, missing[0].amount_micros), (2, 3, 10));
        let surplus = differences(Hour::from_index(1), &rows(usage), &Rows::new());
        assert_eq!((surplus[0].events, surplus[0].messages, surplus[0].amount_micros), (-2, -3, -10));
        assert!(differences(Hour::from_index(1), &rows(usage), &rows(usage)).is_empty());
    }

    #[test]
    fn a_doubt_is_told_with_the_finding() {
        assert_eq!(detail(&[], 0), "the store agrees with the log");
        assert!(detail(&["DLR is gone".to_owned()], 1).ends_with("nothing is proven: DLR is gone"));
    }
}
