//! What of a drill is outside its process: its lease, by which services that share a store know of it, and what is written down of it.

use super::{Drills, Refusal, drills::kind, incidents::Elsewhere};
use crate::audit::Record;
use loadline_proto::health::DrillRun;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Held by the one drill with a fault of all services.
const LEASE: &str = "drill";
/// With a mode and a service: held by a control. There may be several.
const CONTROL: &str = "control";
/// How long a lease outlives its last renewal.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Tries to keep a result.
const TRIES: u32 = 5;

impl Drills {
    /// Takes the lease, and looks at all others after that: of two that begin at once at least one finds the other's.
    pub(super) async fn take(&self, id: &str, mode: &str, control: bool) -> Result<(), Refusal> {
        self.hold(id, mode, control).await?;
        let looked = self.look_elsewhere(mode, control).await;
        let clear = match looked.map_err(|error| Refusal::LeaseUnavailable(error.to_string())) {
            Ok(Elsewhere::Nothing) => return Ok(()),
            Ok(Elsewhere::Incident(incident)) => Err(Refusal::RealIncident(incident)),
            Ok(Elsewhere::Drill(other)) => Err(Refusal::Running(other)),
            Err(unknown) => Err(unknown),
        };
        self.release(id, mode, control).await;
        clear
    }

    /// Takes the lease, or renews it: to its end, whatever becomes of whoever asks.
    pub(super) async fn hold(&self, id: &str, mode: &str, control: bool) -> Result<(), Refusal> {
        let (guard, drills, id) = (self.0.leasing.clone().lock_owned().await, self.clone(), id.to_owned());
        let lease = self.lease(mode, control);
        let held = self.0.tasks.spawn(async move {
            let _guard = guard;
            timeout(PATIENCE, drills.0.parts.leases.hold(&lease, &id, LEASE_TTL)).await
        });
        match held.await.map_err(|_| Refusal::ShuttingDown)? {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Refusal::Running("a drill of another service or process".to_owned())),
            Ok(Err(error)) => Err(Refusal::LeaseUnavailable(error.to_string())),
            Err(_) => Err(Refusal::LeaseUnavailable(format!("leases did not answer within {PATIENCE:?}"))),
        }
    }

    pub(super) async fn release(&self, id: &str, mode: &str, control: bool) {
        let _guard = self.0.leasing.lock().await;
        if !matches!(timeout(PATIENCE, self.0.parts.leases.release(&self.lease(mode, control), id)).await, Ok(Ok(()))) {
            tracing::warn!("the lease of a drill could not be given up; it ends by itself");
        }
    }

    /// Names are few: each may leave a row behind.
    fn lease(&self, mode: &str, control: bool) -> String {
        if control { format!("{CONTROL} {mode} of {}", self.0.service) } else { LEASE.to_owned() }
    }

    /// That it begins; its end is written down with its result.
    pub(super) async fn write_down(&self, run: &DrillRun) -> Result<(), String> {
        let monitor = self.0.monitor.upgrade().ok_or("this process is shutting down")?;
        let Some(desk) = monitor.desk() else { return Ok(()) };
        let record = Record {
            actor: run.started_by.clone(),
            action: "drill.start".to_owned(),
            target: run.failure_mode.clone(),
            reason: kind(run.control).to_owned(),
            outcome: format!("RUNNING {}", run.id),
            ..Record::default()
        };
        desk.write(record).await.map_err(|refusal| refusal.to_string())
    }

    /// Tries for some seconds: a proof that cannot be kept is still shown.
    pub(super) async fn keep(&self, run: &DrillRun) {
        for _ in 0..TRIES {
            match timeout(PATIENCE, self.0.parts.results.keep(run)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::warn!(drill = run.id, %error, "the result of a drill is not kept yet"),
                Err(_) => tracing::warn!(drill = run.id, "the result of a drill is not kept within {PATIENCE:?}"),
            }
            sleep(RETRY_AFTER).await;
        }
        tracing::error!(drill = run.id, "the result of a drill is lost with this process");
    }

    pub(super) async fn remember(&self) {
        let latest = loop {
            match timeout(PATIENCE, self.0.parts.results.latest()).await {
                Ok(Ok(latest)) => break latest,
                Ok(Err(error)) => tracing::debug!(%error, "results of drills cannot be read yet"),
                Err(_) => tracing::debug!("results of drills are not read within {PATIENCE:?}"),
            }
            sleep(RETRY_AFTER).await;
        };
        let Some(monitor) = self.0.monitor.upgrade() else { return };
        for run in latest.into_iter().filter(|run| self.of(&run.failure_mode).is_ok()) {
            let is_new = { self.book().remember(&run) };
            if is_new {
                monitor.show_drill(run);
            }
        }
    }
}

/// Whether a lease of this name is of a drill that must not be beside a control, or beside one with a fault. Of the latter there is
/// one by its lease.
pub(super) fn is_in_the_way(name: &str, control: bool) -> bool {
    if control { name == LEASE } else { name.starts_with(CONTROL) }
}
