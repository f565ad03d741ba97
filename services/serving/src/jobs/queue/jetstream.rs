//! A work-queue stream of NATS JetStream, 2.9 or later.
//!
//! ```text
//! dispatch ─▶ loadline.predictions.MODEL, the id as its message ─▶ stream LOADLINE_PREDICTIONS ─▶ durable consumer `serving` ─▶ pull
//! ```
//!
//! A message is a job's id, and gone once it is acknowledged; that happens when the job has ended, or is known to nobody. Its message id
//! is the job's with the number of its dispatch, so that a dispatch whose outcome is unknown is repeated at no cost for two minutes, and
//! at the cost of a second delivery afterwards. Every pull is a request of its own, bounded in time: nothing hangs on a subscription that
//! a reconnect has lost.

mod stream;

use super::{Delivery, Queue, QueueError, Receipt};
use async_nats::{
    connection::State,
    jetstream::{
        AckKind, Message,
        consumer::{
            PullConsumer,
            pull::{Batch, BatchError},
        },
        context::{PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use async_trait::async_trait;
use futures::StreamExt as _;
use loadline_event_log::jetstream::CALL;
use loadline_store::{ClaimTerms, Claimed, Store, Ticket};
use std::{sync::Arc, time::Duration};
use stream::Link;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};

/// A server that has nothing says so when a pull's time is over; one that is silent so much longer does not answer.
const GRACE: Duration = Duration::from_secs(2);
/// Before a delivery whose claim could not be decided comes again.
const SOON: Duration = Duration::from_secs(1);

/// See the module.
pub struct WorkQueue {
    url: String,
    store: Arc<dyn Store>,
    ack_wait: Duration,
    /// `None` before the first use, and when what it was is in doubt.
    link: Mutex<Option<Link>>,
}

impl WorkQueue {
    /// Of the servers at a URL. Nothing is asked of them yet.
    pub fn new(url: &str, store: Arc<dyn Store>, ack_wait: Duration) -> Self {
        Self { url: url.to_owned(), store, ack_wait, link: Mutex::default() }
    }

    /// The connection, with its stream and consumer in place.
    async fn link(&self) -> Result<Link, QueueError> {
        let mut slot = self.link.lock().await;
        let link = match slot.take() {
            Some(link) => link,
            None => Link::new(&self.url, self.ack_wait).await?,
        };
        let link = slot.insert(link).clone();
        match link.client.connection_state() {
            State::Connected => Ok(link),
            // What is sent now would lie in a buffer, and reach the server when nobody waits for it any more.
            State::Pending | State::Disconnected => Err(QueueError::Unavailable("the connection is down".to_owned())),
        }
    }

    /// The stream or the consumer may be gone: both are looked for again. The connection stays.
    async fn in_doubt(&self) {
        if let Some(link) = &mut *self.link.lock().await {
            link.doubt();
        }
    }

    /// What a call made of the link; where it failed, the link is in doubt.
    async fn with<T>(&self, outcome: Result<T, QueueError>) -> Result<T, QueueError> {
        if matches!(outcome, Err(QueueError::Unavailable(_))) {
            self.in_doubt().await;
        }
        outcome
    }

    async fn ready(&self) -> Result<(Link, PullConsumer), QueueError> {
        let link = self.link().await?;
        let consumer = self.with(link.consumer().await).await?;
        if let Some(kept) = &mut *self.link.lock().await {
            kept.keep(consumer.clone());
        }
        Ok((link, consumer))
    }

    /// Claims what a message names, or does what else there is to do with it.
    async fn claim(&self, message: Message, terms: &ClaimTerms) -> Result<Option<Delivery>, QueueError> {
        let (message, acker) = message.split();
        let id = String::from_utf8_lossy(&message.payload).into_owned();
        let answer = match self.store.claim_prediction(&id, terms).await {
            Ok(Claimed::Mine(claim)) => return Ok(Some(Delivery { claim: *claim, receipt: Receipt(Some(acker)) })),
            Ok(Claimed::Held(longer)) => Ok(AckKind::Nak(Some(longer))),
            Ok(Claimed::Ended | Claimed::Unknown) => Ok(AckKind::Ack),
            Err(error) => Err(error),
        };
        let (word, outcome) = match answer {
            Ok(word) => (word, Ok(None)),
            Err(error) => (AckKind::Nak(Some(SOON)), Err(error.into())),
        };
        // A word that is lost is said again when the message comes again.
        let _ = say(&Receipt(Some(acker)), word).await;
        outcome
    }
}

#[async_trait]
impl Queue for WorkQueue {
    async fn dispatch(&self, tickets: &[Ticket]) -> Result<(), QueueError> {
        let (link, _) = self.ready().await?;
        let published = publish(&link, tickets).await;
        self.with(published).await?;
        Ok(self.store.predictions_dispatched(tickets).await?)
    }

    async fn pull(&self, terms: &ClaimTerms, most: usize, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        let (_, consumer) = self.ready().await?;
        let pulled = messages(&consumer, most, wait).await;
        let mut claimed = Vec::new();
        let mut failed = None;
        for message in self.with(pulled).await? {
            match self.claim(message, terms).await {
                Ok(delivery) => claimed.extend(delivery),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if claimed.is_empty() => Err(error),
            _ => Ok(claimed),
        }
    }

    async fn keep(&self, receipt: &Receipt) -> Result<(), QueueError> {
        say(receipt, AckKind::Progress).await
    }

    async fn done(&self, receipt: &Receipt) -> Result<(), QueueError> {
        say(receipt, AckKind::Ack).await
    }

    async fn again(&self, receipt: &Receipt, after: Duration) -> Result<(), QueueError> {
        say(receipt, AckKind::Nak(Some(after))).await
    }

    async fn probe(&self) -> Result<(), QueueError> {
        let link = self.link().await?;
        self.with(link.look().await).await
    }

    async fn reconnect(&self) -> Result<(), QueueError> {
        *self.link.lock().await = None;
        self.probe().await
    }

    fn caveats(&self) -> Vec<String> {
        let told = self.link.try_lock().ok().and_then(|link| link.as_ref().map(Link::caveats));
        told.unwrap_or_default()
    }
}

/// Everything is published before the first ack is awaited, so that the server has it in this order.
async fn publish(link: &Link, tickets: &[Ticket]) -> Result<(), QueueError> {
    let until = Instant::now() + CALL;
    let mut acks = Vec::with_capacity(tickets.len());
    for Ticket { id, model, dispatch } in tickets {
        let message = PublishMessage::build().message_id(format!("{id}.{dispatch}")).payload(id.clone().into_bytes().into());
        let sent = timeout_at(until, link.context.send_publish(stream::subject(model), message)).await;
        acks.push(sent.map_err(|_| silent())?.map_err(refused)?);
    }
    for ack in acks {
        let ack = timeout_at(until, ack).await.map_err(|_| silent())?.map_err(refused)?;
        if ack.stream != stream::NAME {
            return Err(QueueError::Misconfigured(format!("stream {} takes the subjects of {}", ack.stream, stream::NAME)));
        }
    }
    Ok(())
}

fn refused(error: PublishError) -> QueueError {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => QueueError::Misconfigured(error.to_string()),
        _ => QueueError::Unavailable(error.to_string()),
    }
}

/// Messages that are there; otherwise the first that comes in time. None of both requests outlives its answer, so that no message goes to
/// whoever has stopped listening.
async fn messages(consumer: &PullConsumer, most: usize, wait: Duration) -> Result<Vec<Message>, QueueError> {
    let until = Instant::now() + GRACE;
    let asked = timeout_at(until, consumer.fetch().max_messages(most).messages()).await;
    let there = gathered(asked.map_err(|_| silent())?, until, most).await?;
    if !there.is_empty() || wait.is_zero() {
        return Ok(there);
    }
    let until = Instant::now() + wait + GRACE;
    let asked = timeout_at(until, consumer.batch().max_messages(1).expires(wait).messages()).await;
    gathered(asked.map_err(|_| silent())?, until, 1).await
}

/// What comes until the server says that there is no more.
async fn gathered(asked: Result<Batch, BatchError>, until: Instant, most: usize) -> Result<Vec<Message>, QueueError> {
    let unavailable = |error: String| QueueError::Unavailable(error);
    let mut batch = asked.map_err(|error| unavailable(error.to_string()))?;
    let mut messages = Vec::new();
    while messages.len() < most {
        match timeout_at(until, batch.next()).await {
            Ok(Some(Ok(message))) => messages.push(message),
            Ok(None) => break,
            // What came is the caller's, whatever became of the rest.
            Ok(Some(Err(_))) | Err(_) if !messages.is_empty() => break,
            Ok(Some(Err(error))) => return Err(unavailable(error.to_string())),
            Err(_) => return Err(silent()),
        }
    }
    Ok(messages)
}

/// Tells the server what became of a delivery. It does not answer: what it does not hear, it delivers again.
async fn say(receipt: &Receipt, word: AckKind) -> Result<(), QueueError> {
    let Some(acker) = &receipt.0 else { return Ok(()) };
    let said = timeout(CALL, acker.ack_with(word)).await.map_err(|_| silent())?;
    said.map_err(|error| QueueError::Unavailable(error.to_string()))
}

fn silent() -> QueueError {
    QueueError::Unavailable("no answer in time".to_owned())
}
