//! Statements over HTTP, each within a time limit.

use super::fault::failed;
use crate::{HistoryError, open::wrong_url};
use clickhouse::{Client, Compression, RowOwned, RowRead};
use percent_encoding::percent_decode_str;
use std::time::Duration;
use tokio::sync::OnceCell;
use url::Url;

const PROBE: Duration = Duration::from_secs(2);
/// Tokens of ten years of parts are some 150 KiB.
const LONGEST_STATEMENT: &str = "16777216";

/// A server and a database of it.
#[derive(Clone)]
pub(super) struct Connection {
    client: Client,
    /// For what must be done before the database is there.
    outside: Client,
    pub database: String,
    timeout: Duration,
    version: OnceCell<u32>,
}

impl Connection {
    /// What follows `clickhouse:` in a URL.
    pub fn new(rest: &str, timeout: Duration) -> Result<Self, HistoryError> {
        let url = Url::parse(&format!("clickhouse:{rest}")).map_err(|_| wrong_url("this ClickHouse URL"))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong_url("a ClickHouse URL without a host"))?;
        let (mut compression, mut tls) = (Compression::Lz4, false);
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("compression", "none") => compression = Compression::None,
                ("compression", "lz4") => compression = Compression::Lz4,
                ("tls", "true") => tls = true,
                ("tls", "false") => tls = false,
                _ => return Err(wrong_url("a ClickHouse URL with an option beside `compression=none|lz4` and `tls=true|false`")),
            }
        }
        let database = match url.path().trim_start_matches('/') {
            "" => "default".to_owned(),
            name if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => name.to_owned(),
            _ => return Err(wrong_url("a ClickHouse database with other characters than letters, digits and `_`")),
        };
        let (scheme, port) = if tls { ("https", 8443) } else { ("http", 8123) };
        let mut client = Client::default()
            .with_url(format!("{scheme}://{host}:{}", url.port().unwrap_or(port)))
            .with_compression(compression)
            // Old servers know rows without names only; the schema is checked when it is prepared.
            .with_validation(false)
            .with_setting("max_query_size", LONGEST_STATEMENT)
            .with_setting("max_execution_time", timeout.as_secs().max(1).to_string());
        if !url.username().is_empty() {
            let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            client = client.with_user(decoded(url.username())).with_password(decoded(url.password().unwrap_or_default()));
        }
        let outside = client.clone();
        Ok(Self { client: client.with_database(&database), outside, database, timeout, version: OnceCell::new() })
    }

    /// The first number of the server's version, such as 18.
    pub async fn version(&self) -> Result<u32, HistoryError> {
        let ask = || async {
            let version: String =
                self.bounded(async { self.outside.query("SELECT version()").fetch_one().await.map_err(failed) }).await?;
            let major = version.split('.').next().and_then(|major| major.parse().ok());
            major.ok_or_else(|| HistoryError::Broken(format!("`{version}` is no ClickHouse version")))
        };
        self.version.get_or_try_init(ask).await.copied()
    }

    /// Whether it answers, with its tables.
    pub async fn probe(&self) -> Result<(), HistoryError> {
        let asked = async { self.rows::<u64>("SELECT count() FROM history_part".to_owned()).await.map(drop) };
        within(PROBE, asked).await
    }

    /// Makes the database when it is not there.
    pub async fn make_database(&self) -> Result<(), HistoryError> {
        let make = async {
            let there = format!("SELECT count() FROM system.databases WHERE name = '{}'", self.database);
            let there: u64 = self.outside.query_raw(&there).fetch_one().await.map_err(failed)?;
            if there == 0 {
                let make = format!("CREATE DATABASE IF NOT EXISTS {}", self.database);
                self.outside.query_raw(&make).execute().await.map_err(failed)?;
            }
            Ok(())
        };
        self.bounded(make).await
    }

    /// Runs a statement to its end.
    pub async fn execute(&self, sql: String) -> Result<(), HistoryError> {
        self.bounded(async { self.client.query_raw(&sql).execute().await.map_err(failed) }).await
    }

    /// Asks for rows.
    pub async fn rows<T: RowOwned + RowRead>(&self, sql: String) -> Result<Vec<T>, HistoryError> {
        self.bounded(async { self.client.query_raw(&sql).fetch_all().await.map_err(failed) }).await
    }

    /// For inserts that are on the server when they return.
    pub async fn inserting(&self) -> Result<Client, HistoryError> {
        let client = self.client.clone();
        Ok(if self.version().await? >= 21 { client.with_setting("async_insert", "0") } else { client })
    }

    /// The answer, unless it takes longer.
    pub async fn bounded<T>(&self, answer: impl Future<Output = Result<T, HistoryError>>) -> Result<T, HistoryError> {
        within(self.timeout, answer).await
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, HistoryError>>) -> Result<T, HistoryError> {
    let late = |_| HistoryError::Unavailable(format!("ClickHouse gave no answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, answer).await.map_err(late)?
}
