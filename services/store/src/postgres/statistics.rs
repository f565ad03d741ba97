//! What PostgreSQL's planner believes. It counts by itself too, so what tells a refresh is the time of the last one by hand.

use super::{
    connect::PostgresStore,
    transact::{End, Reach},
};
use crate::{AnsweringTable, Believed, Statistics, StoreError};
use async_trait::async_trait;
use std::collections::HashMap;

#[async_trait]
impl Statistics for PostgresStore {
    async fn believed(&self) -> Result<Vec<Believed>, StoreError> {
        let rows = self.read(Reach::Rows, |connection| {
            Box::pin(async move {
                let names = AnsweringTable::ALL.map(|table| table.name().to_owned());
                // Below zero: never counted.
                let believed = sqlx::query_as(
                    "SELECT name, sum(greatest(reltuples, 0))::bigint, coalesce(max(pg_stat_get_last_analyze_time(class.oid))::text, 'never')
                     FROM unnest($1::text[]) AS names (name)
                     JOIN (SELECT inhparent, inhrelid FROM pg_inherits UNION ALL SELECT oid, oid FROM pg_class WHERE relkind = 'r')
                         AS parts (whole, part) ON whole = to_regclass(name)
                     JOIN pg_class AS class ON class.oid = part
                     GROUP BY name",
                );
                let believed: Vec<(String, i64, String)> = believed.bind(&names[..]).fetch_all(connection).await?;
                Ok(believed)
            })
        });
        let mut rows: HashMap<_, _> = rows.await?.into_iter().map(|(name, rows, refreshed)| (name, (rows, refreshed))).collect();
        let believed = |table: AnsweringTable| {
            let (rows, refreshed) = rows.remove(table.name()).unwrap_or((-1, "never".to_owned()));
            Believed { table, rows: u64::try_from(rows).ok().filter(|rows| *rows > 0), refreshed }
        };
        Ok(AnsweringTable::ALL.into_iter().map(believed).collect())
    }

    async fn refresh_statistics(&self, table: AnsweringTable) -> Result<(), StoreError> {
        let counting = self.write_at_length(End::Commit, move |connection| {
            Box::pin(async move { Ok(sqlx::query(table.analyze()).execute(connection).await.map(drop)?) })
        });
        counting.await
    }
}
