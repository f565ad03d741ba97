//! Connections: made when needed, probed before use; and what belongs to the store as a whole.

use super::{dedup::KnownPartitions, fault::Fault, hot_days::KnownDays, locks, trail, transact::is_fit, usage, wall};
use crate::{Options, Store, StoreError, settled::SettledDays};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{
    str::FromStr as _,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// To get a connection, a new one included.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
/// For a pooled connection to show that it is alive.
pub(super) const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// Days that are copied at once.
const MOST_COPIES: u32 = 8;
/// How long a connection waits for the next day to copy.
const IDLE_COPIES: Duration = Duration::from_secs(10);
/// How long a connection's last sign of life is trusted.
const FRESH: Duration = Duration::from_millis(500);
/// For [`Store::probe`].
const HEALTH_LIMIT: Duration = Duration::from_secs(1);
/// For a migration, and for another process's. One may copy all hours: a million rows take it some ten seconds.
const MIGRATION_LIMIT: Duration = Duration::from_secs(3_600);

/// A store in a PostgreSQL database, version 14 or later.
pub struct PostgresStore {
    pub(super) pool: Pool,
    /// Connections that copy days.
    pub(super) copies: Pool,
    server: PgConnectOptions,
    pub(super) options: Options,
    /// Dedup tables known to exist.
    pub(super) partitions: Arc<KnownPartitions>,
    /// Days whose tables are known to exist.
    pub(super) days: Arc<KnownDays>,
    pub(super) settled: Arc<SettledDays>,
    /// Held by who lets a day go: one at a time can, and those who wait for their turn hold no connection meanwhile.
    pub(super) letting_go: Mutex<()>,
}

impl PostgresStore {
    /// Why accounts are not kept apart by the database too; `None` where they are. Asked of a migrated store; said at start.
    pub async fn gap_in_the_wall(&self) -> Result<Option<String>, StoreError> {
        self.run(|connection| Box::pin(wall::gap(connection))).await
    }

    /// Takes note of where the server is. Nothing is connected yet, so a server that is down does no harm here.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] when the URL does not parse.
    pub fn connect(url: &str, options: Options) -> Result<Self, StoreError> {
        let server = PgConnectOptions::from_str(url).map_err(|_| {
            // The driver's own words may quote the URL, and with it the password.
            StoreError::Misconfigured("the URL does not parse; write `postgres://user:password@host:5432/loadline`".to_owned())
        })?;
        let server = server.application_name("loadline").options([
            // The server gives up when its client has, and sees within seconds that a client is gone.
            ("statement_timeout", "5s"),
            ("lock_timeout", "3s"),
            ("idle_in_transaction_session_timeout", "10s"),
            ("client_connection_check_interval", "1s"),
            ("tcp_user_timeout", "10s"),
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "2"),
            // Not left to the server's configuration: what was committed is on disk.
            ("synchronous_commit", "on"),
            // Statements take arrays and follow an index for each element: compiling them costs more than it saves.
            ("jit", "off"),
            // For answers about one account: no value changes the way to its rows, and to plan over all days takes longer than to
            // answer. Other work says otherwise.
            ("plan_cache_mode", "force_generic_plan"),
        ]);
        let settled = Arc::new(SettledDays::new(options.kept_rows));
        let (pool, copies) = (Pool::new(pool(&server, options)), Pool::new(copies(&server)));
        let (partitions, days, letting_go) = (Arc::default(), Arc::default(), Mutex::default());
        Ok(Self { pool, copies, server, options, partitions, days, settled, letting_go })
    }
}

/// A present pool of connections, which may be exchanged for a fresh one at any time.
#[derive(Clone)]
pub(super) struct Pool(Arc<RwLock<PgPool>>);

impl Pool {
    fn new(pool: PgPool) -> Self {
        Self(Arc::new(RwLock::new(pool)))
    }

    /// A connection that answers and is outside of any transaction.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        loop {
            let pool = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
            match pool.acquire().await {
                // Exchanged meanwhile.
                Err(sqlx::Error::PoolClosed) => {}
                acquired => return acquired,
            }
        }
    }

    fn exchange(&self, fresh: PgPool) -> PgPool {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), fresh)
    }
}

/// For answers and writes.
fn pool(server: &PgConnectOptions, options: Options) -> PgPool {
    let most = options.max_connections;
    // Opened beforehand: opening one costs the server more than ten answers, its plans more than those, and at a moment when all
    // others are busy.
    pooled(most)
        .min_connections(if options.answers { most } else { most / 2 })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if options.answers
                    && let Err(fault) = usage::plan(connection).await
                {
                    // Then the first answer plans.
                    tracing::debug!(error = %fault.told(), "answers are not planned beforehand");
                }
                Ok(())
            })
        })
        .connect_lazy_with(server.clone())
}

/// For copies of days, each of which lasts as long as whoever writes the day down: the others go on. Used again for the next day,
/// because a new one costs the server as much as to read a small day.
fn copies(server: &PgConnectOptions) -> PgPool {
    pooled(MOST_COPIES).idle_timeout(IDLE_COPIES).connect_lazy_with(server.clone())
}

fn pooled(most: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(most).acquire_timeout(ACQUIRE_LIMIT).test_before_acquire(false).before_acquire(
        |connection, seen| {
            // Every connection answered a ping as it came back; one that did so just now need not again.
            Box::pin(async move { Ok(seen.idle_for < FRESH || is_fit(connection).await) })
        },
    )
}

#[async_trait]
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        // On a connection of its own, away from the pool: it waits longer, for locks too, and its plans are soon out of date.
        let patient = self.server.clone().options([("statement_timeout", "3600s"), ("lock_timeout", "300s")]);
        let connections = self.options.max_connections;
        let work = tokio::spawn(timeout(MIGRATION_LIMIT, async move {
            let connecting = timeout(ACQUIRE_LIMIT, PgConnection::connect_with(&patient)).await;
            let mut connection = connecting.map_err(|_| sqlx::Error::PoolTimedOut).flatten().map_err(told)?;
            let moved = migrate(&mut connection).await?;
            if let Some(gap) = wall::gap(&mut connection).await.map_err(Fault::told)? {
                tracing::warn!("PostgreSQL: {gap}");
            }
            if let Some(gap) = locks::gap(&mut connection, connections).await.map_err(Fault::told)? {
                tracing::warn!("PostgreSQL: {gap}");
            }
            Ok(moved)
        }));
        let late = StoreError::Unavailable(format!("migration took longer than {} s", MIGRATION_LIMIT.as_secs()));
        let moved = work.await.map_err(|failed| StoreError::Broken(format!("migration: {failed}")))?.unwrap_or(Err(late))?;
        if moved {
            // What older connections have planned was for other tables, or none.
            self.reconnect().await;
        }
        Ok(())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        // Takes a transaction number, which only a server that writes can give.
        let work = self.run(|connection| {
            Box::pin(async { Ok(sqlx::query("SELECT pg_current_xact_id()").execute(connection).await.map(drop)?) })
        });
        let late = StoreError::Unavailable(format!("PostgreSQL did not answer within {} s", HEALTH_LIMIT.as_secs()));
        timeout(HEALTH_LIMIT, work).await.unwrap_or(Err(late))
    }

    async fn reconnect(&self) {
        let (old, copying) = (self.pool.exchange(pool(&self.server, self.options)), self.copies.exchange(copies(&self.server)));
        // Connections in use are closed as their work ends; nobody waits for that.
        tokio::spawn(async move { timeout(ACQUIRE_LIMIT, async { tokio::join!(old.close(), copying.close()) }).await });
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let micros =
            self.run(move |connection| Box::pin(async move { Ok(sqlx::query_scalar(now).fetch_one(connection).await?) }));
        Ok(Timestamp::from_micros(micros.await?))
    }

    fn caveats(&self) -> Vec<String> {
        vec!["PostgreSQL: what is committed is as durable as the server's fsync and its disks".to_owned()]
    }
}

/// Whether there was anything to do.
async fn migrate(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let listed: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(told)?;
    let mut found: Option<i64> = None;
    if listed {
        let newest = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations");
        found = newest.fetch_one(&mut *connection).await.map_err(told)?;
    }
    match found {
        Some(found) if found > known => return Err(StoreError::NewerSchema { found, known }),
        Some(found) if found < known => {
            tracing::info!(found, known, "bringing the schema up to date: minutes where a migration moves many rows");
        }
        _ => {}
    }
    match MIGRATIONS.run_direct(None, &mut *connection, false).await {
        Ok(()) => trail::chain(connection).await.map(|()| found != Some(known)).map_err(Fault::told),
        // A newer build came between the look and the lock.
        Err(MigrateError::VersionMissing(found)) if found > known => Err(StoreError::NewerSchema { found, known }),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Err(told(error)),
        Err(error) => Err(StoreError::Broken(format!("migration: {error}"))),
    }
}

fn told(error: sqlx::Error) -> StoreError {
    Fault::Sql(error).told()
}

#[cfg(test)]
mod tests;
