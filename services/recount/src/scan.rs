//! Reading back the part of the log that can hold events of a span, as far as it was counted.
//!
//! A record of an event of hour `h` was taken by the log after `h` began, less the tolerance for clocks that are ahead, and
//! before `h` ended, plus the longest dedup horizon: earlier and later ones were refused.

use crate::{
    Letters, Recount, Span,
    count::Counted,
    recounted::{Doubt, Recounted, Scanned, forgotten_letters},
};
use loadline_domain::{
    Hour, Record, Rules, Sequence, StreamName, Timestamp,
    progress::{Progress, SET_BACK, SetBack},
};
use loadline_event_log::{Bounds, Entry, EventLog, LogError, ReadLimit, ensure_held};
use loadline_store::{AsOf, Store, StoreError};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// Read at once.
const LIMIT: ReadLimit = ReadLimit { records: 5_000, bytes: 4 * 1024 * 1024 };
/// What is applied is in the log: it need not be waited for long.
const WAIT: Duration = Duration::from_secs(2);

/// What is recounted from, and by which rules it was counted.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Where the records are.
    pub log: &'a dyn EventLog,
    /// Where their keys and dead letters are.
    pub store: &'a dyn Store,
    /// The rules that ingest counts by.
    pub rules: &'a Rules,
}

/// How much a recount may take. What it does not get to is a doubt.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most records read.
    pub records: u64,
    /// Most identities held; each is up to 150 bytes.
    pub identities: usize,
    /// Most dead letters of a kind looked through.
    pub letters: usize,
    /// When to have ended.
    pub deadline: Option<Instant>,
    /// Letters resolved before this may have been deleted; `None` when they are kept for ever.
    pub letters_since: Option<Timestamp>,
}

/// Why there is no recount.
#[derive(Debug, thiserror::Error)]
pub enum RecountError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The span has more identities than may be held; a shorter one has fewer.
    #[error("more than {most} events would have to be held in memory")]
    TooMany {
        /// The limit.
        most: usize,
        /// Records read until then.
        read: u64,
    },
}

/// Counts a span again, up to the positions of the snapshot that `as_of` is from.
///
/// # Errors
/// [`RecountError::TooMany`], or a backend that does not answer. What the log no longer has is no error but a doubt.
pub async fn recount(sources: Sources<'_>, span: Span, as_of: &AsOf, limits: Limits) -> Result<Recounted, RecountError> {
    let Sources { store, rules, .. } = sources;
    let letters = Letters::of(store, &span, rules, limits.letters).await?;
    let past = store.past_progress().await?;
    let mut scan = Scan::new(sources, span, limits, letters);
    past.iter().for_each(|past| scan.doubt_past(past));
    for progress in &as_of.progress {
        scan.stream(progress).await?;
    }
    Ok(scan.finish(as_of))
}

/// A scan of all streams, one after the other.
struct Scan<'a> {
    sources: Sources<'a>,
    span: Span,
    recount: Recount,
    letters: Letters,
    limits: Limits,
    /// Records of interest were taken from here on …
    earliest: Timestamp,
    /// … to here.
    latest: Timestamp,
    read: u64,
    scanned: Vec<Scanned>,
    doubts: Vec<Doubt>,
    surplus_doubts: Vec<Doubt>,
}

/// Whether to read on.
enum Step {
    Next(Sequence),
    Done,
}

/// Where reading a stream begins.
struct Entrance {
    first: Sequence,
    /// The record before it, which would show that none is missing in between, is gone.
    after_hole: bool,
    bounds: Bounds,
}

impl<'a> Scan<'a> {
    fn new(sources: Sources<'a>, span: Span, limits: Limits, letters: Letters) -> Self {
        Self {
            sources,
            recount: Recount::new(span.clone()),
            letters,
            limits,
            earliest: sources.rules.earliest_append(span.from).minus(SET_BACK),
            latest: sources.rules.latest_append(span.to).plus(SET_BACK),
            span,
            read: 0,
            scanned: Vec::new(),
            doubts: Vec::new(),
            surplus_doubts: Vec::new(),
        }
    }

    /// Reads one stream up to what was applied.
    async fn stream(&mut self, progress: &Progress) -> Result<(), RecountError> {
        if let Some(set_back) = progress.set_back {
            self.doubt_set_back(&progress.stream, set_back).await?;
        }
        // All that was applied is too old for the span.
        if progress.applied_at.is_some_and(|applied_at| applied_at < self.earliest) {
            return Ok(());
        }
        let stream = &progress.stream;
        let entrance = match self.entrance(stream).await {
            Ok(entrance) if entrance.bounds.incarnation != progress.incarnation => return self.gone(made_again(stream)),
            Err(error) => return self.gone(vanished(stream, error)?),
            Ok(entrance) => entrance,
        };
        // Refilled since, it holds other records than those that were counted.
        let applied = (progress.applied, progress.applied_at);
        match ensure_held(self.sources.log, stream, &progress.incarnation, applied).await {
            Err(lost @ LogError::LostItsEnd { .. }) => return self.gone(lost.to_string()),
            held => held?,
        }
        self.check_reach(progress, &entrance);
        self.check_order(progress, &entrance);
        let refused = self.letters.refused(stream, &progress.incarnation);
        let mut next = entrance.first;
        while next <= progress.applied {
            match self.step(progress, next, &refused).await? {
                Step::Next(sequence) => next = sequence,
                Step::Done => break,
            }
        }
        if next > entrance.first {
            self.scanned.push(Scanned {
                stream: stream.clone(),
                incarnation: progress.incarnation.clone(),
                first: entrance.first,
                last: (next - 1).min(progress.applied),
            });
        }
        Ok(())
    }

    async fn entrance(&self, stream: &StreamName) -> Result<Entrance, LogError> {
        let log = self.sources.log;
        let first = log.seek(stream, self.earliest).await?;
        let before = if first > 1 { log.peek(stream, first - 1).await? } else { None };
        // Asked last: where it reaches back far enough, retention had passed nothing while the first record was sought.
        let bounds = log.bounds(stream).await?;
        let after_hole = first > bounds.first && before.is_none_or(|(found, _)| found != first - 1);
        Ok(Entrance { first, after_hole, bounds })
    }

    /// Says so when the log does not reach back to the first record that could matter, for the hours that need more.
    fn check_reach(&mut self, progress: &Progress, entrance: &Entrance) {
        let stream = &progress.stream;
        if entrance.after_hole {
            self.doubt(format!("records before {} of {stream} are no longer in the log", entrance.first));
        }
        let bounds = &entrance.bounds;
        match bounds.oldest_at {
            Some(oldest_at) if oldest_at < self.earliest => {}
            // All that there ever was of this making.
            Some(_) if bounds.first == 1 => {}
            Some(oldest_at) => {
                let reach = self.reach(oldest_at);
                let why = format!(
                    "{stream} reaches back to {oldest_at} only, and hours before {} need more: retention has passed it",
                    reach.start()
                );
                self.doubts.extend(self.until(reach, why));
            }
            None if bounds.last == 0 => {}
            None => self.doubt(format!("{stream} holds no record any more: retention has passed the hour")),
        }
    }

    /// What was applied last is young enough to matter: a search that ends behind it, past records that are there, was misled by
    /// a clock that went back.
    fn check_order(&mut self, progress: &Progress, entrance: &Entrance) {
        let Bounds { first, oldest_at, .. } = entrance.bounds;
        let was_there = first <= progress.applied || oldest_at.is_some_and(|oldest_at| oldest_at < self.earliest);
        if (1..entrance.first).contains(&progress.applied) && was_there {
            self.doubt(format!(
                "records of {} are not in the order of their times: those of the hour were not found",
                progress.stream
            ));
        }
    }

    /// Of what another making of a stream was counted, the log has nothing; it may come before the present one or, where that was put
    /// back, after it.
    fn doubt_past(&mut self, past: &Progress) {
        let Progress { stream, .. } = past;
        let applied_at = past.applied_at.max(past.set_back.map(|set_back| set_back.from));
        if applied_at.is_some_and(|applied_at| applied_at < self.earliest) {
            return;
        }
        let until = applied_at.map_or(self.span.to, |applied_at| self.reach(applied_at));
        let why = format!("{stream} was made again since: the store may hold what was counted before");
        self.surplus_doubts.extend(self.until(until, why));
    }

    /// Where the log's clock went back, and as long as the log has records of before that, they are not in the order of their times:
    /// some may be out of sight of a search by time. When it has none any more, it has lost what came before, whatever the time of
    /// its oldest record.
    async fn doubt_set_back(&mut self, stream: &StreamName, set_back: SetBack) -> Result<(), RecountError> {
        let SetBack { to, from, applied } = set_back;
        if to > self.latest || from < self.earliest {
            return Ok(());
        }
        let first = match self.sources.log.bounds(stream).await {
            Ok(bounds) => bounds.first,
            Err(LogError::StreamNotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let went_back = format!("the clock of {stream} went back from {from} to {to}");
        if first <= applied {
            self.surplus_doubts
                .extend(self.until(self.span.to, format!("{went_back}: records of the hour may be anywhere in it")));
        } else {
            let reach = self.reach(from);
            self.doubts.extend(self.until(reach, format!("{went_back}, and what came before that is no longer in the log")));
        }
        Ok(())
    }

    /// The first hour whose records were all taken after `oldest_at`.
    fn reach(&self, oldest_at: Timestamp) -> Hour {
        oldest_at.plus(self.sources.rules.future_tolerance).hour().next()
    }

    fn until(&self, hour: Hour, why: String) -> Option<Doubt> {
        let to = hour.min(self.span.to);
        (to > self.span.from).then_some(Doubt { from: self.span.from, to, why })
    }

    /// About the whole span: what is missing may have held events of any of its hours.
    fn doubt(&mut self, why: String) {
        self.doubts.push(Doubt { from: self.span.from, to: self.span.to, why });
    }

    fn gone(&mut self, why: String) -> Result<(), RecountError> {
        self.doubt(why);
        Ok(())
    }

    async fn step(&mut self, progress: &Progress, from: Sequence, refused: &HashSet<Sequence>) -> Result<Step, RecountError> {
        let stream = &progress.stream;
        let left = self.limits.records.saturating_sub(self.read);
        if left == 0 {
            let most = self.limits.records;
            self.doubt(format!("more than {most} records would have to be read; {stream} was read up to {}", from - 1));
            return Ok(Step::Done);
        }
        let entries = match self.entries(progress, from, left).await? {
            Ok(entries) => entries,
            Err(why) => {
                self.doubt(format!("{why}; {stream} was read up to {}", from - 1));
                return Ok(Step::Done);
            }
        };
        let Some(last) = entries.last().map(Entry::last) else {
            self.doubt(format!("{stream} gave nothing after {}", from - 1));
            return Ok(Step::Done);
        };
        self.read += entries.len() as u64;
        let records = self.counted_records(progress, entries);
        // All of them: where the log's clock was ahead for a while, a single time says nothing.
        let past = !records.is_empty() && records.iter().all(|record| record.recorded_at > self.latest);
        self.count(&records, refused).await?;
        // Nothing of interest follows: as good as read to the end.
        Ok(if past { Step::Next(progress.applied + 1) } else { Step::Next(last + 1) })
    }

    /// What comes next, at most `left`; or why nothing does.
    async fn entries(&self, progress: &Progress, from: Sequence, left: u64) -> Result<Result<Vec<Entry>, String>, LogError> {
        let limit = ReadLimit { records: LIMIT.records.min(usize::try_from(left).unwrap_or(usize::MAX)), ..LIMIT };
        let reading = self.sources.log.read(&progress.stream, &progress.incarnation, from, limit, WAIT);
        let read = match self.limits.deadline {
            Some(deadline) => match timeout_at(deadline, reading).await {
                Ok(read) => read,
                Err(_) => return Ok(Err("time was up".to_owned())),
            },
            None => reading.await,
        };
        match read {
            Ok(entries) => Ok(Ok(entries)),
            Err(error) => vanished(&progress.stream, error).map(Err),
        }
    }

    /// The records among entries that were applied; holes are told.
    fn counted_records(&mut self, progress: &Progress, entries: Vec<Entry>) -> Vec<Record> {
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Entry::Record(record) if record.sequence <= progress.applied => records.push(record),
                Entry::Lost(loss) if loss.first <= progress.applied => {
                    self.doubt(format!(
                        "records {} to {} of {} are no longer in the log",
                        loss.first, loss.last, progress.stream
                    ));
                }
                Entry::Record(_) | Entry::Lost(_) => {}
            }
        }
        records
    }

    async fn count(&mut self, records: &[Record], refused: &HashSet<Sequence>) -> Result<(), RecountError> {
        let candidates = self.recount.judge(records, self.sources.rules, refused);
        let strangers = self.recount.strangers(&candidates);
        let known = if strangers.is_empty() { HashMap::new() } else { self.sources.store.known(&strangers).await? };
        self.recount.settle(&candidates, &known);
        let most = self.limits.identities;
        if self.recount.identities() > most {
            return Err(RecountError::TooMany { most, read: self.read });
        }
        Ok(())
    }

    fn finish(mut self, as_of: &AsOf) -> Recounted {
        if self.letters.too_many {
            self.doubt("too many redriven dead letters to look through".to_owned());
        }
        if as_of.lost > 0 {
            let lost = as_of.lost;
            self.doubt(format!("{lost} records that may have belonged to the hour were lost before they were counted"));
        }
        let hours = (self.span.from, self.span.to);
        let forgotten =
            self.limits.letters_since.and_then(|since| forgotten_letters(hours, since, self.sources.rules.future_tolerance));
        self.surplus_doubts.extend(forgotten);
        let Counted { rows, keyless, untimely, full, duplicates, dead_letters } = self.recount.finish();
        Recounted {
            rows,
            duplicates,
            dead_letters,
            scanned: self.scanned,
            read: self.read,
            doubts: self.doubts,
            surplus_doubts: self.surplus_doubts,
            redriven: self.letters.redriven,
            keyless,
            untimely,
            full,
        }
    }
}

fn made_again(stream: &StreamName) -> String {
    format!("{stream} was made again since: what was counted from it is no longer in the log")
}

/// Why a stream is no longer what was counted; other errors stay errors.
fn vanished(stream: &StreamName, error: LogError) -> Result<String, LogError> {
    match error {
        LogError::Recreated { .. } => Ok(made_again(stream)),
        LogError::StreamNotFound(_) => Ok(format!("{stream} is no longer in the log")),
        lost @ LogError::LostItsEnd { .. } => Ok(lost.to_string()),
        error => Err(error),
    }
}
