//! The log in one SQLite file, for one machine.
//!
//! ```text
//! append, ensure … ──▶ writer: one task, one connection, one transaction for all that waits
//! read, bounds …   ──▶ readers: a pool, woken after each commit
//! ```
//!
//! One process opens the file. Records are stored a batch a row ([`batch`]); positions and sizes of a stream are in its row, so
//! that a sequence is never used again, also when everything has been discarded. The file does not shrink: discarded space is
//! used again. A copy of the file alone lacks what still stands in its `-wal`: back it up with `VACUUM INTO`, and put a copy back
//! only after both `-wal` and `-shm` are gone.

mod batch;
mod change;
mod read;
mod retention;
mod schema;
mod state;
mod writer;

use crate::{Bounds, Entry, EventLog, LogError, NewRecord, ReadLimit, Retention, StreamSpec, seek};
use async_trait::async_trait;
use bytes::Bytes;
use change::Change;
use loadline_domain::{
    Incarnation, Sequence, StreamName, Timestamp,
    time::{Clock, SystemClock},
};
use sqlx::SqlitePool;
use state::StreamState;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use writer::{Append, Command, Done, Writer};

/// Largest record, in bytes.
pub const MAX_RECORD_BYTES: usize = 8 * 1024 * 1024;
/// How far record times hold out against a clock that is set back. Events are judged by days, so an hour ahead makes none
/// late; and a time wrongly believed makes events ahead of it, which are redriven as they are, where late ones must be accepted.
const MAX_SET_BACK: Duration = Duration::from_secs(3_600);
/// Longest that a call waits for the writer.
const CALL: Duration = Duration::from_secs(8);
/// How often a waiting reader looks at what changes without a write, such as age.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub struct Embedded {
    readers: SqlitePool,
    writer: mpsc::Sender<Command>,
    written: watch::Receiver<()>,
    clock: Arc<dyn Clock>,
}

impl From<sqlx::Error> for LogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Embedded {
    /// Opens the file, making it and its folder if need be.
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] when it cannot be used as a log.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, LogError> {
        Self::open_with(path, Arc::new(SystemClock)).await
    }

    /// Opens it with another clock.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub async fn open_with(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let (connection, readers, options) = schema::connect(path.as_ref()).await?;
        let (writer, commands) = mpsc::channel(1_024);
        let (written, watched) = watch::channel(());
        tokio::spawn(Writer { connection, options, commands, clock: clock.clone(), written }.run());
        Ok(Self { readers, writer, written: watched, clock })
    }

    /// Deletes one record, as an operator might: what reads over it finds a loss.
    ///
    /// # Errors
    /// As [`EventLog::bounds`].
    pub async fn delete_record(&self, stream: &StreamName, sequence: Sequence) -> Result<(), LogError> {
        self.change(Change::DeleteRecord(stream.clone(), sequence)).await
    }

    /// Deletes a stream with its records. Made again, it is another incarnation.
    ///
    /// # Errors
    /// As [`EventLog::bounds`].
    pub async fn delete_stream(&self, stream: &StreamName) -> Result<(), LogError> {
        self.change(Change::DeleteStream(stream.clone())).await
    }

    /// Has the writer do it, and waits until it is durable.
    async fn ask<T>(&self, command: impl FnOnce(Done<T>) -> Command) -> Result<T, LogError> {
        let (done, outcome) = oneshot::channel();
        let asked = async {
            self.writer.send(command(done)).await.map_err(|_| stopped())?;
            outcome.await.map_err(|_| stopped())?
        };
        timeout(CALL, asked).await.map_err(|_| LogError::Unavailable(format!("no answer from the disk in {CALL:?}")))?
    }

    async fn change(&self, change: Change) -> Result<(), LogError> {
        self.ask(|done| Command::Change(change, done)).await
    }

    /// The stream's state after everything due has been discarded.
    async fn state(&self, stream: &StreamName) -> Result<StreamState, LogError> {
        loop {
            let state = StreamState::read(&self.readers, stream).await?;
            let state = state.ok_or_else(|| LogError::StreamNotFound(stream.clone()))?;
            if !state.is_discard_due(&*self.clock) {
                return Ok(state);
            }
            self.change(Change::Discard(stream.clone())).await?;
        }
    }
}

fn stopped() -> LogError {
    LogError::Unavailable("the writer has stopped".into())
}

#[async_trait]
impl EventLog for Embedded {
    async fn ensure(&self, spec: &StreamSpec) -> Result<(), LogError> {
        self.change(Change::Ensure(spec.clone())).await
    }

    async fn append(&self, stream: &StreamName, records: Vec<NewRecord>) -> Result<Vec<Sequence>, LogError> {
        let records: Vec<Bytes> = records.into_iter().map(|record| record.payload).collect();
        match records.iter().map(Bytes::len).max() {
            None => return Ok(Vec::new()),
            Some(bytes) if bytes > MAX_RECORD_BYTES => return Err(LogError::TooLarge { bytes, limit: MAX_RECORD_BYTES }),
            Some(_) => {}
        }
        self.ask(|done| Command::Append(Append { stream: stream.clone(), records, done })).await
    }

    async fn read(
        &self,
        stream: &StreamName,
        incarnation: &Incarnation,
        from: Sequence,
        limit: ReadLimit,
        wait: Duration,
    ) -> Result<Vec<Entry>, LogError> {
        let deadline = Instant::now() + wait;
        let mut written = self.written.clone();
        loop {
            written.borrow_and_update();
            let state = self.state(stream).await?;
            if state.incarnation != *incarnation {
                return Err(LogError::Recreated { stream: stream.clone(), current: state.incarnation });
            }
            let entries = read::entries(&self.readers, stream, &state, from.max(1), limit).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !entries.is_empty() || left.is_zero() {
                return Ok(entries);
            }
            if let Ok(Err(_)) = timeout(left.min(LOOK), written.changed()).await {
                return Err(stopped());
            }
        }
    }

    async fn bounds(&self, stream: &StreamName) -> Result<Bounds, LogError> {
        Ok(self.state(stream).await?.bounds())
    }

    async fn peek(&self, stream: &StreamName, sequence: Sequence) -> Result<Option<(Sequence, Timestamp)>, LogError> {
        let state = self.state(stream).await?;
        let from = sequence.max(state.first);
        let batch = read::batch_at(&self.readers, &state.incarnation, from).await?;
        Ok(batch.map(|batch| (from.max(batch.first), batch.recorded_at)))
    }

    async fn seek(&self, stream: &StreamName, time: Timestamp) -> Result<Sequence, LogError> {
        seek::seek(self, stream, time).await
    }

    async fn set_retention(&self, stream: &StreamName, retention: Retention) -> Result<(), LogError> {
        self.change(Change::SetRetention(stream.clone(), retention)).await
    }

    async fn caveats(&self) -> Result<Vec<String>, LogError> {
        Ok(vec!["the embedded event log is one file on this machine: when the disk is lost, so is the log".into()])
    }

    async fn probe(&self) -> Result<(), LogError> {
        if self.writer.is_closed() {
            return Err(stopped());
        }
        sqlx::query("SELECT count(*) FROM streams").execute(&self.readers).await?;
        Ok(())
    }
}
