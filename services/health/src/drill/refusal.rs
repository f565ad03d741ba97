//! Why a drill does not begin or end, and how callers hear of it.

use loadline_runtime::errors;
use std::time::Duration;
use tonic::Status;

const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller is no operator.
    #[error("`{0}` has not the role operator, which drills need")]
    NotOperator(String),
    /// They are off here.
    #[error("drills are off in this process: `drills.enabled` is false, as it should be in production")]
    Disabled,
    /// The mode has no drill here.
    #[error("{0} has no drill in this process: List shows those it has, and other services have more")]
    NoDrill(String),
    /// No drill of this id.
    #[error("there is no drill `{0}` under way or just ended here")]
    NoRun(String),
    /// One at a time.
    #[error("{0} is under way: one drill at a time, wait until it has ended or stop it")]
    Running(String),
    /// Something is really wrong.
    #[error("{0} is open: there is a real incident, and no time for drills")]
    RealIncident(String),
    /// The drill says why it cannot run here.
    #[error("{0}")]
    Unavailable(String),
    /// Nothing to stop.
    #[error("drill `{0}` has ended")]
    NotRunning(String),
    /// Nobody can say whether another process drills.
    #[error("{0}: another process may be drilling")]
    LeaseUnavailable(String),
    /// What is not written down is not done.
    #[error("{0}")]
    AuditUnavailable(String),
    /// The process ends.
    #[error("this process is shutting down: ask its successor")]
    ShuttingDown,
}

impl Refusal {
    /// Stable, for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotOperator(_) => "ACCESS_DENIED",
            Self::Disabled => "DRILLS_DISABLED",
            Self::NoDrill(_) | Self::NoRun(_) => "NOT_FOUND",
            Self::Running(_) => "DRILL_RUNNING",
            Self::RealIncident(_) => "REAL_INCIDENT",
            Self::Unavailable(_) => "DRILL_UNAVAILABLE",
            Self::NotRunning(_) => "NOT_RUNNING",
            Self::LeaseUnavailable(_) => "LEASE_UNAVAILABLE",
            Self::AuditUnavailable(_) => "AUDIT_UNAVAILABLE",
            Self::ShuttingDown => "SHUTTING_DOWN",
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (reason, message) = (refusal.reason(), refusal.to_string());
        match refusal {
            Refusal::NotOperator(_) => errors::permission_denied(reason, message),
            Refusal::NoDrill(mode) => errors::not_found("drill", &mode, "List shows those this process has"),
            Refusal::NoRun(id) => errors::not_found("drill run", &id, "List shows the latest results"),
            Refusal::Disabled
            | Refusal::Running(_)
            | Refusal::RealIncident(_)
            | Refusal::Unavailable(_)
            | Refusal::NotRunning(_) => errors::failed_precondition(reason, "drill", message),
            Refusal::LeaseUnavailable(_) | Refusal::AuditUnavailable(_) | Refusal::ShuttingDown => {
                errors::unavailable(reason, message, RETRY_AFTER)
            }
        }
    }
}
