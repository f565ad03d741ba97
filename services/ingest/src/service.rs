//! Starts and stops the parts of ingest, in order.

use crate::{
    detect::{self, DETECTS, Detectors},
    drills,
    grpc::{self, Backends},
    load,
    owner::{Owner, OwnerSettings},
    publish::{Publisher, Routes},
    remedies,
    watch::{self, StreamStatus},
};
use loadline_domain::{Clock, identity::Kind};
use loadline_event_log::{EventLog, StreamSpec};
use loadline_fault::Faults;
use loadline_health::{Drill, Monitor, Remedy};
use loadline_settings::DRILL_STREAM;
use loadline_store::{Store, StoreError};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::RoutesBuilder;

const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What ingest is made of.
pub struct Parts {
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// Streams, with the kind of event each takes from `Publish`.
    pub streams: Vec<(StreamSpec, Kind)>,
    pub owner: OwnerSettings,
    /// Lag that is no longer traffic in flight.
    pub lag_limit: Duration,
    pub monitor: Monitor,
    /// Remedies of the process, beside those of ingest.
    pub remedies: Vec<Arc<dyn Remedy>>,
    /// Where drills are on. They have a stream of their own then.
    pub drills: Option<Drilling>,
}

/// What drills break, and drills of what ingest shares with others.
pub struct Drilling {
    /// Faults of the store.
    pub faults: Faults,
    /// Faults of the log.
    pub log_faults: Faults,
    /// Drills of the process.
    pub of_process: Vec<Arc<dyn Drill>>,
}

/// A running ingest.
pub struct Ingest {
    publisher: Publisher,
    backends: Backends,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Ingest {
    /// Failure modes detected here, for the monitor.
    pub const DETECTS: &'static [&'static str] = DETECTS;

    /// Makes the streams, then owns and watches them until [`Ingest::stop`]. Returns at once when a backend is down:
    /// `Publish` needs only the log, and the owners wait for the store.
    ///
    /// # Errors
    /// A store that a newer build has migrated.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let ingest = Self::unwatched(&parts).await?;
        ingest.watch(parts);
        Ok(ingest)
    }

    /// The same without all that tells of its health: nothing reads lag, headroom and losses, no mode is detected, no remedy
    /// offered, no drill run, no load told. For a bench to compare with; operators would be blind.
    ///
    /// # Errors
    /// As [`Ingest::start`].
    pub async fn unwatched(parts: &Parts) -> Result<Self, StoreError> {
        let of_kind = |kind| parts.streams.iter().filter(move |(_, of)| *of == kind).map(|(spec, _)| spec.name.clone()).collect();
        let routes = Arc::new(Routes { billing: of_kind(Kind::Billing), receipts: of_kind(Kind::Receipt) });
        let lane = parts.drills.is_some().then(drills::spec);
        let specs = parts.streams.iter().map(|(spec, _)| spec.clone()).chain(lane);
        let statuses: Vec<_> = specs.map(|spec| Arc::new(StreamStatus::new(spec))).collect();
        let (clock, rules, drilling) = (parts.clock.clone(), parts.owner.rules, parts.drills.as_ref());
        let log = loadline_event_log::behind(parts.log.clone(), drilling.map(|drilling| &drilling.log_faults));
        let store = loadline_store::behind(parts.store.clone(), drilling.map(|drilling| &drilling.faults));
        match store.migrate().await {
            Err(error @ StoreError::NewerSchema { .. }) => return Err(error),
            Err(error) => tracing::warn!(%error, "store unavailable at start; going on without it"),
            Ok(()) => {}
        }
        let ingest = Self {
            publisher: Publisher { log: log.clone(), store: store.clone(), clock: clock.clone(), rules, routes },
            backends: Backends { log: log.clone(), store: store.clone(), clock, rules, statuses: statuses.clone() },
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        for status in &statuses {
            let owner = Owner {
                spec: status.spec.clone(),
                log: log.clone(),
                store: store.clone(),
                settings: owner_settings(&parts.owner, &status.spec),
                status: status.clone(),
            };
            let (store, stop) = (store.clone(), ingest.stop.clone());
            ingest.tasks.spawn(async move {
                if migrated(&*store, &stop).await {
                    owner.run(stop).await;
                }
            });
        }
        for status in &statuses {
            ingest.tasks.spawn(make_stream(log.clone(), status.clone(), ingest.stop.clone()));
        }
        ingest.tasks.close();
        Ok(ingest)
    }

    /// Follows the streams, detects failure modes, offers remedies and drills.
    fn watch(&self, parts: Parts) {
        let Backends { log, store, clock, statuses, .. } = self.backends.clone();
        let (monitor, stop) = (parts.monitor, || self.stop.clone());
        remedies::install(&monitor, &self.backends, parts.owner.batch_records, parts.remedies);
        if let Some(drilling) = parts.drills {
            // What drills look at, and write down with, is not what they break.
            let unbroken = Backends { log: parts.log, store: parts.store, ..self.backends.clone() };
            self.tasks.spawn(drills::install(monitor.clone(), unbroken, drilling, stop()));
        }
        self.tasks.spawn(watch::follow_heads(statuses.clone(), log.clone(), stop()));
        self.tasks.spawn(watch::run(statuses.clone(), log, store.clone(), clock.clone(), stop()));
        self.tasks.spawn(load::tell(statuses.clone(), monitor.clone(), stop()));
        self.tasks.spawn(Detectors { statuses, store, clock, monitor, lag_limit: parts.lag_limit }.run(stop()));
    }

    /// Adds the gRPC services.
    pub fn routes(&self, builder: &mut RoutesBuilder) {
        grpc::routes(builder, self.publisher.clone(), self.backends.clone());
    }

    /// Also reports commits that are slow because there are more dedup keys than `dedup_rows`.
    pub fn watch_dedup(&self, dedup_rows: u64, monitor: Monitor) {
        let (statuses, store) = (self.backends.statuses.clone(), self.backends.store.clone());
        self.tasks.spawn(detect::pace_dedup(statuses, store, dedup_rows, monitor, self.stop.clone()));
    }

    /// The streams as seen from here.
    pub fn statuses(&self) -> &[Arc<StreamStatus>] {
        &self.backends.statuses
    }

    /// Stops reading, lets the commit under way finish, gives up the leases.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// The stream of drills is read in small batches.
fn owner_settings(settings: &OwnerSettings, spec: &StreamSpec) -> OwnerSettings {
    match spec.name.as_str() {
        DRILL_STREAM => OwnerSettings { batch_records: drills::BATCH_RECORDS, ..settings.clone() },
        _ => settings.clone(),
    }
}

/// Waits for a store that was down at start. False: it can never be used, or shutdown came first.
async fn migrated(store: &dyn Store, stop: &CancellationToken) -> bool {
    while !stop.is_cancelled() {
        match store.migrate().await {
            Ok(()) => return true,
            Err(error @ StoreError::NewerSchema { .. }) => {
                tracing::error!(%error, "store cannot be used; nothing is applied");
                return false;
            }
            Err(error) => {
                tracing::warn!(%error, "store cannot be used yet");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
    false
}

/// Publishers need the stream before any owner gets its lease.
async fn make_stream(log: Arc<dyn EventLog>, status: Arc<StreamStatus>, stop: CancellationToken) {
    while let Err(error) = log.ensure(&status.spec).await {
        tracing::warn!(stream = %status.spec.name, %error, "stream not made yet");
        tokio::select! {
            () = tokio::time::sleep(RETRY_AFTER) => {}
            () = stop.cancelled() => return,
        }
    }
}
