//! Work on a connection: bounded in time, and run to its end.
//!
//! A dropped future could leave a pooled connection inside a transaction, so every piece of work runs in a task of its own:
//! a cancelled caller only stops listening. A connection that missed a limit is closed, never given back.

use super::{
    connect::{PROBE_LIMIT, Pool, PostgresStore},
    fault::Fault,
    wall::every_account,
};
use crate::StoreError;
use futures::future::BoxFuture;
use sqlx::{Connection as _, PgConnection, Postgres, pool::PoolConnection, raw_sql};
use std::time::Duration;
use tokio::time::timeout;

/// For all of a piece of work but its COMMIT, and then for its COMMIT. The server's own statement timeout is the same.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// For what reads a whole table.
const SCAN_LIMIT: Duration = Duration::from_secs(60);
/// For a write transaction that goes over a day of usage, but for its COMMIT.
const LENGTHY_LIMIT: Duration = Duration::from_secs(1_800);
/// Tries of what needs a table alone. Each waits for its lock as long as others may be made to wait, and leaves them ten times that.
const TRIES_ALONE: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(200);
/// Tries of a transaction that collides with others.
const ATTEMPTS: u32 = 8;

/// A piece of work on a connection.
pub(super) type Work<'c, T> = BoxFuture<'c, Result<T, Fault>>;

/// How a write ends.
#[derive(Clone, Copy)]
pub(super) enum End {
    Commit,
    /// A rehearsal.
    RollBack,
}

/// How much a question reads.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// Rows found by index, hours among them, of one account: which one, its statements say.
    Account,
    /// Rows found by index, none of them hours.
    Rows,
    /// A whole table, or hours of all accounts.
    Table,
}

/// Lets the server plan for the values of a statement, where it finds that better: filters that are mostly absent, ranges of any length.
/// Elsewhere it does not: see the options of connections.
macro_rules! planned_by_values {
    ($begin:literal) => {
        concat!($begin, "; SET LOCAL plan_cache_mode TO auto")
    };
}

/// Keeps the tables of hours as they are from before the snapshot is taken: a day that moves to history is emptied at once, whatever
/// older snapshots should see of it. A statement that is a transaction of its own needs no such thing: what it reads is locked before
/// its snapshot is taken.
macro_rules! before_its_snapshot {
    ($begin:expr) => {
        concat!($begin, "; LOCK TABLE usage_hourly, latency_hourly IN ACCESS SHARE MODE")
    };
}

impl PostgresStore {
    /// Runs single statements, each a transaction of its own. They see no account's data, unless they say whose.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T> + Send + 'static,
    {
        let pool = self.pool.clone();
        in_own_task(async move {
            let mut connection = pool.acquire().await?;
            let done = within(ANSWER_LIMIT, "a statement", work(&mut connection)).await;
            give_back(connection, done.as_ref().err());
            done
        })
        .await?
        .map_err(Fault::told)
    }

    /// Reads from one snapshot, of every account but for [`Reach::Account`].
    pub(super) async fn read<T, W>(&self, reach: Reach, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T> + Send + 'static,
    {
        let pool = self.pool.clone();
        in_own_task(async move {
            let mut connection = pool.acquire().await?;
            let (limit, begin) = match reach {
                Reach::Account => (ANSWER_LIMIT, before_its_snapshot!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")),
                Reach::Rows => {
                    (ANSWER_LIMIT, every_account!(planned_by_values!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")))
                }
                Reach::Table => (
                    SCAN_LIMIT,
                    before_its_snapshot!(every_account!(planned_by_values!(
                        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '60s'"
                    ))),
                ),
            };
            let reading = async {
                let mut transaction = connection.begin_with(begin).await?;
                let read = work(&mut transaction).await?;
                transaction.commit().await?;
                Ok(read)
            };
            let done = within(limit, "a question", reading).await;
            give_back(connection, done.as_ref().err());
            done
        })
        .await?
        .map_err(Fault::told)
    }

    /// Runs a write transaction over every account to its end, again when it collided with another one.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when the connection is lost, or silent, while the COMMIT is under way.
    pub(super) async fn write<T, W>(&self, end: End, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut PgConnection) -> Work<'c, T> + Send + Sync + 'static,
    {
        self.write_within(ANSWER_LIMIT, every_account!(planned_by_values!("BEGIN")), end, work).await
    }

    /// The same for work in the background, which may take its time. It waits for locks no longer than any other.
    pub(super) async fn write_at_length<T, W>(&self, end: End, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut PgConnection) -> Work<'c, T> + Send + Sync + 'static,
    {
        let begin = every_account!(planned_by_values!("BEGIN; SET LOCAL statement_timeout = '30min'"));
        self.write_within(LENGTHY_LIMIT, begin, end, work).await
    }

    async fn write_within<T, W>(&self, limit: Duration, begin: &'static str, end: End, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut PgConnection) -> Work<'c, T> + Send + Sync + 'static,
    {
        let pool = self.pool.clone();
        in_own_task(async move {
            let mut attempt = 1;
            loop {
                match transact(&pool, limit, begin, end, &work).await {
                    Err(Failure::Before(fault)) if fault.is_collision() && attempt < ATTEMPTS => {
                        tracing::debug!(attempt, "a transaction collided with another one; trying again");
                        tokio::time::sleep(Duration::from_millis(1 << attempt)).await;
                        attempt += 1;
                    }
                    done => return done,
                }
            }
        })
        .await?
        .map_err(Failure::told)
    }
}

/// Does what needs a table alone, within a transaction; `None`, and nothing done, when somebody uses it for longer than this may wait.
pub(super) async fn unless_in_use<T>(
    connection: &mut PgConnection,
    work: impl for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T>,
) -> Result<Option<T>, Fault> {
    let mut attempt = connection.begin().await?;
    raw_sql("SET LOCAL lock_timeout = '10ms'").execute(&mut *attempt).await?;
    match work(&mut attempt).await {
        Ok(done) => {
            attempt.commit().await?;
            Ok(Some(done))
        }
        Err(fault) if fault.is_in_use() => {
            attempt.rollback().await?;
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// Does it again as long as the table is in use.
pub(super) async fn while_in_use<T, F>(mut work: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<Option<T>, StoreError>>,
{
    for _ in 0..TRIES_ALONE {
        if let Some(done) = work().await? {
            return Ok(done);
        }
        tokio::time::sleep(BETWEEN).await;
    }
    let lasted = BETWEEN * TRIES_ALONE;
    Err(StoreError::Unavailable(format!("a table to be emptied or dropped was in use for {} s", lasted.as_secs())))
}

/// Where a write failed.
enum Failure {
    Before(Fault),
    AtCommit(Fault),
}

impl Failure {
    fn fault(&self) -> &Fault {
        let (Self::Before(fault) | Self::AtCommit(fault)) = self;
        fault
    }

    fn told(self) -> StoreError {
        match self {
            Self::Before(fault) => fault.told(),
            Self::AtCommit(fault) => fault.told_of_commit(),
        }
    }
}

async fn transact<T, W>(pool: &Pool, limit: Duration, begin: &'static str, end: End, work: &W) -> Result<T, Failure>
where
    W: for<'c> Fn(&'c mut PgConnection) -> Work<'c, T>,
{
    let mut connection = pool.acquire().await.map_err(|error| Failure::Before(error.into()))?;
    let writing = async {
        let mut transaction = connection.begin_with(begin).await?;
        let written = work(&mut transaction).await?;
        Ok((transaction, written))
    };
    let done = match (within(limit, "a transaction", writing).await, end) {
        (Ok((transaction, written)), End::Commit) => {
            let commit = async { Ok(transaction.commit().await?) };
            within(ANSWER_LIMIT, "a COMMIT", commit).await.map(|()| written).map_err(Failure::AtCommit)
        }
        (Ok((transaction, written)), End::RollBack) => {
            let rollback = async { Ok(transaction.rollback().await?) };
            within(ANSWER_LIMIT, "a ROLLBACK", rollback).await.map(|()| written).map_err(Failure::Before)
        }
        (Err(fault), _) => Err(Failure::Before(fault)),
    };
    give_back(connection, done.as_ref().err().map(Failure::fault));
    done
}

async fn within<T>(limit: Duration, what: &'static str, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(limit, work).await.unwrap_or(Err(Fault::Silence(what)))
}

/// Back to the pool after its last ping, which the driver leaves unbounded; or away.
pub(super) fn give_back(mut connection: PoolConnection<Postgres>, fault: Option<&Fault>) {
    if fault.is_some_and(Fault::spoils_connection) {
        drop(connection.detach());
    } else {
        tokio::spawn(async move { timeout(PROBE_LIMIT, connection.return_to_pool()).await });
    }
}

/// Whether a pooled connection answers at once and is outside of any transaction. The simple protocol takes both times from
/// one message, so they differ only when the transaction began with an earlier one.
pub(super) async fn is_fit(connection: &mut PgConnection) -> bool {
    let probe = raw_sql("SELECT now() = statement_timestamp()").fetch_one(connection);
    let answer = timeout(PROBE_LIMIT, probe).await;
    answer.is_ok_and(|row| row.is_ok_and(|row| sqlx::Row::try_get(&row, 0).unwrap_or(false)))
}

/// Runs to its end even when the caller goes away.
async fn in_own_task<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, StoreError> {
    tokio::spawn(work).await.map_err(|failed| match failed.is_panic() {
        true => StoreError::Broken(format!("a piece of work panicked: {failed}")),
        false => StoreError::Unknown("the process is shutting down".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::postgres_server::PostgresServer;

    #[tokio::test]
    async fn a_connection_inside_a_transaction_is_not_fit() {
        let server = PostgresServer::start().await;
        let mut connection = PgConnection::connect(&server.url()).await.unwrap();
        for statement in ["SELECT 1", "BEGIN; SELECT 1", "BEGIN; SELECT 1/0"] {
            let within = statement.starts_with("BEGIN");
            assert_eq!(raw_sql(statement).execute(&mut connection).await.is_err(), statement.ends_with("/0"));
            assert_eq!(is_fit(&mut connection).await, !within, "after {statement}");
            if within {
                raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
            }
            assert!(is_fit(&mut connection).await);
        }
    }

    #[tokio::test]
    async fn a_connection_whose_server_is_silent_is_not_fit() {
        let server = PostgresServer::start().await;
        let mut connection = PgConnection::connect(&server.url()).await.unwrap();
        server.freeze();
        assert!(!is_fit(&mut connection).await);
    }
}
