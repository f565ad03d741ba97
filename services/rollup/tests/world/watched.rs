//! A history that somebody looks at, holds up, or lies about.
#![allow(clippy::unwrap_used, dead_code)] // a module of several test programs

use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour, Timestamp,
    archive::{Part, Totals},
    event::Currency,
    question::{LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use loadline_history::{History, HistoryError, PartWriter, Rows};
use std::{collections::HashMap, sync::Arc};

/// Sees what the archive does, and may keep it waiting.
#[async_trait]
pub trait Eye: Send + Sync {
    /// An end of a call about a part: `begin`, `begun`, `write`, `written`, `finish`, `finished`, `count`, `counted`.
    async fn sees(&self, _end: &'static str, _part: &Part) {}

    /// An end of a call about all: `merge`, `merged`, `sweep`, `swept`.
    async fn tidies(&self, _end: &'static str) {}

    /// What is told of what was counted.
    fn tells(&self, totals: Totals) -> Totals {
        totals
    }
}

pub struct Watched {
    pub history: Arc<dyn History>,
    pub eye: Arc<dyn Eye>,
}

struct WatchedWriter {
    writer: Box<dyn PartWriter>,
    part: Part,
    eye: Arc<dyn Eye>,
}

#[async_trait]
impl PartWriter for WatchedWriter {
    async fn write(&mut self, rows: Rows) -> Result<(), HistoryError> {
        self.eye.sees("write", &self.part).await;
        self.writer.write(rows).await?;
        self.eye.sees("written", &self.part).await;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Totals, HistoryError> {
        self.eye.sees("finish", &self.part).await;
        let totals = self.writer.finish().await?;
        self.eye.sees("finished", &self.part).await;
        Ok(totals)
    }
}

#[async_trait]
impl History for Watched {
    async fn prepare(&self) -> Result<(), HistoryError> {
        self.history.prepare().await
    }

    async fn probe(&self) -> Result<(), HistoryError> {
        self.history.probe().await
    }

    async fn probe_writing(&self) -> Result<(), HistoryError> {
        self.history.probe_writing().await
    }

    async fn claim(&self, store: &str) -> Result<(), HistoryError> {
        self.history.claim(store).await
    }

    async fn begin(&self, part: &Part) -> Result<Box<dyn PartWriter>, HistoryError> {
        self.eye.sees("begin", part).await;
        let writer = self.history.begin(part).await?;
        self.eye.sees("begun", part).await;
        Ok(Box::new(WatchedWriter { writer, part: part.clone(), eye: self.eye.clone() }))
    }

    async fn totals(&self, part: &Part) -> Result<Totals, HistoryError> {
        self.eye.sees("count", part).await;
        let totals = self.history.totals(part).await?;
        self.eye.sees("counted", part).await;
        Ok(self.eye.tells(totals))
    }

    async fn usage(&self, scope: &AccountScope, parts: &[Part], query: &UsageQuery) -> Result<Vec<UsageRow>, HistoryError> {
        self.history.usage(scope, parts, query).await
    }

    async fn delivery(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>), HistoryError> {
        self.history.delivery(scope, parts, query).await
    }

    async fn account_totals(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
    ) -> Result<HashMap<(AccountId, Currency), Usage>, HistoryError> {
        self.history.account_totals(scope, parts, from, to, filter).await
    }

    async fn compact(&self, parts: &[Part]) -> Result<u64, HistoryError> {
        self.eye.tidies("merge").await;
        let merged = self.history.compact(parts).await?;
        self.eye.tidies("merged").await;
        Ok(merged)
    }

    async fn sweep(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
        self.eye.tidies("sweep").await;
        let swept = self.history.sweep(keep, older_than).await?;
        self.eye.tidies("swept").await;
        Ok(swept)
    }

    fn caveats(&self) -> Vec<String> {
        self.history.caveats()
    }
}
