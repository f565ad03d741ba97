//! Connections: the one that writes, the pool that reads; and what belongs to the store as a whole.

use super::trail;
use crate::{Options, Store, StoreError, settled::SettledDays};
use async_trait::async_trait;
use futures::future::BoxFuture;
use loadline_domain::{Clock as _, Rules, Timestamp, time::SystemClock};
use sqlx::{
    Connection as _, Error, Sqlite, SqliteConnection, SqlitePool, Transaction,
    migrate::Migrator,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};
use tokio::time::sleep;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long another process may hold the file's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries to open it.
const TRY_AGAIN: Duration = Duration::from_millis(50);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A store in one SQLite file.
pub struct SqliteStore {
    pub(super) writer: Writer,
    readers: RwLock<SqlitePool>,
    reading: SqliteConnectOptions,
    max_readers: u32,
    pub(super) rules: Rules,
    pub(super) settled: SettledDays,
}

impl SqliteStore {
    /// Opens the file at `path` (what follows `sqlite:`), and makes it and its folder when they are not there.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] for a path that is none, [`StoreError::Unavailable`] when it cannot be opened.
    pub async fn open(path: &str, options: Options) -> Result<Self, StoreError> {
        let path = Path::new(file_name(path)?);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError::Unavailable(format!("cannot make the folder {}: {error}", folder.display())))?;
        }
        let file = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
        // Cache sizes are KiB when negative: together under 64 MiB. A checkpoint every 16 MiB keeps the log short and its
        // syncs rare.
        let writing = file
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-32768")
            .pragma("wal_autocheckpoint", "4096")
            .pragma("journal_size_limit", "67108864");
        let reading = file.pragma("query_only", "1").pragma("cache_size", "-4096");
        let max_readers = options.max_connections.saturating_sub(1).max(1);
        let readers = RwLock::new(pool(&reading, max_readers));
        let settled = SettledDays::new(options.kept_rows);
        let store = Self { writer: Writer::new(writing), readers, reading, max_readers, rules: options.rules, settled };
        store.opened().await?;
        Ok(store)
    }

    /// Opens the file, again while another process that does the same holds it: turning to the write-ahead log waits for nobody.
    async fn opened(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        loop {
            match self.writer.rehearsal(|_| Box::pin(async { Ok(()) })).await {
                Err(error) if error.is_retryable() && began.elapsed() < BUSY_TIMEOUT => sleep(TRY_AGAIN).await,
                opened => return opened,
            }
        }
    }

    /// A snapshot of the whole store, as of its first statement. Dropping it ends it.
    pub(super) async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.readers().begin().await.map_err(failed)
    }

    /// For a single statement, which is a snapshot by itself.
    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.readers().acquire().await.map_err(failed)
    }

    /// Connections of those that read are made anew; returns the old ones, to be closed.
    pub(super) fn renew_readers(&self) -> SqlitePool {
        let fresh = pool(&self.reading, self.max_readers);
        std::mem::replace(&mut *self.readers.write().unwrap_or_else(PoisonError::into_inner), fresh)
    }

    fn readers(&self) -> SqlitePool {
        self.readers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn file_name(path: &str) -> Result<&str, StoreError> {
    let wrong = |why: &str| Err(StoreError::Misconfigured(format!("{why}; use a file, such as `sqlite:data/store.db`")));
    let path = path.strip_prefix("//").unwrap_or(path);
    match path {
        "" => wrong("the SQLite URL names no file"),
        ":memory:" => {
            wrong("SQLite in memory is not supported: the connections that write and read would each see a store of their own")
        }
        _ if path.contains('?') => wrong("SQLite URLs take no parameters"),
        _ => Ok(path),
    }
}

fn pool(options: &SqliteConnectOptions, max_connections: u32) -> SqlitePool {
    SqlitePoolOptions::new().max_connections(max_connections).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options.clone())
}

/// The work of one transaction, on the connection it runs on.
pub(super) type Work<'c, T> = BoxFuture<'c, Result<T, StoreError>>;

/// The one connection that writes. Transactions queue for it in order of arrival.
pub(super) struct Writer {
    options: Arc<SqliteConnectOptions>,
    /// `None` until first used, and after its state came into doubt.
    connection: Arc<tokio::sync::Mutex<Option<SqliteConnection>>>,
}

#[derive(Clone, Copy)]
enum End {
    Commit,
    RollBack,
}

impl Writer {
    fn new(options: SqliteConnectOptions) -> Self {
        Self { options: Arc::new(options), connection: Arc::default() }
    }

    /// Runs `work` in a transaction and commits it, unless it fails.
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
    {
        self.run(work, End::Commit).await
    }

    /// Runs `work` in a transaction and rolls it back.
    pub async fn rehearsal<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
    {
        self.run(work, End::RollBack).await
    }

    /// In a task of its own: a caller that goes away does not leave a transaction half-way.
    async fn run<T, F>(&self, work: F, end: End) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
    {
        let (options, slot) = (Arc::clone(&self.options), Arc::clone(&self.connection));
        let task = tokio::spawn(async move {
            let mut slot = slot.lock_owned().await;
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => connect(&options).await?,
            };
            let (outcome, clean) = transact(&mut connection, work, end).await;
            *slot = clean.then_some(connection);
            outcome
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => Err(StoreError::Broken(format!("a transaction panicked: {error}"))),
            Err(_) => Err(StoreError::Unknown("the process is shutting down".to_owned())),
        }
    }

    async fn reconnect(&self) {
        *self.connection.lock().await = None;
    }
}

/// Connects, and waits its turn: SQLite does not wait by itself where a file is being turned to WAL.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match SqliteConnection::connect_with(options).await {
            Err(Error::Database(error)) if primary_code(error.code().as_deref()) == Some(BUSY) && Instant::now() < deadline => {
                sleep(Duration::from_millis(10)).await;
            }
            connection => return connection.map_err(failed),
        }
    }
}

/// The outcome, and whether the connection is surely outside of any transaction.
async fn transact<T, F>(connection: &mut SqliteConnection, work: F, end: End) -> (Result<T, StoreError>, bool)
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T>,
{
    let mut transaction = match connection.begin_with("BEGIN IMMEDIATE").await {
        Ok(transaction) => transaction,
        Err(error) => return (Err(failed(error)), false),
    };
    match (work(&mut transaction).await, end) {
        (Ok(value), End::Commit) => match transaction.commit().await {
            Ok(()) => (Ok(value), true),
            Err(error) => (Err(StoreError::Unknown(error.to_string())), false),
        },
        (outcome, _) => {
            let clean = transaction.rollback().await.is_ok();
            (outcome, clean)
        }
    }
}

/// Every error but that of a COMMIT: nothing happened.
pub(super) fn failed(error: Error) -> StoreError {
    let passing = match &error {
        Error::Database(error) => is_passing(error.code().as_deref()),
        Error::Io(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed => true,
        _ => false,
    };
    if passing { StoreError::Unavailable(error.to_string()) } else { StoreError::Broken(error.to_string()) }
}

/// The failure of a statement that only adds. A sum that leaves 64 bits becomes a float, which a STRICT column refuses; the
/// function `sum` refuses by itself, and has no code for it.
pub(super) fn added(error: Error) -> StoreError {
    let overflow = match &error {
        Error::Database(refused) => {
            refused.code().as_deref() == Some(CONSTRAINT_DATATYPE) || refused.message() == "integer overflow"
        }
        _ => false,
    };
    if overflow { StoreError::Overflow(error.to_string()) } else { failed(error) }
}

/// Whether an SQLite result code tells of the machine (busy, no memory, I/O, disk full, cannot open), not of the statement.
fn is_passing(code: Option<&str>) -> bool {
    matches!(primary_code(code), Some(BUSY..=10 | 13..=15))
}

const BUSY: i32 = 5;
const CONSTRAINT_DATATYPE: &str = "3091";

fn primary_code(extended: Option<&str>) -> Option<i32> {
    extended.and_then(|code| code.parse::<i32>().ok()).map(|extended| extended & 0xff)
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.writer.transaction(|connection| Box::pin(migrate(connection))).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let probe = async {
            self.writer.transaction(|connection| Box::pin(write_a_page(connection))).await?;
            let mut snapshot = self.snapshot().await?;
            sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut *snapshot).await.map(drop).map_err(failed)
        };
        let late = |_| StoreError::Unavailable(format!("no answer within {} s", PROBE_TIMEOUT.as_secs()));
        tokio::time::timeout(PROBE_TIMEOUT, probe).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
    }

    async fn reconnect(&self) {
        self.writer.reconnect().await;
        self.renew_readers().close().await;
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(now())
    }

    fn caveats(&self) -> Vec<String> {
        vec![
            "SQLite: one file on one machine; a lost disk loses the store, and one process writes at a time".to_owned(),
            "SQLite: while a day is taken into history, or a chunk of days rolled up, batches wait for the one writer".to_owned(),
            "SQLite: account scope rests on the query layer alone; there is no row-level security below it".to_owned(),
        ]
    }
}

/// Without which a full disk would go unseen.
async fn write_a_page(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("PRAGMA user_version = 1").execute(connection).await.map(drop).map_err(failed)
}

/// The machine's clock: every process that shares the file shares it.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// Inside an immediate transaction, which is the lock that SQLite's migrator lacks.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let listed = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    let listed: i64 = sqlx::query_scalar(listed).fetch_one(&mut *connection).await.map_err(failed)?;
    if listed > 0 {
        let newest = "SELECT max(version) FROM _sqlx_migrations";
        let found: Option<i64> = sqlx::query_scalar(newest).fetch_one(&mut *connection).await.map_err(failed)?;
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
        if let Some(found) = found.filter(|found| *found > known) {
            return Err(StoreError::NewerSchema { found, known });
        }
    }
    let migrated = MIGRATIONS.run_direct(None, &mut *connection, false).await;
    migrated.map_err(|error| StoreError::Broken(error.to_string()))?;
    trail::chain(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store(folder: &tempfile::TempDir) -> SqliteStore {
        let path = folder.path().join("store.db");
        let store = SqliteStore::open(path.to_str().unwrap(), Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    async fn mark(connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let mark = sqlx::query("INSERT INTO dirty_day (account, day, version) VALUES ('acme', 1, 1)");
        mark.execute(connection).await.map(drop).map_err(failed)
    }

    async fn mark_and_fail(connection: &mut SqliteConnection) -> Result<(), StoreError> {
        mark(connection).await?;
        Err(StoreError::Stale("on purpose".to_owned()))
    }

    async fn mark_and_panic(connection: &mut SqliteConnection) -> Result<(), StoreError> {
        mark(connection).await?;
        panic!("on purpose")
    }

    async fn settings(connection: &mut SqliteConnection) -> Result<(String, i64), StoreError> {
        let journal = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.map_err(failed)?;
        let synchronous = sqlx::query_scalar("PRAGMA synchronous").fetch_one(connection).await.map_err(failed)?;
        Ok((journal, synchronous))
    }

    async fn marks(store: &SqliteStore) -> i64 {
        let mut snapshot = store.snapshot().await.unwrap();
        sqlx::query_scalar("SELECT count(*) FROM dirty_day").fetch_one(&mut *snapshot).await.unwrap()
    }

    #[tokio::test]
    async fn work_that_fails_or_panics_leaves_nothing_and_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let failure = store.writer.transaction(|connection| Box::pin(mark_and_fail(connection))).await;
        assert!(matches!(failure, Err(StoreError::Stale(_))), "{failure:?}");
        let panic = store.writer.transaction(|connection| Box::pin(mark_and_panic(connection))).await;
        assert!(matches!(panic, Err(StoreError::Broken(_))), "{panic:?}");
        store.writer.rehearsal(|connection| Box::pin(mark(connection))).await.unwrap();
        assert_eq!(marks(&store).await, 0);
        store.writer.transaction(|connection| Box::pin(mark(connection))).await.unwrap();
        assert_eq!(marks(&store).await, 1);
    }

    #[tokio::test]
    async fn every_commit_reaches_the_disk_and_readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let settings = store.writer.transaction(|connection| Box::pin(settings(connection))).await.unwrap();
        // 2 is FULL.
        assert_eq!(settings, ("wal".to_owned(), 2));
        let mut snapshot = store.snapshot().await.unwrap();
        assert!(mark(&mut snapshot).await.is_err());
    }
}
