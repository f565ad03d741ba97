//! Limits of the service.

use std::time::Duration;

/// What may be set. The defaults suit production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long an answer waits for the log to say where it ends; past it the answer goes without lag.
    pub log_patience: Duration,
    /// How old that may be. Shorter asks the log more often, whatever the number of requests.
    pub log_max_age: Duration,
    /// How long an answer waits for history; past it the answer goes without, and says so.
    pub history_patience: Duration,
    /// Age at which resolved dead letters are deleted: what was counted of older ones cannot be told.
    pub letters_kept: Duration,
    /// How often canaries ask for accounts that are not theirs.
    pub isolation_every: Duration,
    /// No clear or look-back time is longer: less than for ever only in tests of the product.
    pub times_at_most: Duration,
    /// Most records one explanation reads. Each million takes seconds and, if all are of one account-hour, 50 MB.
    pub explain_max_records: usize,
    /// Longest time of one explanation; the caller's deadline shortens it.
    pub explain_max_time: Duration,
    /// Explanations at the same time; more are told to come back.
    pub explain_at_once: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log_patience: Duration::from_millis(250),
            log_max_age: Duration::from_secs(1),
            history_patience: Duration::from_secs(5),
            letters_kept: Duration::from_secs(90 * 86_400),
            isolation_every: Duration::from_secs(4),
            times_at_most: Duration::MAX,
            explain_max_records: 2_000_000,
            explain_max_time: Duration::from_secs(20),
            explain_at_once: 2,
        }
    }
}
