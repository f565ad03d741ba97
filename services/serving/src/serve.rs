//! The service on its ports: alone in a process, or beside others.

use crate::{
    ACCESS, LONG_LIVED, Limits, Parts, Serving,
    cache::{Cache, shared},
    detect::DETECTS,
    drills,
    engine::{self, Engine},
    football::{Football, baseline},
    jobs::{Jobs, Terms, answer::Answering, queue},
    library::{self, Checker, Library, Renewable},
    remedies,
};
use anyhow::Context as _;
use loadline_domain::time::SystemClock;
use loadline_fault::Faults;
use loadline_health::Port;
use loadline_models::{
    artifacts::ArtifactStore,
    registry::{self, Registry},
};
use loadline_platform::{Life, Platform};
use loadline_runtime::{
    Shutdown,
    admin::{self, Readiness},
    grpc,
    run::bind,
};
use loadline_settings::{CacheSettings, ServingSettings};
use loadline_store::{Store, StoreError};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::service::RoutesBuilder;

const SERVICES: &[&str] = &[
    "inference.GRPCInferenceService",
    "loadline.serving.v1.ModelService",
    "loadline.serving.v1.PredictionJobService",
    "loadline.serving.v1.PredictionService",
    "loadline.health.v1.FailureModeService",
    "loadline.health.v1.DrillService",
];
/// Rows of a batch: the largest plan that a predictor has.
const BATCH_ROWS: usize = 128;
/// How often a store that was not there is looked for again.
const PERIOD: Duration = Duration::from_secs(1);
/// Component of readiness: it knows what to serve, from the registry or from what answered last. The store is not one: callers get
/// answers without it.
pub const MODELS: &str = "models";

/// Serving alone, with its own backends and admin port. It starts while any backend is down.
///
/// # Errors
/// A port that is taken, a backend that can never be used.
pub async fn alone(platform: Platform, shutdown: Shutdown) -> anyhow::Result<()> {
    let settings = platform.settings();
    let listener = bind(settings.serving.listen, "serving.listen").await?;
    let admin = bind(settings.serving.admin, "serving.admin").await?;
    let readiness = Readiness::new(&[MODELS]);
    let metrics = platform.telemetry().clone();
    shutdown.spawn(admin::serve(admin, readiness.clone(), move || metrics.scraped_text(), shutdown.clone()));
    let options = settings.store.options(settings.rules.rules());
    let store = loadline_store::open(settings.store.url.reveal(), options).await?;
    store.caveats().iter().for_each(|caveat| tracing::warn!("{caveat}"));
    serve(&platform, store, listener, &readiness, &shutdown).await
}

/// Serving on a listener, until shutdown has drained it.
///
/// # Errors
/// A registry or a folder that can never be used, a store that a newer build has migrated.
pub async fn serve(
    platform: &Platform,
    store: Arc<dyn Store>,
    listener: TcpListener,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let settings = platform.settings();
    let monitor = platform.monitor("serving", platform.build(), DETECTS)?;
    let faults = settings.drills.are_on().then(drills::OfPorts::default);
    let breakable = faults.as_ref();
    let faulty = breakable.map(|faults| &faults.registry);
    let watch = platform.watched(Life { monitor: &monitor, readiness, shutdown, faults: faulty });
    let registry = Arc::new(registry(&settings.serving, faulty.cloned())?);
    let (library, limits) = (library(&settings.serving, registry.clone())?, limits(&settings));
    let terms = Terms::from(&settings.serving.jobs);
    let queue = queue::open(settings.serving.queue.reveal(), store.clone(), terms.lease).context("opening serving.queue")?;
    queue.caveats().iter().for_each(|caveat| tracing::warn!("{caveat}"));
    let queue = queue::behind(queue, breakable.map(|faults| &faults.queue));
    let jobs = Jobs::new(store.clone(), queue, terms, holder());
    let answering = Answering::new(library.clone(), terms.rows, terms.result_bytes);
    let (clock, shutting) = (Arc::new(SystemClock), shutdown.clone());
    let cache = cache(&settings.serving.cache, breakable.map(|faults| &faults.cache))?;
    drop(tokio::task::spawn_blocking(baseline::prepare));
    let football = Football::new(settings.serving.results.clone(), settings.serving.baseline == Some(true));
    let parts = Parts {
        library: library.clone(),
        store: store.clone(),
        clock: clock.clone(),
        limits,
        cache,
        jobs: jobs.clone(),
        football: football.clone(),
        shutdown: shutting,
    };
    let serving = Serving::new(parts);
    remedies::install(&monitor, &serving, registry, watch.remedies());
    if let Some(faults) = &faults {
        drills::install(&monitor, &serving, faults, watch.drills(&monitor));
    }
    let mut routes = RoutesBuilder::default();
    serving.routes(&mut routes);
    let port = Port {
        settings: grpc::Settings { target_wait: settings.serving.target_wait, ..settings.grpc.clone() },
        access: ACCESS,
        long_lived: LONG_LIVED,
        services: SERVICES,
        monitor: monitor.clone(),
        readiness: readiness.clone(),
        telemetry: platform.telemetry().clone(),
    };
    tracing::info!(address = %listener.local_addr()?, "serving serves");
    let looking = look(&serving, &library, *settings.serving.look_every, readiness, shutdown);
    let served = async { Ok(port.serve(listener, routes, shutdown.clone()).await?) };
    let migrating = async { Ok(migrated(&*store, shutdown).await?) };
    let watching = async {
        watch.run(&monitor).await;
        anyhow::Ok(())
    };
    let looking = async {
        looking.await;
        anyhow::Ok(())
    };
    let detecting = async { Ok(serving.detect(&monitor, shutdown).await?) };
    let working = async {
        jobs.run(answering, shutdown.clone()).await;
        anyhow::Ok(())
    };
    let reading = async {
        football.follow(clock, shutdown).await;
        anyhow::Ok(())
    };
    tokio::try_join!(served, migrating, looking, watching, detecting, working, reading).map(drop)
}

/// Names this life of this process among those that claim jobs.
fn holder() -> String {
    format!("serving/{}/{}", std::process::id(), uuid::Uuid::now_v7())
}

fn limits(settings: &loadline_settings::Settings) -> Limits {
    Limits {
        request_rows: settings.serving.request_rows,
        message_bytes: settings.grpc.max_message_bytes.as_usize(),
        file_bytes: settings.serving.file_bytes.0,
    }
}

/// The registry of the settings, behind faults where some can be injected; nothing is asked of it yet.
///
/// # Errors
/// A registry that can never be used.
fn registry(settings: &ServingSettings, faults: Option<Faults>) -> anyhow::Result<Renewable> {
    let (url, largest) = (settings.registry.clone(), settings.file_bytes.0);
    let open = move || registry::open(url.reveal(), registry::Options { largest, ..registry::Options::default() });
    let registry = Renewable::new(open, faults).context("opening serving.registry")?;
    registry.caveats().iter().for_each(|caveat| tracing::warn!("{caveat}"));
    Ok(registry)
}

/// The cache of the settings; nothing is asked of its shared tier yet.
///
/// # Errors
/// A tier that can never be used.
fn cache(settings: &CacheSettings, faults: Option<&Faults>) -> anyhow::Result<Cache> {
    let shared = shared::open(&settings.shared, *settings.ttl, faults).context("opening serving.cache.shared")?;
    Ok(Cache::new(settings.memory.0, shared))
}

/// A library on a registry and the folder of the settings; nothing is asked of either yet.
///
/// # Errors
/// A folder that can never be used.
fn library(settings: &ServingSettings, registry: Arc<dyn Registry>) -> anyhow::Result<Arc<Library>> {
    let clock = Arc::new(SystemClock);
    let artifacts = ArtifactStore::open(&settings.artifacts).context("opening serving.artifacts")?;
    let runners = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (queued_rows, target_wait) = (settings.queued_rows, settings.target_wait.0);
    let limits = engine::Limits { batch_rows: BATCH_ROWS, queued_rows, runners, target_wait };
    let (artifacts, engine) = (Arc::new(artifacts), Engine::new(limits));
    let (checker, largest) = (Checker::new(&settings.check_with), settings.file_bytes.0);
    Ok(Arc::new(Library::new(library::Parts { registry, artifacts, engine, checker, largest, clock })))
}

/// Serves what answered last at once, and follows the registry from then on.
async fn look(serving: &Serving, library: &Arc<Library>, every: Duration, readiness: &Readiness, shutdown: &Shutdown) {
    let (aliases, before) = library.start_from_disk().await;
    if aliases > 0 {
        tracing::info!(aliases, "serving what answered last, until the registry has been asked");
        readiness.set(MODELS, true, "");
    }
    library.bring_before(before).await;
    // A registry that has answered is not made anew where it is missing: its folder may not be mounted.
    let (mut may_prepare, mut prepared) = (aliases == 0, false);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = None;
    while !shutdown.is_begun() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        if may_prepare && !prepared {
            prepared = library.registry().prepare().await.is_ok();
        }
        // In a task of its own: a life that is cut leaves no model half in place.
        let looked: JoinHandle<_> = tokio::spawn({
            let library = library.clone();
            let serving = serving.clone();
            async move {
                let looked = library.look().await;
                if let Err(error) = serving.follow_routes().await {
                    tracing::debug!(%error, "routes stay as they are");
                }
                if looked.is_ok()
                    && let Err(error) = serving.provide_baseline().await
                {
                    tracing::debug!(%error, "the baseline is not provided yet");
                }
                looked
            }
        });
        let problem = match looked.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if said != problem {
            match &problem {
                Some(error) => tracing::warn!(error, "the registry is silent; what is in memory answers"),
                None => tracing::info!("the registry answers"),
            }
        }
        readiness.set(MODELS, library.is_ready(), problem.clone().unwrap_or_default());
        may_prepare |= problem.is_none();
        said = problem;
    }
}

/// Makes the tables, or waits for a store that is down: callers get answers meanwhile.
async fn migrated(store: &dyn Store, shutdown: &Shutdown) -> Result<(), StoreError> {
    while !shutdown.is_begun() {
        match store.migrate().await {
            Ok(()) => break,
            Err(error) if error.is_retryable() => tracing::debug!(%error, "the store is not there yet"),
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}
