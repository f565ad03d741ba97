//! AN-06: questions about the drills' account are slow until the store's statistics are refreshed. The drill asks them itself,
//! so that they are a good part of all answers; nobody else's are held up.

use crate::Query;
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use loadline_ledger::drills::ACCOUNT;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

const SLOWER: Duration = Duration::from_millis(600);
/// Who asks at once: more than a twentieth of the answers are slow within seconds, unless hundreds a second are answered.
const CALLERS: usize = 40;
/// Between two questions of a caller that is answered at once.
const PAUSE: Duration = Duration::from_millis(500);
/// What another account's owner may wait.
const OTHERS_WAIT: Duration = Duration::from_millis(500);
const ANOTHER: &str = "loadline-drill-another";

pub struct SlowAnswers {
    query: Query,
    held: Held,
    /// They ask while it lasts.
    callers: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl SlowAnswers {
    pub fn new(query: Query, faults: Faults) -> Self {
        Self { query, held: Held::new(faults), callers: Mutex::default() }
    }

    fn callers(&self) -> MutexGuard<'_, Vec<AbortOnDropHandle<()>>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until it is dropped, or `at_most` is over.
    fn caller(&self, at_most: Duration) -> AbortOnDropHandle<()> {
        let query = self.query.clone();
        let asking = async move {
            loop {
                if let Err(error) = query.asked_by_owner(ACCOUNT).await {
                    tracing::debug!(%error, "a question of a drill was not answered");
                }
                sleep(PAUSE).await;
            }
        };
        let bounded = async move { timeout(at_most, asking).await.unwrap_or(()) };
        AbortOnDropHandle::new(tokio::spawn(bounded))
    }
}

#[async_trait]
impl Drill for SlowAnswers {
    fn mode(&self) -> &'static str {
        "AN-06"
    }

    fn fault(&self) -> &'static str {
        "the store takes 0.6 s longer for the usage of the drills' account, until its statistics are refreshed"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "I", target: "" }]
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault = Fault {
            name: "drill AN-06".to_owned(),
            kind: Kind::Delay(SLOWER),
            calls: Calls::only(&["usage"]).about(ACCOUNT),
            ttl,
            cured_by: Some("refresh_statistics"),
        };
        self.held.inject(fault);
        *self.callers() = (0..CALLERS).map(|_| self.caller(ttl)).collect();
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("no question was slow")
    }

    /// Owners of other accounts are answered meanwhile.
    async fn contained(&self) -> Result<(), String> {
        match timeout(OTHERS_WAIT, self.query.asked_by_owner(ANOTHER)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(format!("the owner of another account is refused: {}", status.message())),
            Err(_) => Err("the owner of another account waits too".to_owned()),
        }
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        self.callers().clear();
        Ok(())
    }
}
