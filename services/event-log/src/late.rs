//! A log that is opened when it can be, for services that have something to do without it.

use crate::{Bounds, Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec};
use async_trait::async_trait;
use loadline_domain::{Incarnation, Sequence, StreamName, Timestamp};
use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// How often opening is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Unavailable until it is open.
pub struct LateLog(Arc<OnceLock<Arc<dyn EventLog>>>);

impl LateLog {
    /// Opens the log at `url`, or goes on trying in the background until `end`.
    ///
    /// # Errors
    /// A log that no retry mends.
    pub async fn open(url: &str, end: impl Future<Output = ()> + Send + 'static) -> Result<Self, LogError> {
        let late = Self(Arc::default());
        match crate::open(url).await {
            Ok(log) => drop(late.0.set(log)),
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "event log unavailable at start; going on without it until it is there");
                let trying = keep_trying(url.to_owned(), late.0.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = trying => {}
                        () = end => {}
                    }
                });
            }
            Err(error) => return Err(error),
        }
        Ok(late)
    }

    fn log(&self) -> Result<&dyn EventLog, LogError> {
        self.0.get().map(|log| &**log).ok_or_else(|| LogError::Unavailable("it could not be opened yet".to_owned()))
    }
}

async fn keep_trying(url: String, slot: Arc<OnceLock<Arc<dyn EventLog>>>) {
    loop {
        tokio::time::sleep(RETRY_AFTER).await;
        match crate::open(&url).await {
            Ok(log) => {
                tracing::info!("event log is open");
                drop(slot.set(log));
                return;
            }
            Err(error) if error.is_retryable() => tracing::debug!(%error, "event log still unavailable"),
            Err(error) => {
                tracing::error!(%error, "event log cannot be used");
                return;
            }
        }
    }
}

#[async_trait]
impl EventLog for LateLog {
    async fn ensure(&self, spec: &StreamSpec) -> Result<(), LogError> {
        self.log()?.ensure(spec).await
    }

    async fn append(&self, stream: &StreamName, records: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError> {
        self.log()?.append(stream, records).await
    }

    async fn read(
        &self,
        stream: &StreamName,
        incarnation: &Incarnation,
        from: Sequence,
        limit: ReadLimit,
        wait: Duration,
    ) -> Result<Vec<Entry>, LogError> {
        self.log()?.read(stream, incarnation, from, limit, wait).await
    }

    async fn bounds(&self, stream: &StreamName) -> Result<Bounds, LogError> {
        self.log()?.bounds(stream).await
    }

    async fn peek(&self, stream: &StreamName, sequence: Sequence) -> Result<Option<(Sequence, Timestamp)>, LogError> {
        self.log()?.peek(stream, sequence).await
    }

    async fn seek(&self, stream: &StreamName, time: Timestamp) -> Result<Sequence, LogError> {
        self.log()?.seek(stream, time).await
    }

    async fn set_retention(&self, stream: &StreamName, retention: Retention) -> Result<(), LogError> {
        self.log()?.set_retention(stream, retention).await
    }

    async fn caveats(&self) -> Result<Vec<String>, LogError> {
        self.log()?.caveats().await
    }

    async fn probe(&self) -> Result<(), LogError> {
        self.log()?.probe().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_is_down_at_start_is_unavailable_and_not_an_error_of_the_start() {
        let log = LateLog::open("nats://127.0.0.1:1", async {}).await.unwrap();
        assert!(matches!(log.probe().await, Err(LogError::Unavailable(_))));
        assert!(matches!(LateLog::open("kafka://host", async {}).await, Err(LogError::Misconfigured(_))));
    }

    #[tokio::test]
    async fn a_log_that_can_be_opened_is_there_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("log.db").display());
        let log = LateLog::open(&url, async {}).await.unwrap();
        assert!(log.probe().await.is_ok());
    }
}
