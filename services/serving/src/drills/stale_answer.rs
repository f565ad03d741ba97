//! PR-12: the cache gives answers of another artifact, until it is flushed.

use super::own_model::OwnModel;
use crate::Serving;
use async_trait::async_trait;
use loadline_fault::{Calls, Fault, Faults, Held, Kind};
use loadline_health::{
    Drill,
    drill::{DrillError, Press},
};
use std::time::Duration;

pub struct StaleAnswer {
    serving: Serving,
    model: OwnModel,
    held: Held,
}

impl StaleAnswer {
    pub fn new(serving: Serving, faults: Faults) -> Self {
        Self { model: OwnModel::new(serving.clone()), serving, held: Held::new(faults) }
    }
}

#[async_trait]
impl Drill for StaleAnswer {
    fn mode(&self) -> &'static str {
        crate::detect::stale::MODE
    }

    fn fault(&self) -> &'static str {
        "the cache has an answer of another artifact to whatever it is asked, until it is flushed"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "F", target: "" }]
    }

    fn available(&self) -> Result<(), String> {
        match self.serving.cache.is_on() {
            true => Ok(()),
            false => Err("no answers are kept (serving.cache.memory is 0)".to_owned()),
        }
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        self.model.ready().await.map(drop)
    }

    async fn inject(&self, ttl: Duration) -> Result<(), DrillError> {
        let fault = Fault {
            name: format!("drill {}", self.mode()),
            kind: Kind::Corrupt,
            calls: Calls::only(&["get"]),
            ttl,
            cured_by: Some("flush"),
        };
        self.held.inject(fault);
        self.model.answers_rightly(&OwnModel::new_question()).await.map_err(DrillError)
    }

    async fn took_effect(&self) -> Result<(), String> {
        match self.serving.cache.stale().found {
            0 => Err("the cache gave nothing of another artifact".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whoever asks is answered by the model that is its champion, whatever the cache has.
    async fn contained(&self) -> Result<(), String> {
        self.model.answers_rightly(&OwnModel::new_question()).await
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.held.end();
        Ok(())
    }

    async fn clean(&self) -> Result<(), String> {
        match self.serving.cache.stale().found {
            0 => Ok(()),
            found => Err(format!("{found} answers of another artifact are still told of")),
        }
    }
}
