//! The jobs, one a file.

mod archive;
mod daily_rollup;
mod ours;
mod purge_dedup;
mod retention;
mod tidy_history;
mod verify;

pub use archive::{AT_ONCE as DAYS_ARCHIVED_AT_ONCE, NAME as ARCHIVE, export, first_hot_day};
pub use daily_rollup::NAME as DAILY_ROLLUP;
pub use purge_dedup::{NAME as PURGE_DEDUP, past_horizon};
pub use retention::NAME as RETENTION;
pub use tidy_history::NAME as TIDY_HISTORY;
pub use verify::{NAME as VERIFY, Open as OpenFinding, What as WhatDiffers, newest_archived, open_now as findings_now};

use crate::{Parts, job::Job};
use std::sync::Arc;

/// All jobs.
pub fn all(parts: &Parts) -> Vec<Arc<dyn Job>> {
    vec![
        Arc::new(daily_rollup::DailyRollup { store: parts.store.clone() }),
        Arc::new(archive::ArchiveDays {
            store: parts.store.clone(),
            history: parts.history.clone(),
            clock: parts.clock.clone(),
            keep_days: parts.settings.hot_days,
        }),
        Arc::new(tidy_history::TidyHistory {
            store: parts.store.clone(),
            history: parts.history.clone(),
            clock: parts.clock.clone(),
        }),
        Arc::new(purge_dedup::PurgeDedup {
            store: parts.store.clone(),
            log: parts.log.clone(),
            clock: parts.clock.clone(),
            streams: parts.streams.clone(),
            rules: parts.rules,
        }),
        Arc::new(retention::Retain {
            store: parts.store.clone(),
            clock: parts.clock.clone(),
            settings: parts.settings.retention.clone(),
        }),
        Arc::new(verify::Verify {
            store: parts.store.clone(),
            log: parts.log.clone(),
            clock: parts.clock.clone(),
            rules: parts.rules,
            settings: parts.settings.verify.clone(),
            hot_days: parts.settings.hot_days,
            letters_kept: *parts.settings.retention.resolved_dead_letters,
        }),
    ]
}
