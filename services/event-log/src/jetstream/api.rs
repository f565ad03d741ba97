//! Requests to the JetStream API. Plain JSON where the client's types would drop what a newer server keeps.

use crate::{Bounds, LogError, Retention, StreamSpec};
use async_nats::{
    Client,
    jetstream::{
        self, Context, ContextBuilder, ErrorCode,
        context::{RequestError, RequestErrorKind},
        response::Response,
    },
};
use loadline_domain::{Incarnation, Sequence, StreamName, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::{collections::HashSet, time::Duration};
use tokio::time::timeout;

/// The API, every call of it bounded by [`super::CALL`].
#[derive(Clone)]
pub(super) struct Api {
    pub context: Context,
    pub client: Client,
}

/// What the server says about a stream.
#[derive(Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub config: Map<String, Value>,
    created: Timed,
    state: State,
}

#[derive(Debug, Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
    first_seq: Sequence,
    first_ts: Timed,
    last_seq: Sequence,
    last_ts: Timed,
    /// Those deleted behind the first, when asked for.
    #[serde(default)]
    deleted: Option<Vec<Sequence>>,
}

/// RFC 3339 with nanoseconds, as the server writes it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Timed(jiff::Timestamp);

impl TryFrom<String> for Timed {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, jiff::Error> {
        text.parse().map(Self)
    }
}

impl Timed {
    fn at(self) -> Timestamp {
        Timestamp::from_micros(self.0.as_microsecond())
    }
}

impl StreamInfo {
    pub fn incarnation(&self) -> Incarnation {
        Incarnation::new(self.created.0.to_string())
    }

    /// First sequence still there, `last + 1` when there is none.
    pub fn first(&self) -> Sequence {
        if self.state.messages == 0 { self.state.last_seq + 1 } else { self.state.first_seq }
    }

    pub fn last(&self) -> Sequence {
        self.state.last_seq
    }

    /// First sequence from `from` to `end`, exclusive, that the stream says it holds. Only from [`Api::info_with_deleted`].
    pub fn held_within(&self, from: Sequence, end: Sequence) -> Option<Sequence> {
        let deleted: HashSet<Sequence> = self.state.deleted.iter().flatten().copied().collect();
        (from.max(self.first())..end.min(self.last() + 1)).find(|sequence| !deleted.contains(sequence))
    }

    pub fn last_at(&self) -> Timestamp {
        self.state.last_ts.at()
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.config.get(field).and_then(Value::as_i64).and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0)
    }

    /// Largest message the stream takes, if it has a limit of its own.
    pub fn max_message_bytes(&self) -> Option<u64> {
        self.number("max_msg_size")
    }

    /// First of the stream's subjects.
    pub fn subject(&self) -> Option<&str> {
        self.config.get("subjects")?.get(0)?.as_str()
    }

    pub fn bounds(&self) -> Bounds {
        Bounds {
            incarnation: self.incarnation(),
            first: self.first(),
            last: self.last(),
            bytes: self.state.bytes,
            oldest_at: (self.state.messages > 0).then(|| self.state.first_ts.at()),
            retention: Retention {
                max_age: self.number("max_age").map(Duration::from_nanos),
                max_bytes: self.number("max_bytes"),
            },
        }
    }
}

/// Why a request was not answered as wanted.
pub(super) enum Refusal {
    Server(jetstream::Error),
    Failed(RequestError),
    TimedOut,
}

impl Refusal {
    pub fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Server(error) if error.error_code() == code)
    }

    /// In the port's terms, for a request about `stream`.
    pub fn about(self, stream: &StreamName) -> LogError {
        if self.is(ErrorCode::STREAM_NOT_FOUND) { LogError::StreamNotFound(stream.clone()) } else { self.into() }
    }
}

impl From<Refusal> for LogError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // 4xx: what we ask for is wrong; 5xx: what the server has is not enough, now.
            Refusal::Server(error) if error.code() < 500 => Self::Misconfigured(error.to_string()),
            Refusal::Server(error) => Self::Unavailable(error.to_string()),
            Refusal::Failed(error) if error.kind() == RequestErrorKind::NoResponders => {
                Self::Unavailable("the server answers, its JetStream does not: it is starting, or not enabled".into())
            }
            Refusal::Failed(error) => Self::Unavailable(error.to_string()),
            Refusal::TimedOut => Self::Unavailable(format!("no answer within {:?}", super::CALL)),
        }
    }
}

impl Api {
    pub fn new(client: Client) -> Self {
        let context = ContextBuilder::new().timeout(super::CALL).build(client.clone());
        Self { context, client }
    }

    /// One request, bounded also while the connection is down.
    pub async fn request<T: DeserializeOwned>(&self, subject: String, body: &Value) -> Result<T, Refusal> {
        match timeout(super::CALL, self.context.request::<_, _, Response<T>>(subject, body)).await {
            Ok(Ok(Response::Ok(answer))) => Ok(answer),
            Ok(Ok(Response::Err { error })) => Err(Refusal::Server(error)),
            Ok(Err(error)) => Err(Refusal::Failed(error)),
            Err(_) => Err(Refusal::TimedOut),
        }
    }

    pub async fn info(&self, stream: &StreamName) -> Result<StreamInfo, LogError> {
        self.request(format!("STREAM.INFO.{stream}"), &Value::Null).await.map_err(|refusal| refusal.about(stream))
    }

    /// The same with what was deleted, one by one: as large as many deletions there were.
    pub async fn info_with_deleted(&self, stream: &StreamName) -> Result<StreamInfo, LogError> {
        let asked = self.request(format!("STREAM.INFO.{stream}"), &json!({ "deleted_details": true })).await;
        asked.map_err(|refusal| refusal.about(stream))
    }

    /// Makes the stream if it is not there.
    pub async fn ensure(&self, spec: &StreamSpec) -> Result<(), LogError> {
        match self.info(&spec.name).await {
            Err(LogError::StreamNotFound(_)) => {}
            Err(error) => return Err(error),
            Ok(info) => return keeps_what_is_read(&spec.name, &info),
        }
        let mut config = json!({
            "name": spec.name.as_str(),
            "subjects": [format!("{}.>", spec.subject)],
            "retention": "limits",
            "discard": "old",
            "storage": "file",
            "num_replicas": 1,
        });
        if let Some(config) = config.as_object_mut() {
            retain(config, spec.retention);
        }
        match self.request::<StreamInfo>(format!("STREAM.CREATE.{}", spec.name), &config).await {
            Ok(_) => Ok(()),
            // Somebody else made it at the same moment.
            Err(refusal) if refusal.is(ErrorCode::STREAM_NAME_EXIST) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Changes the stream's configuration in nothing but its retention.
    pub async fn set_retention(&self, stream: &StreamName, retention: Retention) -> Result<(), LogError> {
        let mut config = self.info(stream).await?.config;
        retain(&mut config, retention);
        let updated = self.request::<StreamInfo>(format!("STREAM.UPDATE.{stream}"), &Value::Object(config)).await;
        updated.map(drop).map_err(|refusal| refusal.about(stream))
    }

    /// Sequence and time of the first message at or after `from`; `None` past the end.
    pub async fn next_from(&self, stream: &StreamName, from: Sequence) -> Result<Option<(Sequence, Timestamp)>, LogError> {
        #[derive(Deserialize)]
        struct Answer {
            message: Found,
        }
        #[derive(Deserialize)]
        struct Found {
            seq: Sequence,
            time: Timed,
        }
        let body = json!({ "seq": from.max(1), "next_by_subj": ">" });
        match self.request::<Answer>(format!("STREAM.MSG.GET.{stream}"), &body).await {
            Ok(Answer { message }) => Ok(Some((message.seq, message.time.at()))),
            Err(refusal) if refusal.is(ErrorCode::NO_MESSAGE_FOUND) => Ok(None),
            Err(refusal) => Err(refusal.about(stream)),
        }
    }

    pub async fn probe(&self) -> Result<(), LogError> {
        self.request::<Value>("INFO".into(), &Value::Null).await.map(drop).map_err(LogError::from)
    }
}

/// A stream that drops what is consumed, or what nobody is interested in, is no log.
fn keeps_what_is_read(stream: &StreamName, info: &StreamInfo) -> Result<(), LogError> {
    match info.config.get("retention").and_then(Value::as_str) {
        None | Some("limits") => Ok(()),
        Some(other) => Err(LogError::Misconfigured(format!(
            "stream {stream} has retention `{other}`, which drops messages by itself; a log needs `limits`"
        ))),
    }
}

fn retain(config: &mut Map<String, Value>, retention: Retention) {
    let max_age = retention.max_age.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(i64::MAX as u64));
    config.insert("max_age".into(), max_age.into());
    config.insert("max_bytes".into(), retention.max_bytes.map_or(json!(-1), |bytes| bytes.into()));
    // The server refuses a window longer than the age.
    let window = config.get("duplicate_window").and_then(Value::as_u64).unwrap_or(0);
    if max_age > 0 && window > max_age {
        config.insert("duplicate_window".into(), max_age.into());
    }
}
