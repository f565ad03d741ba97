//! A small world to ask about: a log, a store, a clock that stands still, and the service in front of them.

use crate::postgres_server::PostgresServer;
use async_trait::async_trait;
use futures::StreamExt as _;
use http::HeaderMap;
use loadline_domain::{
    Batch, Clock, Day, Rules, StreamName, Timestamp,
    archive::Part,
    progress::Progress,
    usage::{Usage, UsageKey},
};
use loadline_event_log::{Entry, EventLog, NewRecord, ReadLimit, Retention, StreamSpec, embedded::Embedded};
use loadline_history::{History, Rows};
use loadline_proto::{event as wire, query::usage_service_client::UsageServiceClient};
use loadline_query::{ACCESS, LONG_LIVED, Parts, Query, Settings};
use loadline_runtime::{
    Shutdown, grpc,
    identity::{Identity, IdentityProvider, Peer, Role},
    telemetry,
};
use loadline_store::{Archived, Exported, Options, Store};
use prost::Message as _;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, Routes, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub const HOUR: Duration = Duration::from_secs(3_600);
pub const MINUTE: Duration = Duration::from_secs(60);

/// Noon of the day the world stands still.
pub fn noon() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// Time that moves only when told to.
pub struct StillClock(AtomicI64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl StillClock {
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.micros(), Ordering::SeqCst);
    }
}

/// Identities by the header `x-test-accounts`: absent is an operator, otherwise a service with these accounts.
struct TestIdentities;

#[async_trait]
impl IdentityProvider for TestIdentities {
    async fn identify(&self, _: &Peer, headers: &HeaderMap) -> Result<Identity, Status> {
        Ok(match headers.get("x-test-accounts") {
            None => Identity { name: "operator".to_owned(), role: Role::Operator, accounts: Vec::new() },
            Some(accounts) => {
                let accounts = accounts.to_str().unwrap_or_default().split(',').filter(|account| !account.is_empty());
                Identity { name: "service".to_owned(), role: Role::Service, accounts: accounts.map(str::to_owned).collect() }
            }
        })
    }
}

/// A caller with these accounts; an operator without.
#[derive(Clone)]
pub struct As(Option<&'static str>);

impl Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(accounts) = self.0 {
            request.metadata_mut().insert("x-test-accounts", MetadataValue::from_static(accounts));
        }
        Ok(request)
    }
}

pub type Client = UsageServiceClient<InterceptedService<Channel, As>>;

pub struct World {
    pub clock: Arc<StillClock>,
    pub log: Arc<Embedded>,
    pub store: Arc<dyn Store>,
    pub history: Arc<dyn History>,
    pub rules: Rules,
    folder: TempDir,
    store_url: String,
    _server: Option<PostgresServer>,
}

pub fn billing() -> StreamName {
    StreamName::new("BILLING").unwrap()
}

pub fn receipts() -> StreamName {
    StreamName::new("DLR").unwrap()
}

impl World {
    /// Empty streams `BILLING` and `DLR`, an empty store, at noon.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store_url = format!("sqlite:{}", folder.path().join("store.db").display());
        Self::over(folder, store_url, None).await
    }

    /// The same with its store in a PostgreSQL of its own.
    pub async fn on_postgres() -> Self {
        let server = PostgresServer::start().await;
        Self::over(tempfile::tempdir().unwrap(), server.url(), Some(server)).await
    }

    async fn over(folder: TempDir, store_url: String, server: Option<PostgresServer>) -> Self {
        let clock = Arc::new(StillClock(AtomicI64::new(noon().micros())));
        let log = Arc::new(Embedded::open_with(folder.path().join("log.db"), clock.clone()).await.unwrap());
        let store = loadline_store::open(&store_url, Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        let history = format!("file:{}", folder.path().join("history").display());
        let history = loadline_history::open(&history, loadline_history::Options::default()).unwrap();
        history.prepare().await.unwrap();
        let world = Self { clock, log, store, history, rules: Rules::default(), folder, store_url, _server: server };
        for name in [billing(), receipts()] {
            world.ensure(name).await;
        }
        world
    }

    pub fn store_url(&self) -> String {
        self.store_url.clone()
    }

    pub async fn ensure(&self, name: StreamName) {
        let subject = name.as_str().to_ascii_lowercase();
        self.log.ensure(&StreamSpec { name, subject, retention: Retention { max_age: None, max_bytes: None } }).await.unwrap();
    }

    /// Appends to the log, as a producer would.
    pub async fn append(&self, stream: StreamName, events: impl IntoIterator<Item = wire::Event>) {
        let payloads = events.into_iter().map(|event| event.encode_to_vec());
        self.append_raw(stream, payloads).await;
    }

    pub async fn append_raw(&self, stream: StreamName, payloads: impl IntoIterator<Item = Vec<u8>>) {
        let record = |payload: Vec<u8>| NewRecord { key: "acme".to_owned(), payload: payload.into(), traceparent: None };
        self.log.append(&stream, payloads.into_iter().map(record).collect()).await.unwrap();
    }

    /// Counts all that is in the log, as ingest would.
    pub async fn apply(&self) {
        for stream in [billing(), receipts()] {
            self.apply_stream(&stream).await;
        }
    }

    pub async fn apply_stream(&self, stream: &StreamName) -> Progress {
        let lease = self.store.acquire(stream, "test", MINUTE).await.unwrap().unwrap();
        let bounds = self.log.bounds(stream).await.unwrap();
        let progress = self.store.open_stream(&lease, &bounds.incarnation, &[]).await.unwrap();
        let mut batch = Batch::new(stream.clone(), bounds.incarnation.clone(), progress.applied);
        while batch.to() < bounds.last {
            let limit = ReadLimit { records: 1_000, bytes: 1 << 20 };
            let entries = self.log.read(stream, &bounds.incarnation, batch.to() + 1, limit, Duration::ZERO).await.unwrap();
            for entry in entries {
                match entry {
                    Entry::Record(record) => {
                        let recorded_at = record.recorded_at;
                        batch.push(record, recorded_at, &self.rules);
                    }
                    Entry::Lost(loss) => batch.push_loss(loss),
                }
            }
        }
        let progress = if batch.is_empty() { progress } else { self.store.commit(&lease, &batch.seal()).await.unwrap() };
        self.store.release(&lease).await.unwrap();
        progress
    }

    /// Appends to both streams and counts.
    pub async fn count(&self, events: impl IntoIterator<Item = wire::Event>) {
        let (bills, rest): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| matches!(event.body, Some(wire::event::Body::Billing(_))));
        self.append(billing(), bills).await;
        self.append(receipts(), rest).await;
        self.apply().await;
    }

    /// Moves a day to history, as rollup would.
    pub async fn archive(&self, day: Day) {
        let leadership = self.store.lead("background", "test", MINUTE).await.unwrap().unwrap();
        let number = u32::try_from(self.store.parts(day, day).await.unwrap().len()).unwrap();
        let part = Part { day, number, token: format!("{day}-{number}") };
        let mut writer = self.history.begin(&part).await.unwrap();
        let mut exported = self.store.export_day(day).await.unwrap();
        let mut sums: BTreeMap<UsageKey, Usage> = BTreeMap::new();
        while let Some(rows) = exported.next().await {
            let rows = match rows.unwrap() {
                Exported::Hourly(rows) => {
                    for (key, usage) in &rows {
                        *sums.entry(UsageKey { hour: day.first_hour(), ..key.clone() }).or_default() += *usage;
                    }
                    Rows::Hourly(rows)
                }
                Exported::Latency(rows) => Rows::Latency(rows),
            };
            writer.write(rows).await.unwrap();
        }
        writer.write(Rows::Daily(sums.into_iter().collect())).await.unwrap();
        let totals = writer.finish().await.unwrap();
        assert_eq!(self.store.archive(&leadership, &part, &totals).await.unwrap(), Archived::Done);
    }

    /// Changes the store behind everybody's back.
    pub async fn tamper(&self, statement: &'static str) {
        use sqlx::{Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
        if self.store_url.starts_with("postgres") {
            let mut connection = PgConnection::connect(&self.store_url).await.unwrap();
            let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
            assert!(done.rows_affected() > 0, "nothing was tampered with");
            return connection.close().await.unwrap();
        }
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("store.db")).busy_timeout(HOUR);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing was tampered with");
        connection.close().await.unwrap();
    }

    /// The service over this world, looking at the log anew for every answer.
    pub async fn serve(&self) -> Served {
        Served::over(self, |_| {}).await
    }

    pub fn parts(&self, shutdown: &Shutdown) -> Parts {
        Parts {
            store: self.store.clone(),
            log: self.log.clone(),
            history: self.history.clone(),
            streams: vec![billing(), receipts()],
            rules: self.rules,
            clock: self.clock.clone(),
            settings: Settings { log_max_age: Duration::ZERO, ..Settings::default() },
            shutdown: shutdown.clone(),
        }
    }
}

/// A running service.
pub struct Served {
    pub addr: SocketAddr,
    pub shutdown: Shutdown,
}

impl Served {
    /// With parts changed.
    pub async fn over(world: &World, change: impl FnOnce(&mut Parts)) -> Self {
        let shutdown = Shutdown::new();
        let mut parts = world.parts(&shutdown);
        change(&mut parts);
        let query = Query::new(parts);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let telemetry = telemetry::init(&telemetry::Settings::default(), "query", "test").unwrap();
        let server = grpc::Server::new(grpc::Settings::default(), &[ACCESS], Arc::new(TestIdentities), &telemetry);
        tokio::spawn(server.long_lived(LONG_LIVED).serve(listener, Routes::new(query.server()), shutdown.clone()));
        Self { addr, shutdown }
    }

    /// A caller that sees all accounts.
    pub fn operator(&self) -> Client {
        self.client(As(None))
    }

    /// A caller that sees these accounts, separated by commas.
    pub fn service(&self, accounts: &'static str) -> Client {
        self.client(As(Some(accounts)))
    }

    fn client(&self, caller: As) -> Client {
        let channel = Endpoint::from_shared(format!("http://{}", self.addr)).unwrap().connect_lazy();
        UsageServiceClient::with_interceptor(channel, caller)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// A billing event of one message to Germany by SMS for 0.0075 EUR, by account `acme`.
pub fn bill(id: &str, at: Timestamp) -> wire::BillingEvent {
    wire::BillingEvent {
        event_id: id.to_owned(),
        account: "acme".to_owned(),
        occurred_at: Some(time(at)),
        channel: wire::Channel::Sms.into(),
        country: "DE".to_owned(),
        currency: "EUR".to_owned(),
        messages: 1,
        segments: 1,
        amount_micros: 7_500,
    }
}

/// A receipt of a message to Germany by SMS, reported two seconds after its submission.
pub fn receipt(id: &str, submitted_at: Timestamp, status: wire::DeliveryStatus) -> wire::DeliveryReceipt {
    wire::DeliveryReceipt {
        message_id: id.to_owned(),
        account: "acme".to_owned(),
        submitted_at: Some(time(submitted_at)),
        reported_at: Some(time(submitted_at.plus(Duration::from_secs(2)))),
        channel: wire::Channel::Sms.into(),
        country: "DE".to_owned(),
        status: status.into(),
    }
}

/// What producers publish.
pub trait Published {
    fn event(self) -> wire::Event;
}

impl Published for wire::BillingEvent {
    fn event(self) -> wire::Event {
        wire::Event { body: Some(wire::event::Body::Billing(self)) }
    }
}

impl Published for wire::DeliveryReceipt {
    fn event(self) -> wire::Event {
        wire::Event { body: Some(wire::event::Body::Receipt(self)) }
    }
}

pub fn time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}
