//! A run that ends the life of its own process: what comes after takes it over, verifies it and writes down its end.

use super::{
    Desk,
    book::{Draft, Held},
};
use crate::{
    World,
    remedy::{Effect, Planned, Running, Successor},
    signal::Moment,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use loadline_proto::health::{RemedyPlan, RemedyRun, remedy_run::Outcome};
use prost::Message as _;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

impl Desk {
    /// Leaves a run to whoever comes after this life. False: nobody will.
    pub(super) fn hand_over(&self, held: &Held, successor: Box<dyn Successor>) -> bool {
        self.show(held, Outcome::Verifying, "its process starts again");
        let Ok(run) = self.run(&held.run.id) else { return false };
        successor.hand_over(format!("{} {}", STANDARD.encode(run.encode_to_vec()), STANDARD.encode(&held.key)))
    }

    /// Takes over what the predecessor of this process has left, and goes on with verifying it.
    pub fn take_over(&self, left: &str) {
        let Some(held) = read(left).and_then(|(run, key)| self.held(run, key)) else { return };
        tracing::info!(run = held.run.id, key = held.draft.plan.key, "a run of the predecessor is verified");
        self.book().begin(held.clone());
        if let Some(monitor) = self.0.monitor.upgrade() {
            monitor.show_run(held.run.clone());
        }
        let (desk, executed) = (self.clone(), Moment::now());
        self.0.tasks.spawn(async move { desk.verify_and_close(held, executed).await });
    }

    /// None where this build has no such remedy.
    fn held(&self, run: RemedyRun, key: String) -> Option<Held> {
        let plan = run.plan.clone()?;
        let remedy = self.remedies_of(&plan.failure_mode).find(|remedy| remedy.key() == plan.key)?.clone();
        let running = Running::default();
        run.actual.iter().for_each(|done| running.did(Effect::new(done.text.clone(), done.count)));
        let draft = Draft { planned: Arc::new(planned(&plan)), plan, remedy, expires: Moment::now().at };
        let (aborted, aborted_by) = (CancellationToken::new(), String::new());
        Some(Held { draft, run, key, running: Arc::new(running), aborted, aborted_by, ended: None, undo_until: None })
    }
}

/// Nothing, an older build's text, or something else that somebody set.
fn read(left: &str) -> Option<(RemedyRun, String)> {
    let (run, key) = left.split_once(' ')?;
    let run = RemedyRun::decode(&*STANDARD.decode(run).ok()?).ok()?;
    Some((run, String::from_utf8(STANDARD.decode(key).ok()?).ok()?))
}

/// As far as a plan on the wire has it; what it saw was before the restart.
fn planned(plan: &RemedyPlan) -> Planned {
    let time = |duration: &Option<prost_types::Duration>| duration.and_then(|duration| Duration::try_from(duration).ok());
    Planned {
        target: plan.target.clone(),
        effects: plan.effects.iter().map(|effect| Effect::new(effect.text.clone(), effect.count)).collect(),
        count: plan.count,
        world: World::default(),
        expected: time(&plan.expected).unwrap_or_default(),
        undo_within: time(&plan.undo_within),
    }
}
