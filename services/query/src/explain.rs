//! One account-hour as stored, and as the log tells it.
//!
//! The stored rows and the streams' positions come from one snapshot, and the log is read only up to those positions, so
//! that both countings are of the same records however fast new ones arrive.

use crate::{Query, convert, history::merged, status::QueryError, unanswered::What};
use loadline_domain::question::{Grain, GroupBy, UsageFilter, UsageQuery, UsageRow};
use loadline_domain::{
    AccountId, AccountScope, Hour,
    usage::{Usage, UsageKey},
};
use loadline_proto::{
    common::StreamRange,
    query::{ExplainUsageResponse, UsageDifference, UsageRow as WireRow},
};
use loadline_recount::{Limits, Rows, Scanned, Sources, Span, recount};
use loadline_store::AsOf;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Dead letters of a kind that are looked through.
const LETTERS: usize = 10_000;

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
        let most = self.parts.settings.explain_max_records;
        let limits = Limits {
            records: most as u64,
            identities: most,
            letters: LETTERS,
            deadline: Some(deadline),
            letters_since: Some(self.now().minus(self.parts.settings.letters_kept)),
        };
        let sources = Sources { log: &*self.parts.log, store: &*self.parts.store, rules: &self.parts.rules };
        let recounted = recount(sources, Span::of(account.clone(), hour), &as_of, limits).await?;
        let doubts = recounted.doubts(&account, hour, &stored);
        let differences = differences(&stored, &recounted.rows);
        Ok(ExplainUsageResponse {
            account: account.to_string(),
            hour: Some(convert::timestamp(hour.start())),
            stored: wire_rows(&stored),
            recounted: wire_rows(&recounted.rows),
            conclusive: doubts.is_empty(),
            detail: detail(&doubts, differences.len()),
            differences,
            scanned: recounted.scanned.iter().map(wire_range).collect(),
            duplicates: recounted.duplicates,
            dead_letters: recounted.dead_letters,
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
            parts => {
                let asking = self.parts.history.usage(scope, parts, &question);
                merged(hot, &self.of_history(scope, parts, asking, || What::Usage(question.clone())).await?)?
            }
        };
        let keyed = |row: UsageRow| {
            let (channel, country, currency) = (row.channel?, row.country?, row.currency?);
            Some((UsageKey { account: account.clone(), hour, channel, country, currency }, row.usage))
        };
        Ok((rows.into_iter().filter_map(keyed).collect(), as_of))
    }
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

/// Rows in which any number differs, recounted less stored, with the recounted row beside.
fn differences(stored: &Rows, recounted: &Rows) -> Vec<UsageDifference> {
    let keys: BTreeSet<_> = stored.keys().chain(recounted.keys()).collect();
    let difference = |key: &UsageKey| {
        let (stored, recounted) = (stored.get(key).copied().unwrap_or_default(), recounted.get(key).copied().unwrap_or_default());
        let mut difference = recounted;
        difference -= stored;
        (recounted != stored).then(|| UsageDifference {
            row: Some(wire_row(key, recounted)),
            events: difference.events,
            messages: difference.messages,
            segments: difference.segments,
            amount_micros: difference.amount_micros,
            receipts: difference.final_receipts() + difference.not_final,
        })
    };
    keys.into_iter().filter_map(difference).collect()
}

fn wire_rows(rows: &Rows) -> Vec<WireRow> {
    rows.iter().map(|(key, usage)| wire_row(key, *usage)).collect()
}

fn wire_row(key: &UsageKey, usage: Usage) -> WireRow {
    let (channel, country, currency) = (Some(key.channel), Some(key.country), Some(key.currency));
    convert::usage_row(&UsageRow { hour: Some(key.hour), channel, country, currency, usage })
}

fn wire_range(scanned: &Scanned) -> StreamRange {
    StreamRange {
        stream: scanned.stream.to_string(),
        incarnation: scanned.incarnation.to_string(),
        first_sequence: scanned.first,
        last_sequence: scanned.last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::event::{Channel, Country, Currency};

    fn rows(usage: Usage) -> Rows {
        let (account, hour, currency) = (AccountId::new("acme").unwrap(), Hour::from_index(1), Currency::parse("EUR").unwrap());
        [(UsageKey { account, hour, channel: Channel::SMS, country: Country::UNKNOWN, currency }, usage)].into()
    }

    #[test]
    fn a_swap_of_two_statuses_is_a_difference_although_the_sums_agree() {
        let (stored, recounted) = (Usage { delivered: 1, ..Usage::default() }, Usage { failed: 1, ..Usage::default() });
        let found = differences(&rows(stored), &rows(recounted));
        assert_eq!((found.len(), found[0].receipts), (1, 0));
    }

    #[test]
    fn a_row_on_one_side_only_is_a_difference() {
        let usage = Usage { events: 2, messages: 3, amount_micros: 10, ..Usage::default() };
        let missing = differences(&Rows::new(), &rows(usage));
        assert_eq!((missing[0].events, missing[0].messages, missing[0].amount_micros), (2, 3, 10));
        let surplus = differences(&rows(usage), &Rows::new());
        assert_eq!((surplus[0].events, surplus[0].messages, surplus[0].amount_micros), (-2, -3, -10));
        assert!(differences(&rows(usage), &rows(usage)).is_empty());
    }

    #[test]
    fn a_doubt_is_told_with_the_finding() {
        assert_eq!(detail(&[], 0), "the store agrees with the log");
        assert!(detail(&["DLR is gone".to_owned()], 1).ends_with("nothing is proven: DLR is gone"));
    }
}
