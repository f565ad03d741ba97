//! What can go wrong with the history.

use loadline_domain::{AccountId, archive::Part};

/// Why a call on the history failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HistoryError {
    /// It cannot be reached, is not there, or does not answer in time. A retry can help.
    #[error("history unavailable: {0}")]
    Unavailable(String),
    /// The store lists a part that this history does not hold. Never answered as if it were empty. A retry helps once the
    /// right folder, bucket or database is back.
    #[error(
        "history holds no part {} of {} (attempt {}); it is another history, or an older copy: restore it, then retry",
        .0.number, .0.day, .0.token
    )]
    Missing(Part),
    /// Another store's parts are in it: nothing is written or removed.
    #[error(
        "history belongs to the store {owner}, and this is the store {store}: use another folder, prefix or database, or bring back the \
         store that it belongs to"
    )]
    Foreign {
        /// Name of the store that claimed it.
        owner: String,
        /// Name of the one that asked.
        store: String,
    },
    /// Written by another build; says what differs.
    #[error("history has another schema: {0}; run the build that wrote it, or use a new folder, prefix or database")]
    WrongSchema(String),
    /// A file is not what was written.
    #[error("history file {file} is damaged: {why}; restore it from a copy")]
    Damaged {
        /// Its name below the folder or prefix.
        file: String,
        /// What differs.
        why: String,
    },
    /// The account is outside the caller's scope.
    #[error("account {0} is outside the caller's scope")]
    OutOfScope(AccountId),
    /// The question needs all accounts.
    #[error("this question is about all accounts; it needs an operator's scope")]
    NeedsAllAccounts,
    /// A question or rows that cannot be taken as they are.
    #[error("history: {0}")]
    Refused(String),
    /// A URL or setting that cannot work.
    #[error("history: {0}")]
    Misconfigured(String),
    /// Fails in a way no retry can mend: a bug, or a sum past 64 bits.
    #[error("history: {0}")]
    Broken(String),
}

impl HistoryError {
    /// Whether trying again, unchanged, may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Missing(_))
    }
}
