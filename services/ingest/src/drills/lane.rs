//! The stream of drills: what a drill appends there, and whether all of it was counted.

use crate::{grpc::Backends, watch::StreamStatus};
use bytes::Bytes;
use loadline_domain::{
    AccountId, AccountScope, DeadLetterReason, Hour, Sequence, StreamName, Timestamp,
    progress::Progress,
    question::{Grain, GroupBy, UsageFilter, UsageQuery},
};
use loadline_event_log::{NewRecord, Retention, StreamSpec};
use loadline_health::drill::{DrillError, Tally, until};
use loadline_ledger::drills::{ACCOUNT, event};
use loadline_settings::DRILL_STREAM;
use loadline_store::DeadLetterFilter;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Small, so that a few thousand records are many batches.
pub const BATCH_RECORDS: usize = 50;
/// As far back as hours can be counted again: what is missing from one stream leaves the hours of all accounts in doubt.
const KEPT_FOR: Duration = Duration::from_secs(35 * 24 * 3600);

/// The stream as ingest makes and owns it.
pub fn spec() -> StreamSpec {
    let name = StreamName::new(DRILL_STREAM).expect("a constant that is a name");
    let retention = Retention { max_age: Some(KEPT_FOR), max_bytes: None };
    StreamSpec { name, subject: DRILL_STREAM.to_ascii_lowercase(), retention }
}

/// The stream, past all faults.
pub struct Lane {
    pub backends: Backends,
    pub status: Arc<StreamStatus>,
    book: Mutex<Book>,
}

/// What the drill under way has appended.
#[derive(Debug, Default)]
struct Book {
    before: Option<Before>,
    /// Events that have to be counted in the end.
    countable: u64,
    /// Of them, those that a drill which was cut off discards itself.
    given_up: u64,
}

/// Where a drill begins.
#[derive(Debug, Clone)]
struct Before {
    progress: Progress,
    /// Events of its account, from an hour to an hour.
    events: i64,
    range: (Hour, Hour),
}

impl Lane {
    /// `None` where this process does not read it. `unbroken` is without faults.
    pub fn of(unbroken: Backends) -> Option<Self> {
        let status = unbroken.statuses.iter().find(|status| status.spec.name.as_str() == DRILL_STREAM)?.clone();
        Some(Self { backends: unbroken, status, book: Mutex::default() })
    }

    /// What every part of ingest takes for now.
    pub fn now(&self) -> Timestamp {
        self.backends.clock.now()
    }

    pub fn name(&self) -> &StreamName {
        &self.status.spec.name
    }

    /// Puts right what an earlier drill left, and notes where this one begins.
    pub async fn begin(&self) -> Result<(), DrillError> {
        self.tidy().await?;
        self.settle().await?;
        let hour = self.now().hour();
        // Events ahead of the clock may be of the next hour, and a drill may last beyond one.
        let range = (hour, Hour::from_index(hour.index() + 3));
        let before = Before { progress: self.progress().await?, events: self.events(range).await?, range };
        *self.book() = Book { before: Some(before), ..Book::default() };
        Ok(())
    }

    /// Appends events of the drills' account that happen at a time; all have to be counted in the end. The last sequence.
    pub async fn publish(&self, count: usize, at: Timestamp) -> Result<Sequence, DrillError> {
        let now = self.now().micros();
        let event = |n| Bytes::from(event(ACCOUNT, &format!("drill-{now}-{n}"), at));
        let last = self.append((0..count).map(event).collect()).await?;
        self.book().countable += count as u64;
        Ok(last)
    }

    /// Appends payloads as they are; the last sequence.
    pub async fn append(&self, payloads: Vec<Bytes>) -> Result<Sequence, DrillError> {
        let records =
            payloads.into_iter().map(|payload| NewRecord { key: ACCOUNT.to_owned(), payload, traceparent: None }).collect();
        let sequences = self.backends.log.append(self.name(), records).await.map_err(DrillError::of)?;
        sequences.last().copied().ok_or_else(|| DrillError("nothing was appended".to_owned()))
    }

    pub async fn progress(&self) -> Result<Progress, DrillError> {
        let progress = self.backends.store.progress(self.name()).await.map_err(DrillError::of)?;
        progress.ok_or_else(|| DrillError(format!("{} was not opened yet", self.name())))
    }

    /// Where the drill under way began.
    pub fn before(&self) -> Result<Progress, DrillError> {
        let before = self.book().before.as_ref().map(|before| before.progress.clone());
        before.ok_or_else(|| DrillError("the drill was not prepared".to_owned()))
    }

    /// Events counted of the drills' account. Other services append to the stream too, of accounts of their own.
    async fn events(&self, (from, to): (Hour, Hour)) -> Result<i64, DrillError> {
        let query = UsageQuery {
            account: AccountId::new(ACCOUNT).map_err(DrillError::of)?,
            from,
            to,
            filter: UsageFilter::default(),
            group_by: GroupBy::default(),
            grain: Grain::Hour,
        };
        let (rows, _) = self.backends.store.usage(&AccountScope::All, &query).await.map_err(DrillError::of)?;
        Ok(rows.iter().map(|row| row.usage.events).sum())
    }

    /// Waits until what is left is applied.
    pub async fn settle(&self) -> Result<(), DrillError> {
        until(SETTLES, || self.settled()).await.map(drop).map_err(DrillError)
    }

    /// Everything appended is applied.
    pub async fn settled(&self) -> Result<(), String> {
        let progress = self.progress().await.map_err(|error| error.to_string())?;
        let last = self.backends.log.bounds(self.name()).await.map_err(|error| error.to_string())?.last;
        match (progress.stopped, last.saturating_sub(progress.applied)) {
            (Some(why), _) => Err(format!("{} is stopped: {why}", self.name())),
            (None, 0) => Ok(()),
            (None, waiting) => Err(format!("{waiting} records of {} are not applied", self.name())),
        }
    }

    /// Lets the stream go on if it is stopped.
    pub async fn resume(&self) -> Result<(), DrillError> {
        let last = self.backends.log.bounds(self.name()).await.map_err(DrillError::of)?.last;
        self.backends.store.resume(self.name(), last).await.map(drop).map_err(DrillError::of)
    }

    /// Expects no longer that the events ahead of the clock are counted, whose letters are about to be discarded. Twice is once.
    pub async fn give_up_what_is_ahead(&self) -> Result<(), DrillError> {
        let open = self.backends.store.open_dead_letters(&self.letters()).await.map_err(DrillError::of)?;
        let ahead = open.get(&DeadLetterReason::Future).copied().unwrap_or_default();
        let mut book = self.book();
        book.given_up = book.given_up.max(ahead);
        Ok(())
    }

    /// Lets the stream go on if it is stopped, lets go of its dead letters, and sets its retention back.
    pub async fn tidy(&self) -> Result<(), DrillError> {
        self.backends.log.set_retention(self.name(), spec().retention).await.map_err(DrillError::of)?;
        self.resume().await?;
        self.backends.store.discard(&self.letters(), "of a drill", false).await.map_err(DrillError::of)?;
        Ok(())
    }

    /// Nothing waits, and no letter is open.
    pub async fn clean(&self) -> Result<(), String> {
        self.settled().await?;
        match self.open_letters().await.map_err(|error| error.to_string())? {
            0 => Ok(()),
            open => Err(format!("{open} dead letters of {} are open", self.name())),
        }
    }

    pub async fn open_letters(&self) -> Result<u64, DrillError> {
        let open = self.backends.store.open_dead_letters(&self.letters()).await.map_err(DrillError::of)?;
        Ok(open.values().sum())
    }

    /// What became of the events that were to be counted.
    pub async fn tally(&self) -> Result<Tally, DrillError> {
        let (before, countable) = {
            let book = self.book();
            (book.before.clone(), book.countable.saturating_sub(book.given_up))
        };
        let Some(before) = before else { return Ok(Tally::default()) };
        let counted = u64::try_from(self.events(before.range).await? - before.events).unwrap_or_default();
        Ok(Tally { lost: countable.saturating_sub(counted), duplicated: counted.saturating_sub(countable) })
    }

    fn letters(&self) -> DeadLetterFilter {
        DeadLetterFilter { stream: Some(self.name().clone()), ..DeadLetterFilter::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long what is left may take to be applied.
const SETTLES: Duration = Duration::from_secs(20);
