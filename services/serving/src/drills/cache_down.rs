//! PR-11: the shared cache answers nothing and no probe, until its connection is made anew.

use super::own_model::OwnModel;
use crate::Serving;
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use std::time::Duration;

pub struct CacheDown {
    model: OwnModel,
    held: Held,
}

impl CacheDown {
    pub fn new(serving: Serving, faults: Faults) -> Self {
        Self { model: OwnModel::new(serving), held: Held::new(faults) }
    }
}

#[async_trait]
impl Drill for CacheDown {
    fn mode(&self) -> &'static str {
        crate::detect::cache::MODE
    }

    fn fault(&self) -> &'static str {
        "the shared cache gives nothing, takes nothing and answers no probe, until its connection is made anew"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "C", target: "" }]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        self.model.ready().await.map(drop)
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault = Fault {
            name: format!("drill {}", self.mode()),
            kind: Kind::Error,
            calls: Calls::only(&["get", "put", "probe"]),
            ttl,
            cured_by: Some("reconnect"),
        };
        self.held.inject(fault);
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        self.held.met_or("nothing was asked of the shared cache")
    }

    /// A question that nobody asked before is answered by its model, and the same once more.
    async fn contained(&self) -> Result<(), String> {
        let question = OwnModel::new_question();
        self.model.answers_rightly(&question).await?;
        self.model.answers_rightly(&question).await
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }
}
