//! The owner of a stream, as ingest is one.

use super::{events::Payload, noon};
use crate::{Store, StoreError};
use loadline_domain::{
    Batch, Incarnation, Record, Rules, StreamName, Timestamp,
    progress::{Lease, Progress},
};
use std::{sync::Arc, time::Duration};

/// Holds the lease of a stream and knows where it stands.
pub struct Owner {
    store: Arc<dyn Store>,
    /// Its lease.
    pub lease: Lease,
    /// The stream as last opened or committed.
    pub progress: Progress,
}

impl Owner {
    /// Takes a stream and opens its first incarnation, `one`.
    pub async fn of(store: &Arc<dyn Store>, stream: &str) -> Self {
        Self::of_incarnation(store, stream, "one").await
    }

    /// Takes a stream and opens an incarnation of it.
    pub async fn of_incarnation(store: &Arc<dyn Store>, stream: &str, incarnation: &str) -> Self {
        let stream = StreamName::new(stream).unwrap();
        let lease = store.acquire(&stream, "owner", Duration::from_secs(600)).await.unwrap().unwrap();
        let progress = store.open_stream(&lease, &Incarnation::new(incarnation), &[]).await.unwrap();
        Self { store: Arc::clone(store), lease, progress }
    }

    /// An empty batch that goes on from here.
    pub fn empty(&self) -> Batch {
        Batch::new(self.progress.stream.clone(), self.progress.incarnation.clone(), self.progress.applied)
    }

    /// The next batch, of records appended at noon.
    pub fn batch<P: Payload>(&self, events: &[P]) -> Batch {
        self.batch_at(noon(), events)
    }

    /// The next batch, of records appended at some time.
    pub fn batch_at<P: Payload>(&self, recorded_at: Timestamp, events: &[P]) -> Batch {
        let mut batch = self.empty();
        for event in events {
            let record = Record { sequence: batch.to() + 1, recorded_at, payload: event.payload() };
            batch.push(record, recorded_at, &Rules::default());
        }
        batch.seal()
    }

    /// Commits a batch and remembers where that leads.
    pub async fn try_commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.progress = self.store.commit(&self.lease, batch).await?;
        Ok(())
    }

    /// Publishes and counts events at noon.
    pub async fn count<P: Payload>(&mut self, events: &[P]) -> &Progress {
        self.count_at(noon(), events).await
    }

    /// Publishes and counts events at some time.
    pub async fn count_at<P: Payload>(&mut self, recorded_at: Timestamp, events: &[P]) -> &Progress {
        let batch = self.batch_at(recorded_at, events);
        self.try_commit(&batch).await.unwrap();
        &self.progress
    }

    /// `(counted, duplicates, dead_lettered, lost)` as last seen.
    pub fn counters(&self) -> (u64, u64, u64, u64) {
        let Progress { counted, duplicates, dead_lettered, lost, .. } = self.progress;
        (counted, duplicates, dead_lettered, lost)
    }

    /// Reads the stream's counters again.
    pub async fn refresh(&mut self) -> (u64, u64, u64, u64) {
        self.progress = self.store.progress(&self.lease.stream).await.unwrap().unwrap();
        self.counters()
    }
}
