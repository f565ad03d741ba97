//! What the dead letters say about a span: which of its records were refused by their owner, and which hours hold what a
//! redrive counted. A redriven letter counts as of its redrive, so the log cannot tell what became of it.

use crate::{Span, count::AccountHour};
use loadline_domain::{DeadLetterReason, Incarnation, Rules, Sequence, StreamName, decode::decode, fold::Candidate};
use loadline_store::{DeadLetterFilter, DeadLetterState, Store, StoreError, StoredDeadLetter};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Letters read at once.
const PAGE: u32 = 500;

/// Letters that bear on a span.
#[derive(Debug, Default)]
pub struct Letters {
    /// Account-hours with letters that were redriven and counted.
    pub(crate) redriven: BTreeMap<AccountHour, u64>,
    /// There were more to look through than allowed.
    pub(crate) too_many: bool,
    refused: HashMap<(StreamName, Incarnation), HashSet<Sequence>>,
}

impl Letters {
    /// Looks through at most `most` letters of a kind; after the snapshot that is compared, so that nothing in it was redriven unseen.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(store: &dyn Store, span: &Span, rules: &Rules, most: usize) -> Result<Self, StoreError> {
        let mut letters = Self::default();
        letters.find_redriven(store, span, most).await?;
        letters.find_refused(store, span, rules, most).await?;
        Ok(letters)
    }

    /// Positions of a stream's records that are dead although nothing is wrong with the record itself.
    pub(crate) fn refused(&mut self, stream: &StreamName, incarnation: &Incarnation) -> HashSet<Sequence> {
        self.refused.remove(&(stream.clone(), incarnation.clone())).unwrap_or_default()
    }

    async fn find_redriven(&mut self, store: &dyn Store, span: &Span, most: usize) -> Result<(), StoreError> {
        // What could not be decoded was nobody's when it was written.
        let of_nobody = DeadLetterFilter { reason: Some(DeadLetterReason::Undecodable), ..DeadLetterFilter::default() };
        let filters = match &span.account {
            Some(_) => vec![DeadLetterFilter { account: span.account.clone(), ..DeadLetterFilter::default() }, of_nobody],
            None => vec![DeadLetterFilter::default()],
        };
        for filter in filters {
            let whole = each(store, &filter, DeadLetterState::Counted, most, |stored| {
                let Ok(event) = decode(&stored.letter.payload) else { return };
                let hour = event.time().hour();
                if span.holds(event.account(), hour) {
                    *self.redriven.entry((event.account().clone(), hour)).or_default() += 1;
                }
            });
            self.too_many |= !whole.await?;
        }
        Ok(())
    }

    /// A record that fits into no total is dead as `INVALID`. One that is missed here makes the recounted total pass 64 bits too,
    /// so its hour is unknown then, never different.
    async fn find_refused(&mut self, store: &dyn Store, span: &Span, rules: &Rules, most: usize) -> Result<(), StoreError> {
        let filter = DeadLetterFilter {
            reason: Some(DeadLetterReason::Invalid),
            account: span.account.clone(),
            from: Some(rules.earliest_append(span.from)),
            ..DeadLetterFilter::default()
        };
        let states = [DeadLetterState::Open, DeadLetterState::Counted, DeadLetterState::Duplicate, DeadLetterState::Discarded];
        for state in states {
            let whole = each(store, &filter, state, most, |stored| {
                if is_sound(&stored, rules) {
                    let StoredDeadLetter { stream, incarnation, letter, .. } = stored;
                    self.refused.entry((stream, incarnation)).or_default().insert(letter.sequence);
                }
            });
            whole.await?;
        }
        Ok(())
    }
}

/// Whether the record alone is no reason to refuse it.
fn is_sound(stored: &StoredDeadLetter, rules: &Rules) -> bool {
    let letter = &stored.letter;
    let record =
        loadline_domain::Record { sequence: letter.sequence, recorded_at: letter.recorded_at, payload: letter.payload.clone() };
    Candidate::judge(&record, record.recorded_at, rules).is_ok()
}

/// Hands over the letters in a state, oldest first; returns whether that were all.
async fn each(
    store: &dyn Store,
    filter: &DeadLetterFilter,
    state: DeadLetterState,
    most: usize,
    mut take: impl FnMut(StoredDeadLetter),
) -> Result<bool, StoreError> {
    let (mut after, mut seen) = (0, 0);
    while seen < most {
        let page = store.dead_letters(filter, state, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(true) };
        after = last.id;
        seen += page.len();
        page.into_iter().for_each(&mut take);
    }
    Ok(false)
}
