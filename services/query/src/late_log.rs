//! A log that is opened when it can be: a query service that starts while the log is down answers all the same, without lag.

use async_trait::async_trait;
use loadline_domain::{Incarnation, Sequence, StreamName, Timestamp};
use loadline_event_log::{Bounds, Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec};
use loadline_runtime::Shutdown;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// How often opening is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Unavailable until it is open.
pub struct LateLog(Arc<OnceLock<Arc<dyn EventLog>>>);

impl LateLog {
    /// Opens the log at `url`, or goes on trying until shutdown.
    ///
    /// # Errors
    /// A log that no retry mends.
    pub async fn open(url: &str, shutdown: &Shutdown) -> Result<Self, LogError> {
        let late = Self(Arc::default());
        match loadline_event_log::open(url).await {
            Ok(log) => drop(late.0.set(log)),
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "event log unavailable at start; answers lack their lag until it is there");
                shutdown.spawn(keep_trying(url.to_owned(), late.0.clone(), shutdown.clone()));
            }
            Err(error) => return Err(error),
        }
        Ok(late)
    }

    fn log(&self) -> Result<&dyn EventLog, LogError> {
        self.0.get().map(|log| &**log).ok_or_else(|| LogError::Unavailable("it could not be opened yet".to_owned()))
    }
}

async fn keep_trying(url: String, slot: Arc<OnceLock<Arc<dyn EventLog>>>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RETRY_AFTER) => {}
            () = shutdown.cancelled() => return,
        }
        match loadline_event_log::open(&url).await {
            Ok(log) => {
                tracing::info!("event log is open");
                drop(slot.set(log));
                return;
            }
            Err(error) if error.is_retryable() => tracing::debug!(%error, "event log still unavailable"),
            Err(error) => {
                tracing::error!(%error, "event log cannot be used; answers lack their lag and nothing is explained");
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
        let shutdown = Shutdown::new();
        let log = LateLog::open("nats://127.0.0.1:1", &shutdown).await.unwrap();
        assert!(matches!(log.probe().await, Err(LogError::Unavailable(_))));
        shutdown.begin();
        assert!(matches!(LateLog::open("kafka://host", &shutdown).await, Err(LogError::Misconfigured(_))));
    }

    #[tokio::test]
    async fn a_log_that_can_be_opened_is_there_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("log.db").display());
        let log = LateLog::open(&url, &Shutdown::new()).await.unwrap();
        assert!(log.probe().await.is_ok());
    }
}
