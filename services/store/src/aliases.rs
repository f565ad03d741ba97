//! The journal of aliases: which version of a model each alias named when, by whom and why.
//!
//! The registry says what an alias names; who changed it and on what evidence it forgets. What is changed there and not here is
//! drift.

use crate::StoreError;
use async_trait::async_trait;
use loadline_domain::Timestamp;

/// Longest evidence, in bytes.
pub const LONGEST_EVIDENCE: usize = 64 << 10;

/// A change of what an alias names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasChange {
    /// The model's name in the registry.
    pub model: String,
    /// The alias.
    pub alias: String,
    /// What kind of change, such as `promotion` or `rollback`.
    pub action: String,
    /// The version it named before; `None`: none.
    pub before: Option<u64>,
    /// The version it names after; `None`: none.
    pub after: Option<u64>,
    /// Who.
    pub actor: String,
    /// What speaks for it, as JSON of at most [`LONGEST_EVIDENCE`]; `null` for nothing.
    pub evidence: String,
    /// Why.
    pub reason: String,
}

/// A change that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasEntry {
    /// From 1 upwards, for each alias of each model, without gaps.
    pub number: u64,
    /// What.
    pub change: AliasChange,
    /// When, by the store's clock.
    pub at: Timestamp,
}

/// Entries are only added, one alias's one after the other; none is ever changed or deleted.
#[async_trait]
pub trait AliasJournal {
    /// Adds an entry after the last one that the caller saw (`None`: there was none); durable when it returns. Of many who saw
    /// the same, one adds.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when another entry came in between; nothing happened. After [`StoreError::Unknown`] the last entry
    /// says whether it happened. [`StoreError::Broken`] for evidence that is no JSON, or too long.
    async fn append_alias(&self, change: &AliasChange, expected_last: Option<u64>) -> Result<AliasEntry, StoreError>;

    /// The last entry of an alias.
    async fn last_alias(&self, model: &str, alias: &str) -> Result<Option<AliasEntry>, StoreError>;

    /// Entries of an alias by number, after `after`, at most `limit`.
    async fn alias_history(&self, model: &str, alias: &str, after: u64, limit: u32) -> Result<Vec<AliasEntry>, StoreError>;
}

impl AliasChange {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.evidence.len() > LONGEST_EVIDENCE {
            return Err(StoreError::Broken(format!(
                "evidence has {} bytes; give at most {LONGEST_EVIDENCE}",
                self.evidence.len()
            )));
        }
        let read = serde_json::from_str::<serde::de::IgnoredAny>(&self.evidence);
        read.map(drop).map_err(|error| StoreError::Broken(format!("evidence is no JSON: {error}")))
    }

    /// For those who saw another last entry.
    pub(crate) fn stale(&self, expected_last: Option<u64>) -> StoreError {
        let seen = expected_last.map_or("none".to_owned(), |number| number.to_string());
        let Self { model, alias, .. } = self;
        StoreError::Stale(format!("the last entry about `{alias}` of `{model}` is another than {seen}; look again"))
    }
}
