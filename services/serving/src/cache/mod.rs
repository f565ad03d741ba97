//! Answers that were given before.
//!
//! ```text
//!  artifact + inputs ─▶ key ─▶ memory ─▶ shared tier ─▶ the artifact itself, once for all who ask the same at a time
//!                               └─────────┴─▶ is the entry of this artifact and of this question? ─▶ answer
//! ```
//!
//! - [`key`]: what an answer is kept under; [`entry`]: how it is kept
//! - [`shared`]: the tier of several processes, [`redis`] is one; [`standing`]: what was looked up, and what was found stale
//!
//! The nasty invariant: **an answer is that of the artifact which answers**. Keys are made of the artifact that a request holds, so that a
//! promotion needs to empty nothing; whatever comes from a tier has to name that artifact and the whole key all the same; and one hit
//! in [`RECHECKED`] is asked again and compared. An error of a tier is a miss.

mod entry;
mod key;
mod redis;
pub mod shared;
mod standing;

pub use entry::Entry;
pub use key::Key;
pub use standing::{Counts, Stale};

use crate::{engine::Refusal, resident::Loaded};
use loadline_models::{
    Sha256, Tensor,
    golden::{Tolerance, compare},
};
use quick_cache::{Weighter, sync::Cache as Memory};
use shared::{Shared, SharedError};
use standing::Standing;
use std::sync::Arc;
use tokio::{sync::Semaphore, time::Instant};

/// One hit of so many is asked again.
pub const RECHECKED: u64 = 1_000;
/// Values of a question that is worth a place; larger ones are batches, which nobody asks again.
const MOST_VALUES: usize = 4_096;
/// Entries on their way to the shared tier; the next ones are not kept there.
const PUTS: usize = 64;
/// What an entry of a small answer weighs, to size the table by.
const USUAL_WEIGHT: u64 = 1_024;

/// Where answers are kept. Clones are one.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    /// `None`: nothing is kept anywhere.
    memory: Option<Memory<u128, Entry, Weight>>,
    shared: Arc<dyn Shared>,
    puts: Arc<Semaphore>,
    standing: Standing,
}

#[derive(Clone)]
struct Weight;

impl Weighter<u128, Entry> for Weight {
    fn weight(&self, _: &u128, entry: &Entry) -> u64 {
        entry.weight()
    }
}

impl Cache {
    /// One of so many bytes in memory before a shared tier; 0 bytes: none at all.
    pub fn new(bytes: u64, shared: Arc<dyn Shared>) -> Self {
        let entries = usize::try_from(bytes / USUAL_WEIGHT).unwrap_or(usize::MAX);
        let memory = (bytes > 0).then(|| Memory::with_weighter(entries.max(1), bytes, Weight));
        Self(Arc::new(Inner { memory, shared, puts: Arc::new(Semaphore::new(PUTS)), standing: Standing::default() }))
    }

    /// The answer of a version to inputs in the order of its own, each with so many rows: from here, or its own.
    ///
    /// # Errors
    /// Those of the version. They are nobody else's: who waited for the same answer asks for themselves then.
    pub async fn answer(
        &self,
        version: &Loaded,
        inputs: Vec<Tensor>,
        rows: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<Tensor>, Refusal> {
        let asked = Instant::now();
        let worth = inputs.iter().map(|input| input.values.len()).sum::<usize>() <= MOST_VALUES;
        let Some(memory) = self.0.memory.as_ref().filter(|_| worth) else {
            return version.lane.answer(inputs, rows, deadline).await;
        };
        let key = Key::of(version.sha256, &inputs);
        let (found, turn) = match memory.get_value_or_guard_async(&key.index()).await {
            Ok(entry) => (self.checked(entry, &key), None),
            Err(turn) => (self.found_in_shared(&key).await, Some(turn)),
        };
        let Some(entry) = found else {
            let outputs = version.lane.answer(inputs, rows, deadline).await?;
            version.lane.statistics().missed(asked.elapsed());
            let entry = Entry { key, outputs: outputs.into() };
            if let Some(turn) = turn {
                // Somebody flushed meanwhile where it is refused, and then it is not to be kept.
                let _ = turn.insert(entry.clone());
                self.share(entry.clone());
            }
            return Ok(entry.outputs.to_vec());
        };
        if let Some(turn) = turn {
            let _ = turn.insert(entry.clone());
        }
        version.lane.statistics().hit(asked.elapsed());
        if self.0.standing.hit().is_multiple_of(RECHECKED)
            && let Ok(own) = version.lane.answer(inputs, rows, deadline).await
            && !are_alike(&own, &entry.outputs)
        {
            self.0.standing.found_stale(format!("an entry of artifact {} is not what it answers", version.sha256));
            memory.remove(&key.index());
            return Ok(own);
        }
        Ok(entry.outputs.to_vec())
    }

    /// The entry, if it is that of the key.
    fn checked(&self, entry: Entry, key: &Key) -> Option<Entry> {
        if entry.key == *key {
            return Some(entry);
        }
        if entry.key.artifact != key.artifact {
            self.0.standing.found_stale(format!("an entry of artifact {} was found for {}", entry.key.artifact, key.artifact));
        }
        None
    }

    async fn found_in_shared(&self, key: &Key) -> Option<Entry> {
        match self.0.shared.get(key).await {
            Ok(found) => found.and_then(|entry| self.checked(entry, key)),
            Err(error) => {
                self.0.standing.failed(&error);
                None
            }
        }
    }

    /// Nobody waits for it.
    fn share(&self, entry: Entry) {
        if !self.0.shared.is_there() {
            return;
        }
        let Ok(place) = self.0.puts.clone().try_acquire_owned() else { return };
        let cache = self.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = cache.0.shared.put(&entry).await {
                cache.0.standing.failed(&error);
            }
        });
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.0.memory.is_some()
    }

    /// The tier of several processes.
    pub fn shared(&self) -> &dyn Shared {
        &*self.0.shared
    }

    /// How many entries of an artifact, or of all, are in memory.
    pub fn held(&self, artifact: Option<&Sha256>) -> u64 {
        let memory = self.0.memory.iter();
        let of =
            memory.flat_map(Memory::iter).filter(|(_, entry)| artifact.is_none_or(|artifact| entry.key.artifact == *artifact));
        of.count() as u64
    }

    /// Takes out the entries of an artifact, or all; how many were in memory, and how many in the shared tier or why it does
    /// not tell: memory is emptied all the same.
    pub async fn flush(&self, artifact: Option<&Sha256>) -> (u64, Result<u64, SharedError>) {
        let held = self.held(artifact);
        if let Some(memory) = &self.0.memory {
            memory.retain(|_, entry| artifact.is_some_and(|artifact| entry.key.artifact != *artifact));
        }
        self.0.standing.flushed();
        (held, self.0.shared.flush(artifact).await)
    }

    /// What was looked up since the start.
    pub fn counts(&self) -> Counts {
        self.0.standing.counts()
    }

    /// What was found stale since the last flush.
    pub fn stale(&self) -> Stale {
        self.0.standing.stale()
    }
}

/// Whether two answers are one: a batch of another size rounds otherwise, and golden vectors may be off as far.
fn are_alike(own: &[Tensor], kept: &[Tensor]) -> bool {
    let alike = |(own, kept): (&Tensor, &Tensor)| own.name == kept.name && compare(own, kept, Tolerance::default()).is_ok();
    own.len() == kept.len() && own.iter().zip(kept).all(alike)
}

#[cfg(test)]
mod tests;
