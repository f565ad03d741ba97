//! A consumer, its inbox, and the pull requests on their way.

use super::{CALL, api::Api, api::Refusal};
use crate::LogError;
use async_nats::{
    Message, Subscriber,
    jetstream::{
        ErrorCode,
        consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy, pull},
        stream::{ConsumerError, ConsumerErrorKind},
    },
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use loadline_domain::{Sequence, StreamName, Timestamp};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::timeout;

/// Messages of one pull request. Up to three are on their way, which is less than an inbox holds.
const PULL_MESSAGES: usize = 8_192;
/// Bytes of one pull request, unless a single message may be larger: bounds the memory of a reader.
const PULL_BYTES: usize = 4 * 1024 * 1024;
/// What a message may have beside the payload and headers that the server's limit is about: subjects.
const SUBJECT_BYTES: usize = 16 * 1024;
/// How long a pull request waits at the server.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// The server forgets the consumer of a reader that has gone.
const INACTIVE: Duration = Duration::from_secs(60);

/// Delivery from one sequence on, in order as long as nothing goes wrong: the reader checks each sequence.
pub(super) struct Link {
    api: Api,
    stream: StreamName,
    consumer: Consumer<pull::Config>,
    inbox: String,
    subscriber: Subscriber,
    /// Messages asked for and not yet taken from the inbox.
    requested: usize,
    /// Connections made when this one was in use; pull requests do not survive it.
    connects: u64,
}

/// What came in.
pub(super) enum Delivery {
    Message(Delivered, Bytes),
    /// About a pull request; the link goes on.
    Notice,
    /// Nothing more will come.
    Broken,
}

/// Position of a delivered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    pub sequence: Sequence,
    pub recorded_at: Timestamp,
    /// Messages behind it.
    pub pending: u64,
}

impl Link {
    pub async fn open(api: &Api, stream: &StreamName, from: Sequence) -> Result<Self, LogError> {
        let connects = connects(api);
        let inbox = api.client.new_inbox();
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let opened = timeout(CALL, async {
            let subscriber =
                api.client.subscribe(inbox.clone()).await.map_err(|error| LogError::Unavailable(error.to_string()))?;
            let consumer = api.context.create_consumer_on_stream(config, stream.as_str()).await;
            Ok::<_, LogError>((subscriber, consumer.map_err(|error| refused(stream, error))?))
        });
        let (subscriber, consumer) = opened.await.map_err(|_| Refusal::TimedOut)??;
        Ok(Self { api: api.clone(), stream: stream.clone(), consumer, inbox, subscriber, requested: 0, connects })
    }

    /// Whether the connection it was made on is gone.
    pub fn is_stale(&self) -> bool {
        self.connects != connects(&self.api)
    }

    /// Keeps the server busy: asks for more before what was asked for has come.
    pub async fn pull(&mut self) -> Result<(), LogError> {
        while self.requested <= 2 * PULL_MESSAGES {
            let request = pull::BatchConfig {
                batch: PULL_MESSAGES,
                expires: Some(PULL_EXPIRES),
                max_bytes: PULL_BYTES.max(self.api.client.max_payload() + SUBJECT_BYTES),
                ..pull::BatchConfig::default()
            };
            let sent = timeout(CALL, self.consumer.request_batch(request, self.inbox.as_str().into())).await;
            sent.map_err(|_| Refusal::TimedOut)?.map_err(|error| LogError::Unavailable(error.to_string()))?;
            self.requested += PULL_MESSAGES;
        }
        Ok(())
    }

    /// What has come already.
    pub fn ready(&mut self) -> Option<Delivery> {
        let message = self.subscriber.next().now_or_never()?;
        Some(self.take(message))
    }

    /// What comes next.
    pub async fn next(&mut self) -> Delivery {
        let message = self.subscriber.next().await;
        self.take(message)
    }

    fn take(&mut self, message: Option<Message>) -> Delivery {
        let Some(message) = message else { return Delivery::Broken };
        if message.status.is_some() {
            return self.notice(&message);
        }
        self.requested = self.requested.saturating_sub(1);
        match message.reply.as_deref().and_then(delivered) {
            Some(delivered) => Delivery::Message(delivered, message.payload),
            None => Delivery::Broken,
        }
    }

    /// A pull request that ended early says how much of it is left. Everything else means that the consumer is gone.
    fn notice(&mut self, message: &Message) -> Delivery {
        let header = |headers: &async_nats::HeaderMap| headers.get("Nats-Pending-Messages")?.as_str().parse::<usize>().ok();
        match message.headers.as_ref().and_then(header) {
            Some(left) => {
                self.requested = self.requested.saturating_sub(left);
                Delivery::Notice
            }
            None => {
                tracing::debug!(stream = %self.stream, status = ?message.status, description = ?message.description, "consumer ended");
                Delivery::Broken
            }
        }
    }
}

impl Drop for Link {
    /// Deletes the consumer; where that fails the server does so after a while.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (context, stream) = (self.api.context.clone(), self.stream.clone());
        let name = self.consumer.cached_info().name.clone();
        runtime.spawn(async move {
            let _ = timeout(CALL, context.delete_consumer_from_stream(name, stream.as_str())).await;
        });
    }
}

fn connects(api: &Api) -> u64 {
    api.client.statistics().connects.load(Ordering::Relaxed)
}

fn refused(stream: &StreamName, error: ConsumerError) -> LogError {
    match error.kind() {
        ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            LogError::StreamNotFound(stream.clone())
        }
        ConsumerErrorKind::JetStream(error) => Refusal::Server(error).into(),
        _ => LogError::Unavailable(error.to_string()),
    }
}

/// Reads `$JS.ACK[.domain.account].stream.consumer.delivered.sequence.consumer-sequence.nanoseconds.pending[.token]`.
fn delivered(reply: &str) -> Option<Delivered> {
    let tokens = reply.strip_prefix("$JS.ACK.")?;
    let skipped = if tokens.bytes().filter(|byte| *byte == b'.').count() >= 8 { 5 } else { 3 };
    let mut tokens = tokens.split('.').skip(skipped);
    let sequence = tokens.next()?.parse().ok()?;
    let nanoseconds: i64 = tokens.nth(1)?.parse().ok()?;
    let pending = tokens.next()?.parse().ok()?;
    Some(Delivered { sequence, recorded_at: Timestamp::from_micros(nanoseconds.div_euclid(1_000)), pending })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_reply_subject_are_read() {
        let expected = Delivered { sequence: 42, recorded_at: Timestamp::from_micros(1_700_000_000_123_456), pending: 7 };
        for reply in [
            "$JS.ACK.BILLING.c1.1.42.3.1700000000123456789.7",
            "$JS.ACK._.hash.BILLING.c1.1.42.3.1700000000123456789.7",
            "$JS.ACK.hub.hash.BILLING.c1.1.42.3.1700000000123456789.7.token",
        ] {
            assert_eq!(delivered(reply), Some(expected), "{reply}");
        }
        assert_eq!(delivered("$JS.ACK.BILLING.c1.1"), None);
        assert_eq!(delivered("_INBOX.x"), None);
    }
}
