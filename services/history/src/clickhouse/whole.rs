//! Whether all rows of finished parts are there. A server that starts drops what it cannot read, an operator may drop a partition,
//! and a sum over what is left would be a smaller number.
//!
//! Rows of a part are counted once, and again when its month has another number of rows than it had then, which the server knows
//! without reading any.

use super::{ClickHouseHistory, connect::Connection, schema::PARTS, sql};
use crate::{
    HistoryError,
    piece::{Piece, Table},
};
use clickhouse::Row;
use loadline_domain::{Hour, archive::Part};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// Months of tables: how many rows each had when parts of it were counted, and the tokens of those.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<HashMap<(Table, String), (u64, HashSet<String>)>>);

#[derive(Row, Deserialize)]
struct PartLine {
    day: i32,
    number: u32,
    token: String,
    daily_rows: u64,
    hourly_rows: u64,
    latency_rows: u64,
}

#[derive(Row, Deserialize)]
struct RowsLine {
    of: String,
    rows: u64,
}

impl PartLine {
    fn rows(&self, table: Table) -> u64 {
        match table {
            Table::Daily => self.daily_rows,
            Table::Hourly => self.hourly_rows,
            Table::Latency => self.latency_rows,
        }
    }
}

impl ClickHouseHistory {
    /// Refuses what a question over these parts and hours says when a part is absent, or a table has not all of its rows.
    pub(super) async fn ensure_whole(&self, parts: &[Part], piece: Piece) -> Result<(), HistoryError> {
        let (finished, now) = tokio::try_join!(self.finished(parts), months_of(&self.connection, piece.table))?;
        let there = |part: &&Part| {
            finished.get(&part.token).is_some_and(|line| (line.day, line.number) == (part.day.index(), part.number))
        };
        if let Some(part) = parts.iter().find(|part| !there(part)) {
            return Err(HistoryError::Missing(part.clone()));
        }
        let (first, last) = (piece.from.day(), Hour::from_index(piece.to.index() - 1).day());
        let mut months: BTreeMap<String, Vec<&Part>> = BTreeMap::new();
        for part in parts.iter().filter(|part| (first..=last).contains(&part.day)) {
            months.entry(month(part)).or_default().push(part);
        }
        for (month, parts) in months {
            let rows = now.get(&month).copied().unwrap_or(0);
            if !self.counted.has(piece.table, &month, rows, &parts) {
                self.count_rows(piece.table, &parts, &finished).await?;
                self.counted.keep(piece.table, month, rows, &parts);
            }
        }
        Ok(())
    }

    async fn finished(&self, parts: &[Part]) -> Result<HashMap<String, PartLine>, HistoryError> {
        let lines = format!(
            "SELECT day, number, token, daily_rows, hourly_rows, latency_rows FROM {PARTS} WHERE token IN {}",
            sql::tokens(parts)
        );
        Ok(self.connection.rows::<PartLine>(lines).await?.into_iter().map(|line| (line.token.clone(), line)).collect())
    }

    async fn count_rows(&self, table: Table, parts: &[&Part], finished: &HashMap<String, PartLine>) -> Result<(), HistoryError> {
        let days = parts.iter().map(|part| part.day.index());
        let (first, last) = (days.clone().min().unwrap_or(0), days.max().unwrap_or(0));
        let tokens = sql::list(parts.iter().map(|part| part.token.as_str()));
        let name = table.name();
        let counted = format!(
            "SELECT token, count() FROM {name} WHERE day >= {first} AND day <= {last} AND token IN {tokens} GROUP BY token"
        );
        let counted = self.connection.rows::<RowsLine>(counted).await?;
        let found: HashMap<_, _> = counted.into_iter().map(|line| (line.of, line.rows)).collect();
        for part in parts {
            let (found, written) = (found.get(&part.token).copied().unwrap_or(0), finished[&part.token].rows(table));
            if found != written {
                let why = format!("of part {} of {} it has {found} rows, and {written} were written", part.number, part.day);
                return Err(HistoryError::Damaged { file: name.to_owned(), why });
            }
        }
        Ok(())
    }
}

/// Partition of its rows, such as `202611`.
fn month(part: &Part) -> String {
    part.day.to_string().chars().filter(char::is_ascii_digit).take(6).collect()
}

async fn months_of(connection: &Connection, table: Table) -> Result<HashMap<String, u64>, HistoryError> {
    let asked = format!(
        "SELECT partition, sum(rows) FROM system.parts WHERE database = '{}' AND table = '{}' AND active GROUP BY partition",
        connection.database,
        table.name()
    );
    Ok(connection.rows::<RowsLine>(asked).await?.into_iter().map(|line| (line.of, line.rows)).collect())
}

impl Counted {
    fn has(&self, table: Table, month: &str, rows: u64, parts: &[&Part]) -> bool {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = counted.get(&(table, month.to_owned()));
        counted.is_some_and(|(then, tokens)| *then == rows && parts.iter().all(|part| tokens.contains(&part.token)))
    }

    fn keep(&self, table: Table, month: String, rows: u64, parts: &[&Part]) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, tokens) = counted.entry((table, month)).or_default();
        if *then != rows {
            tokens.clear();
        }
        *then = rows;
        tokens.extend(parts.iter().map(|part| part.token.clone()));
    }
}
