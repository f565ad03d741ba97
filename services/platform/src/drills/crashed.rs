//! PR-09: a service of this process, which is there for that, does not serve any more, as a peer of it sees.

use super::bystander::{Bystander, Parts, SERVE, START};
use crate::{CRASH, peers::Standing, watch::Watch};
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill, Monitor, WeakMonitor,
    drill::{DrillError, Press, until},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long it may take to start, and to be seen.
const STARTING: Duration = Duration::from_secs(15);

pub struct Crashed {
    watch: Watch,
    faults: Faults,
    held: Held,
    /// Of the service that watches.
    monitor: WeakMonitor,
    bystander: Mutex<Option<Bystander>>,
}

impl Crashed {
    pub fn new(watch: Watch, faults: Faults, monitor: &Monitor) -> Self {
        Self { watch, held: Held::new(faults.clone()), faults, monitor: monitor.downgrade(), bystander: Mutex::default() }
    }

    fn bystander(&self) -> MutexGuard<'_, Option<Bystander>> {
        self.bystander.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the bystander, and everybody else, is seen to stand.
    fn standings(&self) -> Result<(Standing, Vec<String>), String> {
        let bystander = self.bystander();
        let own = bystander.as_ref().map(|bystander| &bystander.peer).ok_or("it is not there")?;
        let (mut of_own, mut others_down) = (Standing::Awaited, Vec::new());
        for (peer, seen) in self.watch.peers().seen() {
            match seen.standing {
                standing if peer == *own => of_own = standing,
                Standing::Serving => {}
                Standing::Down(_) | Standing::Awaited | Standing::Myself => others_down.push(peer.to_string()),
            }
        }
        Ok((of_own, others_down))
    }
}

#[async_trait]
impl Drill for Crashed {
    fn mode(&self) -> &'static str {
        CRASH
    }

    fn fault(&self) -> &'static str {
        "a service that is there for drills lives on and does not serve"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "S", target: "" }]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        self.undo().await?;
        let desk = self.monitor.upgrade().and_then(|monitor| monitor.desk().cloned());
        let desk = desk.ok_or_else(|| DrillError("this process has no remedies".to_owned()))?;
        let own = self.watch.peers().own();
        let instance = format!("{} for {}", own.instance, own.service);
        let parts = Parts { faults: self.faults.clone(), telemetry: self.watch.telemetry(), desk, instance };
        let bystander = Bystander::start(parts).await?;
        let peer = bystander.peer.clone();
        *self.bystander() = Some(bystander);
        self.watch.peers().watch(peer);
        let seen = until(STARTING, || async {
            match self.standings()? {
                (Standing::Serving, _) => Ok(()),
                (other, _) => Err(format!("it is not seen to serve: {other:?}")),
            }
        });
        seen.await.map(drop).map_err(DrillError)
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let (name, calls) = (format!("drill {CRASH}"), Calls::only(&[SERVE]));
        let fault = Fault { name, kind: Kind::Error, calls, ttl, cured_by: Some(START) };
        self.held.inject(fault);
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("it did not look whether it serves")
    }

    /// It says itself that it does not serve, so that nobody is sent there; and nobody else is down.
    async fn contained(&self) -> Result<(), String> {
        match self.standings()? {
            (Standing::Down(why), others) if others.is_empty() && why.contains("says") => Ok(()),
            (standing, others) => Err(format!("it stands {standing:?}, and down beside it are: {}", others.join(", "))),
        }
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        let Some(bystander) = self.bystander().take() else { return Ok(()) };
        self.watch.peers().forget(&bystander.peer);
        bystander.end().await
    }

    async fn clean(&self) -> Result<(), String> {
        if self.bystander().is_some() { Err("its service is still there".to_owned()) } else { Ok(()) }
    }
}
