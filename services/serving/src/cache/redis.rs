//! The shared tier on a Redis server.
//!
//! Callers never wait for a connection: where there is none, everything is a miss, until a probe has made one. A call that fails or
//! is late gives the connection up, so that the next caller does not wait for the same.

use super::{
    Entry, Key,
    shared::{Shared, SharedError},
};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use loadline_models::Sha256;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, aio::MultiplexedConnection};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// What a caller waits at most: a few times what the model takes.
const CALL: Duration = Duration::from_millis(20);
/// What a probe, a connection or a page of a flush may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Keys looked at in one step of a flush.
const PAGE: u64 = 1_000;

pub struct Redis {
    client: Client,
    connection: ArcSwapOption<MultiplexedConnection>,
    ttl: Duration,
}

impl Redis {
    /// A server; nothing is asked of it before the first probe.
    ///
    /// # Errors
    /// [`SharedError::Misconfigured`] for a URL that is none; it never repeats it.
    pub fn new(url: &str, ttl: Duration) -> Result<Self, SharedError> {
        let wrong = |_| SharedError::Misconfigured("its URL is none; use redis://user:password@host:6379/0".to_owned());
        Ok(Self { client: Client::open(url).map_err(wrong)?, connection: ArcSwapOption::empty(), ttl })
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd, at_most: Duration) -> Result<T, SharedError> {
        let Some(mut connection) = self.connection.load_full().map(|connection| (*connection).clone()) else {
            return Err(SharedError::Unavailable("there is no connection".to_owned()));
        };
        let asked = timeout(at_most, command.query_async(&mut connection)).await;
        asked.unwrap_or_else(|_| Err(late(at_most))).map_err(|error| {
            self.connection.store(None);
            SharedError::Unavailable(error.to_string())
        })
    }

    async fn connect(&self) -> Result<(), SharedError> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let connecting = timeout(PATIENCE, self.client.get_multiplexed_async_connection_with_config(&config)).await;
        let connection =
            connecting.unwrap_or_else(|_| Err(late(PATIENCE))).map_err(|error| SharedError::Unavailable(error.to_string()))?;
        self.connection.store(Some(Arc::new(connection)));
        Ok(())
    }
}

#[async_trait]
impl Shared for Redis {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, SharedError> {
        let found: Option<Vec<u8>> = self.ask(redis::cmd("GET").arg(name(key)), CALL).await?;
        Ok(found.map(|bytes| Entry::decoded(&bytes, key.artifact)).transpose()?)
    }

    async fn put(&self, entry: &Entry) -> Result<(), SharedError> {
        let ttl = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        self.ask(redis::cmd("SET").arg(name(&entry.key)).arg(entry.encoded()).arg("PX").arg(ttl), CALL).await
    }

    async fn flush(&self, artifact: Option<&Sha256>) -> Result<u64, SharedError> {
        let pattern = artifact.map_or_else(|| format!("{PREFIX}*"), |artifact| format!("{PREFIX}{artifact}:*"));
        let (mut cursor, mut gone) = (0_u64, 0);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.ask(&scan, PATIENCE).await?;
            if !keys.is_empty() {
                gone += self.ask::<u64>(redis::cmd("UNLINK").arg(keys), PATIENCE).await?;
            }
            if next == 0 {
                return Ok(gone);
            }
            cursor = next;
        }
    }

    async fn probe(&self) -> Result<(), SharedError> {
        if self.connection.load().is_none() {
            self.connect().await?;
        }
        self.ask::<String>(&redis::cmd("PING"), PATIENCE).await.map(drop)
    }

    async fn reconnect(&self) -> Result<(), SharedError> {
        self.connection.store(None);
        self.probe().await
    }

    fn is_there(&self) -> bool {
        true
    }
}

/// Before the names of all entries.
const PREFIX: &str = "loadline:prediction:";

/// By artifact, so that its entries can be found; then by the whole of the key.
fn name(key: &Key) -> String {
    format!("{PREFIX}{}:{}", key.artifact, blake3::Hash::from_bytes(key.proof).to_hex())
}

fn late(after: Duration) -> redis::RedisError {
    redis::RedisError::from(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {after:?}")))
}
