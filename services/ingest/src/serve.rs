//! The service on its ports: alone in a process, or beside others.

use crate::{ACCESS, Drilling, Ingest, OwnerSettings, Parts};
use anyhow::Context as _;
use loadline_domain::time::SystemClock;
use loadline_event_log::EventLog;
use loadline_fault::Faults;
use loadline_health::Port;
use loadline_platform::{Life, Platform};
use loadline_runtime::{
    Shutdown,
    admin::{self, Readiness},
    run::bind,
};
use loadline_settings::Settings;
use loadline_store::Store;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

const SERVICES: &[&str] = &[
    "loadline.ingest.v1.EventService",
    "loadline.ingest.v1.StreamService",
    "loadline.ingest.v1.DeadLetterService",
    "loadline.health.v1.FailureModeService",
    "loadline.health.v1.DrillService",
];
const LONG_LIVED: &[&str] = &["/loadline.ingest.v1.EventService/PublishStream"];
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Component of readiness: without the log nothing can be published.
const LOG: &str = "event log";

/// Ingest alone, with its own backends and admin port.
///
/// # Errors
/// A port that is taken, a backend that can never be used.
pub async fn alone(platform: Platform, shutdown: Shutdown) -> anyhow::Result<()> {
    let settings = platform.settings();
    let listener = bind(settings.ingest.listen, "ingest.listen").await?;
    let admin = bind(settings.ingest.admin, "ingest.admin").await?;
    let readiness = Readiness::new(&[LOG]);
    let metrics = platform.telemetry().clone();
    shutdown.spawn(admin::serve(admin, readiness.clone(), move || metrics.scraped_text(), shutdown.clone()));
    let Some(log) = open_log(&settings, &readiness, &shutdown).await? else { return Ok(()) };
    let options = settings.store.options(settings.rules.rules());
    let store = loadline_store::open(settings.store.url.reveal(), options).await?;
    serve(&platform, log, store, listener, &readiness, &shutdown).await
}

/// Ingest on a listener, until shutdown: the port drains first, then the owners finish their commits and give up their leases.
///
/// # Errors
/// A store that a newer build has migrated.
pub async fn serve(
    platform: &Platform,
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    listener: TcpListener,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let settings = platform.settings();
    let monitor = platform.monitor("ingest", platform.build(), Ingest::DETECTS)?;
    // Of the process alone: a drill that takes the whole store away must not take away its secrets too.
    let faults = settings.drills.are_on().then(Faults::default);
    let watch = platform.watched(Life { monitor: &monitor, readiness, shutdown, faults: faults.as_ref() });
    let parts = Parts {
        log: log.clone(),
        store,
        clock: Arc::new(SystemClock),
        streams: settings.streams.iter().map(|stream| stream.spec()).collect(),
        owner: OwnerSettings {
            holder: settings.ingest.holder(),
            lease_ttl: *settings.ingest.lease_ttl,
            batch_records: settings.ingest.batch_records,
            batch_bytes: settings.ingest.batch_bytes.as_usize(),
            rules: settings.rules.rules(),
        },
        lag_limit: *settings.ingest.lag_limit,
        monitor: monitor.clone(),
        remedies: watch.remedies(),
        drills: faults.is_some().then(|| Drilling {
            faults: Faults::default(),
            log_faults: Faults::default(),
            of_process: watch.drills(&monitor),
        }),
    };
    let ingest = Ingest::start(parts).await.context("starting ingest")?;
    ingest.watch_dedup(settings.rollup.dedup_rows, monitor.clone());
    let mut routes = RoutesBuilder::default();
    ingest.routes(&mut routes);
    let port = Port {
        settings: settings.grpc.clone(),
        access: ACCESS,
        long_lived: LONG_LIVED,
        services: SERVICES,
        monitor: monitor.clone(),
        readiness: readiness.clone(),
        telemetry: platform.telemetry().clone(),
    };
    tracing::info!(address = %listener.local_addr()?, "ingest serves");
    let served = tokio::select! {
        (served, ()) = async { tokio::join!(port.serve(listener, routes, shutdown.clone()), watch.run(&monitor)) } => served,
        () = follow_log(log, readiness) => Ok(()),
    };
    ingest.stop().await;
    Ok(served?)
}

/// Opens the log, waiting for one that is down. `None` when shutdown came first.
///
/// # Errors
/// A log that no retry mends.
pub async fn open_log(
    settings: &Settings,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Arc<dyn EventLog>>> {
    while !shutdown.is_begun() {
        let error = match loadline_event_log::open(settings.log.url.reveal()).await {
            Ok(log) => return Ok(Some(log)),
            Err(error) => error,
        };
        if !error.is_retryable() {
            return Err(error).with_context(|| format!("opening log.url = {}", settings.log.url));
        }
        tracing::warn!(%error, "event log unavailable at start; waiting for it");
        readiness.set(LOG, false, error.to_string());
        tokio::select! {
            () = tokio::time::sleep(RETRY_AFTER) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(None)
}

/// Ready means that events can be taken.
async fn follow_log(log: Arc<dyn EventLog>, readiness: &Readiness) {
    let mut ticks = tokio::time::interval(RETRY_AFTER);
    loop {
        ticks.tick().await;
        match log.probe().await {
            Ok(()) => readiness.set(LOG, true, ""),
            Err(error) => readiness.set(LOG, false, error.to_string()),
        }
    }
}
