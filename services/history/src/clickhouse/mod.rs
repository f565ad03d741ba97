//! ClickHouse: a table of usage by day, one by hour, one of latency, one of the parts that were finished, and
//! one of the store whose history it is.
//!
//! Every row carries its part's day and token, and every question names the tokens that count: what a failed or repeated
//! attempt left is never summed, and no part is ever replaced. Works from version 18.16 on.

mod ask;
mod connect;
mod fault;
mod schema;
mod sql;
mod sweep;
mod whole;
mod writer;

use crate::{History, HistoryError, Options, PartWriter, answer};
use async_trait::async_trait;
use connect::Connection;
use loadline_domain::{
    AccountId, AccountScope, Hour, Timestamp,
    archive::{Part, Totals},
    event::Currency,
    question::{LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use std::collections::HashMap;
use whole::Counted;

/// History in ClickHouse.
pub struct ClickHouseHistory {
    connection: Connection,
    counted: Counted,
}

impl ClickHouseHistory {
    /// What follows `clickhouse:` in a URL.
    pub(crate) fn new(rest: &str, options: Options) -> Result<Self, HistoryError> {
        Ok(Self { connection: Connection::new(rest, options.timeout)?, counted: Counted::default() })
    }
}

#[async_trait]
impl History for ClickHouseHistory {
    async fn prepare(&self) -> Result<(), HistoryError> {
        schema::prepare(&self.connection).await
    }

    async fn probe(&self) -> Result<(), HistoryError> {
        self.connection.probe().await
    }

    async fn probe_writing(&self) -> Result<(), HistoryError> {
        self.connection.probe().await
    }

    async fn claim(&self, store: &str) -> Result<(), HistoryError> {
        self.connection.bounded(schema::claim(&self.connection, store)).await
    }

    async fn begin(&self, part: &Part) -> Result<Box<dyn PartWriter>, HistoryError> {
        Ok(Box::new(writer::TableWriter::begin(&self.connection, part).await?))
    }

    async fn totals(&self, part: &Part) -> Result<Totals, HistoryError> {
        self.connection.bounded(self.count(part)).await
    }

    async fn usage(&self, scope: &AccountScope, parts: &[Part], query: &UsageQuery) -> Result<Vec<UsageRow>, HistoryError> {
        self.connection.bounded(answer::usage(self, scope, parts, query)).await
    }

    async fn delivery(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>), HistoryError> {
        self.connection.bounded(answer::delivery(self, scope, parts, query)).await
    }

    async fn account_totals(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
    ) -> Result<HashMap<(AccountId, Currency), Usage>, HistoryError> {
        self.connection.bounded(answer::account_totals(self, scope, parts, (from, to), filter)).await
    }

    /// The engine merges by itself.
    async fn compact(&self, _parts: &[Part]) -> Result<u64, HistoryError> {
        Ok(0)
    }

    async fn sweep(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
        self.connection.bounded(sweep::remove(&self.connection, keep, older_than)).await
    }

    fn caveats(&self) -> Vec<String> {
        vec![
            "ClickHouse syncs an insert to disk only from version 21 on; on an older server a power cut may lose a part after it \
             was counted there, and questions for it then fail"
                .to_owned(),
        ]
    }
}
