//! Room in the server's table of locks. What answers keeps the tables of all hot days as they are, a lock for each and its index.

use super::fault::Fault;
use sqlx::PgConnection;

/// Days that come to those there are, before anybody looks again.
const MORE_DAYS: i64 = 30;

/// What the server lacks when so many connections answer at once; `None` when it has room.
pub(super) async fn gap(connection: &mut PgConnection, connections: u32) -> Result<Option<String>, Fault> {
    let asked = "SELECT current_setting('max_locks_per_transaction')::bigint, current_setting('max_connections')::bigint,
                        (SELECT count(*) FROM pg_inherits WHERE inhparent IN (to_regclass('usage_hourly'), to_regclass('latency_hourly')))";
    let (each, most, tables): (i64, i64, i64) = sqlx::query_as(asked).fetch_one(connection).await?;
    let needed = (tables + 2 * MORE_DAYS) * 2 * i64::from(connections);
    Ok((needed > each * most).then(|| {
        let enough = (needed / most + 1).max(0) as u64;
        format!(
            "{connections} connections that answer at once take up to {needed} locks, and the server has room for {}: set \
             max_locks_per_transaction to {} or more (deploy/postgresql.conf), or lower store.max_connections or rollup.hot_days",
            each * most,
            enough.next_power_of_two()
        )
    }))
}
