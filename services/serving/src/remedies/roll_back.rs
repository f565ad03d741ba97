//! B: lets the champion be the version again that it was before, the same way as a rollback by hand. Taken back, it is promoted again.

use crate::{
    Serving,
    aliases::{Wanted, WayBack},
    gate::ByGate,
    resident::CHAMPION,
    status::ServingError,
};
use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use std::time::Duration;

/// How long it can be taken back.
const UNDO_WITHIN: Duration = Duration::from_secs(60 * 60);
/// What a plan saw, by name.
const FROM: &str = "champion";
const TO: &str = "before";
const CHANGE: &str = "last change";

pub struct RollBack {
    pub serving: Serving,
}

#[async_trait]
impl Remedy for RollBack {
    fn key(&self) -> &'static str {
        "B"
    }

    fn title(&self) -> &'static str {
        "roll the model back to the previous champion"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[crate::detect::regression::MODE]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Undoable
    }

    /// The target is a model's name; its own choice is the champion that does most harm.
    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let model = match target {
            "" => self.worst()?,
            named => named.to_owned(),
        };
        let WayBack { from, to, change } = self.serving.way_back(&model, CHAMPION).await.map_err(not_now)?;
        let does = format!("champion of {model}: from version {from} back to version {to}");
        Ok(Planned {
            effects: vec![Effect::new(does, 1)],
            count: 1,
            world: World::default().with("model", &model).with(FROM, from).with(TO, to).with(CHANGE, change),
            target: model,
            expected: Duration::from_secs(2),
            undo_within: Some(UNDO_WITHIN),
        })
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        let (from, to) = (fact(planned, FROM)?, fact(planned, TO)?);
        running.step(0, 1)?;
        let wanted = wanted(planned, from, running, "B rolls it back");
        let change = self.serving.to_the_end(move |serving| async move { serving.roll_back(wanted).await }).await;
        let change = change.map_err(failed)?.change;
        running.did(Effect::new(format!("champion of {} changed from version {from} to {to}", planned.target), 1));
        match change.after == Some(to) {
            true => running.step(1, 1),
            false => Err(RemedyError::Failed(format!("it names version {} now", change.after.unwrap_or_default()))),
        }
    }

    async fn undo(&self, planned: &Planned, _: &[Effect], running: &Running) -> Result<(), RemedyError> {
        let (from, to) = (fact(planned, FROM)?, fact(planned, TO)?);
        running.step(0, 1)?;
        let wanted = wanted(planned, to, running, "B is taken back");
        // Whatever the gate says of it: whoever takes B back has seen both.
        let by = ByGate { evaluation: 0, override_reason: wanted.reason.clone() };
        let promoted = self.serving.to_the_end(move |serving| async move { serving.promote(wanted, from, by).await }).await;
        promoted.map_err(failed)?;
        running.did(Effect::new(format!("champion of {} changed from version {to} to {from}", planned.target), 1));
        running.step(1, 1)
    }
}

impl RollBack {
    fn worst(&self) -> Result<String, RemedyError> {
        let worse = self.serving.skill.worse(self.serving.library.residents());
        let none = "no champion is known to be worse than the version before it: name a model to roll it back all the same. A \
                    version on trial that the gate rejects ends with its route, or with the alias that names it";
        worse.into_iter().next().map(|found| found.model).ok_or_else(|| RemedyError::NotNow(none.to_owned()))
    }
}

/// A change in the words of whoever presses.
fn wanted(planned: &Planned, expected: u64, running: &Running, what: &str) -> Wanted {
    let reason = if running.why().is_empty() { what.to_owned() } else { format!("{what}: {}", running.why()) };
    let actor = if running.by().is_empty() { "remedy B".to_owned() } else { running.by().to_owned() };
    Wanted { model: planned.target.clone(), alias: CHAMPION.to_owned(), expected, actor, reason }
}

fn fact(planned: &Planned, name: &str) -> Result<u64, RemedyError> {
    let value = planned.world.get(name).and_then(|value| value.parse().ok());
    value.ok_or_else(|| RemedyError::Failed(format!("the plan has no {name}")))
}

/// What is not there cannot be rolled back; what is down, not now.
fn not_now(error: ServingError) -> RemedyError {
    match error {
        ServingError::NothingBefore { .. } | ServingError::Registry(loadline_models::registry::RegistryError::NotFound(_)) => {
            RemedyError::NotNow(error.to_string())
        }
        other => failed(other),
    }
}

fn failed(error: impl std::fmt::Display) -> RemedyError {
    RemedyError::Failed(error.to_string())
}
