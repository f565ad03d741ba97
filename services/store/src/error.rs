//! What can go wrong with a store.

use loadline_domain::AccountId;

/// Why a call on the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or does not answer in time; nothing happened. A retry can help.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The connection was lost while a commit was under way: it may or may not have happened.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    /// Somebody else owns the stream, or the position is no longer the one the caller saw; nothing happened.
    #[error("stale: {0}")]
    Stale(String),
    /// A newer build has migrated this store.
    #[error(
        "the store's schema is version {found}, this build knows up to {known}; run the newer build, or restore an older store"
    )]
    NewerSchema {
        /// In the store.
        found: i64,
        /// In this build.
        known: i64,
    },
    /// The account is outside the caller's scope.
    #[error("account {0} is outside the caller's scope")]
    OutOfScope(AccountId),
    /// The question needs all accounts.
    #[error("this question is about all accounts; it needs an operator's scope")]
    NeedsAllAccounts,
    /// A URL or setting that cannot work.
    #[error("store: {0}")]
    Misconfigured(String),
    /// A sum of usage would leave 64 bits; nothing happened. Fewer records may fit.
    #[error("a total of usage would pass 64 bits: {0}")]
    Overflow(String),
    /// A statement failed in a way no retry can mend, or a row does not read back: a bug, or a damaged store.
    #[error("store: {0}")]
    Broken(String),
}

impl StoreError {
    /// Whether trying again, unchanged, may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
