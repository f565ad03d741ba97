//! Looking at the process for one service: every few seconds, and at once when a drill asks.

use crate::{CONFIGURATION, DETECTS, Kept, Platform, SECRETS, TELEMETRY, drills, secrets, telemetry};
use loadline_fault::{Call, Fails, Faults};
use loadline_health::{Catalogue, Drill, Monitor, Reading};
use loadline_runtime::{
    Shutdown,
    telemetry::{Sight, Telemetry},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// How often files are read again and exports looked at.
const PERIOD: Duration = Duration::from_secs(5);
/// How long exports fail in a drill until that counts: nobody waits a minute for what is only pretended.
const DRILLED_LIMIT: Duration = Duration::from_secs(3);

/// What is read anew at each look, as faults name it.
pub(crate) const READ_SECRETS: &str = "read_secrets";
pub(crate) const READ_CONFIGURATION: &str = "read_configuration";
pub(crate) const EXPORT: &str = "export";

/// A process as one service watches it. Clones are one.
#[derive(Clone)]
pub struct Watch(Arc<Shared>);

struct Shared {
    kept: Arc<Kept>,
    telemetry: Telemetry,
    faults: Faults,
    /// Since when exports fail because of a fault.
    failing: Mutex<Option<Instant>>,
    look_now: Notify,
}

/// Why something could not be read, as a fault has it.
struct Broken(String);

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
    pub(crate) fn new(platform: &Platform, faults: Option<&Faults>) -> Self {
        let Platform { kept, telemetry } = platform.clone();
        let faults = faults.cloned().unwrap_or_default();
        Self(Arc::new(Shared { kept, telemetry, faults, failing: Mutex::default(), look_now: Notify::new() }))
    }

    /// Drills of what it reports; only for a service with faults of its own.
    pub fn drills(&self) -> Vec<Arc<dyn Drill>> {
        drills::all(self, &self.0.faults)
    }

    /// Reports to `monitor`, which was made for [`DETECTS`] too, until shutdown.
    pub async fn run(&self, monitor: &Monitor, shutdown: &Shutdown) {
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
                () = self.0.look_now.notified() => {}
                () = shutdown.cancelled() => return,
            }
            self.look(monitor).await;
        }
    }

    pub(crate) fn look_now(&self) {
        self.0.look_now.notify_one();
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.0.kept
    }

    async fn look(&self, monitor: &Monitor) {
        let kept = Arc::clone(&self.0.kept);
        // Files may be on a slow disk or a network.
        let looked = tokio::task::spawn_blocking(move || (secrets::look(kept.in_force()), kept.look()));
        if let Ok((secrets, configuration)) = looked.await {
            let secrets = self.behind_faults(READ_SECRETS, secrets).await;
            monitor.observe(SECRETS, secrets.unwrap_or_else(|Broken(why)| Reading::bad(0.0, why)));
            let configuration = self.behind_faults(READ_CONFIGURATION, configuration).await;
            monitor.observe(CONFIGURATION, configuration.unwrap_or_else(|Broken(why)| self.0.kept.refused(1, &why)));
        }
        let drilled_limit = monitor.at_most(DRILLED_LIMIT).as_secs_f64();
        monitor.observe(TELEMETRY, self.telemetry_now(drilled_limit).await);
    }

    async fn telemetry_now(&self, drilled_limit: f64) -> Reading {
        let scraped_every = self.0.kept.in_force().telemetry.scraped_every;
        match self.behind_faults(EXPORT, self.0.telemetry.sight()).await {
            Ok(sight) => {
                self.failing_since(None);
                let limit = Catalogue::embedded().get(TELEMETRY).map_or(0.0, |mode| mode.threshold.value);
                telemetry::look(&sight, scraped_every, limit)
            }
            Err(Broken(failure)) => {
                let failing_for = self.failing_since(Some(Instant::now())).map(|since| since.elapsed());
                let sight = Sight { exports: true, failing_for, failure, ..self.0.telemetry.sight() };
                telemetry::look(&sight, scraped_every, drilled_limit)
            }
        }
    }

    /// Notes that exports fail now, or that they do not; answers since when they do.
    fn failing_since(&self, now: Option<Instant>) -> Option<Instant> {
        let mut failing = self.0.failing.lock().unwrap_or_else(PoisonError::into_inner);
        *failing = now.map(|now| failing.unwrap_or(now));
        *failing
    }

    async fn behind_faults<T>(&self, name: &'static str, read: T) -> Result<T, Broken> {
        self.0.faults.around(Call { name, about: "" }, async { Ok(read) }, None).await
    }
}
