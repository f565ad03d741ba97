//! The accounts with most usage: a question only operators may ask.

use crate::{Query, convert, history::Archived, request::Range, status::QueryError, unanswered::What, usage::add};
use loadline_domain::{
    AccountId, AccountScope, Hour,
    event::Currency,
    question::{Grain, RankBy, TopAccounts, UsageFilter},
    usage::Usage,
};
use loadline_proto::query::{AccountUsage, ListTopAccountsResponse};
use loadline_store::{AccountTotals, AsOf};
use std::collections::BTreeMap;

impl Query {
    /// At most `limit` accounts in rank order, each with one sum per currency.
    pub(crate) async fn top_accounts(
        &self,
        scope: &AccountScope,
        range: Range,
        filter: &UsageFilter,
        rank_by: RankBy,
        limit: u32,
    ) -> Result<ListTopAccountsResponse, QueryError> {
        let (accounts, as_of) = self.parts.store.top_accounts(scope, range.from, range.to, filter, rank_by, limit).await?;
        let (accounts, as_of, missing) = match as_of.sources.parts.as_slice() {
            [] => (accounts, as_of, None),
            _ => self.ranked_with_history(scope, range, filter, rank_by, limit).await?,
        };
        let accounts = accounts.into_iter().map(|(account, sums)| AccountUsage {
            account: account.to_string(),
            totals: sums.iter().map(|(currency, usage)| convert::totals(*currency, usage)).collect(),
        });
        let grain = grain(range);
        let (_, completeness) = self.completeness(range, grain, &as_of, missing.as_deref()).await;
        Ok(ListTopAccountsResponse { accounts: accounts.collect(), completeness: Some(completeness) })
    }

    /// No side alone knows who is first: every account's sums of both are added before any is left out.
    async fn ranked_with_history(
        &self,
        scope: &AccountScope,
        range: Range,
        filter: &UsageFilter,
        rank_by: RankBy,
        limit: u32,
    ) -> Result<(TopAccounts, AsOf, Option<String>), QueryError> {
        let (mut sums, as_of) = self.parts.store.account_totals(scope, range.from, range.to, filter, grain(range)).await?;
        let parts = &as_of.sources.parts;
        let asking = self.parts.history.account_totals(scope, parts, range.from, range.to, filter);
        let what = || What::Totals { from: range.from, to: range.to, filter: filter.clone() };
        let Archived { rows, missing } = self.archived(scope, parts, asking, what).await;
        for (key, usage) in rows {
            let sum = sums.entry(key).or_default();
            *sum = add(*sum, usage)?;
        }
        Ok((ranked(sums, rank_by, limit), as_of, missing))
    }
}

/// Whole days are read by days.
fn grain(range: Range) -> Grain {
    let is_midnight = |hour: Hour| hour == hour.day().first_hour();
    if is_midnight(range.from) && is_midnight(range.to) { Grain::Day } else { Grain::Hour }
}

/// As the store ranks: by the measure, ties by name; by an amount only accounts with usage in its currency.
fn ranked(sums: AccountTotals, rank_by: RankBy, limit: u32) -> TopAccounts {
    let mut accounts: BTreeMap<AccountId, BTreeMap<Currency, Usage>> = BTreeMap::new();
    for ((account, currency), usage) in sums {
        accounts.entry(account).or_default().insert(currency, usage);
    }
    let rank = |currencies: &BTreeMap<Currency, Usage>| match rank_by {
        RankBy::Messages => Some(currencies.values().map(|usage| i128::from(usage.messages)).sum::<i128>()),
        RankBy::Segments => Some(currencies.values().map(|usage| i128::from(usage.segments)).sum()),
        RankBy::Amount(currency) => currencies.get(&currency).map(|usage| i128::from(usage.amount_micros)),
    };
    let mut ranks: Vec<_> = accounts.into_iter().filter_map(|(account, sums)| Some((rank(&sums)?, account, sums))).collect();
    ranks.sort_by(|(a, name_a, _), (b, name_b, _)| b.cmp(a).then_with(|| name_a.cmp(name_b)));
    ranks.truncate(limit as usize);
    ranks.into_iter().map(|(_, account, sums)| (account, sums.into_iter().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(rows: &[(&str, &str, i64, i64)]) -> AccountTotals {
        let row = |(account, currency, messages, amount_micros): &(&str, &str, i64, i64)| {
            let usage = Usage { messages: *messages, amount_micros: *amount_micros, ..Usage::default() };
            ((AccountId::new(account).unwrap(), Currency::parse(currency).unwrap()), usage)
        };
        rows.iter().map(row).collect()
    }

    fn names(rank_by: RankBy, limit: u32) -> Vec<String> {
        let sums = sums(&[("acme", "EUR", 3, 10), ("acme", "USD", 3, 90), ("bolt", "EUR", 6, 20), ("core", "USD", 9, 5)]);
        ranked(sums, rank_by, limit).into_iter().map(|(account, _)| account.to_string()).collect()
    }

    #[test]
    fn accounts_rank_over_currencies_and_ties_go_by_name() {
        assert_eq!(names(RankBy::Messages, 10), ["core", "acme", "bolt"]);
        assert_eq!(names(RankBy::Messages, 2), ["core", "acme"]);
    }

    #[test]
    fn by_an_amount_only_accounts_of_its_currency_rank() {
        assert_eq!(names(RankBy::Amount(Currency::parse("EUR").unwrap()), 10), ["bolt", "acme"]);
    }
}
