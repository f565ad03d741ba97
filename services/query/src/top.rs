//! The accounts with most usage: a question only operators may ask.

use crate::{Query, convert, request::Range, status::QueryError};
use loadline_domain::AccountScope;
use loadline_domain::question::{RankBy, UsageFilter};
use loadline_proto::query::{AccountUsage, ListTopAccountsResponse};

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
        let accounts = accounts.into_iter().map(|(account, sums)| AccountUsage {
            account: account.to_string(),
            totals: sums.iter().map(|(currency, usage)| convert::totals(*currency, usage)).collect(),
        });
        let (_, completeness) = self.completeness(range, &as_of).await;
        Ok(ListTopAccountsResponse { accounts: accounts.collect(), completeness: Some(completeness) })
    }
}
