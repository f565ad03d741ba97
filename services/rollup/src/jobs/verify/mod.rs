//! Hours counted again from the log and compared with the store; what differs beyond doubt is told and, when asked, repaired.
//!
//! ```text
//! rows and positions, one snapshot ─▶ recount up to these positions ─▶ equal │ unknown │ different ─▶ repair, if asked
//! ```
//!
//! Ingest goes on meanwhile: both sides are of the same records. Hours are taken a day at a time, or fewer when a day's events
//! do not fit into memory. A repair is one transaction an account-hour, fenced and refused when the rows are not those compared
//! any more; a killed run compares again, and what was repaired is equal then. Afterwards whole days are held against their hours.

mod asked;
mod days;
mod findings;
mod report;

pub use findings::{Open, What, open_now};

use super::archive::first_hot_day;
use crate::job::{Job, JobError, Running};
use asked::{Asked, Repairs, default_day};
use async_trait::async_trait;
use days::Days;
use findings::{Known, Sighting, known_now, left_open, open_after};
use loadline_domain::{AccountId, Clock, Day, Hour, Rules, Timestamp, progress::Progress};
use loadline_event_log::EventLog;
use loadline_recount::{Compared, Limits, RecountError, Recounted, Rows, Sources, Span, Verdict, compare, recount};
use loadline_settings::VerifySettings;
use loadline_store::{Held, Note, Repair, Repaired, Store, StoreError};
use report::Report;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub const NAME: &str = "verify";

/// Hours compared at once, when their events fit into memory.
const HOURS: u32 = 24;
/// Rows of the store compared at once, up to 200 bytes each on either side.
const ROWS: u32 = 500_000;
/// Dead letters of a kind that are looked through for each comparison.
const LETTERS: usize = 500_000;
/// Hours before the default day that are made up for after runs that failed: the log is rarely kept longer.
const MISSED: i32 = 48;
/// Most days that are held against their hours without being asked for.
const MOST_DAYS: u32 = 1_000;
/// How often a long comparison asks whether it should end.
const PULSE: Duration = Duration::from_secs(1);

pub struct Verify {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn EventLog>,
    pub clock: Arc<dyn Clock>,
    pub rules: Rules,
    pub settings: VerifySettings,
    /// Days that stay in the store, today not counted.
    pub hot_days: u32,
    /// Age at which resolved dead letters are deleted.
    pub letters_kept: Duration,
}

/// Hours on both sides, or why they are not.
enum Sides {
    Both { held: Rows, recounted: Box<Recounted>, positions: String },
    TooMuch { why: String, read: u64 },
    NotLookedAt(String),
}

#[async_trait]
impl Job for Verify {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "Counts hours again from the log and tells where the store differs. Parameters: `from` and `to` (hours, RFC 3339; \
         without them the last whole UTC day, and up to two before it that were missed), `account` (all without it), `repair` \
         (true replaces what differs beyond doubt, with an audit entry), `repair_at_most` (account-hours and account-days), \
         `repair_only` (`hours` or `days`), `repair_found` (true: only what older runs list), `accept` (why older findings of the \
         range are taken as they are, for those that nobody can repair any more). Daily rows are held against their hours: those \
         of the whole days asked for, without `from` and `to` those of every day that is not archived. Archived days are neither \
         compared nor repaired."
    }

    fn check(&self, parameters: &Value) -> Result<(), String> {
        Asked::read(parameters, self.clock.now()).map(drop)
    }

    async fn run(&self, run: &Running) -> Result<Value, JobError> {
        let now = self.clock.now();
        let asked = Asked::read(&run.parameters(), now).map_err(JobError::Refused)?;
        let Known { turn, open: older, through } = known_now(&*self.store).await?;
        let turn = turn + 1;
        let (from, to) = match asked.range {
            Some(range) => range,
            None => self.default_hours(now, through).await?,
        };
        if let Some(why) = &asked.accept {
            return self.accept(run, (from.start(), to.start()), asked.account.as_ref(), why, (turn, older)).await;
        }
        self.refuse_archived(from, to).await?;
        let (first, end) = self.whole_days(&asked, from, to).await?;
        let hours = (to.index() - from.index()) as u64;
        let total = hours + (end.index() - first.index()) as u64;
        let account = asked.account.as_ref();
        let hours_seen = Sighting::over(What::Hours, (from.start(), to.start()), account, &older);
        // Days before the oldest hot one are archived, and nothing is wrong with them any more.
        let days_from = if asked.range.is_some() { first } else { Timestamp::EARLIEST.day() };
        let mut report = Report::new(hours_seen, Days::between(days_from, end, account, &older));
        let (mut at, mut size) = (from, HOURS);
        while at < to {
            let end = Hour::from_index(at.index() + size as i32).min(to);
            let span = Span { account: asked.account.clone(), from: at, to: end };
            let note = format!("comparing from {}", at.start());
            run.step(report.hours, Some(total), &*note).await?;
            let done = report.hours;
            let compared = async {
                let sides = self.sides(&span, &report).await?;
                self.take(run, asked.repairs, &span, sides, &mut report).await
            };
            // A repair that is cut off is whole or was none.
            let taken = tokio::select! {
                taken = compared => taken?,
                ended = pulse(run, done, total, &note) => return Err(ended),
            };
            if taken {
                report.hours += u64::from(span.hours());
                at = end;
            } else {
                size = span.hours() / 2;
            }
        }
        let hours_open = left_open(older.clone(), &report.sighting);
        for day in (first.index()..end.index()).map(Day::from_index) {
            let (done, note) = (hours + (day.index() - first.index()) as u64, format!("holding {day} against its hours"));
            run.step(done, Some(total), &*note).await?;
            let repairs = (asked.repairs, report.repaired + report.days.repaired);
            tokio::select! {
                looked = report.days.look(&*self.store, run, account, day, (&report.suspect, &hours_open), repairs) => looked?,
                ended = pulse(run, done, total, &note) => return Err(ended),
            }
        }
        run.step(total, Some(total), "done").await?;
        let open = open_after(older, &[&report.sighting, &report.days.sighting]);
        Ok(report.told(from, to, account.map(AccountId::as_str), turn, &open))
    }
}

impl Verify {
    /// Settles what older runs found within a range, without looking.
    async fn accept(
        &self,
        run: &Running,
        (from, to): (Timestamp, Timestamp),
        account: Option<&AccountId>,
        why: &str,
        (turn, older): (u64, Vec<Open>),
    ) -> Result<Value, JobError> {
        let over = |what| Sighting::over(what, (from, to), account, &older);
        let open = open_after(older.clone(), &[&over(What::Hours), &over(What::Days)]);
        let count = |open: &[Open]| open.iter().map(|open| open.count).sum::<u64>();
        let accepted = count(&older) - count(&open);
        if accepted > 0 {
            let note = Note {
                actor: run.run.asked.requested_by.clone(),
                action: "accept_findings".to_owned(),
                target: account.map_or_else(|| format!("{from}/{to}"), |account| format!("{from}/{to} {account}")),
                reason: format!("verify run {}: {why}", run.run.id),
                before: json!(older).to_string(),
                after: json!(open).to_string(),
                outcome: format!("{accepted} accepted"),
            };
            self.store.write_down(&note).await?;
        }
        Ok(
            json!({ "from": from, "to": to, "account": account.map(AccountId::as_str), "accepted": accepted, "turn": turn, "open": open }),
        )
    }

    /// The default day, and what runs before this one did not get to.
    async fn default_hours(&self, now: Timestamp, through: Option<Timestamp>) -> Result<(Hour, Hour), JobError> {
        let (day, to) = default_day(now, &self.rules);
        let missed = through.map_or(day, |through| through.hour().clamp(Hour::from_index(day.index() - MISSED), day));
        let archived = newest_archived(&*self.store, missed, to).await?;
        Ok((archived.map_or(missed, |newest| newest.end().hour().clamp(missed, day)), to))
    }

    /// The days that are held against their hours, to before the second: those within what is asked for, or all hot ones.
    async fn whole_days(&self, asked: &Asked, from: Hour, to: Hour) -> Result<(Day, Day), JobError> {
        let (first, end) = (Hour::from_index(from.index() + 23).day(), to.day());
        if asked.range.is_some() {
            return Ok((first, end.max(first)));
        }
        // A day that lost all its daily rows is not among those that can be archived.
        let oldest = first_hot_day(self.clock.now(), self.hot_days.min(MOST_DAYS)).min(first);
        let hot = self.store.archivable(oldest).await?;
        Ok((hot.first().map_or(oldest, |oldest| oldest.day), end.max(first)))
    }

    async fn refuse_archived(&self, from: Hour, to: Hour) -> Result<(), JobError> {
        let Some(newest) = newest_archived(&*self.store, from, to).await? else { return Ok(()) };
        let after = Day::from_index(newest.index() + 1).start();
        Err(JobError::Refused(format!(
            "days up to {newest} are archived: they are in history, which is neither compared with the log nor repaired; ask \
             from {after} on, or settle a finding about them with `accept`"
        )))
    }

    /// Both sides of a span. The snapshot comes first: what it lists as applied is all that is read.
    async fn sides(&self, span: &Span, report: &Report) -> Result<Sides, JobError> {
        let most = self.settings.max_records;
        if report.records >= most {
            let why = format!("more than {most} records would have to be read, which is rollup.verify.max_records");
            return Ok(Sides::NotLookedAt(why));
        }
        let Some(held) = self.store.held(span.account.as_ref(), span.from, span.to, ROWS).await? else {
            return Ok(Sides::TooMuch { why: format!("the store has more than {ROWS} rows of the hour"), read: 0 });
        };
        let Held { rows, as_of } = held;
        if !as_of.sources.parts.is_empty() {
            return Ok(Sides::NotLookedAt("the day was archived meanwhile".to_owned()));
        }
        let limits = Limits {
            records: most - report.records,
            identities: self.settings.max_events,
            letters: LETTERS,
            deadline: None,
            letters_since: Some(self.clock.now().minus(self.letters_kept)),
        };
        let sources = Sources { log: &*self.log, store: &*self.store, rules: &self.rules };
        match recount(sources, span.clone(), &as_of, limits).await {
            Ok(recounted) => Ok(Sides::Both {
                held: rows.into_iter().collect(),
                recounted: Box::new(recounted),
                positions: positions(&as_of.progress),
            }),
            Err(error @ RecountError::TooMany { read, .. }) => Ok(Sides::TooMuch { why: error.to_string(), read }),
            Err(RecountError::Store(error)) => Err(error.into()),
            Err(RecountError::Log(error)) => Err(error.into()),
        }
    }

    /// Notes what both sides of a span show; false when it has to be taken in smaller pieces.
    async fn take(
        &self,
        run: &Running,
        repairs: Repairs,
        span: &Span,
        sides: Sides,
        report: &mut Report,
    ) -> Result<bool, JobError> {
        match sides {
            Sides::Both { held, recounted, positions } => {
                report.records += recounted.read;
                if !recounted.is_beyond_doubt() {
                    report.sighting.all_told = false;
                }
                // What was found before and has rows on neither side may be what the log has forgotten.
                for compared in compare(&held, &recounted, report.sighting.known_hours(span)) {
                    self.settle(run, repairs, &compared, &positions, report).await?;
                }
            }
            Sides::TooMuch { why, read } => {
                report.records += read;
                if span.hours() > 1 {
                    return Ok(false);
                }
                report.not_looked_at(span.from, &why);
            }
            Sides::NotLookedAt(why) => {
                (span.from.index()..span.to.index()).for_each(|hour| report.not_looked_at(Hour::from_index(hour), &why));
            }
        }
        Ok(true)
    }

    /// Notes what an account-hour shows, and puts it right if that is beyond doubt and `repairs` allow it.
    async fn settle(
        &self,
        run: &Running,
        repairs: Repairs,
        compared: &Compared,
        positions: &str,
        report: &mut Report,
    ) -> Result<(), JobError> {
        match &compared.verdict {
            Verdict::Equal => report.equal += 1,
            Verdict::Unknown(reasons) => report.cannot_tell(compared, reasons),
            Verdict::Short(reasons) => report.is_short(compared, reasons),
            Verdict::Different => {
                report.differs(compared);
                let (account, hour) = &compared.place;
                let allowed = repairs.allow(What::Hours, report.repaired, report.sighting.lists(account, hour.start()));
                let repaired = allowed && self.repair(run, compared, positions, report).await?;
                if !repaired {
                    report.stays_wrong(account, *hour);
                }
            }
        }
        Ok(())
    }

    /// False when the hour changed after it was compared.
    async fn repair(&self, run: &Running, compared: &Compared, positions: &str, report: &mut Report) -> Result<bool, JobError> {
        let rows = |rows: &Rows| rows.iter().map(|(key, usage)| (key.clone(), *usage)).collect();
        let repair = Repair {
            account: compared.place.0.clone(),
            hour: compared.place.1,
            found: rows(&compared.stored),
            recounted: rows(&compared.recounted),
            reason: format!("verify run {}: counted again from the log up to {positions}", run.run.id),
            actor: run.run.asked.requested_by.clone(),
        };
        match self.store.repair(&run.leadership, &repair).await? {
            Repaired::Done { .. } => {
                tracing::warn!(account = %repair.account, hour = %repair.hour.start(), run = %run.run.id, "usage repaired");
                report.repaired += 1;
                Ok(true)
            }
            Repaired::Moved { .. } => {
                report.moved += 1;
                Ok(false)
            }
        }
    }
}

/// The last day of some hours that is archived.
///
/// # Errors
/// Those of the store.
pub async fn newest_archived(store: &dyn Store, from: Hour, to: Hour) -> Result<Option<Day>, StoreError> {
    let parts = store.parts(from.day(), Hour::from_index(to.index() - 1).day()).await?;
    Ok(parts.iter().map(|listed| listed.part.day).max())
}

/// Says again how far it is, and returns only when the run is to end: cancelled, or no longer ours.
async fn pulse(run: &Running, done: u64, total: u64, note: &str) -> JobError {
    loop {
        tokio::time::sleep(PULSE).await;
        match run.step(done, Some(total), note).await {
            // The store is away: whoever compares hears of it too.
            Ok(()) | Err(JobError::Store(StoreError::Unavailable(_))) => {}
            Err(error) => return error,
        }
    }
}

/// `BILLING 105, DLR 4`
fn positions(progress: &[Progress]) -> String {
    let positions: Vec<_> = progress.iter().map(|progress| format!("{} {}", progress.stream, progress.applied)).collect();
    positions.join(", ")
}
