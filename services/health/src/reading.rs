//! What a detector reports.

use crate::Severity;
use std::time::Duration;

/// One measurement of one failure mode's signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The signal, in the unit of the catalogue's threshold. Not NaN: such a reading is refused.
    pub value: f64,
    /// What `value` was compared with, where configuration sets it; `None` is the catalogue's.
    pub threshold: Option<f64>,
    /// The signal is not as it should be now. For how long it has to be so is the monitor's business: report it at once.
    pub bad: bool,
    /// The severity, when a rule changes it from the base; `None` is the base. Looked at only when `bad`.
    pub severity: Option<Severity>,
    /// The rule that set `severity`; `None` is the catalogue's text for that severity.
    pub rule: Option<String>,
    /// What was seen, for the operator: which stream, which error.
    pub detail: String,
    /// Time until data is lost, where that is known.
    pub time_to_loss: Option<Duration>,
}

impl Reading {
    /// A reading within its threshold.
    pub fn good(value: f64, detail: impl Into<String>) -> Self {
        Self { value, threshold: None, bad: false, severity: None, rule: None, detail: detail.into(), time_to_loss: None }
    }

    /// A reading past its threshold, of the base severity.
    pub fn bad(value: f64, detail: impl Into<String>) -> Self {
        Self { bad: true, ..Self::good(value, detail) }
    }

    /// The same with another severity, by the catalogue's rule for it.
    #[must_use]
    pub fn raised(self, severity: Severity) -> Self {
        Self { severity: Some(severity), ..self }
    }

    /// The same, compared with a configured threshold.
    #[must_use]
    pub fn against(self, threshold: f64) -> Self {
        Self { threshold: Some(threshold), ..self }
    }

    /// The same, with the time until data is lost.
    #[must_use]
    pub fn losing_in(self, time_to_loss: Duration) -> Self {
        Self { time_to_loss: Some(time_to_loss), ..self }
    }
}
