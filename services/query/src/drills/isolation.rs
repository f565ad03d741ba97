//! AN-10: the store hands a row to a canary that has none. Canaries alone are given it, by the names of their accounts.

use crate::Query;
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use loadline_ledger::drills::ACCOUNT;
use std::time::Duration;
use tokio::time::Instant;

pub struct NotApart {
    query: Query,
    held: Held,
}

impl NotApart {
    pub fn new(query: Query, faults: Faults) -> Self {
        Self { query, held: Held::new(faults) }
    }
}

#[async_trait]
impl Drill for NotApart {
    fn mode(&self) -> &'static str {
        crate::isolation::MODE
    }

    fn fault(&self) -> &'static str {
        "the store answers canaries with a row that is not theirs; account data is closed meanwhile, to everybody"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "Q", target: "" }]
    }

    fn wake(&self) {
        self.query.look_now();
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault = Fault {
            name: "drill AN-10".to_owned(),
            kind: Kind::Corrupt,
            calls: Calls::only(&["usage"]).about("canary-*"),
            ttl,
            cured_by: None,
        };
        self.held.inject(fault);
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("no canary was given a row")
    }

    /// Nobody is told anything of accounts.
    async fn contained(&self) -> Result<(), String> {
        match self.query.asked_by_owner(ACCOUNT).await {
            Err(_) if self.query.closed_for().is_some() => Ok(()),
            Err(status) => Err(format!("refused, but not because account data is closed: {}", status.message())),
            Ok(_) => Err("an account's owner is still answered".to_owned()),
        }
    }

    /// Q asks again and opens only what is closed no longer for a reason.
    async fn relent(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        if self.query.closed_for().is_none() {
            return Ok(());
        }
        let since = Instant::now();
        let round = self.query.isolation_round().await;
        if round.breaches.is_empty() && round.untold.is_empty() {
            self.query.lift_closure(since);
            return Ok(());
        }
        Err(DrillError(format!("canaries still met something: {:?} {:?}", round.breaches, round.untold)))
    }

    async fn clean(&self) -> Result<(), String> {
        self.query.closed_for().map_or(Ok(()), |why| Err(format!("account data is closed: {why}")))
    }
}
