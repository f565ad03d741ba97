//! Dedup tables are made ahead of their day, and dropped when no record still to come can need them.

use crate::job::{Job, JobError, Running};
use async_trait::async_trait;
use jiff::civil;
use loadline_domain::{
    Clock, Day, Rules, StreamName, Timestamp,
    completeness::{self, Reading},
    identity::Kind,
    progress::Progress,
};
use loadline_event_log::{EventLog, LogError};
use loadline_store::{Purgeable, Store};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

pub const NAME: &str = "purge_dedup";

/// How long after its last record the log's clock is taken to be what others say. What is kept for longer is kept for nothing.
const IDLE: Duration = Duration::from_secs(3_600);

/// Days made ahead, beside today's: enough for a weekend without this job.
const AHEAD: i32 = 3;

pub struct PurgeDedup {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn EventLog>,
    pub clock: Arc<dyn Clock>,
    pub streams: Vec<StreamName>,
    pub rules: Rules,
}

#[async_trait]
impl Job for PurgeDedup {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "Makes the dedup tables of the next days, and drops those past their horizon. Parameter `tables` (names): makes none, and \
         drops only these, if they are past it."
    }

    fn check(&self, parameters: &Value) -> Result<(), String> {
        Asked::read(parameters).map(drop)
    }

    async fn run(&self, run: &Running) -> Result<Value, JobError> {
        let only = Asked::read(&run.parameters()).map_err(JobError::Refused)?.tables;
        let made = if only.is_none() { self.make_ahead().await? } else { 0 };
        let mut past = past_horizon(&*self.store, &*self.log, &self.streams, &self.rules, self.clock.now()).await?;
        past.retain(|table| only.as_ref().is_none_or(|only| only.contains(&table.name)));
        let total = past.len() as u64;
        let (mut dropped, mut rows) = (0, 0);
        for (done, table) in past.into_iter().enumerate() {
            run.step(done as u64, Some(total), format!("dropping {}", table.name)).await?;
            if self.store.purge(&run.leadership, table.partition).await? {
                dropped += 1;
                rows += table.rows;
            }
        }
        run.step(total, Some(total), "done").await?;
        Ok(json!({ "made": made, "dropped": dropped, "rows": rows }))
    }
}

/// What a run is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    tables: Option<BTreeSet<String>>,
}

impl Asked {
    fn read(parameters: &Value) -> Result<Self, String> {
        let wrong = || "takes `tables` only, a list of names of dedup tables".to_owned();
        parameters.as_object().ok_or_else(wrong)?;
        let asked = Self::deserialize(parameters).map_err(|_| wrong())?;
        match asked.tables.iter().flatten().find(|name| !is_table(name)) {
            Some(other) => Err(format!("`tables` has {other:?}; dedup tables have names such as dedup_billing_20261121")),
            None => Ok(asked),
        }
    }
}

/// Whether a dedup table may be called so: by a kind and a day. One that is gone, or not made yet, is no mistake.
fn is_table(name: &str) -> bool {
    let parts = name.strip_prefix("dedup_").and_then(|rest| rest.split_once('_'));
    parts.is_some_and(|(kind, day)| {
        Kind::ALL.iter().any(|known| known.as_str() == kind) && day.len() == 8 && day.parse::<civil::Date>().is_ok()
    })
}

impl PurgeDedup {
    async fn make_ahead(&self) -> Result<u64, JobError> {
        let today = self.clock.now().day();
        Ok(self.store.prepare_partitions(today, Day::from_index(today.index() + AHEAD)).await?)
    }
}

/// Tables that no record still to come can need, given how far every stream is counted.
///
/// # Errors
/// Without the log nobody knows what is still to come.
pub async fn past_horizon(
    store: &dyn Store,
    log: &dyn EventLog,
    streams: &[StreamName],
    rules: &Rules,
    now: Timestamp,
) -> Result<Vec<Purgeable>, JobError> {
    let progress = store.all_progress().await?;
    let mut readings = Vec::new();
    for stream in streams {
        let progress = progress.iter().find(|progress| progress.stream == *stream);
        readings.push(Reading {
            applied_at: progress.and_then(|progress| progress.applied_at),
            caught_up: caught_up(log, stream, progress).await?,
        });
    }
    // A stream that is no longer configured may come back, with what it held then.
    let gone = progress.iter().filter(|progress| !streams.contains(&progress.stream));
    for progress in gone {
        let there = caught_up(log, &progress.stream, Some(progress)).await?;
        readings.push(Reading { applied_at: progress.applied_at, caught_up: there });
    }
    // A clock that is ahead must not drop what the log's clock still needs: neither the store's nor the log's says so.
    let newest = readings.iter().filter_map(|reading| reading.applied_at).max();
    let now = now.min(store.now().await?).min(newest.map_or(now, |newest| newest.plus(IDLE)));
    let through = completeness::counted_through(readings, now).fully;
    Ok(store.purgeable(rules, through).await?)
}

async fn caught_up(log: &dyn EventLog, stream: &StreamName, progress: Option<&Progress>) -> Result<bool, LogError> {
    match log.bounds(stream).await {
        Ok(bounds) => Ok(progress
            .map_or(bounds.last == 0, |progress| progress.incarnation == bounds.incarnation && progress.applied >= bounds.last)),
        Err(LogError::StreamNotFound(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_it_does_not_know_are_refused() {
        assert_eq!(Asked::read(&json!({})).unwrap().tables, None);
        let (a, b) = ("dedup_billing_20261121", "dedup_receipt_20240229");
        let asked = Asked::read(&json!({ "tables": [a, b, a] })).unwrap();
        assert_eq!(asked.tables, Some([a.to_owned(), b.to_owned()].into()));
        for wrong in [json!({ "tables": "a" }), json!({ "tables": [1] }), json!({ "days": 3 }), json!([]), json!(null)] {
            assert!(Asked::read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_no_dedup_table_is_called_is_refused_with_how_they_are() {
        for other in [
            "",
            "usage_hour",
            "dedup_permanent",
            "dedup_billing",
            "dedup_sms_20261121",
            "dedup_billing_20260230",
            "dedup_billing_2026-1-1",
        ] {
            let refused = Asked::read(&json!({ "tables": ["dedup_billing_20261121", other] })).err().unwrap();
            assert!(refused.contains(&format!("{other:?}")) && refused.contains("such as dedup_billing_"), "{refused}");
        }
    }
}
