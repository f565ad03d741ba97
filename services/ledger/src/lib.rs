//! The store as what a desk of remedies stands on: its audit, its leases, and the check that everything still adds up.
//!
//! ```text
//! Desk ──append──▶ audit chain ┐
//!      ──hold────▶ leadership  ├─▶ Store     one for all services, so that what one writes down the others can prove
//!      ──check───▶ sums        ┘
//! ```
//!
//! The nasty invariant: **while the store is down nothing is repaired through it**, because nothing could be written down.

pub mod drills;

use async_trait::async_trait;
use loadline_domain::Timestamp;
use loadline_health::{
    audit::{AuditError, AuditLog, Entry, Record},
    remedy::{Conservation, LeaseError, Leases},
};
use loadline_store::{AuditEntry, Leadership, Note, Store};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// A store, as the desk of one process sees it.
pub struct Ledger {
    store: Arc<dyn Store>,
    /// What this process holds, by name: giving it up takes the epoch.
    held: Mutex<HashMap<String, Leadership>>,
}

impl Ledger {
    /// Over this store; nothing is asked of it yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, held: Mutex::default() }
    }
}

#[async_trait]
impl AuditLog for Ledger {
    async fn append(&self, record: Record) -> Result<Entry, AuditError> {
        let Record { actor, action, target, reason, before, after, outcome } = record;
        let note = Note { actor, action, target, reason, before, after, outcome };
        self.store.write_down(&note).await.map(entry).map_err(|error| AuditError(error.to_string()))
    }

    async fn entries(&self, after: u64, limit: u32) -> Result<Vec<Entry>, AuditError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let entries = self.store.audit(after, limit).await.map_err(|error| AuditError(error.to_string()))?;
        Ok(entries.into_iter().map(entry).collect())
    }
}

/// A hash that somebody took away fits nowhere, and neither does zero.
fn entry(stored: AuditEntry) -> Entry {
    let AuditEntry { id, at, actor, action, target, reason, before, after, outcome, previous_hash, hash } = stored;
    Entry {
        id: u64::try_from(id).unwrap_or_default(),
        at: wall(at),
        record: Record { actor, action, target, reason, before, after, outcome },
        previous_hash: previous_hash.unwrap_or_default(),
        hash: hash.unwrap_or_default(),
    }
}

fn wall(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.micros()).unwrap_or_default())
}

#[async_trait]
impl Leases for Ledger {
    async fn hold(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, LeaseError> {
        let held = self.store.lead(name, holder, ttl).await.map_err(|error| LeaseError(error.to_string()))?;
        let Some(held) = held else { return Ok(false) };
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), held);
        Ok(true)
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), LeaseError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        match held.filter(|held| held.holder == holder) {
            Some(held) => self.store.step_down(&held).await.map_err(|error| LeaseError(error.to_string())),
            None => Ok(()),
        }
    }

    async fn names(&self) -> Result<Vec<String>, LeaseError> {
        let leaders = self.store.leaders().await.map_err(|error| LeaseError(error.to_string()))?;
        Ok(leaders.into_iter().map(|leader| leader.role).collect())
    }
}

#[async_trait]
impl Conservation for Ledger {
    async fn check(&self) -> Result<(), String> {
        let sums = self.store.conservation().await.map_err(|error| error.to_string())?;
        if sums.counted == sums.usage_events && sums.unaccounted == 0 {
            return Ok(());
        }
        Err(format!("{} counted, {} in usage, {} unaccounted", sums.counted, sums.usage_events, sums.unaccounted))
    }
}
