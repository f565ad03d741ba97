//! The stream and its consumer, made where they are not there.

use super::silent;
use crate::jobs::queue::QueueError;
use async_nats::{
    Client,
    jetstream::{
        Context,
        consumer::{AckPolicy, PullConsumer, pull},
        context::ContextBuilder,
        stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use loadline_event_log::{
    LogError,
    jetstream::{CALL, caveats, connect},
};
use std::time::Duration;
use tokio::time::timeout;

/// Name of the stream.
pub const NAME: &str = "LOADLINE_PREDICTIONS";
const SUBJECTS: &str = "loadline.predictions.>";
const CONSUMER: &str = "serving";
/// Messages are ids.
const LARGEST_MESSAGE: i32 = 4_096;
/// Deliveries of all processes together that have no word yet.
const IN_WORK: i64 = 10_000;

/// A connection.
#[derive(Clone)]
pub struct Link {
    pub client: Client,
    pub context: Context,
    ack_wait: Duration,
    /// Known to be there.
    consumer: Option<PullConsumer>,
}

/// Where a model's jobs are published: letters and digits of its name, since others mean something in subjects.
pub fn subject(model: &str) -> String {
    let token: String = model.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    format!("loadline.predictions.{}", if token.is_empty() { "_" } else { &token })
}

impl Link {
    /// Connects; the client itself connects again when it loses its server.
    pub async fn new(url: &str, ack_wait: Duration) -> Result<Self, QueueError> {
        let client = connect(url).await.map_err(told)?;
        let context = ContextBuilder::new().timeout(CALL).build(client.clone());
        Ok(Self { client, context, ack_wait, consumer: None })
    }

    /// The consumer, with its stream.
    pub async fn consumer(&self) -> Result<PullConsumer, QueueError> {
        match &self.consumer {
            Some(consumer) => Ok(consumer.clone()),
            None => self.made().await,
        }
    }

    /// Remembers that it is there.
    pub fn keep(&mut self, consumer: PullConsumer) {
        self.consumer = Some(consumer);
    }

    /// Forgets that it is there.
    pub fn doubt(&mut self) {
        self.consumer = None;
    }

    /// Asks whether stream and consumer are there, and makes them where they are not.
    pub async fn look(&self) -> Result<(), QueueError> {
        self.made().await.map(drop)
    }

    pub fn caveats(&self) -> Vec<String> {
        caveats(&self.client.server_info().version)
    }

    async fn made(&self) -> Result<PullConsumer, QueueError> {
        let unavailable = |error: String| QueueError::Unavailable(error);
        let stream = Config {
            name: NAME.to_owned(),
            subjects: vec![SUBJECTS.to_owned()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_message_size: LARGEST_MESSAGE,
            num_replicas: 1,
            ..Config::default()
        };
        let found = timeout(CALL, self.context.get_or_create_stream(stream)).await.map_err(|_| silent())?;
        let found = found.map_err(|error| unavailable(error.to_string()))?;
        if found.cached_info().config.retention != RetentionPolicy::WorkQueue {
            return Err(QueueError::Misconfigured(format!(
                "stream {NAME} is no work queue: what is done would stay in it; delete it, and it is made anew"
            )));
        }
        let consumer = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            // How often a job is begun is the store's to count.
            max_deliver: -1,
            max_ack_pending: IN_WORK,
            ..pull::Config::default()
        };
        let made = timeout(CALL, self.context.create_consumer_on_stream(consumer, NAME)).await.map_err(|_| silent())?;
        made.map_err(|error| unavailable(error.to_string()))
    }
}

fn told(error: LogError) -> QueueError {
    match error {
        LogError::Misconfigured(why) => QueueError::Misconfigured(why),
        other => QueueError::Unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_is_one_token_of_its_subject() {
        assert_eq!(subject("wine-2"), "loadline.predictions.wine_2");
        assert_eq!(subject("a.b *>"), "loadline.predictions.a_b___");
        assert_eq!(subject(""), "loadline.predictions._");
    }
}
