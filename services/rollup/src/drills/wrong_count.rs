//! AN-08: a verification is not told of a row of the drill's account, and finds a difference. V counts the hour again; with
//! the fault gone nothing differs, and nothing is repaired.

use super::{become_idle, ended, enqueue, is_idle};
use crate::{
    Parts,
    jobs::{VERIFY, findings_now},
};
use async_trait::async_trait;
use bytes::Bytes;
use loadline_domain::{Clock, StreamName, Timestamp};
use loadline_event_log::{EventLog, NewRecord};
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press, until},
};
use loadline_ledger::drills::event;
use loadline_settings::DRILL_STREAM;
use loadline_store::{RunState, Store};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Of its own: letters of an account that were redriven are not to be told apart in the log.
const ACCOUNT: &str = "loadline-drill-count";

/// How long ingest may take to count the drill's event.
const COUNTED_WITHIN: Duration = Duration::from_secs(15);

pub struct WrongCount {
    /// Without faults.
    store: Arc<dyn Store>,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    held: Held,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the drill's event happened: its hour is verified.
    at: Option<Timestamp>,
    repairs: usize,
}

impl WrongCount {
    pub fn new(parts: &Parts, store: Arc<dyn Store>, faults: Faults) -> Self {
        Self { store, log: parts.log.clone(), clock: parts.clock.clone(), held: Held::new(faults), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One event, through the stream of drills, counted by ingest.
    async fn count_one(&self) -> Result<Timestamp, DrillError> {
        let stream = StreamName::new(DRILL_STREAM).map_err(DrillError::of)?;
        let at = self.clock.now();
        let payload = Bytes::from(event(ACCOUNT, &format!("drill-{}", at.micros()), at));
        let record = NewRecord { key: ACCOUNT.to_owned(), payload, traceparent: None };
        let sequences = self.log.append(&stream, vec![record]).await.map_err(DrillError::of)?;
        let wanted = sequences.last().copied().unwrap_or_default();
        let counted = until(COUNTED_WITHIN, || async {
            let progress = self.store.progress(&stream).await.map_err(|error| error.to_string())?;
            let applied = progress.map_or(0, |progress| progress.applied);
            if applied >= wanted { Ok(()) } else { Err(format!("ingest has not counted record {wanted} of {stream}")) }
        });
        counted.await.map_err(DrillError)?;
        Ok(at)
    }

    fn hour(&self) -> Result<Value, DrillError> {
        let hour = self.state().at.map(Timestamp::hour).ok_or_else(|| DrillError("nothing was counted".to_owned()))?;
        Ok(json!({ "from": hour.start().to_string(), "to": hour.next().start().to_string(), "account": ACCOUNT }))
    }

    /// The hour is verified without a fault, and agrees. In the first hour of a stream nobody can tell.
    async fn is_right(&self) -> Result<(), DrillError> {
        let run = enqueue(&*self.store, "AN-08", VERIFY, &self.hour()?).await?;
        let run = ended(&*self.store, run.id).await?;
        let told: Value = run.result.as_deref().and_then(|told| serde_json::from_str(told).ok()).unwrap_or_default();
        if told["equal"] == 1 {
            return Ok(());
        }
        let why = told["reasons"][0]["reason"].as_str().map(str::to_owned);
        let why = why.or(run.error).unwrap_or_else(|| format!("it is not as the log says: {told}"));
        Err(DrillError(format!("the hour cannot be verified: {why}")))
    }

    async fn found(&self) -> Result<bool, DrillError> {
        let open = findings_now(&*self.store).await.map_err(DrillError::of)?;
        Ok(open.iter().any(|finding| finding.account.as_ref().is_some_and(|account| account.as_str() == ACCOUNT)))
    }

    /// Repairs of the drills' account that the audit has.
    async fn repairs(&self) -> Result<usize, DrillError> {
        let (mut repairs, mut after) = (0, 0);
        loop {
            let page = self.store.audit(after, 1_000).await.map_err(DrillError::of)?;
            let Some(last) = page.last() else { return Ok(repairs) };
            after = last.id;
            repairs += page.iter().filter(|entry| entry.target.starts_with(&format!("{ACCOUNT} "))).count();
        }
    }
}

#[async_trait]
impl Drill for WrongCount {
    fn mode(&self) -> &'static str {
        "AN-08"
    }

    fn fault(&self) -> &'static str {
        "a verification does not read a row of the drill's account"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "V", target: "" }]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        become_idle(&*self.store, VERIFY).await?;
        let (repairs, at) = (self.repairs().await?, self.count_one().await?);
        *self.state() = State { at: Some(at), repairs };
        self.is_right().await
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault = Fault {
            name: "drill AN-08".to_owned(),
            kind: Kind::Corrupt,
            calls: Calls::only(&["held"]).about(ACCOUNT),
            ttl,
            cured_by: None,
        };
        self.held.inject(fault);
        enqueue(&*self.store, self.mode(), VERIFY, &self.hour()?).await.map(drop)
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("no verification read the hour")
    }

    /// The difference is told, and nothing was changed for it.
    async fn contained(&self) -> Result<(), String> {
        let (found, repairs) = (self.found().await, self.repairs().await);
        match (found.map_err(|error| error.to_string())?, repairs.map_err(|error| error.to_string())?) {
            (false, _) => Err("no finding names the drills' account".to_owned()),
            (true, repairs) if repairs == self.state().repairs => Ok(()),
            (true, _) => Err("usage was repaired without anybody asking".to_owned()),
        }
    }

    async fn relent(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }

    async fn ready(&self, _: &Press) -> Result<(), String> {
        is_idle(&*self.store, VERIFY).await
    }

    /// Another verification, where V made none.
    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        if self.found().await? {
            let run = enqueue(&*self.store, self.mode(), VERIFY, &self.hour()?).await?;
            let run = ended(&*self.store, run.id).await?;
            if run.state != RunState::Succeeded {
                return Err(DrillError(format!("run {} of {VERIFY} ended as {}", run.id, run.state.as_str())));
            }
        }
        Ok(())
    }

    /// V found nothing to repair.
    async fn clean(&self) -> Result<(), String> {
        let (found, repairs) = (self.found().await, self.repairs().await);
        match (found.map_err(|error| error.to_string())?, repairs.map_err(|error| error.to_string())?) {
            (true, _) => Err("its finding is still open".to_owned()),
            (false, repairs) if repairs == self.state().repairs => Ok(()),
            (false, _) => Err("usage was repaired although it was right".to_owned()),
        }
    }
}
