//! Looking at the process for one service: every few seconds, and at once when a drill asks.

use crate::{
    CONFIGURATION, CRASH, DETECTS, Kept, Platform, SECRETS, TELEMETRY, drills, fingerprint,
    peers::{
        Peer, Peers, Who,
        agree::{Agreement, ROLLING},
        crash,
    },
    reconnect::Reconnect,
    reload::Reload,
    restart::Restart,
    secrets, telemetry,
};
use loadline_fault::{Call, Fails, Faults};
use loadline_health::{Catalogue, Drill, Monitor, Reading, Remedy};
use loadline_runtime::{
    Shutdown,
    admin::Readiness,
    telemetry::{Sight, Telemetry},
};
use loadline_settings::Settings;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// How often files are read again and exports looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// How often it is looked how peers stand; their connections tell it at once.
const PEERS_PERIOD: Duration = Duration::from_millis(500);
/// How long exports fail in a drill until that counts: nobody waits a minute for what is only pretended.
const DRILLED_LIMIT: Duration = Duration::from_secs(1);

/// What is read anew at each look, as faults name it.
pub(crate) const READ_SECRETS: &str = "read_secrets";
pub(crate) const READ_CONFIGURATION: &str = "read_configuration";
pub(crate) const EXPORT: &str = "export";
/// What cures a fault of exporting.
pub(crate) const RECONNECT: &str = "reconnect";

/// A process as one service watches it. Clones are one.
#[derive(Clone)]
pub struct Watch(Arc<Shared>);

struct Shared {
    kept: Arc<Kept>,
    rereads: Rereads,
    /// Keys that only a start of the process applies.
    fixed: &'static [&'static str],
    /// Those that the configuration names.
    named: Arc<[Peer]>,
    peers: Peers,
    agreement: Mutex<Agreement>,
    readiness: Readiness,
    shutdown: Shutdown,
    /// Since when exports fail because of a fault.
    failing: Mutex<Option<Instant>>,
}

/// What is read of the process through faults, by its detectors and by its remedies. Clones are one.
#[derive(Clone)]
pub(crate) struct Rereads {
    kept: Arc<Kept>,
    telemetry: Telemetry,
    faults: Faults,
    look_now: Arc<Notify>,
}

/// One life of a service.
pub struct Life<'a> {
    /// Where it reports to; made for [`Platform::detects`].
    pub monitor: &'a Monitor,
    /// Whether it serves.
    pub readiness: &'a Readiness,
    /// Its end.
    pub shutdown: &'a Shutdown,
    /// Faults of its own, where there are drills.
    pub faults: Option<&'a Faults>,
}

/// Why something could not be read, as a fault has it.
pub(crate) struct Broken(String);

impl Fails for Broken {
    fn unavailable(why: String) -> Self {
        Self(why)
    }
    fn broken(why: String) -> Self {
        Self(why)
    }
    fn unknown(why: String) -> Self {
        Self(why)
    }
}

impl Watch {
    pub(crate) fn new(platform: &Platform, life: Life<'_>) -> Self {
        let Platform { kept, telemetry, fixed, .. } = platform.clone();
        let (monitor, in_force) = (life.monitor, kept.in_force());
        let (instance, configuration) = (in_force.telemetry.instance_name(), fingerprint(&in_force));
        monitor.introduce(&instance, &configuration);
        monitor.explain_undetected(CRASH, "not detected here: `peers` names nobody to watch");
        let own = Who { service: monitor.service(), boot: monitor.boot_id(), instance, configuration };
        Self(Arc::new(Shared {
            rereads: Rereads {
                kept: kept.clone(),
                telemetry,
                faults: life.faults.cloned().unwrap_or_default(),
                look_now: Arc::default(),
            },
            kept,
            fixed,
            named: platform.peers(),
            peers: Peers::of(own),
            agreement: Mutex::default(),
            readiness: life.readiness.clone(),
            shutdown: life.shutdown.clone(),
            failing: Mutex::default(),
        }))
    }

    /// The remedies of what it reports, and of the service itself.
    pub fn remedies(&self) -> Vec<Arc<dyn Remedy>> {
        let Shared { kept, rereads, fixed, peers, readiness, shutdown, .. } = &*self.0;
        let restart = Restart { peers: peers.clone(), readiness: readiness.clone(), shutdown: shutdown.clone() };
        let reload = Reload {
            rereads: rereads.clone(),
            kept: kept.clone(),
            fixed,
            instance: peers.own().instance.clone(),
            shutdown: shutdown.clone(),
            read: Mutex::default(),
        };
        let reconnect = Reconnect { rereads: rereads.clone(), instance: peers.own().instance.clone() };
        vec![Arc::new(restart), Arc::new(reload), Arc::new(reconnect)]
    }

    /// Drills of what it reports; only for a service with faults of its own.
    pub fn drills(&self, monitor: &Monitor) -> Vec<Arc<dyn Drill>> {
        drills::all(self, &self.0.rereads.faults, monitor)
    }

    /// Reports to the monitor it was made with, until shutdown.
    pub async fn run(&self, monitor: &Monitor) {
        self.0.named.iter().for_each(|peer| self.0.peers.watch(peer.clone()));
        let mut announced = self.0.kept.announced();
        tokio::select! {
            () = self.look_at_peers(monitor), if !self.0.named.is_empty() => {}
            () = self.look_at_process(monitor) => {}
            _ = announced.changed() => drop(self.0.shutdown.live_again(String::new())),
        }
    }

    async fn look_at_process(&self, monitor: &Monitor) {
        let period = monitor.at_most(PERIOD);
        for mode in DETECTS {
            if let Err(error) = monitor.expect_every(mode, period) {
                tracing::error!(%error, "a detector reports a mode that is not announced");
            }
        }
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.0.rereads.look_now.notified() => {}
                () = self.0.shutdown.cancelled() => return,
            }
            self.look(monitor).await;
        }
    }

    async fn look_at_peers(&self, monitor: &Monitor) {
        let peers = &self.0.peers;
        let limit = Catalogue::embedded().get(CRASH).map_or(0.0, |mode| mode.threshold.value);
        let mut ticks = interval(PEERS_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (seen, own) = (peers.seen(), peers.own());
            let reading = crash::look(&own.service, &seen, peers.is_starting(), limit, tokio::time::Instant::now());
            reading.into_iter().for_each(|reading| monitor.observe(CRASH, reading));
        }
    }

    pub(crate) fn look_now(&self) {
        self.0.rereads.look_now();
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.0.peers
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        self.0.rereads.telemetry.clone()
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.0.kept
    }

    async fn look(&self, monitor: &Monitor) {
        let kept = Arc::clone(&self.0.kept);
        // Files may be on a slow disk or a network.
        let looked = tokio::task::spawn_blocking(move || (secrets::look(&kept.in_force()), kept.look()));
        if let Ok((secrets, configuration)) = looked.await {
            let secrets = self.0.rereads.behind_faults(READ_SECRETS, secrets).await;
            monitor.observe(SECRETS, secrets.unwrap_or_else(|Broken(why)| Reading::bad(0.0, why)));
            let configuration = self.0.rereads.behind_faults(READ_CONFIGURATION, configuration).await;
            let configuration = configuration.unwrap_or_else(|Broken(why)| self.0.kept.refused(1, &why));
            monitor.observe(CONFIGURATION, self.beside_replicas(configuration, monitor));
        }
        if self.0.readiness.is_ready() {
            self.0.kept.is_tried();
        }
        monitor.observe(TELEMETRY, self.telemetry_now(monitor).await);
    }

    /// The same, or worse where replicas do not agree: this is rolled out.
    fn beside_replicas(&self, reading: Reading, monitor: &Monitor) -> Reading {
        let Shared { peers, agreement, .. } = &*self.0;
        let mut agreement = agreement.lock().unwrap_or_else(PoisonError::into_inner);
        match agreement.look(peers.own(), &peers.seen(), tokio::time::Instant::now(), monitor.at_most(ROLLING)) {
            None => reading,
            Some((replicas, told)) if reading.bad => {
                Reading { severity: None, ..Reading::bad(reading.value + replicas as f64, format!("{told}; {}", reading.detail)) }
            }
            Some((replicas, told)) => Reading::bad(replicas as f64, told),
        }
    }

    async fn telemetry_now(&self, monitor: &Monitor) -> Reading {
        let scraped_every = self.0.kept.in_force().telemetry.scraped_every;
        let at_most = |limit| monitor.at_most(limit).as_secs_f64();
        let Rereads { telemetry: exporter, .. } = &self.0.rereads;
        match self.0.rereads.behind_faults(EXPORT, exporter.sight()).await {
            Ok(sight) => {
                self.failing_since(None);
                let limit = Catalogue::embedded().get(TELEMETRY).map_or(0.0, |mode| mode.threshold.value);
                telemetry::look(&sight, scraped_every, at_most(Duration::from_secs_f64(limit)))
            }
            Err(Broken(failure)) => {
                let failing_for = self.failing_since(Some(Instant::now())).map(|since| since.elapsed());
                let sight = Sight { exports: true, failing_for, failure, ..exporter.sight() };
                telemetry::look(&sight, scraped_every, at_most(DRILLED_LIMIT))
            }
        }
    }

    /// Notes that exports fail now, or that they do not; answers since when they do.
    fn failing_since(&self, now: Option<Instant>) -> Option<Instant> {
        let mut failing = self.0.failing.lock().unwrap_or_else(PoisonError::into_inner);
        *failing = now.map(|now| failing.unwrap_or(now));
        *failing
    }
}

impl Rereads {
    /// Secrets and configuration as they are there now, checked.
    ///
    /// # Errors
    /// All that is wrong with them, in words.
    pub async fn read(&self) -> Result<Settings, String> {
        let kept = self.kept.clone();
        let read = tokio::task::spawn_blocking(move || kept.read()).await.map_err(|error| error.to_string())?;
        let read = read.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        for name in [READ_SECRETS, READ_CONFIGURATION] {
            self.behind_faults(name, ()).await.map_err(|Broken(why)| why)?;
        }
        Ok(read)
    }

    /// Whether anything is exported here, or a fault has it so.
    pub async fn exports(&self) -> bool {
        self.telemetry.sight().exports || self.behind_faults(EXPORT, ()).await.is_err()
    }

    /// Connects the exporter anew, and tries the collector.
    ///
    /// # Errors
    /// In words, why it does not answer.
    pub async fn reconnect(&self) -> Result<(), String> {
        self.faults.cure(RECONNECT);
        self.telemetry.reconnect().await.unwrap_or(Ok(()))?;
        self.behind_faults(EXPORT, ()).await.map_err(|Broken(why)| why)
    }

    /// Has the detectors look at once.
    pub fn look_now(&self) {
        self.look_now.notify_one();
    }

    async fn behind_faults<T>(&self, name: &'static str, read: T) -> Result<T, Broken> {
        self.faults.around(Call { name, about: "" }, async { Ok(read) }, None).await
    }
}
