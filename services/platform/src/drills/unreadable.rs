//! What a process sees of itself goes wrong: reading its secrets, reading its configuration, or exporting its telemetry fails. What is
//! in force stays, so these modes have to close by themselves when the cause is gone.

use crate::{
    CONFIGURATION, SECRETS, TELEMETRY, fingerprint,
    watch::{EXPORT, READ_CONFIGURATION, READ_SECRETS, RECONNECT, Watch},
};
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Something that is read anew at each look cannot be read.
struct Unreadable {
    watch: Watch,
    held: Held,
    mode: &'static str,
    fault: &'static str,
    calls: &'static [&'static str],
    press: [Press; 1],
    /// Of the configuration in force before.
    before: Mutex<String>,
}

/// One a mode.
pub fn all(watch: &Watch, faults: &Faults) -> Vec<Arc<dyn Drill>> {
    let drill = |mode, fault, calls, key| -> Arc<dyn Drill> {
        let (watch, held, before) = (watch.clone(), Held::new(faults.clone()), Mutex::default());
        Arc::new(Unreadable { watch, held, mode, fault, calls, press: [Press { key, target: "" }], before })
    };
    vec![
        drill(SECRETS, "the files of its secrets cannot be read", &[READ_SECRETS], "N"),
        drill(CONFIGURATION, "its configuration cannot be read again: a start would be refused", &[READ_CONFIGURATION], "N"),
        drill(TELEMETRY, "no collector takes its telemetry, which counts after 1 s instead of a minute", &[EXPORT], "C"),
    ]
}

impl Unreadable {
    fn before(&self) -> MutexGuard<'_, String> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_force(&self) -> String {
        fingerprint(&self.watch.kept().in_force())
    }
}

#[async_trait]
impl Drill for Unreadable {
    fn mode(&self) -> &'static str {
        self.mode
    }

    fn fault(&self) -> &'static str {
        self.fault
    }

    fn presses(&self) -> &[Press] {
        &self.press
    }

    fn wake(&self) {
        self.watch.look_now();
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let calls = Calls::only(self.calls);
        let fault = Fault { name: format!("drill {}", self.mode), kind: Kind::Error, calls, ttl, cured_by: Some(RECONNECT) };
        *self.before() = self.in_force();
        self.held.inject(fault);
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("nothing was read meanwhile")
    }

    /// The process goes on with what it began with.
    async fn contained(&self) -> Result<(), String> {
        let (before, now) = (self.before().clone(), self.in_force());
        if before == now { Ok(()) } else { Err(format!("configuration {now} is in force now, and {before} was before")) }
    }

    /// Somebody has mended the files, and N reads them. What C mends is that the exporter is not where the collector is.
    async fn relent(&self) -> Result<(), DrillError> {
        if self.mode == TELEMETRY { Ok(()) } else { self.undo().await }
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }
}
