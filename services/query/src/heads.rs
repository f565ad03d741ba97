//! Where the log ends: what is there that no answer holds yet.
//!
//! Asked of the log at most once in a while for all requests together, and never waited for long: an answer without its lag
//! is better than no answer.

use futures::future::join_all;
use loadline_domain::{Incarnation, Sequence, StreamName, Timestamp, progress::Progress};
use loadline_event_log::{EventLog, LogError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// What the log said of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It is there.
    Seen(Head),
    /// There is no such stream.
    Absent,
    /// It did not say.
    Unknown,
}

/// The end of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which making of it.
    pub incarnation: Incarnation,
    /// Last sequence ever appended.
    pub last: Sequence,
    /// When the first record that was not applied was appended; `None` when there is none.
    pub waiting_since: Option<Timestamp>,
}

/// Sights of all streams, configured or counted once.
pub type Sights = Arc<BTreeMap<StreamName, Sight>>;

/// The last look at the log, renewed by whoever finds it too old.
pub struct Heads {
    log: Arc<dyn EventLog>,
    streams: Vec<StreamName>,
    /// Longest wait for the log.
    patience: Duration,
    /// Older looks are renewed.
    max_age: Duration,
    latest: Mutex<Option<(Instant, Sights)>>,
    /// Held by the one who renews it.
    renewing: tokio::sync::Mutex<()>,
}

impl Heads {
    /// Nothing is seen yet.
    pub fn new(log: Arc<dyn EventLog>, streams: Vec<StreamName>, patience: Duration, max_age: Duration) -> Self {
        Self { log, streams, patience, max_age, latest: Mutex::new(None), renewing: tokio::sync::Mutex::new(()) }
    }

    /// Configured streams.
    pub fn streams(&self) -> &[StreamName] {
        &self.streams
    }

    /// Where the streams end, as of at most `max_age` ago; a little more while another request is asking just now.
    pub async fn look(&self, progress: &[Progress]) -> Sights {
        if let Some(sights) = self.latest(self.max_age) {
            return sights;
        }
        let _renewing = match self.renewing.try_lock() {
            Ok(guard) => guard,
            Err(_) => match self.latest(self.max_age * 2) {
                Some(sights) => return sights,
                None => self.renewing.lock().await,
            },
        };
        if let Some(sights) = self.latest(self.max_age) {
            return sights;
        }
        let sights = self.ask(progress).await;
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), sights.clone()));
        sights
    }

    fn latest(&self, max_age: Duration) -> Option<Sights> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().filter(|(seen_at, _)| seen_at.elapsed() < max_age).map(|(_, sights)| sights.clone())
    }

    async fn ask(&self, progress: &[Progress]) -> Sights {
        let counted = progress.iter().map(|progress| &progress.stream);
        let streams: BTreeSet<_> = self.streams.iter().chain(counted).collect();
        let sights = streams.into_iter().map(async |stream| {
            let applied = progress.iter().find(|progress| progress.stream == *stream);
            let sight = match timeout(self.patience, self.head(stream, applied)).await {
                Ok(Ok(head)) => Sight::Seen(head),
                Ok(Err(LogError::StreamNotFound(_))) => Sight::Absent,
                Ok(Err(error)) => {
                    tracing::debug!(%stream, %error, "the log does not tell where the stream ends");
                    Sight::Unknown
                }
                Err(_) => Sight::Unknown,
            };
            (stream.clone(), sight)
        });
        Arc::new(join_all(sights).await.into_iter().collect())
    }

    async fn head(&self, stream: &StreamName, progress: Option<&Progress>) -> Result<Head, LogError> {
        let bounds = self.log.bounds(stream).await?;
        let applied =
            progress.filter(|progress| progress.incarnation == bounds.incarnation).map_or(0, |progress| progress.applied);
        let waiting_since = match applied < bounds.last {
            true => self.log.peek(stream, applied + 1).await?.map(|(_, recorded_at)| recorded_at),
            false => None,
        };
        Ok(Head { incarnation: bounds.incarnation, last: bounds.last, waiting_since })
    }
}
