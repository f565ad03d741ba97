//! The history behind injected faults: the same port, and writers of parts, of which calls may fail, wait, or lose their reply.

use crate::{History, HistoryError, PartWriter, Rows};
use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour, Timestamp,
    archive::{Part, Totals},
    event::Currency,
    question::{LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use loadline_fault::{Call, Fails, Faults, Faulty, faulty};
use std::{collections::HashMap, sync::Arc};

/// A history behind faults, or as it is where none can be injected.
pub fn behind(history: Arc<dyn History>, faults: Option<&Faults>) -> Arc<dyn History> {
    match faults {
        Some(faults) => Arc::new(Faulty::new(history, faults.clone())),
        None => history,
    }
}

faulty! { History, HistoryError;
    prepare() -> ();
    probe() -> ();
    probe_writing() -> ();
    claim(store: &str) -> ();
    totals(part: &Part) -> Totals, corrupted |totals| Totals { hourly: totals.hourly.map(|sum| sum + 1), ..totals };
    usage(scope: &AccountScope, parts: &[Part], query: &UsageQuery) -> Vec<UsageRow>, about query.account.as_str();
    delivery(scope: &AccountScope, parts: &[Part], query: &UsageQuery) -> (Vec<UsageRow>, Vec<LatencyRow>),
        about query.account.as_str();
    account_totals(scope: &AccountScope, parts: &[Part], from: Hour, to: Hour, filter: &UsageFilter)
        -> HashMap<(AccountId, Currency), Usage>;
    compact(parts: &[Part]) -> u64;
    sweep(keep: &[Part], older_than: Timestamp) -> u64;
    .. {
        async fn begin(&self, part: &Part) -> Result<Box<dyn PartWriter>, HistoryError> {
            let begun = self.faults().around(Call { name: "begin", about: "" }, self.inner().begin(part), None).await?;
            Ok(Box::new(FaultyWriter { inner: begun, faults: self.faults().clone() }))
        }

        fn caveats(&self) -> Vec<String> {
            self.inner().caveats()
        }
    }
}

struct FaultyWriter {
    inner: Box<dyn PartWriter>,
    faults: Faults,
}

#[async_trait]
impl PartWriter for FaultyWriter {
    async fn write(&mut self, rows: Rows) -> Result<(), HistoryError> {
        self.faults.around(Call { name: "write", about: "" }, self.inner.write(rows), None).await
    }

    async fn finish(self: Box<Self>) -> Result<Totals, HistoryError> {
        self.faults.around(Call { name: "finish", about: "" }, self.inner.finish(), None).await
    }
}

impl Fails for HistoryError {
    fn unavailable(why: String) -> Self {
        Self::Unavailable(why)
    }

    fn broken(why: String) -> Self {
        Self::Broken(why)
    }

    /// What is unavailable may have happened: every step can be repeated.
    fn unknown(why: String) -> Self {
        Self::Unavailable(why)
    }
}
