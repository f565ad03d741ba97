//! The service on its ports: alone in a process, or beside others.

use crate::{ACCESS, LONG_LIVED, Parts, Query, Settings as Limits, detect::DETECTS, drills, remedies};
use anyhow::Context as _;
use loadline_domain::time::SystemClock;
use loadline_event_log::{EventLog, LateLog};
use loadline_fault::Faults;
use loadline_health::Port;
use loadline_history::History;
use loadline_platform::{Life, Platform};
use loadline_runtime::{
    Shutdown,
    admin::{self, Readiness},
    run::bind,
};
use loadline_store::{Store, StoreError};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

const SERVICES: &[&str] =
    &["loadline.query.v1.UsageService", "loadline.health.v1.FailureModeService", "loadline.health.v1.DrillService"];
/// How often readiness follows the store.
const PERIOD: Duration = Duration::from_secs(1);
/// Component of readiness: without the store nothing is answered. Without the log answers only lack their lag.
const STORE: &str = "store";

/// Query alone, with its own backends and admin port. It starts while either backend is down.
///
/// # Errors
/// A port that is taken, a backend that can never be used.
pub async fn alone(platform: Platform, shutdown: Shutdown) -> anyhow::Result<()> {
    let settings = platform.settings();
    let listener = bind(settings.query.listen, "query.listen").await?;
    let admin = bind(settings.query.admin, "query.admin").await?;
    let readiness = Readiness::new(&[STORE]);
    let metrics = platform.telemetry().clone();
    shutdown.spawn(admin::serve(admin, readiness.clone(), move || metrics.scraped_text(), shutdown.clone()));
    let options = settings.store.options_to_answer(settings.rules.rules());
    let store = loadline_store::open(settings.store.url.reveal(), options).await?;
    store.caveats().iter().for_each(|caveat| tracing::warn!("{caveat}"));
    let options = loadline_history::Options { timeout: *settings.history.timeout, ..Default::default() };
    let history = loadline_history::open(settings.history.url.reveal(), options).context("opening history.url")?;
    let log = LateLog::open(settings.log.url.reveal(), shutdown.token().cancelled_owned()).await?;
    let backends = Backends { store, history, log: Arc::new(log) };
    serve(&platform, backends, listener, &readiness, &shutdown).await
}

/// What it answers from.
pub struct Backends {
    pub store: Arc<dyn Store>,
    pub history: Arc<dyn History>,
    pub log: Arc<dyn EventLog>,
}

/// Query on a listener, until shutdown has drained it.
///
/// # Errors
/// A store that a newer build has migrated.
pub async fn serve(
    platform: &Platform,
    backends: Backends,
    listener: TcpListener,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let settings = platform.settings();
    let monitor = platform.monitor("query", platform.build(), DETECTS)?;
    let Backends { store: healthy, history, log } = backends;
    let faults = settings.drills.are_on().then(Faults::default);
    let store = loadline_store::behind(healthy.clone(), faults.as_ref());
    let query = Query::new(Parts {
        store: store.clone(),
        log,
        history,
        streams: settings.streams.iter().map(|stream| stream.spec().0.name).collect(),
        rules: settings.rules.rules(),
        clock: Arc::new(SystemClock),
        settings: Limits {
            explain_max_records: settings.query.explain_max_records,
            history_patience: *settings.query.history_patience,
            letters_kept: *settings.rollup.retention.resolved_dead_letters,
            isolation_every: *settings.query.isolation_every,
            times_at_most: settings.drills.times_at_most.map_or(Duration::MAX, Into::into),
            ..Limits::default()
        },
        shutdown: shutdown.clone(),
    });
    let watch = platform.watched(Life { monitor: &monitor, readiness, shutdown, faults: faults.as_ref() });
    remedies::install(&monitor, &query, watch.remedies());
    if let Some(faults) = &faults {
        drills::install(&monitor, &query, healthy, faults, watch.drills(&monitor));
    }
    let mut routes = RoutesBuilder::default();
    query.routes(&mut routes);
    let port = Port {
        settings: settings.grpc.clone(),
        access: ACCESS,
        long_lived: LONG_LIVED,
        services: SERVICES,
        monitor: monitor.clone(),
        readiness: readiness.clone(),
        telemetry: platform.telemetry().clone(),
    };
    tracing::info!(address = %listener.local_addr()?, "query serves");
    tokio::select! {
        (served, detected, ()) = async {
            tokio::join!(
                port.serve(listener, routes, shutdown.clone()),
                query.detect(&monitor),
                watch.run(&monitor),
            )
        } => {
            detected?;
            Ok(served?)
        }
        refused = follow_store(&*store, readiness) => Err(refused.into()),
    }
}

/// Ready means that usage can be read. Returns only when the store can never be used.
async fn follow_store(store: &dyn Store, readiness: &Readiness) -> StoreError {
    let mut ticks = tokio::time::interval(PERIOD);
    let mut migrated = false;
    loop {
        ticks.tick().await;
        // Whoever comes first makes the tables; all refuse a store that is newer than they are.
        let state = if migrated { store.all_progress().await.map(drop) } else { store.migrate().await };
        match state {
            Ok(()) => {
                migrated = true;
                readiness.set(STORE, true, "");
            }
            Err(error) if migrated || error.is_retryable() => readiness.set(STORE, false, error.to_string()),
            Err(error) => return error,
        }
    }
}
