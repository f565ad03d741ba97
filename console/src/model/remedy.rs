//! Remedies: what a process offers, the plans that wait there, and runs with what they were to do and what they did.

use super::report::{span, timestamp};
use crate::{moment::Moment, text::clean};
use jiff::Timestamp;
use loadline_proto::health::{self as wire, Reversibility, remedy_run::Outcome as Wire};
use std::{fmt, time::Duration};

/// Most effects kept of a plan or a run.
const CHANGES: usize = 20;
/// A plan without a time to expire is good for so long.
const SHORT: Duration = Duration::from_secs(30);

/// Whether `y` is enough to confirm it; for the others something has to be typed that only the plan contains. What a newer server
/// has is unspecified here: not known to be harmless.
pub fn takes_y(mistake: Reversibility) -> bool {
    matches!(mistake, Reversibility::Safe | Reversibility::Undoable)
}

/// What can become of a mistake, in a word or two.
pub fn in_short(mistake: Reversibility) -> &'static str {
    match mistake {
        Reversibility::Safe => "safe",
        Reversibility::Undoable => "undoable",
        Reversibility::LossPossible => "loss possible",
        Reversibility::Irreversible => "irreversible",
        Reversibility::Unspecified => "not known here",
    }
}

/// A remedy that a mode has in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// In the catalogue.
    pub key: String,
    /// What it does, in a few words.
    pub title: String,
    /// What can become of a mistake.
    pub reversibility: Reversibility,
    /// Why it cannot be planned now.
    pub unavailable: Option<String>,
}

impl Offer {
    /// From the wire.
    pub fn from_wire(offer: wire::RemedyOffer) -> Self {
        Self {
            reversibility: offer.reversibility(),
            key: clean(&offer.key),
            title: clean(&offer.title),
            unavailable: Some(clean(&offer.unavailable)).filter(|why| !why.is_empty()),
        }
    }
}

/// Something that a remedy does, with how many of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In words.
    pub text: String,
    /// How many.
    pub count: u64,
}

fn changes(effects: Vec<wire::Effect>) -> Vec<Change> {
    effects.into_iter().take(CHANGES).map(|effect| Change { text: clean(&effect.text), count: effect.count }).collect()
}

/// What a remedy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// As the server has it; sent back as it came.
    pub id: String,
    /// The mode it is for.
    pub mode: String,
    /// Of the remedy.
    pub key: String,
    /// What the remedy does, in a few words.
    pub title: String,
    /// What it works on.
    pub target: String,
    /// What it would do.
    pub changes: Vec<Change>,
    /// What has to be given to execute it; sent back as it came.
    pub confirm: String,
    /// What can become of a mistake.
    pub reversibility: Reversibility,
    /// For how long it can be taken back afterwards.
    pub undo_within: Option<Duration>,
    /// How long it should take.
    pub expected: Option<Duration>,
    /// Digest of what it saw.
    pub world: String,
    /// Who planned it.
    pub by: String,
    /// For how long it could be executed when it was received, by the server's clock only.
    pub lifetime: Duration,
    /// When it was, by the console's `elapsed`.
    pub received: Duration,
}

impl Plan {
    /// From the wire: known since `since`, when it was `then` by the server's clock; `None`: when it was planned.
    pub fn from_wire(plan: wire::RemedyPlan, then: Option<Timestamp>, since: Duration) -> Self {
        let then = then.or_else(|| timestamp(plan.planned_at.as_ref()));
        let lifetime = then.zip(timestamp(plan.expires_at.as_ref())).map_or(SHORT, |(then, end)| span(then, end));
        Self {
            reversibility: plan.reversibility(),
            id: plan.id,
            mode: clean(&plan.failure_mode),
            key: clean(&plan.key),
            title: clean(&plan.title),
            target: clean(&plan.target),
            changes: changes(plan.effects),
            confirm: plan.confirm,
            undo_within: plan.undo_within.and_then(|time| Duration::try_from(time).ok()),
            expected: plan.expected.and_then(|time| Duration::try_from(time).ok()),
            world: clean(&plan.world),
            by: clean(&plan.planned_by),
            lifetime,
            received: since,
        }
    }

    /// When it can no longer be executed, by the console's `elapsed`.
    pub fn expires(&self) -> Duration {
        self.received.saturating_add(self.lifetime)
    }
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Under way.
    Running,
    /// Done; whether it helped is awaited.
    Verifying,
    /// The mode's own signal is good again.
    Verified,
    /// Done; nobody can say whether it helped.
    Unverified,
    /// It did not do what it was to.
    Failed,
    /// Taken back.
    RolledBack,
    /// Ended between two steps.
    Aborted,
    /// Being taken back.
    Undoing,
    /// Of a newer server.
    Foreign(i32),
}

impl Outcome {
    /// From the wire.
    pub fn from_wire(number: i32) -> Self {
        match Wire::try_from(number) {
            Ok(Wire::Running) => Self::Running,
            Ok(Wire::Verifying) => Self::Verifying,
            Ok(Wire::Verified) => Self::Verified,
            Ok(Wire::ExecutedUnverified) => Self::Unverified,
            Ok(Wire::Failed) => Self::Failed,
            Ok(Wire::RolledBack) => Self::RolledBack,
            Ok(Wire::Aborted) => Self::Aborted,
            Ok(Wire::Undoing) => Self::Undoing,
            Ok(Wire::Unspecified) | Err(_) => Self::Foreign(number),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "RUNNING",
            Self::Verifying => "VERIFYING",
            Self::Verified => "VERIFIED",
            Self::Unverified => "UNVERIFIED",
            Self::Failed => "FAILED",
            Self::RolledBack => "ROLLED BACK",
            Self::Aborted => "ABORTED",
            Self::Undoing => "UNDOING",
            Self::Foreign(number) => return write!(f, "OUTCOME {number}?"),
        })
    }
}

/// A plan that is or was executed.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// As the server has it; sent back as it came.
    pub id: String,
    /// What it was to do.
    pub plan: Plan,
    /// How it stands.
    pub outcome: Outcome,
    /// Pieces done.
    pub done: u64,
    /// Of so many, 0 while that is not known.
    pub total: u64,
    /// What it does now, or why it ended as it did.
    pub note: String,
    /// Who executed it.
    pub by: String,
    /// What it has done.
    pub actual: Vec<Change>,
    /// The drill it served.
    pub drill: String,
    /// For how long it ran until it ended or was received.
    lasted: Option<Duration>,
    /// How long ago it had ended.
    ended: Option<Duration>,
    /// For how long it could still be undone.
    undo: Option<Duration>,
    /// When all this was received, by the console's `elapsed`.
    pub received: Duration,
}

impl Run {
    /// From a frame sent at `sent` by the server's clock.
    pub fn from_wire(run: wire::RemedyRun, sent: Timestamp, now: Moment) -> Self {
        let (started, finished) = (timestamp(run.started_at.as_ref()), timestamp(run.finished_at.as_ref()));
        Self {
            id: run.id,
            plan: Plan::from_wire(run.plan.unwrap_or_default(), Some(sent), now.elapsed),
            outcome: Outcome::from_wire(run.outcome),
            done: run.done,
            total: run.total,
            note: clean(&run.note),
            by: clean(&run.started_by),
            actual: changes(run.actual),
            drill: clean(&run.drill_id),
            lasted: started.map(|started| span(started, finished.unwrap_or(sent))),
            ended: finished.map(|finished| span(finished, sent)),
            undo: timestamp(run.undo_until.as_ref()).map(|until| span(sent, until)),
            received: now.elapsed,
        }
    }

    /// Whether something is still to come of it.
    pub fn is_under_way(&self) -> bool {
        matches!(self.outcome, Outcome::Running | Outcome::Verifying | Outcome::Undoing)
    }

    /// Share that is done, where the whole is known.
    pub fn share(&self) -> Option<f64> {
        (self.total > 0).then(|| self.done as f64 / self.total as f64)
    }

    /// How long it has run, or ran.
    pub fn lasted(&self, now: Moment) -> Option<Duration> {
        let since = if self.ended.is_none() { now.since(self.received) } else { Duration::ZERO };
        self.lasted.map(|lasted| lasted.saturating_add(since))
    }

    /// How long ago it ended.
    pub fn ended(&self, now: Moment) -> Option<Duration> {
        self.ended.map(|ended| ended.saturating_add(now.since(self.received)))
    }

    /// For how long it can still be undone; `None`: it cannot.
    pub fn undo_within(&self, now: Moment) -> Option<Duration> {
        let open = !self.is_under_way() && self.outcome != Outcome::RolledBack;
        self.undo.and_then(|left| left.checked_sub(now.since(self.received))).filter(|left| open && !left.is_zero())
    }
}
