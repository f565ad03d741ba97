//! The audit of remedies: who did what to what, why, and what came of it, each entry chained to the one before by its hash.
//!
//! The chain shows that an entry was changed, taken out or put in between. It cannot show that the newest entries were cut off:
//! for that, keep a copy of the last hash elsewhere.

use async_trait::async_trait;
use loadline_proto::health as wire;
use std::time::{Duration, SystemTime};

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// What the first entry follows.
pub const GENESIS: Hash = [0; 32];

/// What there is to say of one step; text for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Who.
    pub actor: String,
    /// What, such as `remedy.execute`.
    pub action: String,
    /// On what, such as `AN-03 K BILLING`.
    pub target: String,
    /// Why.
    pub reason: String,
    /// What was there.
    pub before: String,
    /// What is there now, or was to be.
    pub after: String,
    /// How it ended, such as `VERIFIED`, or the reason of a refusal.
    pub outcome: String,
}

/// A record in its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Rises; may have gaps.
    pub id: u64,
    /// When it was written, to the microsecond.
    pub at: SystemTime,
    /// What it says.
    pub record: Record,
    /// Hash of the entry before; [`GENESIS`] for the first.
    pub previous_hash: Hash,
    /// [`hash`] of all of it but its id.
    pub hash: Hash,
}

/// Why the audit cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit cannot be reached: {0}")]
pub struct AuditError(pub String);

/// Where entries are kept. Nothing is ever changed or deleted.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Writes a record as the chain's next entry; durable when it returns. Two at once become two entries, one after the other.
    async fn append(&self, record: Record) -> Result<Entry, AuditError>;

    /// Entries after the one of this id, by id, at most `limit`.
    async fn entries(&self, after: u64, limit: u32) -> Result<Vec<Entry>, AuditError>;
}

/// The first entry that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit is broken at entry {at}: it was changed, or one before it was")]
pub struct Break {
    /// Its id.
    pub at: u64,
}

/// The hash of a record written at `at` after an entry of hash `previous`, as the contract's `AuditEntry` specifies it.
pub fn hash(previous: &Hash, at: SystemTime, record: &Record) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous).update(&micros(at).to_be_bytes());
    let Record { actor, action, target, reason, before, after, outcome } = record;
    for text in [actor, action, target, reason, before, after, outcome] {
        hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
    }
    hasher.finalize().into()
}

/// Whether consecutive entries are as they were written. `previous` is the hash before the first of them.
///
/// # Errors
/// The first entry that does not follow from the one before it.
pub fn verify(previous: Hash, entries: &[Entry]) -> Result<Hash, Break> {
    entries.iter().try_fold(previous, |previous, entry| {
        let fits = entry.previous_hash == previous && entry.hash == hash(&previous, entry.at, &entry.record);
        if fits { Ok(entry.hash) } else { Err(Break { at: entry.id }) }
    })
}

/// Since 1970; what is before that is 1970.
fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl From<Entry> for wire::AuditEntry {
    fn from(entry: Entry) -> Self {
        let Record { actor, action, target, reason, before, after, outcome } = entry.record;
        Self {
            id: entry.id,
            at: Some(entry.at.into()),
            actor,
            action,
            target,
            reason,
            before,
            after,
            outcome,
            previous_hash: entry.previous_hash.to_vec(),
            hash: entry.hash.to_vec(),
        }
    }
}

/// What a message says of an entry does not make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {id} of the audit has no time, or no hashes of 32 bytes")]
pub struct Malformed {
    /// Its id.
    pub id: u64,
}

impl TryFrom<wire::AuditEntry> for Entry {
    type Error = Malformed;

    fn try_from(entry: wire::AuditEntry) -> Result<Self, Malformed> {
        let wire::AuditEntry { id, at, actor, action, target, reason, before, after, outcome, previous_hash, hash } = entry;
        let malformed = Malformed { id };
        let at = at.and_then(|at| SystemTime::try_from(at).ok()).ok_or(malformed)?;
        let record = Record { actor, action, target, reason, before, after, outcome };
        let hash_of = |bytes: Vec<u8>| Hash::try_from(bytes).map_err(|_| malformed);
        Ok(Self { id, at, record, previous_hash: hash_of(previous_hash)?, hash: hash_of(hash)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> Record {
        let text = |what: &str| format!("{what} {n}");
        Record {
            actor: text("alice"),
            action: text("remedy.execute"),
            target: text("AN-03 K BILLING"),
            reason: text("it stopped"),
            before: text("stopped"),
            after: text("running"),
            outcome: text("VERIFIED"),
        }
    }

    fn chain(length: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for id in 1..=length {
            let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_000 + id);
            let previous_hash = entries.last().map_or(GENESIS, |last| last.hash);
            let record = record(id);
            entries.push(Entry { id, at, hash: hash(&previous_hash, at, &record), record, previous_hash });
        }
        entries
    }

    #[test]
    fn an_entry_comes_back_from_its_message_and_half_a_hash_does_not() {
        let entry = chain(1).remove(0);
        let message = wire::AuditEntry::from(entry.clone());
        assert_eq!(Entry::try_from(message.clone()), Ok(entry));
        let short = wire::AuditEntry { hash: vec![1; 31], ..message.clone() };
        assert_eq!(Entry::try_from(short), Err(Malformed { id: 1 }));
        assert!(Entry::try_from(wire::AuditEntry { at: None, ..message }).is_err());
    }

    #[test]
    fn a_chain_as_it_was_written_fits_whole_and_in_pages() {
        let entries = chain(5);
        assert_eq!(verify(GENESIS, &entries), Ok(entries[4].hash));
        let middle = verify(GENESIS, &entries[..2]).unwrap();
        assert_eq!(verify(middle, &entries[2..]), Ok(entries[4].hash));
    }

    #[test]
    fn a_change_to_any_field_is_found_at_its_entry() {
        let changes: [fn(&mut Entry); 10] = [
            |entry| entry.record.actor.push('x'),
            |entry| entry.record.action.push('x'),
            |entry| entry.record.target.push('x'),
            |entry| entry.record.reason.push('x'),
            |entry| entry.record.before.push('x'),
            |entry| entry.record.after.push('x'),
            |entry| entry.record.outcome.push('x'),
            |entry| entry.at += Duration::from_micros(1),
            |entry| entry.previous_hash[0] ^= 1,
            |entry| entry.hash[31] ^= 1,
        ];
        for change in changes {
            let mut entries = chain(5);
            change(&mut entries[2]);
            assert_eq!(verify(GENESIS, &entries), Err(Break { at: 3 }));
        }
    }

    #[test]
    fn a_forger_who_hashes_again_is_found_at_the_next_entry() {
        let mut entries = chain(5);
        entries[2].record.actor = "nobody".to_owned();
        entries[2].hash = hash(&entries[2].previous_hash, entries[2].at, &entries[2].record);
        assert_eq!(verify(GENESIS, &entries), Err(Break { at: 4 }));
    }

    #[test]
    fn what_is_taken_out_swapped_or_put_in_is_found() {
        let mut without = chain(5);
        without.remove(1);
        assert_eq!(verify(GENESIS, &without), Err(Break { at: 3 }));
        let mut swapped = chain(5);
        swapped.swap(1, 2);
        assert_eq!(verify(GENESIS, &swapped), Err(Break { at: 3 }));
        let mut doubled = chain(5);
        doubled.insert(1, doubled[1].clone());
        assert_eq!(verify(GENESIS, &doubled), Err(Break { at: 2 }));
        assert_eq!(verify(GENESIS, &chain(5)[1..]), Err(Break { at: 2 }), "the beginning is missing");
    }

    #[test]
    fn text_moved_from_one_field_to_the_next_is_another_record() {
        let moved =
            |actor: &str, action: &str| Record { actor: actor.to_owned(), action: action.to_owned(), ..Record::default() };
        let at = SystemTime::UNIX_EPOCH;
        assert_ne!(hash(&GENESIS, at, &moved("ab", "c")), hash(&GENESIS, at, &moved("a", "bc")));
    }
}
