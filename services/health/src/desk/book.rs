//! Plans and runs of this process, and what may be done with them now. No I/O.

use super::Refusal;
use crate::{
    remedy::{Planned, Remedy, Running},
    signal::Moment,
};
use loadline_proto::health::{ExecuteRemedyRequest, RemedyPlan, RemedyRun, remedy_run::Outcome};
use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a plan can be executed.
pub(super) const EXPIRY: Duration = Duration::from_secs(30);
/// Plans that wait at once: more than operators can have in mind.
const MOST_ARMED: usize = 64;
/// How long it is remembered that a plan was there.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Runs remembered, for their keys and for undoing.
const RUNS: usize = 256;

/// A plan with what the remedy needs to execute it.
#[derive(Clone)]
pub(super) struct Draft {
    pub plan: RemedyPlan,
    pub planned: Arc<Planned>,
    pub remedy: Arc<dyn Remedy>,
    pub expires: Instant,
}

impl Draft {
    /// What one run at a time works on.
    pub fn lease(&self) -> String {
        format!("remedy {} {}", self.plan.key, self.plan.target)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.plan.key == other.plan.key && self.plan.target == other.plan.target
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("plan", &self.plan).field("planned", &self.planned).finish_non_exhaustive()
    }
}

/// A run, under way or over.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub draft: Draft,
    pub run: RemedyRun,
    pub key: String,
    pub running: Arc<Running>,
    /// Cancelled by whoever aborts it.
    pub aborted: CancellationToken,
    pub aborted_by: String,
    pub ended: Option<Instant>,
    /// It can be undone until then.
    pub undo_until: Option<Instant>,
}

impl Held {
    pub fn is_under_way(&self) -> bool {
        matches!(self.run.outcome(), Outcome::Running | Outcome::Verifying | Outcome::Undoing)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Armed,
    Moved(String),
    Executed(String),
}

/// What an execution is about.
pub(super) enum Claim {
    /// The same key was sent before: this is the run of that time.
    Known(Box<RemedyRun>),
    /// It may be executed, as far as this process knows.
    New(Box<Draft>),
}

#[derive(Debug, Default)]
pub(super) struct Book {
    plans: Vec<(Draft, Fate)>,
    runs: VecDeque<Held>,
}

impl Book {
    /// The plans that can be executed now.
    pub fn armed(&self, now: Instant) -> Vec<RemedyPlan> {
        self.armed_drafts(now).map(|draft| draft.plan.clone()).collect()
    }

    pub fn arm(&mut self, draft: Draft, now: Instant) -> Result<(), Refusal> {
        self.plans.retain(|(draft, _)| now < draft.expires + REMEMBERED);
        let waiting = self.armed_drafts(now).count();
        if waiting >= MOST_ARMED {
            return Err(Refusal::TooManyPlans(waiting));
        }
        self.plans.push((draft, Fate::Armed));
        Ok(())
    }

    /// What a request to execute is about, or why it is refused.
    pub fn claim(&self, ask: &ExecuteRemedyRequest, now: Instant) -> Result<Claim, Refusal> {
        if let Some(held) = self.runs.iter().find(|held| held.key == ask.idempotency_key) {
            let is_same = held.draft.plan.id == ask.plan_id;
            let run = held.run.clone();
            return if is_same { Ok(Claim::Known(Box::new(run))) } else { Err(Refusal::KeyTaken { run: run.id }) };
        }
        let known = self.plans.iter().find(|(draft, _)| draft.plan.id == ask.plan_id);
        let (draft, fate) = known.ok_or_else(|| Refusal::NoPlan(ask.plan_id.clone()))?;
        match fate {
            Fate::Executed(run) => return Err(Refusal::AlreadyExecuted { run: run.clone() }),
            Fate::Moved(difference) => return Err(Refusal::WorldMoved(difference.clone())),
            Fate::Armed => {}
        }
        in_time(draft, now)?;
        if ask.confirm != draft.plan.confirm {
            return Err(Refusal::WrongConfirm { expected: draft.plan.confirm.clone() });
        }
        self.is_free(draft, now)?;
        Ok(Claim::New(Box::new(draft.clone())))
    }

    /// A plan whose world has moved is never executed.
    pub fn moved(&mut self, plan: &str, difference: &str) {
        self.set_fate(plan, Fate::Moved(difference.to_owned()));
    }

    pub fn begin(&mut self, held: Held) {
        self.set_fate(&held.draft.plan.id, Fate::Executed(held.run.id.clone()));
        while self.runs.len() >= RUNS
            && let Some(oldest) = self.runs.iter().position(|held| !held.is_under_way())
        {
            self.runs.remove(oldest);
        }
        self.runs.push_back(held);
    }

    pub fn run(&self, id: &str) -> Result<&Held, Refusal> {
        self.runs.iter().find(|held| held.run.id == id).ok_or_else(|| Refusal::NoRun(id.to_owned()))
    }

    pub fn run_mut(&mut self, id: &str) -> Option<&mut Held> {
        self.runs.iter_mut().find(|held| held.run.id == id)
    }

    /// A run that may be undone now, or why not.
    pub fn undoable(&self, id: &str, now: Instant) -> Result<Held, Refusal> {
        let held = self.run(id)?;
        if held.is_under_way() {
            return Err(Refusal::Busy(format!("run {id}")));
        }
        if held.run.outcome() == Outcome::RolledBack {
            return Err(Refusal::NotUndoable("it is undone".to_owned()));
        }
        let why_not = || Refusal::NotUndoable(format!("{} is not of the kind that can be", held.draft.plan.title));
        let until = held.undo_until.ok_or_else(why_not)?;
        if until <= now {
            return Err(Refusal::UndoExpired(now - until));
        }
        if let Some(later) = self.later_than(held) {
            return Err(Refusal::Superseded(later.run.id.clone()));
        }
        Ok(held.clone())
    }

    fn later_than(&self, held: &Held) -> Option<&Held> {
        let later = self.runs.iter().skip_while(|other| other.run.id != held.run.id).skip(1);
        later.filter(|other| other.run.outcome() != Outcome::RolledBack).find(|other| other.draft.is_like(&held.draft))
    }

    /// One run of a kind at a time on a target, with a pause after it.
    fn is_free(&self, draft: &Draft, now: Instant) -> Result<(), Refusal> {
        for held in self.runs.iter().filter(|held| held.draft.is_like(draft)) {
            if held.is_under_way() {
                return Err(Refusal::Busy(format!("run {} of {}", held.run.id, held.run.started_by)));
            }
            let until = held.ended.map(|ended| ended + draft.remedy.cooldown());
            if let Some(left) = until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero()) {
                return Err(Refusal::CoolingDown(left));
            }
        }
        Ok(())
    }

    fn armed_drafts(&self, now: Instant) -> impl Iterator<Item = &Draft> {
        self.plans.iter().filter(move |(draft, fate)| *fate == Fate::Armed && now < draft.expires).map(|(draft, _)| draft)
    }

    fn set_fate(&mut self, plan: &str, fate: Fate) {
        if let Some((_, known)) = self.plans.iter_mut().find(|(draft, _)| draft.plan.id == plan) {
            *known = fate;
        }
    }
}

/// Whether a plan is not too old.
pub(super) fn in_time(draft: &Draft, now: Instant) -> Result<(), Refusal> {
    if draft.expires <= now { Err(Refusal::PlanExpired(now - draft.expires)) } else { Ok(()) }
}

/// A plan for the wire, made at `now`.
pub(super) fn plan(id: String, mode: &str, remedy: &dyn Remedy, planned: &Planned, now: Moment) -> RemedyPlan {
    let reversibility = remedy.reversibility();
    let asks = reversibility.asks_for_count();
    RemedyPlan {
        id,
        failure_mode: mode.to_owned(),
        key: remedy.key().to_owned(),
        title: remedy.title().to_owned(),
        target: planned.target.clone(),
        effects: planned.effects.iter().map(Into::into).collect(),
        count: if asks { planned.count } else { 0 },
        confirm: if asks { planned.count.to_string() } else { "y".to_owned() },
        reversibility: loadline_proto::health::Reversibility::from(reversibility).into(),
        undo_within: planned.undo_within.and_then(|within| within.try_into().ok()),
        expected: planned.expected.try_into().ok(),
        world: planned.world.digest(),
        planned_at: Some(now.wall.into()),
        expires_at: Some((now.wall + EXPIRY).into()),
        planned_by: String::new(),
        reason: String::new(),
    }
}
