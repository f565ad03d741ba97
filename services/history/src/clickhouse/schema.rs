//! Tables, made or checked.

use super::{
    connect::Connection,
    sql::{SUMS, quoted},
};
use crate::{HistoryError, piece::Table};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Of the finished parts.
pub(super) const PARTS: &str = "history_part";
/// Of the store whose history it is.
const OWNER: &str = "history_owner";

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
    // With the numbers of its rows in the other tables.
    let rows = ["daily_rows", "hourly_rows", "latency_rows"].map(|name| (name, "UInt64"));
    let part = [("day", "Int32"), ("number", "UInt32"), ("token", "String"), ("at", "Int64")].into_iter().chain(rows).collect();
    let owner = vec![("store", "String")];
    vec![
        (Table::Daily.name(), usage.clone()),
        (Table::Hourly.name(), usage),
        (Table::Latency.name(), latency),
        (PARTS, part),
        (OWNER, owner),
    ]
}

pub(super) async fn prepare(connection: &Connection) -> Result<(), HistoryError> {
    connection.make_database().await?;
    ensure_none_went(connection).await?;
    // What is acknowledged is on disk, where the server can promise it.
    let synced =
        if connection.version().await? >= 21 { " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1" } else { "" };
    for (name, columns) in tables() {
        let columns: Vec<_> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let layout = match name {
            PARTS => "ORDER BY token",
            OWNER => "ORDER BY store",
            _ => "PARTITION BY toYYYYMM(toDate(day)) ORDER BY (account, hour)",
        };
        let columns = columns.join(", ");
        connection.execute(format!("CREATE TABLE IF NOT EXISTS {name} ({columns}) ENGINE = MergeTree {layout}{synced}")).await?;
    }
    check(connection).await
}

/// A table that went away with the rows of finished parts must not be made anew: what it had would be missed by nobody.
async fn ensure_none_went(connection: &Connection) -> Result<(), HistoryError> {
    let there = format!("SELECT name FROM system.tables WHERE database = '{}'", connection.database);
    let there: Vec<String> = connection.rows(there).await?;
    if !there.iter().any(|name| name == PARTS) {
        return Ok(());
    }
    let finished: u64 = connection.rows::<u64>(format!("SELECT count() FROM {PARTS}")).await?.into_iter().sum();
    let mut tables = [Table::Daily, Table::Hourly, Table::Latency].into_iter().map(Table::name);
    match tables.find(|table| finished > 0 && !there.iter().any(|name| name == table)) {
        Some(gone) => Err(HistoryError::WrongSchema(format!("{gone} is absent, which has rows of {finished} parts; restore it"))),
        None => Ok(()),
    }
}

/// Writes the owner's name when there is none. Nothing here is put if absent: of stores that claim it at the same moment each
/// is refused from then on, until an operator removes one.
pub(super) async fn claim(connection: &Connection, store: &str) -> Result<(), HistoryError> {
    let asked = format!("SELECT DISTINCT store FROM {OWNER} ORDER BY store");
    let mut owners: Vec<String> = connection.rows(asked.clone()).await?;
    if owners.is_empty() {
        connection.execute(format!("INSERT INTO {OWNER} (store) VALUES ({})", quoted(store))).await?;
        owners = connection.rows(asked).await?;
    }
    if owners == [store] { Ok(()) } else { Err(HistoryError::Foreign { owner: owners.join(", "), store: store.to_owned() }) }
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
