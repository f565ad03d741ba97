//! The log on NATS JetStream, 2.9 or later.
//!
//! ```text
//! append ──▶ publishes, all at once, then their acks          (publish)
//! read   ──▶ a pull consumer without acks, per position       (readers, reader, link)
//!                └─ a hole? ask the stream what it has there   (hole)
//! bounds, peek, seek, retention ──▶ the JetStream API         (api)
//! ```
//!
//! The stream's creation time is its incarnation. Nothing is ever acknowledged to the server: how far a stream has been read is
//! the store's knowledge, and a reader is told where to start.

mod api;
mod connection;
mod hole;
mod link;
mod publish;
mod reader;
mod readers;

pub use connection::{caveats, connect};

use crate::{Bounds, Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec, seek};
use api::Api;
use async_nats::Client;
use async_trait::async_trait;
use loadline_domain::{Incarnation, Sequence, StreamName, Timestamp};
use publish::Publisher;
use readers::Readers;
use std::time::Duration;

/// Longest that one exchange with the server takes.
pub const CALL: Duration = Duration::from_secs(5);

/// See the module.
pub struct JetStream {
    api: Api,
    client: Client,
    publisher: Publisher,
    readers: Readers,
}

impl JetStream {
    /// Connects to the servers in `url`, separated by commas.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when none can be reached now, [`LogError::Misconfigured`] when they refuse us.
    pub async fn connect(url: &str) -> Result<Self, LogError> {
        let client = connect(url).await?;
        let api = Api::new(client.clone());
        Ok(Self { publisher: Publisher::new(api.clone()), readers: Readers::new(api.clone()), api, client })
    }
}

#[async_trait]
impl EventLog for JetStream {
    async fn ensure(&self, spec: &StreamSpec) -> Result<(), LogError> {
        self.api.ensure(spec).await
    }

    async fn append(&self, stream: &StreamName, records: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError> {
        self.publisher.append(stream, records).await
    }

    async fn read(
        &self,
        stream: &StreamName,
        incarnation: &Incarnation,
        from: Sequence,
        limit: ReadLimit,
        wait: Duration,
    ) -> Result<Vec<Entry>, LogError> {
        self.readers.borrow(stream, incarnation, from.max(1)).read(limit, wait).await
    }

    async fn bounds(&self, stream: &StreamName) -> Result<Bounds, LogError> {
        Ok(self.api.info(stream).await?.bounds())
    }

    async fn peek(&self, stream: &StreamName, sequence: Sequence) -> Result<Option<(Sequence, Timestamp)>, LogError> {
        self.api.next_from(stream, sequence).await
    }

    async fn seek(&self, stream: &StreamName, time: Timestamp) -> Result<Sequence, LogError> {
        seek::seek(self, stream, time).await
    }

    async fn set_retention(&self, stream: &StreamName, retention: Retention) -> Result<(), LogError> {
        self.api.set_retention(stream, retention).await
    }

    async fn caveats(&self) -> Result<Vec<String>, LogError> {
        self.probe().await?;
        Ok(caveats(&self.client.server_info().version))
    }

    async fn probe(&self) -> Result<(), LogError> {
        self.api.probe().await
    }
}
