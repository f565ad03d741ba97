//! What is answered while the log or the store is down.

use crate::world::{HOUR, MINUTE, Published as _, Served, World, bill, billing, noon, time};
use async_trait::async_trait;
use loadline_domain::{Incarnation, Sequence, StreamName, Timestamp};
use loadline_event_log::{Bounds, Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec};
use loadline_proto::query::{ExplainUsageRequest, GetUsageRequest, GetUsageResponse, WatchUsageRequest, period::State};
use loadline_runtime::errors;
use loadline_store::Options;
use std::{sync::Arc, time::Duration};
use tonic::{Code, Status};

/// A log that cannot be reached: it refuses, or never answers.
enum Unreachable {
    Refuses,
    Hangs,
}

impl Unreachable {
    async fn fail<T>(&self) -> Result<T, LogError> {
        match self {
            Self::Refuses => Err(LogError::Unavailable("refused".to_owned())),
            Self::Hangs => std::future::pending().await,
        }
    }
}

#[async_trait]
impl EventLog for Unreachable {
    async fn ensure(&self, _: &StreamSpec) -> Result<(), LogError> {
        self.fail().await
    }

    async fn append(&self, _: &StreamName, _: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError> {
        self.fail().await
    }

    async fn read(
        &self,
        _: &StreamName,
        _: &Incarnation,
        _: Sequence,
        _: ReadLimit,
        _: Duration,
    ) -> Result<Vec<Entry>, LogError> {
        self.fail().await
    }

    async fn bounds(&self, _: &StreamName) -> Result<Bounds, LogError> {
        self.fail().await
    }

    async fn peek(&self, _: &StreamName, _: Sequence) -> Result<Option<(Sequence, Timestamp)>, LogError> {
        self.fail().await
    }

    async fn seek(&self, _: &StreamName, _: Timestamp) -> Result<Sequence, LogError> {
        self.fail().await
    }

    async fn set_retention(&self, _: &StreamName, _: Retention) -> Result<(), LogError> {
        self.fail().await
    }

    async fn caveats(&self) -> Result<Vec<String>, LogError> {
        self.fail().await
    }

    async fn probe(&self) -> Result<(), LogError> {
        self.fail().await
    }
}

fn question() -> GetUsageRequest {
    GetUsageRequest {
        account: "acme".to_owned(),
        from: Some(time(noon().minus(HOUR))),
        to: Some(time(noon().plus(HOUR))),
        ..GetUsageRequest::default()
    }
}

fn explanation() -> ExplainUsageRequest {
    ExplainUsageRequest { account: "acme".to_owned(), hour: Some(time(noon().minus(HOUR))) }
}

fn states(answer: &GetUsageResponse) -> Vec<State> {
    answer.periods.iter().map(|period| period.state()).collect()
}

#[tokio::test]
async fn without_the_log_answers_come_without_lag_and_go_by_what_is_applied() {
    let world = World::new().await;
    let other = bill("2", noon().minus(MINUTE)).event();
    world.append(crate::world::receipts(), [other]).await;
    world.count([bill("1", noon().minus(MINUTE)).event()]).await;
    world.clock.set(noon().plus(HOUR * 2));
    for log in [Unreachable::Refuses, Unreachable::Hangs] {
        let served = Served::over(&world, |parts| parts.log = Arc::new(log)).await;
        let answer = served.operator().get_usage(question()).await.unwrap().into_inner();
        assert_eq!(answer.totals[0].events, 2);
        assert_eq!(states(&answer), [State::Provisional, State::Pending]);
        let streams = answer.completeness.unwrap().streams;
        assert!(streams.iter().all(|stream| stream.lag.is_none() && stream.progress.is_some()), "{streams:?}");
    }
}

#[tokio::test]
async fn without_the_log_nothing_is_explained() {
    let world = World::new().await;
    world.count([bill("1", noon().minus(MINUTE)).event()]).await;
    let served = Served::over(&world, |parts| parts.log = Arc::new(Unreachable::Refuses)).await;
    retryable(&served.operator().explain_usage(explanation()).await.unwrap_err());
}

#[tokio::test]
async fn without_the_store_every_question_says_when_to_ask_again() {
    let world = World::new().await;
    let nowhere = format!("postgres://nobody@{}/nothing", closed_port().await);
    let store = loadline_store::open(&nowhere, Options::default()).await.unwrap();
    let served = Served::over(&world, |parts| parts.store = store).await;
    let mut client = served.operator();
    retryable(&client.get_usage(question()).await.unwrap_err());
    retryable(&client.explain_usage(explanation()).await.unwrap_err());
    let watched = WatchUsageRequest { usage: Some(question()), min_interval: None };
    let mut answers = client.watch_usage(watched).await.unwrap().into_inner();
    retryable(&answers.message().await.unwrap_err());
}

/// A port that nobody listens on.
pub async fn closed_port() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn retryable(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(errors::retry_after(status).is_some(), "{status}");
}

#[tokio::test]
async fn an_explanation_is_given_back_before_the_callers_time_is_up() {
    let world = World::new().await;
    world.count([bill("1", noon().minus(MINUTE)).event()]).await;
    let log = Arc::new(SlowReader(world.log.clone()));
    let served = Served::over(&world, |parts| parts.log = log).await;
    let mut request = tonic::Request::new(explanation());
    request.set_timeout(Duration::from_secs(3));
    let answer = served.operator().explain_usage(request).await.unwrap().into_inner();
    assert!(!answer.conclusive && answer.detail.contains("time was up; BILLING"), "{answer:?}");
    assert_eq!(answer.stored[0].usage.as_ref().unwrap().events, 1);
    assert_eq!(world.log.bounds(&billing()).await.unwrap().last, 1);
}

/// A log whose records never come.
struct SlowReader(Arc<dyn EventLog>);

#[async_trait]
impl EventLog for SlowReader {
    async fn ensure(&self, spec: &StreamSpec) -> Result<(), LogError> {
        self.0.ensure(spec).await
    }

    async fn append(&self, stream: &StreamName, records: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError> {
        self.0.append(stream, records).await
    }

    async fn read(
        &self,
        _: &StreamName,
        _: &Incarnation,
        _: Sequence,
        _: ReadLimit,
        _: Duration,
    ) -> Result<Vec<Entry>, LogError> {
        std::future::pending().await
    }

    async fn bounds(&self, stream: &StreamName) -> Result<Bounds, LogError> {
        self.0.bounds(stream).await
    }

    async fn peek(&self, stream: &StreamName, sequence: Sequence) -> Result<Option<(Sequence, Timestamp)>, LogError> {
        self.0.peek(stream, sequence).await
    }

    async fn seek(&self, stream: &StreamName, time: Timestamp) -> Result<Sequence, LogError> {
        self.0.seek(stream, time).await
    }

    async fn set_retention(&self, stream: &StreamName, retention: Retention) -> Result<(), LogError> {
        self.0.set_retention(stream, retention).await
    }

    async fn caveats(&self) -> Result<Vec<String>, LogError> {
        self.0.caveats().await
    }

    async fn probe(&self) -> Result<(), LogError> {
        self.0.probe().await
    }
}
