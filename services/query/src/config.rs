//! What can be set: section `[query]`, beside where it listens.

use loadline_runtime::config::{Check, HumanDuration, Problems, key};
use serde::{Deserialize, Serialize};

/// Limits of the query service. The defaults suit production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long an answer waits for the log to say where it ends; past it the answer goes without lag.
    pub log_patience: HumanDuration,
    /// How old that may be. Shorter asks the log more often, whatever the number of requests.
    pub log_max_age: HumanDuration,
    /// Most records one explanation reads. Each million takes seconds and, if all are of one account-hour, 50 MB.
    pub explain_max_records: usize,
    /// Longest time of one explanation; the caller's deadline shortens it.
    pub explain_max_time: HumanDuration,
    /// Explanations at the same time; more are told to come back.
    pub explain_at_once: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log_patience: HumanDuration::millis(250),
            log_max_age: HumanDuration::secs(1),
            explain_max_records: 2_000_000,
            explain_max_time: HumanDuration::secs(20),
            explain_at_once: 2,
        }
    }
}

impl Check for Settings {
    fn check(&self, at: &str, problems: &mut Problems) {
        for (name, value) in [("explain_max_records", self.explain_max_records), ("explain_at_once", self.explain_at_once)] {
            if value == 0 {
                problems.refuse(key(at, name), value, "must be at least 1");
            }
        }
        for (name, value) in [("log_patience", self.log_patience), ("explain_max_time", self.explain_max_time)] {
            if value.is_zero() {
                problems.refuse(key(at, name), value, "must be longer than 0s");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_fine_and_zeros_are_all_named() {
        let problems = |settings: Settings| {
            let mut problems = Problems::new();
            settings.check("query", &mut problems);
            problems.iter().map(|problem| problem.key.clone()).collect::<Vec<_>>()
        };
        assert!(problems(Settings::default()).is_empty());
        let zero =
            Settings { log_patience: HumanDuration::secs(0), explain_max_records: 0, explain_at_once: 0, ..Settings::default() };
        assert_eq!(problems(zero), ["query.explain_max_records", "query.explain_at_once", "query.log_patience"]);
    }
}
