//! The history of an alias, in the store.

use super::{Kind, Wanted};
use crate::{Serving, status::ServingError};
use loadline_store::{AliasChange, AliasEntry};

/// Entries read at once when all are wanted.
const PAGE: u32 = 1_000;
/// Nothing but the reason speaks for it.
pub(crate) const NO_EVIDENCE: &str = "null";

impl Serving {
    /// Writes a change down, after the entry that is the last one now: whoever writes meanwhile makes this one fail.
    pub(super) async fn write_down(
        &self,
        wanted: &Wanted,
        (kind, evidence): (Kind, &str),
        from: u64,
        to: u64,
    ) -> Result<AliasEntry, ServingError> {
        let Wanted { model, alias, actor, reason, .. } = wanted.clone();
        let last = self.last_change(&model, &alias).await?.map(|last| last.number);
        let version = |number| (number != 0).then_some(number);
        let (before, after) = (version(from), version(to));
        let (action, evidence) = (kind.name().to_owned(), evidence.to_owned());
        let change = AliasChange { model, alias, action, before, after, actor, evidence, reason };
        Ok(self.store.append_alias(&change, last).await?)
    }

    /// The last entry of an alias.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn last_change(&self, model: &str, alias: &str) -> Result<Option<AliasEntry>, ServingError> {
        Ok(self.store.last_alias(model, alias).await?)
    }

    /// Entries of an alias, the newest first, those before number `before`, at most `limit`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn history(
        &self,
        model: &str,
        alias: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AliasEntry>, ServingError> {
        let end = match before {
            Some(before) => before,
            None => self.last_change(model, alias).await?.map_or(0, |last| last.number) + 1,
        };
        // Numbers are without gaps: a page from the end is one from a number onwards.
        let newest = end.saturating_sub(1);
        let after = newest.saturating_sub(u64::from(limit));
        let length = u32::try_from(newest - after).unwrap_or(limit);
        if length == 0 {
            return Ok(vec![]);
        }
        let mut page = self.store.alias_history(model, alias, after, length).await?;
        page.reverse();
        Ok(page)
    }

    /// All of them, the oldest first.
    pub(super) async fn whole_history(&self, model: &str, alias: &str) -> Result<Vec<AliasChange>, ServingError> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.store.alias_history(model, alias, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after = last.number;
            all.extend(page.into_iter().map(|entry| entry.change));
        }
    }
}
