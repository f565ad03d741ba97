//! The service on its ports: alone in a process, or beside others.

use crate::{
    ACCESS, Parts,
    detect::{DETECTS, Detectors},
    drills,
    grpc::{Jobs, LONG_LIVED},
    job::Job,
    jobs,
    leader::{Leader, Scheduled},
    remedies,
    schedule::Schedule,
};
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
    &["loadline.rollup.v1.JobService", "loadline.health.v1.FailureModeService", "loadline.health.v1.DrillService"];
/// How often readiness follows the store.
const PERIOD: Duration = Duration::from_secs(1);
/// Component of readiness: without the store there is no queue.
const STORE: &str = "store";

/// Rollup alone, with its own backends and admin port. It starts while any backend is down.
///
/// # Errors
/// A port that is taken, a backend that can never be used.
pub async fn alone(platform: Platform, shutdown: Shutdown) -> anyhow::Result<()> {
    let settings = platform.settings();
    let listener = bind(settings.rollup.listen, "rollup.listen").await?;
    let admin = bind(settings.rollup.admin, "rollup.admin").await?;
    let readiness = Readiness::new(&[STORE]);
    let metrics = platform.telemetry().clone();
    shutdown.spawn(admin::serve(admin, readiness.clone(), move || metrics.scraped_text(), shutdown.clone()));
    let options = settings.store.options(settings.rules.rules());
    let store = loadline_store::open(settings.store.url.reveal(), options).await?;
    let options = loadline_history::Options { timeout: *settings.history.timeout, ..Default::default() };
    let history = loadline_history::open(settings.history.url.reveal(), options).context("opening history.url")?;
    store.caveats().iter().chain(&history.caveats()).for_each(|caveat| tracing::warn!("{caveat}"));
    let log = LateLog::open(settings.log.url.reveal(), shutdown.token().cancelled_owned()).await?;
    serve(&platform, Backends { store, history, log: Arc::new(log) }, listener, &readiness, &shutdown).await
}

/// What it works on.
pub struct Backends {
    pub store: Arc<dyn Store>,
    pub history: Arc<dyn History>,
    pub log: Arc<dyn EventLog>,
}

/// Rollup on a listener, until shutdown has drained it.
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
    let faults = settings.drills.are_on().then(drills::OfPorts::default);
    let breakable = faults.as_ref();
    let parts = Parts {
        store: loadline_store::behind(backends.store.clone(), breakable.map(|faults| &faults.store)),
        history: loadline_history::behind(backends.history, breakable.map(|faults| &faults.history)),
        log: backends.log,
        streams: settings.streams.iter().map(|stream| stream.spec().0.name).collect(),
        rules: settings.rules.rules(),
        clock: Arc::new(SystemClock),
        settings: settings.rollup.clone(),
    };
    let scheduled = scheduled(&parts, breakable.map(|faults| &faults.store))?;
    let monitor = platform.monitor("rollup", platform.build(), DETECTS)?;
    let faulty = breakable.map(|faults| &faults.store);
    let watch = platform.watched(Life { monitor: &monitor, readiness, shutdown, faults: faulty });
    remedies::install(&monitor, &parts, watch.remedies());
    if let Some(faults) = &faults {
        drills::install(&monitor, &parts, backends.store, faults, watch.drills(&monitor));
    }
    let mut routes = RoutesBuilder::default();
    let service = Jobs {
        jobs: Arc::new(scheduled.clone()),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        time_zone: settings.rollup.time_zone.clone(),
        shutdown: shutdown.clone(),
    };
    service.routes(&mut routes);
    let port = Port {
        settings: settings.grpc.clone(),
        access: ACCESS,
        long_lived: LONG_LIVED,
        services: SERVICES,
        monitor: monitor.clone(),
        readiness: readiness.clone(),
        telemetry: platform.telemetry().clone(),
    };
    let leader = Leader {
        jobs: scheduled.clone(),
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        holder: settings.rollup.holder(),
        ttl: *settings.rollup.lease_ttl,
    };
    let watched = monitor.clone();
    let working = async {
        migrated(&*parts.store, readiness, shutdown).await?;
        let detectors = Detectors { parts: parts.clone(), scheduled, monitor };
        let following = follow_store(&*parts.store, readiness, shutdown);
        tokio::join!(leader.run(shutdown.token()), detectors.run(shutdown.token()), following);
        anyhow::Ok(())
    };
    tracing::info!(address = %listener.local_addr()?, "rollup serves");
    let serving = async { Ok(port.serve(listener, routes, shutdown.clone()).await?) };
    let watching = async {
        watch.run(&watched).await;
        Ok(())
    };
    tokio::try_join!(serving, working, watching).map(drop)
}

/// Waits until the tables are there: whoever comes first makes them.
async fn migrated(store: &dyn Store, readiness: &Readiness, shutdown: &Shutdown) -> Result<(), StoreError> {
    while !shutdown.is_begun() {
        match store.migrate().await {
            Ok(()) => break,
            Err(error) if error.is_retryable() => readiness.set(STORE, false, error.to_string()),
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// Ready means that the queue can be read.
async fn follow_store(store: &dyn Store, readiness: &Readiness, shutdown: &Shutdown) {
    let mut ticks = tokio::time::interval(PERIOD);
    while !shutdown.is_begun() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        match store.leaders().await {
            Ok(_) => readiness.set(STORE, true, ""),
            Err(error) => readiness.set(STORE, false, error.to_string()),
        }
    }
}

/// Every job with its schedule.
fn scheduled(parts: &Parts, faults: Option<&Faults>) -> anyhow::Result<Vec<Scheduled>> {
    let settings = parts.settings.jobs.each();
    let with_schedule = |job: Arc<dyn Job>| {
        let settings = settings.iter().find(|(name, _)| *name == job.name()).map(|(_, settings)| *settings);
        let schedule = settings.map(|settings| Schedule::of(settings, &parts.settings.time_zone)).transpose();
        let schedule = schedule.with_context(|| format!("rollup.jobs.{}", job.name()))?.flatten();
        Ok(Scheduled { job: drills::behind(job, faults), schedule })
    };
    jobs::all(parts).into_iter().map(with_schedule).collect()
}
