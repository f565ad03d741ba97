//! Old days move to history, each in steps that can be repeated.
//!
//! ```text
//! export ─▶ write a part under a new token ─▶ count it again ─▶ list it and delete exactly its rows, in one transaction
//! ```
//!
//! A kill at any point leaves the day where it was, and at worst an attempt in history that nobody lists and `tidy_history` removes.

use super::ours::ensure_ours;
use crate::job::{Job, JobError, Running};
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, future::ready, stream};
use loadline_domain::{
    AccountId, Clock, Day, Hour, Timestamp,
    archive::{Part, Totals},
    event::{Channel, Country, Currency},
    usage::{Usage, UsageKey},
};
use loadline_history::{History, PartWriter, Rows};
use loadline_store::{Archivable, Archived, Exported, Store};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use uuid::Uuid;

pub const NAME: &str = "archive";

/// Tries of a day that late events keep changing; then it is left to the next run.
const TRIES: u32 = 5;
/// Days under way at once: some are read and written while others are synced, counted again or deleted. Four are a tenth faster than two.
pub const AT_ONCE: usize = 4;

pub struct ArchiveDays {
    pub store: Arc<dyn Store>,
    pub history: Arc<dyn History>,
    pub clock: Arc<dyn Clock>,
    /// Days that stay in the store, today not counted.
    pub keep_days: u32,
}

#[async_trait]
impl Job for ArchiveDays {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "Moves days older than rollup.hot_days to history. Parameter `keep_days` (number) keeps another number of days this once."
    }

    fn check(&self, parameters: &Value) -> Result<(), String> {
        keep_days(parameters).map(drop)
    }

    async fn run(&self, run: &Running) -> Result<Value, JobError> {
        let keep = keep_days(&run.parameters()).map_err(JobError::Refused)?.unwrap_or(self.keep_days);
        let before = first_hot_day(self.clock.now(), keep);
        ensure_ours(&*self.store, &*self.history).await?;
        let days = self.store.archivable(before).await?;
        let total = days.len() as u64;
        // After a failure, or when it was asked to end, no day is begun any more, and those under way are finished.
        let failed = AtomicBool::new(false);
        let days = stream::iter(days.into_iter().enumerate()).take_while(|_| ready(!failed.load(Ordering::Relaxed)));
        let mut moving = days
            .map(|(begun, day)| async move {
                run.step(begun as u64, Some(total), day.day.to_string()).await?;
                self.archive(run, day).await
            })
            .buffer_unordered(AT_ONCE);
        let (mut archived, mut events, mut failure) = (0, 0, None);
        while let Some(moved) = moving.next().await {
            match moved {
                Ok(day) => {
                    archived += u64::from(day.is_some());
                    events += day.map_or(0, |totals| totals.hourly[0]);
                }
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    failure.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        run.step(total, Some(total), "tidying the store").await?;
        self.store.drop_empty_days(before).await?;
        run.step(total, Some(total), "done").await?;
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        Ok(json!({ "before": before.to_string(), "days": archived, "left": total - archived, "events": events }))
    }
}

/// The first day that is not archived when so many whole days stay.
pub fn first_hot_day(now: Timestamp, keep_days: u32) -> Day {
    Day::from_index(now.day().index().saturating_sub_unsigned(keep_days))
}

fn keep_days(parameters: &Value) -> Result<Option<u32>, String> {
    let wrong = || "takes `keep_days` only, from 1 to 36500".to_owned();
    let object = parameters.as_object().ok_or_else(wrong)?;
    if object.keys().any(|key| key != "keep_days") {
        return Err(wrong());
    }
    let days = object.get("keep_days").map(|days| days.as_u64().filter(|days| (1..=36_500).contains(days)).ok_or_else(wrong));
    Ok(days.transpose()?.map(|days| days as u32))
}

impl ArchiveDays {
    /// What was moved; `None` when the day changed under every try.
    async fn archive(&self, run: &Running, day: Archivable) -> Result<Option<Totals>, JobError> {
        for _ in 0..TRIES {
            let part = Part { day: day.day, number: day.number, token: Uuid::now_v7().to_string() };
            let sent = export(&*self.store, &*self.history, &part).await?;
            let found = self.history.totals(&part).await?;
            if found != sent {
                let detail = format!("history does not hold what it was given for {}: sent {sent:?}, found {found:?}", day.day);
                return Err(JobError::Refused(detail));
            }
            match self.store.archive(&run.leadership, &part, &sent).await? {
                Archived::Done | Archived::Already => return Ok(Some(sent)),
                Archived::Moved { .. } => {
                    tracing::info!(day = %day.day, "the day changed while it was archived; writing it again")
                }
            }
        }
        Ok(None)
    }
}

/// Writes a day's hot rows into history as a part that nobody lists yet; returns what was sent.
///
/// # Errors
/// Of the store, of history, and a day whose sums leave 64 bits.
pub async fn export(store: &dyn Store, history: &dyn History, part: &Part) -> Result<Totals, JobError> {
    let mut writer = history.begin(part).await?;
    let mut exported = store.export_day(part.day).await?;
    let mut daily = Daily::default();
    while let Some(rows) = exported.try_next().await? {
        match rows {
            Exported::Hourly(rows) => {
                daily.add(&mut *writer, &rows).await?;
                writer.write(Rows::Hourly(rows)).await?;
            }
            Exported::Latency(rows) => writer.write(Rows::Latency(rows)).await?,
        }
    }
    daily.finish(&mut *writer).await?;
    Ok(writer.finish().await?)
}

/// Rows of the day written at once.
const CHUNK: usize = 8_192;

/// Rows of the day, added up from its hours, one account at a time: hours come by account.
#[derive(Default)]
struct Daily {
    /// Whose hours come, and the first hour of their day.
    account: Option<(AccountId, Hour)>,
    /// Of that account, in the order of keys.
    sums: BTreeMap<(Channel, Country, Currency), Usage>,
    /// Of accounts whose hours have all come.
    whole: Vec<(UsageKey, Usage)>,
}

impl Daily {
    async fn add(&mut self, writer: &mut dyn PartWriter, hours: &[(UsageKey, Usage)]) -> Result<(), JobError> {
        for (key, usage) in hours {
            if self.account.as_ref().is_none_or(|(account, _)| *account != key.account) {
                self.end_account();
                self.account = Some((key.account.clone(), key.hour.day().first_hour()));
            }
            let sum = self.sums.entry((key.channel, key.country, key.currency)).or_default();
            let overflow = || JobError::Refused(format!("the day of {} does not fit 64 bits", key.account));
            *sum = sum.checked_add(*usage).ok_or_else(overflow)?;
        }
        if self.whole.len() >= CHUNK { self.write(writer).await } else { Ok(()) }
    }

    async fn finish(&mut self, writer: &mut dyn PartWriter) -> Result<(), JobError> {
        self.end_account();
        self.write(writer).await
    }

    fn end_account(&mut self) {
        let Some((account, hour)) = self.account.take() else { return };
        for ((channel, country, currency), usage) in std::mem::take(&mut self.sums) {
            self.whole.push((UsageKey { account: account.clone(), hour, channel, country, currency }, usage));
        }
    }

    async fn write(&mut self, writer: &mut dyn PartWriter) -> Result<(), JobError> {
        let rows = std::mem::take(&mut self.whole);
        if !rows.is_empty() {
            writer.write(Rows::Daily(rows)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_stay_hot_beside_today() {
        let now = "2026-11-21T23:59:59Z".parse().unwrap();
        assert_eq!(first_hot_day(now, 90).to_string(), "2026-08-23");
        assert_eq!(first_hot_day(now, 1).to_string(), "2026-11-20");
    }

    #[test]
    fn parameters_it_does_not_know_are_refused() {
        assert_eq!(keep_days(&json!({})), Ok(None));
        assert_eq!(keep_days(&json!({ "keep_days": 30 })), Ok(Some(30)));
        for wrong in [json!({ "keep_days": 0 }), json!({ "keep_days": "30" }), json!({ "keep": 30 }), json!([]), json!(null)] {
            assert!(keep_days(&wrong).is_err(), "{wrong}");
        }
    }
}
