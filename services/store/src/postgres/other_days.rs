//! An id that was counted on another day: told with another time it is still the same event, and a conflict.

use super::{
    dedup::{in_partition, uuid},
    fault::Fault,
};
use crate::OTHER_DAYS;
use loadline_domain::{
    Day,
    identity::{Fingerprint, Identity, Partition},
};
use sqlx::PgConnection;
use std::collections::HashMap;

/// Which of these identities, of one partition and sorted by key, have their key in a table of the days around it. Ids made in
/// order of time hardly ever lie between the bounds of another day.
pub(super) async fn known(connection: &mut PgConnection, run: &[Identity]) -> Result<HashMap<Identity, Fingerprint>, Fault> {
    let Some(partition) = run.first().map(|identity| identity.partition) else { return Ok(HashMap::new()) };
    let days: Vec<i32> = sqlx::query_scalar(
        "SELECT day FROM dedup_partition WHERE kind = $1 AND day BETWEEN $2 - $3 AND $2 + $3 AND day <> $2 AND NOT purging",
    )
    .bind(partition.kind.as_str())
    .bind(partition.day.index())
    .bind(OTHER_DAYS)
    .fetch_all(&mut *connection)
    .await?;
    let mut known = HashMap::new();
    for day in days {
        let other = Partition { day: Day::from_index(day), ..partition };
        let found = in_partition(&mut *connection, other, run.iter().map(uuid)).await?;
        known.extend(found.into_iter().map(|(there, fingerprint)| (Identity { partition, ..there }, fingerprint)));
    }
    Ok(known)
}
