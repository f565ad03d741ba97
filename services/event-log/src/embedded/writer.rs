//! The one task that writes: appends that wait together share a transaction, and its fsync.

use super::{batch::Batch, change::Change, retention, state::StreamState};
use crate::LogError;
use bytes::Bytes;
use loadline_domain::{Sequence, StreamName, Timestamp, time::Clock};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Records in one transaction, more or less.
const GROUP_RECORDS: usize = 50_000;
/// Payload bytes in one transaction, more or less.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// How a command is answered, once it is durable.
pub(super) type Done<T> = oneshot::Sender<Result<T, LogError>>;

/// What the writer is asked to do.
pub(super) enum Command {
    Append(Append),
    Change(Change, Done<()>),
}

/// Payloads for one stream, all of which fit.
pub(super) struct Append {
    pub stream: StreamName,
    pub records: Vec<Bytes>,
    pub done: Done<Vec<Sequence>>,
}

/// Owns the writing connection; ends when every sender is gone and everything sent is done.
pub(super) struct Writer {
    pub connection: SqliteConnection,
    /// To connect anew.
    pub options: SqliteConnectOptions,
    pub commands: mpsc::Receiver<Command>,
    pub clock: Arc<dyn Clock>,
    /// Told after every commit.
    pub written: watch::Sender<()>,
}

impl Writer {
    pub async fn run(mut self) {
        let mut waiting = VecDeque::new();
        while let Some(command) = self.next(&mut waiting).await {
            match command {
                Command::Append(first) => {
                    let group = self.gather(first, &mut waiting);
                    self.append(group).await;
                }
                Command::Change(change, done) => {
                    let outcome = change.apply(&mut self.connection, &*self.clock).await;
                    self.written.send_replace(());
                    if outcome.as_ref().is_err_and(LogError::is_retryable) {
                        self.reconnect().await;
                    }
                    let _ = done.send(outcome);
                }
            }
        }
        let _ = self.connection.close().await;
    }

    /// After a COMMIT that failed nobody knows what the connection thinks it is in.
    async fn reconnect(&mut self) {
        match SqliteConnection::connect_with(&self.options).await {
            Ok(fresh) => self.connection = fresh,
            Err(error) => tracing::warn!(%error, "the event log's file cannot be opened anew; trying again with the next write"),
        }
    }

    async fn next(&mut self, waiting: &mut VecDeque<Command>) -> Option<Command> {
        match waiting.pop_front() {
            Some(command) => Some(command),
            None => self.commands.recv().await,
        }
    }

    /// The appends that wait behind the first, up to a size, or up to something else.
    fn gather(&mut self, first: Append, waiting: &mut VecDeque<Command>) -> Vec<Append> {
        let size = |append: &Append| append.records.iter().map(Bytes::len).sum::<usize>();
        let (mut records, mut bytes) = (first.records.len(), size(&first));
        let mut group = vec![first];
        while records < GROUP_RECORDS && bytes < GROUP_BYTES {
            match self.commands.try_recv() {
                Ok(Command::Append(append)) => {
                    records += append.records.len();
                    bytes += size(&append);
                    group.push(append);
                }
                Ok(other) => {
                    waiting.push_back(other);
                    break;
                }
                Err(_) => break,
            }
        }
        group
    }

    async fn append(&mut self, group: Vec<Append>) {
        let (requests, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|append| ((append.stream, append.records), append.done)).unzip();
        let outcome = write(&mut self.connection, &*self.clock, &requests).await;
        self.written.send_replace(());
        if outcome.is_err() {
            self.reconnect().await;
        }
        for ((index, done), (stream, records)) in answers.into_iter().enumerate().zip(requests) {
            let _ = done.send(match &outcome {
                Ok(firsts) => match firsts[index] {
                    Some(first) => Ok((first..first + records.len() as u64).collect()),
                    None => Err(LogError::StreamNotFound(stream)),
                },
                Err(error) => Err(LogError::Unavailable(error.to_string())),
            });
        }
    }
}

/// Writes all appends in one transaction; the first sequence of each, `None` where there is no such stream.
async fn write(
    connection: &mut SqliteConnection,
    clock: &dyn Clock,
    appends: &[(StreamName, Vec<Bytes>)],
) -> Result<Vec<Option<Sequence>>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut lanes: HashMap<&StreamName, Option<Lane>> = HashMap::new();
    let mut firsts = Vec::with_capacity(appends.len());
    for (stream, records) in appends {
        if !lanes.contains_key(stream) {
            let state = StreamState::read(&mut *transaction, stream).await?;
            lanes.insert(stream, state.map(|state| Lane { state, records: Vec::new() }));
        }
        let lane = lanes.get_mut(stream).and_then(Option::as_mut);
        firsts.push(lane.map(|lane| lane.take(records)));
    }
    for lane in lanes.into_values().flatten() {
        lane.write(&mut transaction, clock).await?;
    }
    transaction.commit().await?;
    Ok(firsts)
}

/// What one stream gets in a transaction.
struct Lane {
    state: StreamState,
    records: Vec<Bytes>,
}

impl Lane {
    fn take(&mut self, records: &[Bytes]) -> Sequence {
        let first = self.state.last + 1 + self.records.len() as u64;
        self.records.extend_from_slice(records);
        first
    }

    /// Record times follow no small step back of the machine's clock. A large one means that it had been ahead: to go on
    /// with its last time would make every event late until it has caught up.
    fn recorded_at(&self, now: Timestamp) -> Timestamp {
        let last = self.state.last_recorded_at;
        if last.since(now) > super::MAX_SET_BACK { now } else { now.max(last) }
    }

    async fn write(mut self, connection: &mut SqliteConnection, clock: &dyn Clock) -> Result<(), sqlx::Error> {
        let now = clock.now();
        let recorded_at = self.recorded_at(now);
        for batch in Batch::pack_all(self.state.last + 1, recorded_at, &self.records) {
            insert(connection, self.state.id, &batch).await?;
        }
        self.state.last += self.records.len() as u64;
        self.state.bytes += self.records.iter().map(|record| record.len() as u64).sum::<u64>();
        sqlx::query("UPDATE streams SET last_sequence = ?2, last_recorded_at = ?3, bytes = ?4 WHERE id = ?1")
            .bind(self.state.id)
            .bind(self.state.last as i64)
            .bind(recorded_at.micros())
            .bind(self.state.bytes as i64)
            .execute(&mut *connection)
            .await?;
        self.state.oldest_at.get_or_insert(recorded_at);
        if self.state.is_discard_due(clock) {
            retention::discard(connection, &self.state, now).await?;
        }
        Ok(())
    }
}

/// Writes one batch.
pub(super) async fn insert(connection: &mut SqliteConnection, stream: i64, batch: &Batch) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO batches (stream, last_sequence, first_sequence, recorded_at, lengths, payloads)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(stream)
    .bind(batch.last as i64)
    .bind(batch.first as i64)
    .bind(batch.recorded_at.micros())
    .bind(&batch.lengths[..])
    .bind(&batch.payloads[..])
    .execute(connection)
    .await?;
    Ok(())
}
