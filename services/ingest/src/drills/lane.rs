//! The stream of drills: what a drill appends there, and whether all of it was counted.

use crate::{grpc::Backends, watch::StreamStatus};
use bytes::Bytes;
use loadline_domain::{
    AccountId, AccountScope, DeadLetterReason, Hour, Sequence, StreamName, Timestamp,
    progress::Progress,
    question::{Grain, GroupBy, UsageFilter, UsageQuery},
};
use loadline_event_log::{LogError, NewRecord, Retention, StreamSpec};
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
    /// Events that may be counted: nobody knows yet, or ever, whether they were appended.
    unsure: u64,
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
    ///
    /// Whoever gives up waiting, or is told that the log does not answer, leaves events that may be counted or not: they are then
    /// neither missing nor too many.
    pub async fn publish(&self, count: usize, at: Timestamp) -> Result<Sequence, DrillError> {
        let now = self.now().micros();
        let event = |n| Bytes::from(event(ACCOUNT, &format!("drill-{now}-{n}"), at));
        // Booked before: the call may be given up at any await, and happen all the same.
        self.book().unsure += count as u64;
        let appended = self.appended((0..count).map(event).collect()).await;
        let mut book = self.book();
        match &appended {
            Ok(_) => (book.countable, book.unsure) = (book.countable + count as u64, book.unsure.saturating_sub(count as u64)),
            Err(LogError::Unavailable(_)) => {}
            // What is refused has not happened.
            Err(_) => book.unsure = book.unsure.saturating_sub(count as u64),
        }
        last(appended)
    }

    /// Appends payloads as they are; the last sequence.
    pub async fn append(&self, payloads: Vec<Bytes>) -> Result<Sequence, DrillError> {
        last(self.appended(payloads).await)
    }

    async fn appended(&self, payloads: Vec<Bytes>) -> Result<Vec<Sequence>, LogError> {
        let records =
            payloads.into_iter().map(|payload| NewRecord { key: ACCOUNT.to_owned(), payload, traceparent: None }).collect();
        self.backends.log.append(self.name(), records).await
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
        let (before, countable, unsure) = {
            let book = self.book();
            (book.before.clone(), book.countable.saturating_sub(book.given_up), book.unsure)
        };
        let Some(before) = before else { return Ok(Tally::default()) };
        let counted = u64::try_from(self.events(before.range).await? - before.events).unwrap_or_default();
        Ok(Tally { lost: countable.saturating_sub(counted), duplicated: counted.saturating_sub(countable + unsure) })
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

fn last(appended: Result<Vec<Sequence>, LogError>) -> Result<Sequence, DrillError> {
    appended.map_err(DrillError::of)?.last().copied().ok_or_else(|| DrillError("nothing was appended".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Drilling, Ingest, OwnerSettings, Parts};
    use futures::FutureExt as _;
    use loadline_domain::{Rules, time::SystemClock};
    use loadline_event_log::behind;
    use loadline_fault::{Calls, Fault, Faults, Kind};
    use loadline_health::Monitor;
    use loadline_store::Options;
    use tempfile::TempDir;

    /// Events of a test.
    const EVENTS: usize = 20;

    /// The lane of an ingest that reads it, with faults between the two.
    async fn lane(folder: &TempDir, faults: &Faults) -> (Lane, Ingest) {
        let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let log = loadline_event_log::open(&file("log.db")).await.unwrap();
        let store = loadline_store::open(&file("store.db"), Options::default()).await.unwrap();
        let owner = OwnerSettings {
            holder: "test".to_owned(),
            lease_ttl: Duration::from_secs(2),
            batch_records: 100,
            batch_bytes: 1 << 20,
            rules: Rules::default(),
        };
        let parts = Parts {
            log: log.clone(),
            store: store.clone(),
            clock: Arc::new(SystemClock),
            streams: vec![],
            owner,
            lag_limit: Duration::from_secs(300),
            monitor: Monitor::new("ingest", "test", Ingest::DETECTS).unwrap(),
            remedies: vec![],
            drills: Some(Drilling { faults: Faults::default(), log_faults: Faults::default(), of_process: vec![] }),
        };
        let ingest = Ingest::unwatched(&parts).await.unwrap();
        let backends = Backends {
            log: behind(log, Some(faults)),
            store,
            clock: Arc::new(SystemClock),
            rules: Rules::default(),
            statuses: ingest.statuses().to_vec(),
        };
        let lane = Lane::of(backends).unwrap();
        until(SETTLES, || async { lane.progress().await.map(drop).map_err(|error| error.to_string()) }).await.unwrap();
        lane.begin().await.unwrap();
        (lane, ingest)
    }

    /// Waits until so many events of the drills' account are counted.
    async fn counted(lane: &Lane, events: i64) {
        let before = lane.book().before.clone().unwrap();
        let look = || async {
            let counted = lane.events(before.range).await.map_err(|error| error.to_string())? - before.events;
            if counted == events { Ok(()) } else { Err(format!("{counted} are counted")) }
        };
        until(SETTLES, look).await.unwrap();
    }

    fn append(kind: Kind) -> Fault {
        let calls = Calls::only(&["append"]).about(DRILL_STREAM);
        Fault { name: "test".to_owned(), kind, calls, ttl: Duration::from_secs(60), cured_by: None }
    }

    #[tokio::test]
    async fn an_append_that_takes_longer_than_it_is_waited_for_duplicates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (lane, ingest) = lane(&folder, &Faults::default()).await;
        // Long enough to hand the records over, not to hear what became of them; as a drill gives up a slow call.
        let late = lane.publish(EVENTS, lane.now()).now_or_never();
        assert!(late.is_none(), "{late:?}");
        counted(&lane, EVENTS as i64).await;
        assert_eq!(lane.tally().await.unwrap(), Tally::default());
        // What came through is still told from what did not.
        lane.publish(EVENTS, lane.now()).await.unwrap();
        counted(&lane, 2 * EVENTS as i64).await;
        assert_eq!(lane.tally().await.unwrap(), Tally::default());
        ingest.stop().await;
    }

    #[tokio::test]
    async fn an_append_whose_answer_is_lost_duplicates_nothing_and_one_that_is_refused_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let (lane, ingest) = lane(&folder, &faults).await;
        for (kind, events) in [(Kind::DropReply, EVENTS), (Kind::Error, EVENTS), (Kind::Break, EVENTS)] {
            let injected = faults.inject(append(kind));
            assert!(lane.publish(EVENTS, lane.now()).await.is_err(), "{kind}");
            drop(injected);
            counted(&lane, events as i64).await;
            assert_eq!(lane.tally().await.unwrap(), Tally::default(), "{kind}");
        }
        ingest.stop().await;
    }

    #[tokio::test]
    async fn events_that_were_never_published_are_too_many_and_those_never_counted_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (lane, ingest) = lane(&folder, &Faults::default()).await;
        let strange: Vec<Bytes> = (0..3).map(|n| Bytes::from(event(ACCOUNT, &format!("strange-{n}"), lane.now()))).collect();
        lane.append(strange).await.unwrap();
        counted(&lane, 3).await;
        assert_eq!(lane.tally().await.unwrap(), Tally { lost: 0, duplicated: 3 });
        lane.book().countable += 7;
        assert_eq!(lane.tally().await.unwrap(), Tally { lost: 4, duplicated: 0 });
        ingest.stop().await;
    }
}
