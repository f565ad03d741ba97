//! What SQLite's planner believes: rows of `sqlite_stat1`, one an index, which change by `ANALYZE` alone. A connection reads
//! them once, so those that read are made anew after a refresh.

use super::connect::{SqliteStore, failed};
use crate::{AnsweringTable, Believed, Statistics, StoreError};
use async_trait::async_trait;
use std::collections::HashMap;

/// Rows looked at of an index: the writer is held no longer.
const SAMPLE: &str = "PRAGMA analysis_limit = 2000";

#[async_trait]
impl Statistics for SqliteStore {
    async fn believed(&self) -> Result<Vec<Believed>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let counted = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'sqlite_stat1'";
        let counted: bool = sqlx::query_scalar(counted).fetch_one(&mut *snapshot).await.map_err(failed)?;
        let mut believed = HashMap::new();
        if counted {
            let rows = sqlx::query_as("SELECT tbl, group_concat(stat, '; ') FROM sqlite_stat1 GROUP BY tbl");
            let rows: Vec<(String, String)> = rows.fetch_all(&mut *snapshot).await.map_err(failed)?;
            believed.extend(rows);
        }
        let of = |table: AnsweringTable| {
            let stat = believed.remove(table.name());
            // Such as `12000 300 1`: rows of the index first, then how many share a prefix of its columns.
            let rows = stat.as_deref().and_then(|stat| stat.split(' ').next()?.parse().ok());
            Believed { table, rows, refreshed: stat.unwrap_or_else(|| "never".to_owned()) }
        };
        Ok(AnsweringTable::ALL.into_iter().map(of).collect())
    }

    async fn refresh_statistics(&self, table: AnsweringTable) -> Result<(), StoreError> {
        let counting = self.writer.transaction(move |connection| {
            Box::pin(async move {
                sqlx::query(SAMPLE).execute(&mut *connection).await.map_err(failed)?;
                sqlx::query(table.analyze()).execute(connection).await.map(drop).map_err(failed)
            })
        });
        counting.await?;
        let old = self.renew_readers();
        // Answers under way end on the old ones; nobody waits for that.
        tokio::spawn(async move { old.close().await });
        Ok(())
    }
}
