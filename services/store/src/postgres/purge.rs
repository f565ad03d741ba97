//! Dedup tables made ahead, and dropped in two steps: first no new transaction looks into the table, then it goes, as soon as
//! those that had looked are done. Whoever waits for the drop itself would hold up every batch behind it.

use super::{
    connect::PostgresStore,
    dedup::{self, on},
    fault::Fault,
    leadership::fence,
    transact::{End, Reach, unless_in_use, while_in_use},
};
use crate::{
    DedupPurge, Leadership, Purgeable, StoreError,
    purge::{days, past},
    rows::{dedup_table, loaded},
};
use async_trait::async_trait;
use loadline_domain::{Day, Rules, Timestamp, identity::Partition};
use sqlx::PgConnection;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError},
};

#[async_trait]
impl DedupPurge for PostgresStore {
    async fn prepare_partitions(&self, from: Day, to: Day) -> Result<u64, StoreError> {
        let mut made = 0;
        // One a transaction: a batch that needs one of them waits for no others.
        for partition in days(from, to) {
            let making = self.write(End::Commit, move |connection| {
                Box::pin(async move { dedup::make_tables(connection, &BTreeSet::from([partition])).await })
            });
            made += making.await?;
            self.make_day(partition.day).await?;
        }
        Ok(made)
    }

    async fn purgeable(&self, rules: &Rules, counted_through: Timestamp) -> Result<Vec<Purgeable>, StoreError> {
        let rules = *rules;
        self.read(Reach::Rows, move |connection| Box::pin(async move { purgeable(connection, &rules, counted_through).await }))
            .await
    }

    async fn purge(&self, leadership: &Leadership, partition: Partition) -> Result<bool, StoreError> {
        let leadership = Arc::new(leadership.clone());
        let given = Arc::clone(&leadership);
        let unlisting = self.write(End::Commit, move |connection| {
            let leadership = Arc::clone(&given);
            Box::pin(async move { unlist(connection, &leadership, partition).await })
        });
        if !unlisting.await? {
            return Ok(false);
        }
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        let dropping = || {
            let given = Arc::clone(&leadership);
            self.write_at_length(End::Commit, move |connection| {
                let leadership = Arc::clone(&given);
                Box::pin(async move { drop_table(connection, &leadership, partition).await })
            })
        };
        while_in_use(dropping).await
    }
}

async fn purgeable(connection: &mut PgConnection, rules: &Rules, through: Timestamp) -> Result<Vec<Purgeable>, Fault> {
    // No stream that is known to be behind is past its last applied record.
    let behind: Option<i64> =
        sqlx::query_scalar("SELECT min(coalesce(applied_at, 0)) FROM stream_progress WHERE is_current AND applied < head")
            .fetch_one(&mut *connection)
            .await?;
    let through = behind.map_or(through, |at| through.min(Timestamp::from_micros(at)));
    let tables: Vec<(String, i32)> =
        sqlx::query_as("SELECT kind, day FROM dedup_partition ORDER BY day, kind").fetch_all(&mut *connection).await?;
    let tables = past(tables, rules, through)?;
    let names: Vec<_> = tables.iter().map(|partition| dedup_table(*partition)).collect();
    let sizes: Vec<(String, i64)> = sqlx::query_as(
        "SELECT name, greatest(pg_stat_get_live_tuples(class.oid), class.reltuples::bigint, 0)
         FROM unnest($1::text[]) AS names (name) JOIN pg_class AS class ON class.oid = to_regclass(name)",
    )
    .bind(&names)
    .fetch_all(connection)
    .await?;
    let sizes: HashMap<_, _> = sizes.into_iter().collect();
    let rows = |name: &str| loaded(sizes.get(name).copied().unwrap_or_default());
    let told = tables.into_iter().zip(names).map(|(partition, name)| Ok(Purgeable { partition, rows: rows(&name)?, name }));
    Ok(told.collect::<Result<_, StoreError>>()?)
}

/// From here on nobody looks into the table. False when it is not listed.
async fn unlist(connection: &mut PgConnection, leadership: &Leadership, partition: Partition) -> Result<bool, Fault> {
    fence(&mut *connection, leadership).await?;
    let unlist = sqlx::query("UPDATE dedup_partition SET purging = TRUE WHERE kind = $1 AND day = $2");
    let unlist = unlist.bind(partition.kind.as_str()).bind(partition.day.index());
    Ok(unlist.execute(connection).await?.rows_affected() == 1)
}

/// False when a late event has claimed the table meanwhile; `None` while somebody looks into it.
async fn drop_table(connection: &mut PgConnection, leadership: &Leadership, partition: Partition) -> Result<Option<bool>, Fault> {
    fence(&mut *connection, leadership).await?;
    unless_in_use(connection, |connection| Box::pin(drop_listed(connection, partition))).await
}

async fn drop_listed(connection: &mut PgConnection, partition: Partition) -> Result<bool, Fault> {
    let gone = sqlx::query("DELETE FROM dedup_partition WHERE kind = $1 AND day = $2 AND purging");
    let gone = gone.bind(partition.kind.as_str()).bind(partition.day.index());
    if gone.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::raw_sql(on(partition, "DROP TABLE IF EXISTS {table}")).execute(connection).await?;
    Ok(true)
}
