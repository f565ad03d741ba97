//! The audit as a chain: each entry carries the hash of the one before, so that a change, a gap or an insertion shows.
//!
//! It cannot show that the newest entries were cut off, nor a chain that was hashed anew from its beginning: for that, keep a
//! copy of the last hash elsewhere.

use crate::{AuditEntry, Store, StoreError};
use async_trait::async_trait;

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// What the first entry follows.
pub const GENESIS: Hash = [0; 32];

/// Entries read at once.
const PAGE: u32 = 1_000;

/// What there is to write down of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// Who.
    pub actor: String,
    /// What, such as `remedy.execute`.
    pub action: String,
    /// On what.
    pub target: String,
    /// Why.
    pub reason: String,
    /// What was there.
    pub before: String,
    /// What is there now, or was to be.
    pub after: String,
    /// How it ended.
    pub outcome: String,
}

/// Writing to the audit what is done outside of the store.
#[async_trait]
pub trait Trail {
    /// Adds an entry at the chain's end; durable when it returns. Two at once become two entries, one after the other.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the chain's last entry has no hash.
    async fn write_down(&self, note: &Note) -> Result<AuditEntry, StoreError>;
}

impl Note {
    /// Over `previous`, the microseconds since 1970 as 8 bytes, and each text as the number of its bytes in 8 bytes and its
    /// bytes; numbers are big-endian.
    pub(crate) fn hash(&self, previous: &Hash, at: i64) -> Hash {
        let Self { actor, action, target, reason, before, after, outcome } = self;
        let mut hasher = blake3::Hasher::new();
        hasher.update(previous).update(&at.to_be_bytes());
        for text in [actor, action, target, reason, before, after, outcome] {
            hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
        }
        hasher.finalize().into()
    }
}

impl AuditEntry {
    fn follows(&self, previous: &Hash) -> bool {
        self.previous_hash == Some(*previous) && self.hash == Some(self.note().hash(previous, self.at.micros()))
    }

    fn note(&self) -> Note {
        Note {
            actor: self.actor.clone(),
            action: self.action.clone(),
            target: self.target.clone(),
            reason: self.reason.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
            outcome: self.outcome.clone(),
        }
    }
}

/// The id of the first entry that does not follow from the one before it; `None` when the chain is whole.
///
/// # Errors
/// Those of [`crate::Audit::audit`].
pub async fn first_break(store: &dyn Store) -> Result<Option<i64>, StoreError> {
    let (mut previous, mut after) = (GENESIS, 0);
    loop {
        let page = store.audit(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        after = last.id;
        for entry in &page {
            if !entry.follows(&previous) {
                return Ok(Some(entry.id));
            }
            previous = entry.hash.unwrap_or(GENESIS);
        }
    }
}

/// A hash as stored.
pub(crate) fn loaded(hash: Option<Vec<u8>>) -> Option<Hash> {
    hash.and_then(|hash| hash.try_into().ok())
}

/// The hash that the next entry follows, from the last entry's, if there is one.
pub(crate) fn head(last: Option<Option<Vec<u8>>>) -> Result<Hash, StoreError> {
    match last {
        None => Ok(GENESIS),
        Some(hash) => loaded(hash).ok_or_else(|| StoreError::Broken("the last entry of the audit has no hash".to_owned())),
    }
}

/// Entries from before the chain, with what makes them one: `(id, previous hash, hash)`.
pub(crate) fn chained(entries: Vec<AuditEntry>) -> Vec<(i64, Hash, Hash)> {
    let mut previous = GENESIS;
    let link = |entry: AuditEntry| {
        let (before, hash) = (previous, entry.note().hash(&previous, entry.at.micros()));
        previous = hash;
        (entry.id, before, hash)
    };
    entries.into_iter().map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bytes give the same hash in every program that knows the specification.
    #[test]
    fn the_hash_is_as_the_contract_specifies_it() {
        let note = Note { actor: "alice".to_owned(), outcome: "DONE".to_owned(), ..Note::default() };
        let mut bytes = vec![0; 32];
        bytes.extend(1_700_000_000_000_001_i64.to_be_bytes());
        for text in ["alice", "", "", "", "", "", "DONE"] {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        assert_eq!(note.hash(&GENESIS, 1_700_000_000_000_001), *blake3::hash(&bytes).as_bytes());
    }
}
