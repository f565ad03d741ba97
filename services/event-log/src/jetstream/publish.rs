//! Appends: everything is published before the first ack is awaited.

use super::{
    CALL,
    api::{Api, Refusal},
};
use crate::{LogError, NewRecord};
use async_nats::{
    HeaderMap, HeaderValue, Message, StatusCode, Subscriber,
    jetstream::{self, ErrorCode, publish::PublishAck, response::Response},
};
use futures::StreamExt;
use loadline_domain::{Sequence, StreamName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tokio::time::timeout;

/// Acks awaited at once by one append; fewer than an inbox holds.
const IN_FLIGHT: usize = 8_192;
/// What does not stand for itself in a subject's token.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');
/// Bytes of a header block with one `traceparent`, beside its value.
const HEADER_BYTES: usize = "NATS/1.0\r\ntraceparent: \r\n\r\n".len();

/// Publishes to the streams' subjects, as the server has them.
pub(super) struct Publisher {
    api: Api,
    targets: Mutex<HashMap<StreamName, Target>>,
}

/// Where a stream's records are published.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// The stream's subject up to its wildcard, or all of it when it has none.
    subject: String,
    has_wildcard: bool,
    max_message_bytes: Option<usize>,
}

impl Publisher {
    pub fn new(api: Api) -> Self {
        Self { api, targets: Mutex::default() }
    }

    pub async fn append(&self, stream: &StreamName, records: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError> {
        let Some(largest) = records.iter().map(size).max() else { return Ok(Vec::new()) };
        let target = self.target(stream).await?;
        let limit = self.api.client.max_payload().min(target.max_message_bytes.unwrap_or(usize::MAX));
        if largest > limit {
            return Err(LogError::TooLarge { bytes: largest, limit });
        }
        let outcome = self.publish(stream, &target, records).await;
        if outcome.is_err() {
            // The stream may have been made again with other subjects.
            self.targets().remove(stream);
        }
        outcome
    }

    async fn publish(&self, stream: &StreamName, target: &Target, records: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError> {
        let mut acks = Acks::subscribe(&self.api, stream, records.len()).await?;
        for (index, record) in records.into_iter().enumerate() {
            if acks.awaited == IN_FLIGHT {
                acks.next().await?;
            }
            let reply = acks.reply(index);
            let headers = record.traceparent.as_deref().and_then(traced);
            let subject = target.subject_of(&record.key);
            let client = &self.api.client;
            let sent = timeout(CALL, async {
                match headers {
                    Some(headers) => client.publish_with_reply_and_headers(subject, reply, headers, record.payload).await,
                    None => client.publish_with_reply(subject, reply, record.payload).await,
                }
            });
            sent.await.map_err(|_| Refusal::TimedOut)?.map_err(|error| LogError::Unavailable(error.to_string()))?;
            acks.awaited += 1;
        }
        while acks.awaited > 0 {
            acks.next().await?;
        }
        Ok(acks.sequences)
    }

    async fn target(&self, stream: &StreamName) -> Result<Target, LogError> {
        if let Some(target) = self.targets().get(stream) {
            return Ok(target.clone());
        }
        let info = self.api.info(stream).await?;
        let target = Target::of(stream, info.subject(), info.max_message_bytes())?;
        self.targets().insert(stream.clone(), target.clone());
        Ok(target)
    }

    fn targets(&self) -> std::sync::MutexGuard<'_, HashMap<StreamName, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The header that carries a trace; `None` for a value that no header can hold.
fn traced(traceparent: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", traceparent.parse::<HeaderValue>().ok()?);
    Some(headers)
}

/// Bytes of a record as the server counts them.
fn size(record: &NewRecord) -> usize {
    record.payload.len() + record.traceparent.as_ref().map_or(0, |value| HEADER_BYTES + value.len())
}

impl Target {
    fn of(stream: &StreamName, subject: Option<&str>, max_message_bytes: Option<u64>) -> Result<Self, LogError> {
        let all = subject.unwrap_or_default();
        let prefix = all.strip_suffix(".>").or_else(|| all.strip_suffix(".*"));
        let subject = prefix.unwrap_or(all);
        if subject.is_empty() || subject.contains(['*', '>']) {
            return Err(LogError::Misconfigured(format!(
                "stream {stream} takes `{all}`, which is no subject to publish to; its first subject should be like billing.>"
            )));
        }
        let max_message_bytes = max_message_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(Self { subject: subject.into(), has_wildcard: prefix.is_some(), max_message_bytes })
    }

    fn subject_of(&self, key: &str) -> String {
        if !self.has_wildcard {
            return self.subject.clone();
        }
        // A token must not be empty, and `%` alone stands for nothing else.
        let token = if key.is_empty() { Cow::Borrowed("%") } else { utf8_percent_encode(key, ENCODED).into() };
        format!("{}.{token}", self.subject)
    }
}

/// Acks of one append, each sent to its record's own reply subject.
struct Acks<'a> {
    stream: &'a StreamName,
    api: &'a Api,
    inbox: String,
    subscriber: Subscriber,
    sequences: Vec<Sequence>,
    awaited: usize,
}

impl<'a> Acks<'a> {
    async fn subscribe(api: &'a Api, stream: &'a StreamName, records: usize) -> Result<Self, LogError> {
        let inbox = api.client.new_inbox();
        let subscriber = timeout(CALL, api.client.subscribe(format!("{inbox}.*"))).await.map_err(|_| Refusal::TimedOut)?;
        let subscriber = subscriber.map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(Self { stream, api, inbox, subscriber, sequences: vec![0; records], awaited: 0 })
    }

    fn reply(&self, index: usize) -> String {
        format!("{}.{index}", self.inbox)
    }

    /// Waits for any one of them.
    async fn next(&mut self) -> Result<(), LogError> {
        let message = timeout(CALL, self.subscriber.next()).await.map_err(|_| Refusal::TimedOut)?;
        let message = message.ok_or_else(|| LogError::Unavailable("the connection is closed".into()))?;
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            self.api.info(self.stream).await?;
            return Err(LogError::Unavailable(format!("stream {} has other subjects now, or is being made", self.stream)));
        }
        let (index, sequence) = self.acknowledged(&message)?;
        // A server may answer twice after a reconnect; a sequence is never 0.
        self.awaited -= usize::from(self.sequences[index] == 0);
        self.sequences[index] = sequence;
        Ok(())
    }

    fn acknowledged(&self, message: &Message) -> Result<(usize, Sequence), LogError> {
        let strange = || LogError::Unavailable("an ack that cannot be read".into());
        let index = message.subject.rsplit('.').next().and_then(|index| index.parse::<usize>().ok());
        let index = index.filter(|index| *index < self.sequences.len()).ok_or_else(strange)?;
        match serde_json::from_slice(&message.payload).map_err(|_| strange())? {
            Response::Ok(PublishAck { stream, sequence, .. }) if stream == self.stream.as_str() && sequence > 0 => {
                Ok((index, sequence))
            }
            Response::Ok(ack) => Err(LogError::Misconfigured(format!(
                "what was published for stream {} went to stream {}: both take the same subjects",
                self.stream, ack.stream
            ))),
            Response::Err { error } => Err(refused(error)),
        }
    }
}

fn refused(error: jetstream::Error) -> LogError {
    match error.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => LogError::Misconfigured(format!("the stream's limit was lowered: {error}")),
        _ => Refusal::Server(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_token_whatever_is_in_it() {
        let stream = StreamName::new("S").unwrap();
        let target = Target::of(&stream, Some("billing.>"), None).unwrap();
        assert_eq!(target.subject_of("acme-1_x"), "billing.acme-1_x");
        assert_eq!(target.subject_of("a.b *>%é"), "billing.a%2Eb%20%2A%3E%25%C3%A9");
        assert_eq!(target.subject_of(""), "billing.%");
        assert_eq!(Target::of(&stream, Some("billing"), None).unwrap().subject_of("a"), "billing");
        assert!(Target::of(&stream, Some("*.billing"), None).is_err());
        assert!(Target::of(&stream, Some(">"), None).is_err());
        assert!(Target::of(&stream, None, None).is_err());
    }
}
