//! Corrections by hand or by a verification, each with an entry that says who did what, and why.

use crate::{
    AsOf, Leadership, StoreError,
    trail::{Hash, Note},
};
use async_trait::async_trait;
use loadline_domain::{
    AccountId, Hour, Settled, Timestamp,
    usage::{Usage, UsageKey},
};
use std::collections::{BTreeMap, HashSet};

/// A correction of an account-hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Whose usage.
    pub account: AccountId,
    /// Which hour.
    pub hour: Hour,
    /// Its rows when it was recounted, by key: what the recount was compared with.
    pub found: Vec<(UsageKey, Usage)>,
    /// Its rows as recounted, by key.
    pub recounted: Vec<(UsageKey, Usage)>,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub actor: String,
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// Replaced the hour's rows.
    Done {
        /// Rows that were there, by key.
        before: Vec<(UsageKey, Usage)>,
        /// Rows that are there now, by key.
        after: Vec<(UsageKey, Usage)>,
    },
    /// Nothing: the hour's rows are no longer those that the recount was compared with.
    Moved {
        /// Rows that are there, by key.
        found: Vec<(UsageKey, Usage)>,
    },
}

/// An entry of the audit. `before` and `after` are JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Rises with the time of writing.
    pub id: i64,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What, such as `repair_usage`.
    pub action: String,
    /// On what, such as `acme 2026-11-21T10:00:00Z`.
    pub target: String,
    /// Why.
    pub reason: String,
    /// What was there.
    pub before: String,
    /// What is there now.
    pub after: String,
    /// How it ended; empty for entries from before this was written down.
    pub outcome: String,
    /// Hash of the entry before; [`crate::GENESIS`] for the first. `None`: somebody took it away.
    pub previous_hash: Option<Hash>,
    /// Hash of all of it but its id. `None`: somebody took it away.
    pub hash: Option<Hash>,
}

/// Hours as the store holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Hot hourly rows, by key.
    pub rows: Vec<(UsageKey, Usage)>,
    /// What they rest on, from the same snapshot; letters and losses as for an answer about all accounts.
    pub as_of: AsOf,
}

/// Corrections, what they are found by, and the record of them. Entries are never changed or deleted.
#[async_trait]
pub trait Audit {
    /// Every hot row from an hour to an hour, of one account or of all, with the positions of the streams: what a recount is
    /// compared with. Rows of whatever origin, marked or not. `None` when there are more than `most`.
    async fn held(&self, account: Option<&AccountId>, from: Hour, to: Hour, most: u32) -> Result<Option<Held>, StoreError>;

    /// Replaces an account-hour's usage rows by recounted ones, marks the day dirty and writes an entry, in one transaction.
    /// What a batch adds meanwhile is kept. Latency counts are left alone.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over. [`StoreError::Broken`] when a row is of another
    /// account-hour.
    async fn repair(&self, leadership: &Leadership, repair: &Repair) -> Result<Repaired, StoreError>;

    /// Entries by id, after `after`, at most `limit`.
    async fn audit(&self, after: i64, limit: u32) -> Result<Vec<AuditEntry>, StoreError>;
}

impl Repair {
    /// Refuses rows of another account-hour, and a key named twice.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        for rows in [&self.found, &self.recounted] {
            let keys: HashSet<_> = rows.iter().map(|(key, _)| key).collect();
            let foreign = rows.iter().any(|(key, _)| key.account != self.account || key.hour != self.hour);
            if foreign || keys.len() != rows.len() {
                return Err(StoreError::Broken(format!("rows to repair {} are of another hour, or twice there", self.target())));
            }
        }
        Ok(())
    }

    /// Whether these rows are those that the recount was compared with.
    pub(crate) fn is_about(&self, rows: &[(UsageKey, Usage)]) -> bool {
        let by_key = |rows: &[(UsageKey, Usage)]| rows.iter().cloned().collect::<BTreeMap<_, _>>();
        by_key(rows) == by_key(&self.found)
    }

    /// What to add to the rows that were found to make them the recounted ones. Added, not replaced: rows that come in the
    /// meantime keep their own.
    pub(crate) fn correction(&self) -> Settled {
        let mut sums: BTreeMap<UsageKey, Usage> = self.recounted.iter().cloned().collect();
        for (key, usage) in &self.found {
            *sums.entry(key.clone()).or_default() -= *usage;
        }
        let usage = sums.into_iter().filter(|(_, usage)| *usage != Usage::default()).collect();
        Settled { usage, ..Settled::default() }
    }

    pub(crate) fn note(&self, before: &[(UsageKey, Usage)], after: &[(UsageKey, Usage)]) -> Note {
        Note {
            actor: self.actor.clone(),
            action: "repair_usage".to_owned(),
            target: self.target(),
            reason: self.reason.clone(),
            before: json(before),
            after: json(after),
            outcome: "DONE".to_owned(),
        }
    }

    fn target(&self) -> String {
        format!("{} {}", self.account, self.hour.start())
    }
}

/// Rows as a JSON array, each with its dimensions and the sums in the order of [`Usage::columns`].
fn json(rows: &[(UsageKey, Usage)]) -> String {
    let row = |(key, usage): &(UsageKey, Usage)| {
        serde_json::json!({
            "channel": key.channel.number(),
            "country": key.country.as_str(),
            "currency": key.currency.as_str(),
            "sums": usage.columns(),
        })
    };
    serde_json::Value::from_iter(rows.iter().map(row)).to_string()
}
