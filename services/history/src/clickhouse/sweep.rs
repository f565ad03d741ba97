//! Removing attempts that nobody listed.

use super::{connect::Connection, schema::PARTS, sql};
use crate::{HistoryError, piece::Table};
use loadline_domain::{Timestamp, archive::Part};
use std::{collections::BTreeSet, time::Duration};

/// Deletes the rows of other attempts; returns how many attempts those were.
pub(super) async fn remove(connection: &Connection, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
    let mut void = BTreeSet::new();
    let mut found = Vec::new();
    // The part first: nobody finds an attempt that is half gone.
    for table in [PARTS, Table::Daily.name(), Table::Hourly.name(), Table::Latency.name()] {
        let old = format!(
            "SELECT DISTINCT token FROM {table} WHERE at < {} AND token NOT IN {}",
            older_than.micros(),
            sql::tokens(keep)
        );
        let tokens: Vec<String> = connection.rows(old).await?;
        if !tokens.is_empty() {
            found.push((table, sql::list(tokens.iter().map(String::as_str))));
            void.extend(tokens);
        }
    }
    for (table, tokens) in &found {
        connection.execute(format!("ALTER TABLE {table} DELETE WHERE token IN {tokens}")).await?;
        settled(connection, table).await?;
    }
    Ok(void.len() as u64)
}

/// Waits until a table's deletions are done.
async fn settled(connection: &Connection, table: &str) -> Result<(), HistoryError> {
    let pending = format!(
        "SELECT count() FROM system.mutations WHERE database = '{}' AND table = '{table}' AND is_done = 0",
        connection.database
    );
    while connection.rows::<u64>(pending.clone()).await? != [0] {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
