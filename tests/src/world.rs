//! Everything a scenario needs, together: a log, a store, ingest and query between them, and the check at the end.

use crate::{
    checker,
    client::Clients,
    history::{HistoryServer, Keeper},
    journal::Journal,
    log,
    nats::{NatsServer, NatsVersion},
    ports::{self, Ready},
    postgres::PostgresServer,
    proxy::Proxy,
    service::{Program, Service, Settings},
    snapshot::Snapshot,
    workload::{Item, Topic},
};
use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, context::PublishAckFuture};
use bytes::Bytes;
use loadline_proto::{
    event::Event,
    ingest::{ListStreamsRequest, PublishRequest, PublishResponse},
};
use prost::Message as _;
use std::{collections::VecDeque, path::PathBuf, time::Duration};
use tempfile::TempDir;

/// The streams of the default configuration.
pub const STREAMS: [&str; 2] = ["BILLING", "DLR"];
/// Until the log is applied to its end, also after a lease had to expire.
const DRAIN: Duration = Duration::from_secs(90);
/// Publications on their way to NATS at once.
const IN_FLIGHT: usize = 256;

/// Which backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backends {
    /// SQLite for both.
    Embedded,
    /// JetStream of this version, and PostgreSQL behind a proxy.
    Real(NatsVersion),
}

/// A running product. Its parts may be killed, stopped and cut off by name.
#[derive(Debug)]
pub struct World {
    /// The ingest service.
    pub ingest: Service,
    /// The query service.
    pub query: Service,
    /// What a rollup service is started with; scenarios that need one start it, or several.
    pub rollup: Settings,
    /// The log's server, unless embedded.
    pub nats: Option<NatsServer>,
    /// Between the services and NATS.
    pub to_nats: Option<Proxy>,
    /// The store's server, unless embedded.
    pub postgres: Option<PostgresServer>,
    /// Between the services and PostgreSQL.
    pub to_postgres: Option<Proxy>,
    /// The history's server, unless it is on disk.
    pub keeper: Option<HistoryServer>,
    /// Between the services and the history's server.
    pub to_keeper: Option<Proxy>,
    /// URLs that lead straight to the log and the store, past the proxies.
    pub log: String,
    /// See `log`.
    pub store: String,
    // Last, so that whoever writes to it is gone before it is.
    folder: TempDir,
}

impl World {
    /// Starts all of it.
    ///
    /// # Errors
    /// When any part does not get ready.
    pub async fn start(backends: Backends) -> Result<Self> {
        Self::start_with(backends, &[]).await
    }

    /// The same with other values of some keys, such as `("ingest.lease_ttl", "2s")`.
    ///
    /// # Errors
    /// As [`World::start`].
    pub async fn start_with(backends: Backends, values: &[(&str, &str)]) -> Result<Self> {
        Self::start_over(backends, None, values).await
    }

    /// The same with history kept by a server behind a proxy, rather than on disk.
    ///
    /// # Errors
    /// As [`World::start`].
    pub async fn start_over(backends: Backends, keeper: Option<Keeper>, values: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadline-world-").tempdir()?;
        let (mut nats, mut to_nats, mut postgres, mut to_postgres) = (None, None, None, None);
        let (log, store, log_seen, store_seen) = match backends {
            Backends::Embedded => {
                let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
                (file("log.db"), file("store.db"), file("log.db"), file("store.db"))
            }
            Backends::Real(version) => {
                let nats = nats.insert(NatsServer::start(version).await?);
                let postgres = postgres.insert(PostgresServer::start().await?);
                let to_nats = to_nats.insert(Proxy::start(nats.address()).await?);
                let to_postgres = to_postgres.insert(Proxy::start(postgres.address()).await?);
                let database = postgres.create_database().await?;
                let store_seen = postgres.url_through(&database, to_postgres.address())?;
                (nats.url(), database, NatsServer::url_at(to_nats.address()), store_seen)
            }
        };
        let (mut history, mut to_keeper) = (format!("file:{}", folder.path().join("history").display()), None);
        let keeper = match keeper {
            Some(keeper) => Some(HistoryServer::start(keeper).await?),
            None => None,
        };
        if let Some(keeper) = &keeper {
            let proxy = to_keeper.insert(Proxy::start(keeper.address()).await?);
            history = keeper.url_at("archive", proxy.address());
        }
        let settings = |program| {
            let settings = Settings::new(program, &log_seen, &store_seen).set("history.url", &history);
            values.iter().fold(settings, |settings, (key, value)| settings.set(key, value))
        };
        let ingest = Service::start(settings(Program::Ingest)).await?;
        let query = Service::start(settings(Program::Query)).await?;
        let rollup = settings(Program::Rollup);
        Ok(Self { ingest, query, rollup, nats, to_nats, postgres, to_postgres, keeper, to_keeper, log, store, folder })
    }

    /// Folder of the history, when it is on disk.
    pub fn history(&self) -> PathBuf {
        self.folder.path().join("history")
    }

    /// Publishes straight to NATS, in order, as an upstream service would, and notes what was acknowledged.
    ///
    /// # Errors
    /// When there is no NATS, or it does not acknowledge.
    pub async fn publish_to_nats(&self, items: &[Item], journal: &mut Journal) -> Result<()> {
        let nats = self.nats.as_ref().context("this world has no NATS")?;
        let context = jetstream::new(async_nats::connect(nats.url()).await?);
        let mut in_flight = VecDeque::new();
        for item in items {
            let subject = match item.topic {
                Topic::Billing => format!("billing.{}", item.account),
                Topic::Receipts => format!("dlr.{}", item.account),
            };
            in_flight.push_back((context.publish(subject, item.payload.clone()).await?, &item.payload));
            if in_flight.len() == IN_FLIGHT {
                acknowledge(in_flight.pop_front(), journal).await?;
            }
        }
        while !in_flight.is_empty() {
            acknowledge(in_flight.pop_front(), journal).await?;
        }
        Ok(())
    }

    /// Publishes one request through gRPC, and notes what was accepted. Items must be readable as events.
    ///
    /// # Errors
    /// When ingest does not answer: then nothing is known of the items.
    pub async fn publish(&self, items: &[Item], journal: &mut Journal) -> Result<PublishResponse> {
        let events = items.iter().map(|item| Event::decode(item.payload.clone())).collect::<Result<Vec<_>, _>>()?;
        let mut clients = self.ingest.ingest()?;
        let answer = clients.events.publish(PublishRequest { events, skip_duplicates: false }).await?.into_inner();
        let rejected: Vec<usize> = answer.rejections.iter().map(|rejection| rejection.index as usize).collect();
        let mut accepted: Vec<&Item> =
            items.iter().enumerate().filter(|(at, _)| !rejected.contains(at)).map(|(_, item)| item).collect();
        // The same event twice in a request goes to the log once.
        accepted.sort_by(|a, b| a.payload.cmp(&b.payload));
        if answer.duplicates > 0 {
            accepted.dedup_by(|a, b| a.payload == b.payload);
        }
        accepted.into_iter().for_each(|item| journal.accept(item.payload.clone()));
        Ok(answer)
    }

    /// Waits until all that stands in the log is applied.
    ///
    /// # Errors
    /// When it is not in time, with what stands where.
    pub async fn drained(&self) -> Result<()> {
        drained(&self.ingest).await
    }

    /// Waits for the end of the log, then checks that the store holds exactly what was published.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub async fn ensure_exact(&self, journal: &mut Journal) -> Result<Snapshot> {
        self.drained().await?;
        log::read(&self.log, &STREAMS, journal).await.context("reading the log")?;
        let snapshot = Snapshot::load(&self.store).await.context("reading the store")?;
        ensure!(!journal.placed().is_empty(), "nothing stands in the log: the scenario published nothing");
        checker::ensure_exact(journal, &snapshot)?;
        Ok(snapshot)
    }
}

async fn acknowledge(sent: Option<(PublishAckFuture, &Bytes)>, journal: &mut Journal) -> Result<()> {
    if let Some((acknowledgement, payload)) = sent {
        acknowledgement.await?;
        journal.accept(payload.clone());
    }
    Ok(())
}

/// Waits until all that stands in the log of a service is applied.
///
/// # Errors
/// When it is not in time, with what stands where.
pub async fn drained(ingest: &Service) -> Result<()> {
    let clients = ingest.ingest()?;
    ports::wait_until("the log's end", DRAIN, || {
        let mut clients = clients.clone();
        async move { Ok(is_drained(&mut clients).await.unwrap_or_else(|error| Ready::No(format!("{error:#}")))) }
    })
    .await
}

async fn is_drained(clients: &mut Clients) -> Result<Ready> {
    let streams = clients.streams.list(ListStreamsRequest {}).await?.into_inner().streams;
    for stream in &streams {
        let progress = stream.progress.clone().unwrap_or_default();
        ensure!(stream.unaccounted == 0, "{}: unaccounted {}", progress.stream, stream.unaccounted);
        let last = stream.log.as_ref().context("its log cannot be reached")?.last_sequence;
        // By the backlog: positions alone say nothing while the store knows another making of the stream.
        if stream.backlog > 0 {
            return Ok(Ready::No(format!(
                "{} is applied to {} of {last}: {}",
                progress.stream, progress.applied, stream.state_detail
            )));
        }
    }
    Ok(if streams.len() < STREAMS.len() { Ready::No(format!("{} streams", streams.len())) } else { Ready::Yes })
}

/// Each fact is an async function of [`Backends`] and of who keeps history, and a test on each combination that is listed.
#[macro_export]
macro_rules! on_combinations {
    ($($fact:ident { $($name:ident: $backends:expr, $keeper:expr;)* })*) => {$(
        mod $fact {
            use super::*;

            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                super::$fact($backends, $keeper).await
            })*
        }
    )*};
}

/// Each fact is an async function of [`Backends`], and a test on embedded and one on real backends.
#[macro_export]
macro_rules! on_every_backend {
    ($($fact:ident)*) => {$(
        mod $fact {
            #[tokio::test]
            async fn on_embedded_backends() -> anyhow::Result<()> {
                super::$fact($crate::world::Backends::Embedded).await
            }

            #[tokio::test]
            async fn on_nats_and_postgres() -> anyhow::Result<()> {
                super::$fact($crate::world::Backends::Real($crate::nats::NatsVersion::Nats215)).await
            }
        }
    )*};
}
