//! An id that was counted on another day: told with another time it is still the same event, and a conflict.

use super::{
    connect::failed,
    dedup::{in_partition, on},
};
use crate::{OTHER_DAYS, StoreError};
use loadline_domain::{
    Day,
    fold::Candidate,
    identity::{Fingerprint, Identity, Partition},
};
use sqlx::SqliteConnection;
use std::collections::HashMap;

/// Which of these candidates, of one partition and sorted by key, have their key in a table of the days around it. Ids made in
/// order of time hardly ever lie between the least and the greatest key of another day, and cost nothing more there.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    run: &[Candidate],
) -> Result<HashMap<Identity, Fingerprint>, StoreError> {
    let Some(partition) = run.first().map(|candidate| candidate.identity.partition) else { return Ok(HashMap::new()) };
    let days: Vec<i32> =
        sqlx::query_scalar("SELECT day FROM dedup_partition WHERE kind = ?1 AND day BETWEEN ?2 - ?3 AND ?2 + ?3 AND day <> ?2")
            .bind(partition.kind.as_str())
            .bind(partition.day.index())
            .bind(OTHER_DAYS)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
    let mut known = HashMap::new();
    for day in days {
        let other = Partition { day: Day::from_index(day), ..partition };
        let Some((least, greatest)) = bounds(&mut *connection, other).await? else { continue };
        let there = run.iter().map(|candidate| Identity { partition: other, ..candidate.identity });
        let there: Vec<_> = there.filter(|there| (&least[..]..=&greatest[..]).contains(&&there.key[..])).collect();
        let found = in_partition(&mut *connection, &there).await?;
        known.extend(found.into_iter().map(|(there, fingerprint)| (Identity { partition, ..there }, fingerprint)));
    }
    Ok(known)
}

/// Least and greatest key of a table; `None` when it is empty.
async fn bounds(connection: &mut SqliteConnection, partition: Partition) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
    let statement = on(partition, "SELECT (SELECT min(key) FROM {table}), (SELECT max(key) FROM {table})");
    let (least, greatest): (Option<Vec<u8>>, Option<Vec<u8>>) =
        sqlx::query_as(statement).fetch_one(connection).await.map_err(failed)?;
    Ok(least.zip(greatest))
}
