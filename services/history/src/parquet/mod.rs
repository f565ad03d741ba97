//! Parquet files, on disk or in a bucket.
//!
//! ```text
//! manifest/00000000000000000007.json   which files count, and of which parts; the newest version holds
//! owner                                name of the store whose history it is
//! data/ID.parquet                      rows of one table, by account and hour
//! data/ID.sums                         checksums of its blocks; the manifest has the checksum of these
//! ```
//!
//! A manifest is published by putting the next version, which fails when somebody else has. A file is never changed: it is
//! written, named by a manifest, replaced, and deleted when no reader can still be at it. Every byte that is read is checked.

mod aside;
mod ask;
mod checked;
mod columns;
mod compact;
mod engine;
mod ledger;
mod manifest;
mod output;
mod place;
mod scan;
mod sweep;
mod synced;
mod writer;

use crate::{History, HistoryError, Options, PartWriter, answer};
use async_trait::async_trait;
use checked::Files;
use engine::Engine;
use ledger::Ledger;
use loadline_domain::{
    AccountId, AccountScope, Hour, Timestamp,
    archive::{Part, Totals},
    event::Currency,
    question::{LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use place::Place;
use std::{collections::HashMap, sync::Arc, time::Duration};

const PROBE: Duration = Duration::from_secs(2);

/// History in files.
pub struct ParquetHistory {
    place: Place,
    ledger: Arc<Ledger>,
    engine: Engine,
    timeout: Duration,
}

impl ParquetHistory {
    /// In a folder, which is made when it is prepared.
    pub(crate) fn on_disk(folder: &str, options: Options) -> Result<Self, HistoryError> {
        Self::at(Place::on_disk(folder)?, options)
    }

    /// In a bucket: what follows `s3:`.
    pub(crate) fn in_bucket(rest: &str, options: Options) -> Result<Self, HistoryError> {
        Self::at(Place::in_bucket(rest, options.timeout)?, options)
    }

    fn at(place: Place, options: Options) -> Result<Self, HistoryError> {
        let files = Arc::new(Files::new(place.clone(), options.cache_bytes));
        let engine = Engine::new(files, &options)?;
        let ledger = Arc::new(Ledger::new(place.clone()));
        Ok(Self { place, ledger, engine, timeout: options.timeout })
    }

    async fn bounded<T>(&self, answer: impl Future<Output = Result<T, HistoryError>>) -> Result<T, HistoryError> {
        within(self.timeout, answer).await
    }
}

/// The answer, unless it takes longer.
async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, HistoryError>>) -> Result<T, HistoryError> {
    let late = |_| HistoryError::Unavailable(format!("no answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, answer).await.map_err(late)?
}

#[async_trait]
impl History for ParquetHistory {
    async fn prepare(&self) -> Result<(), HistoryError> {
        self.bounded(self.ledger.prepare()).await
    }

    async fn probe(&self) -> Result<(), HistoryError> {
        within(PROBE, async { self.ledger.newest().await.map(drop) }).await
    }

    async fn probe_writing(&self) -> Result<(), HistoryError> {
        within(PROBE, self.ledger.probe_writing()).await
    }

    async fn claim(&self, store: &str) -> Result<(), HistoryError> {
        self.bounded(self.ledger.claim(store)).await
    }

    async fn begin(&self, part: &Part) -> Result<Box<dyn PartWriter>, HistoryError> {
        let ledger = self.ledger.clone();
        Ok(Box::new(writer::FileWriter::new(self.place.clone(), ledger, part, self.timeout)))
    }

    async fn totals(&self, part: &Part) -> Result<Totals, HistoryError> {
        self.bounded(self.count(part)).await
    }

    async fn usage(&self, scope: &AccountScope, parts: &[Part], query: &UsageQuery) -> Result<Vec<UsageRow>, HistoryError> {
        self.bounded(answer::usage(self, scope, parts, query)).await
    }

    async fn delivery(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>), HistoryError> {
        self.bounded(answer::delivery(self, scope, parts, query)).await
    }

    async fn account_totals(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
    ) -> Result<HashMap<(AccountId, Currency), Usage>, HistoryError> {
        self.bounded(answer::account_totals(self, scope, parts, (from, to), filter)).await
    }

    async fn compact(&self, parts: &[Part]) -> Result<u64, HistoryError> {
        self.merge(parts).await
    }

    async fn sweep(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
        self.remove(keep, older_than).await
    }

    fn caveats(&self) -> Vec<String> {
        self.place.caveats()
    }
}
