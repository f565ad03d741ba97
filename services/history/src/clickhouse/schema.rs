//! Tables, made or checked.

use super::{connect::Connection, sql::SUMS};
use crate::{HistoryError, piece::Table};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Of the finished parts.
pub(super) const PARTS: &str = "history_part";

impl Table {
    /// Its name in ClickHouse.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Daily => "usage_daily",
            Self::Hourly => "usage_hourly",
            Self::Latency => "latency_hourly",
        }
    }
}

/// All tables with the columns they should have.
fn tables() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    // The part's day and token, when the attempt began in microseconds, and the key.
    let key = [
        ("day", "Int32"),
        ("token", "String"),
        ("at", "Int64"),
        ("account", "String"),
        ("hour", "Int32"),
        ("channel", "Int16"),
        ("country", "String"),
    ];
    let usage: Vec<_> = key.into_iter().chain([("currency", "String")]).chain(SUMS.map(|name| (name, "Int64"))).collect();
    let latency = key.into_iter().chain([("bucket", "Int16"), ("count", "Int64")]).collect();
    let part = vec![("day", "Int32"), ("number", "UInt32"), ("token", "String"), ("at", "Int64")];
    vec![(Table::Daily.name(), usage.clone()), (Table::Hourly.name(), usage), (Table::Latency.name(), latency), (PARTS, part)]
}

pub(super) async fn prepare(connection: &Connection) -> Result<(), HistoryError> {
    connection.make_database().await?;
    // What is acknowledged is on disk, where the server can promise it.
    let synced =
        if connection.version().await? >= 21 { " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1" } else { "" };
    for (name, columns) in tables() {
        let columns: Vec<_> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let layout = if name == PARTS { "ORDER BY token" } else { "PARTITION BY toYYYYMM(toDate(day)) ORDER BY (account, hour)" };
        let columns = columns.join(", ");
        connection.execute(format!("CREATE TABLE IF NOT EXISTS {name} ({columns}) ENGINE = MergeTree {layout}{synced}")).await?;
    }
    check(connection).await
}

#[derive(Row, Deserialize)]
struct Column {
    table: String,
    name: String,
    kind: String,
}

async fn check(connection: &Connection) -> Result<(), HistoryError> {
    let there: Vec<Column> = connection
        .rows(format!("SELECT table, name, type FROM system.columns WHERE database = '{}'", connection.database))
        .await?;
    let there: BTreeMap<_, _> = there.into_iter().map(|column| ((column.table, column.name), column.kind)).collect();
    let mut wrong = Vec::new();
    for (table, columns) in tables() {
        for (name, kind) in columns {
            match there.get(&(table.to_owned(), name.to_owned())) {
                Some(found) if found == kind => {}
                Some(found) => wrong.push(format!("{table}.{name} is {found}, not {kind}")),
                None => wrong.push(format!("{table}.{name} ({kind}) is absent")),
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(HistoryError::WrongSchema(wrong.join("; "))) }
}
