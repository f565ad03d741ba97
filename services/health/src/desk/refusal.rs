//! Why the desk does nothing, and how callers hear of it.

use loadline_runtime::errors;
use std::time::Duration;
use tonic::Status;

const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field of the request.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The caller is no operator.
    #[error("`{who}` has not the role operator, which remedies need")]
    NotOperator {
        /// The caller.
        who: String,
    },
    /// The mode has no such remedy in this process.
    #[error("{mode} has no remedy {key} here: its status lists those it has, and other services may have more")]
    NoRemedy {
        /// The mode.
        mode: String,
        /// The key.
        key: String,
    },
    /// No such plan; plans end with the process.
    #[error("there is no plan `{0}`: plan again")]
    NoPlan(String),
    /// No such run; runs are forgotten with the process, the audit is not.
    #[error("there is no run `{0}`: the audit has what is past")]
    NoRun(String),
    /// The remedy says why it cannot do anything now.
    #[error("{0}")]
    Unavailable(String),
    /// The mode's own signal is silent: nobody could tell whether a remedy helps.
    #[error("{mode} cannot be seen now, so that nothing could tell whether a remedy helps: mend its detector first")]
    TargetBlind {
        /// The mode.
        mode: String,
    },
    /// Too many plans wait.
    #[error("{0} plans wait for confirmation: execute one, or wait until they expire")]
    TooManyPlans(usize),
    /// The plan is too old.
    #[error("the plan expired {0:?} ago: plan again")]
    PlanExpired(Duration),
    /// The world is no longer what the plan saw.
    #[error("the world has moved since it was planned: {0}; plan again")]
    WorldMoved(String),
    /// Not the text that the plan asks for.
    #[error("the text of confirmation is not what the plan asks for: type exactly `{expected}`")]
    WrongConfirm {
        /// What it asks for.
        expected: String,
    },
    /// The plan was executed under another key.
    #[error("the plan was executed before, as run {run}")]
    AlreadyExecuted {
        /// Its run.
        run: String,
    },
    /// The key was used for another plan.
    #[error("idempotency_key: is that of run {run}, of another plan: send another key")]
    KeyTaken {
        /// The run of that key.
        run: String,
    },
    /// A run of the same remedy works on the same target.
    #[error("{0} works on the same target, or has just done so: wait until it has ended")]
    Busy(String),
    /// A run of the same remedy ended just now.
    #[error("a run of this remedy on this target has just ended: wait for {0:?}")]
    CoolingDown(Duration),
    /// Nothing to abort.
    #[error("the run is not under way: it ended as {0}")]
    NotRunning(&'static str),
    /// Not to be taken back.
    #[error("the run cannot be undone: {0}")]
    NotUndoable(String),
    /// Its horizon is over.
    #[error("the run could be undone until {0:?} ago")]
    UndoExpired(Duration),
    /// A later run built upon it.
    #[error("run {0} came later on the same target: undo that one first")]
    Superseded(String),
    /// What is not written down is not done.
    #[error("{0}: nothing is done that cannot be written down")]
    AuditUnavailable(String),
    /// Nobody can say whether another process works on it.
    #[error("{0}: another process may work on the same target")]
    LeaseUnavailable(String),
    /// Looking at the world failed.
    #[error("looking at the world failed: {0}")]
    PlanningFailed(String),
    /// The process ends.
    #[error("this process is shutting down: ask its successor")]
    ShuttingDown,
}

impl Refusal {
    /// Stable, for programs: in errors and in the audit.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::KeyTaken { .. } => "INVALID_FIELD",
            Self::NotOperator { .. } => "ACCESS_DENIED",
            Self::NoRemedy { .. } | Self::NoPlan(_) | Self::NoRun(_) => "NOT_FOUND",
            Self::Unavailable(_) => "REMEDY_UNAVAILABLE",
            Self::TargetBlind { .. } => "TARGET_BLIND",
            Self::TooManyPlans(_) => "TOO_MANY_PLANS",
            Self::PlanExpired(_) => "PLAN_EXPIRED",
            Self::WorldMoved(_) => "WORLD_MOVED",
            Self::WrongConfirm { .. } => "WRONG_CONFIRM",
            Self::AlreadyExecuted { .. } => "ALREADY_EXECUTED",
            Self::Busy(_) => "BUSY",
            Self::CoolingDown(_) => "COOLING_DOWN",
            Self::NotRunning(_) => "NOT_RUNNING",
            Self::NotUndoable(_) => "NOT_UNDOABLE",
            Self::UndoExpired(_) => "UNDO_EXPIRED",
            Self::Superseded(_) => "SUPERSEDED",
            Self::AuditUnavailable(_) => "AUDIT_UNAVAILABLE",
            Self::LeaseUnavailable(_) => "LEASE_UNAVAILABLE",
            Self::PlanningFailed(_) => "PLANNING_FAILED",
            Self::ShuttingDown => "SHUTTING_DOWN",
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (reason, message) = (refusal.reason(), refusal.to_string());
        match refusal {
            Refusal::Invalid { field, problem } => errors::invalid(field, problem),
            Refusal::KeyTaken { run } => {
                errors::invalid("idempotency_key", format!("is that of run {run}, of another plan: send another key"))
            }
            Refusal::NotOperator { .. } => errors::permission_denied(reason, message),
            Refusal::NoRemedy { mode, key } => {
                errors::not_found("remedy", &format!("{mode} {key}"), "the mode's status lists those it has here")
            }
            Refusal::NoPlan(id) => errors::not_found("plan", &id, "plan again"),
            Refusal::NoRun(id) => errors::not_found("run", &id, "the audit has what is past"),
            Refusal::TooManyPlans(_) => errors::exhausted(reason, message, RETRY_AFTER),
            Refusal::AuditUnavailable(_) | Refusal::LeaseUnavailable(_) | Refusal::PlanningFailed(_) | Refusal::ShuttingDown => {
                errors::unavailable(reason, message, RETRY_AFTER)
            }
            Refusal::Unavailable(_)
            | Refusal::TargetBlind { .. }
            | Refusal::PlanExpired(_)
            | Refusal::WorldMoved(_)
            | Refusal::WrongConfirm { .. }
            | Refusal::AlreadyExecuted { .. }
            | Refusal::Busy(_)
            | Refusal::CoolingDown(_)
            | Refusal::NotRunning(_)
            | Refusal::NotUndoable(_)
            | Refusal::UndoExpired(_)
            | Refusal::Superseded(_) => errors::failed_precondition(reason, "remedy", message),
        }
    }
}
