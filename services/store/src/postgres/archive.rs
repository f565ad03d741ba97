//! Days let go to history. What a day has is found by its accounts, which its daily rows and its marks name together.

use super::{
    connect::PostgresStore,
    export,
    fault::Fault,
    leadership::fence,
    leases::clock,
    rollups::alone_with_days,
    transact::{End, Reach},
};
use crate::{
    Archivable, Archive, Archived, ArchivedPart, Export, Leadership, StoreError,
    rows::stored,
    work_rows::{StoredPart, Tally, number, small, sums_json},
};
use async_trait::async_trait;
use loadline_domain::{
    Day,
    archive::{Part, Totals},
};
use sqlx::{Connection as _, PgConnection};
use std::sync::Arc;

/// Accounts with hot rows on the day `$1`.
macro_rules! accounts {
    () => {
        "(SELECT account FROM usage_daily WHERE day = $1 UNION SELECT account FROM dirty_day WHERE day = $1)"
    };
}

#[async_trait]
impl Archive for PostgresStore {
    async fn archivable(&self, before: Day) -> Result<Vec<Archivable>, StoreError> {
        // From one day to the next by index, whatever number of rows a day has.
        let days = sqlx::query_as(
            "WITH RECURSIVE rolled (day) AS (
                 SELECT min(day) FROM usage_daily WHERE day < $1
                 UNION ALL
                 SELECT (SELECT min(day) FROM usage_daily WHERE day > rolled.day AND day < $1) FROM rolled WHERE day IS NOT NULL
             )
             SELECT day, (SELECT coalesce(max(number) + 1, 0) FROM archived_part WHERE archived_part.day = hot.day)
             FROM (SELECT day FROM rolled WHERE day IS NOT NULL UNION SELECT day FROM dirty_day WHERE day < $1) AS hot
             ORDER BY day",
        );
        let days = days.bind(before.index());
        let days: Vec<(i32, i32)> =
            self.read(Reach::Rows, |connection| Box::pin(async { Ok(days.fetch_all(connection).await?) })).await?;
        days.into_iter().map(|(day, next)| Ok(Archivable { day: Day::from_index(day), number: number(next)? })).collect()
    }

    async fn export_day(&self, day: Day) -> Result<Export, StoreError> {
        Ok(export::export(self.pool.clone(), day))
    }

    async fn archive(&self, leadership: &Leadership, part: &Part, totals: &Totals) -> Result<Archived, StoreError> {
        let given = Arc::new((leadership.clone(), part.clone(), *totals));
        let archiving = self.write_at_length(End::Commit, move |connection| {
            let given = Arc::clone(&given);
            Box::pin(async move { archive(connection, &given.0, &given.1, &given.2).await })
        });
        archiving.await
    }

    async fn parts(&self, from: Day, to: Day) -> Result<Vec<ArchivedPart>, StoreError> {
        let parts = sqlx::query_as(
            "SELECT day, number, token, hourly_rows, hourly, latency_rows, latency, archived_at
             FROM archived_part WHERE day BETWEEN $1 AND $2 ORDER BY day, number",
        );
        let parts = parts.bind(from.index()).bind(to.index());
        let rows: Vec<StoredPart> = self.run(|connection| Box::pin(async { Ok(parts.fetch_all(connection).await?) })).await?;
        rows.into_iter().map(ArchivedPart::try_from).collect()
    }

    async fn boundary(&self) -> Result<Option<Day>, StoreError> {
        let boundary = sqlx::query_scalar(
            "SELECT coalesce((SELECT min(day) FROM (SELECT DISTINCT day FROM usage_daily WHERE day <= newest
                                                    UNION SELECT day FROM dirty_day WHERE day <= newest) AS hot
                              WHERE day NOT IN (SELECT day FROM archived_part)), newest + 1)
             FROM (SELECT max(day) AS newest FROM archived_part) AS archived",
        );
        let day: Option<i32> =
            self.read(Reach::Rows, |connection| Box::pin(async { Ok(boundary.fetch_one(connection).await?) })).await?;
        Ok(day.map(Day::from_index))
    }
}

async fn archive(
    connection: &mut PgConnection,
    leadership: &Leadership,
    part: &Part,
    totals: &Totals,
) -> Result<Archived, Fault> {
    fence(&mut *connection, leadership).await?;
    alone_with_days(&mut *connection).await?;
    // A day is found by its accounts, through the index: the server might rather read all hot days.
    sqlx::raw_sql("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off").execute(&mut *connection).await?;
    let (listed, next): (bool, i32) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM archived_part WHERE token = $2),
                (SELECT coalesce(max(number) + 1, 0) FROM archived_part WHERE day = $1)",
    )
    .bind(part.day.index())
    .bind(&part.token)
    .fetch_one(&mut *connection)
    .await?;
    if listed {
        return Ok(Archived::Already);
    }
    if number(next)? != part.number {
        let stale = format!("part {} of {} is not the next one, {next} is", part.number, part.day);
        return Err(StoreError::Stale(stale).into());
    }
    let mut attempt = connection.begin().await?;
    let found = delete(&mut attempt, part.day).await?;
    if found != *totals {
        attempt.rollback().await?;
        return Ok(Archived::Moved { found });
    }
    attempt.commit().await?;
    list(connection, part, totals).await?;
    Ok(Archived::Done)
}

/// Deletes a day's rows and returns what they held. One statement, hence one snapshot: a row that comes meanwhile is not in
/// it and stays, and so does the mark that came with it, by its version.
async fn delete(connection: &mut PgConnection, day: Day) -> Result<Totals, Fault> {
    let tally: Tally = sqlx::query_as(concat!(
        "WITH accounts AS MATERIALIZED ",
        accounts!(),
        ", hourly AS (
             DELETE FROM usage_hourly USING accounts
             WHERE usage_hourly.account = accounts.account AND hour >= $1 * 24 AND hour < $1 * 24 + 24
             RETURNING events, messages, segments, amount_micros, delivered, undelivered, expired, rejected, failed, not_final
         ), latency AS (
             DELETE FROM latency_hourly USING accounts
             WHERE latency_hourly.account = accounts.account AND hour >= $1 * 24 AND hour < $1 * 24 + 24
             RETURNING count
         ), daily AS (
             DELETE FROM usage_daily WHERE day = $1
         ), marks AS (
             DELETE FROM dirty_day USING (SELECT account, version FROM dirty_day WHERE day = $1) AS seen
             WHERE dirty_day.account = seen.account AND dirty_day.day = $1 AND dirty_day.version = seen.version
         )
         SELECT * FROM
             (SELECT count(*) AS hourly_rows,
                     to_json(ARRAY[sum(events), sum(messages), sum(segments), sum(amount_micros), sum(delivered), sum(undelivered),
                           sum(expired), sum(rejected), sum(failed), sum(not_final)]::text[])::text AS hourly
              FROM (SELECT * FROM hourly UNION ALL SELECT 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) AS gone) AS usage,
             (SELECT count(*) AS latency_rows, coalesce(sum(count), 0)::text AS latency FROM latency) AS latency"
    ))
    .bind(day.index())
    .fetch_one(connection)
    .await?;
    let mut totals = Totals::try_from(tally)?;
    // The row of zeros, without which sums of nothing were NULL.
    totals.hourly_rows -= 1;
    Ok(totals)
}

async fn list(connection: &mut PgConnection, part: &Part, totals: &Totals) -> Result<(), Fault> {
    sqlx::query(concat!(
        "INSERT INTO archived_part (day, number, token, hourly_rows, hourly, latency_rows, latency, archived_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, ",
        clock!(),
        ")"
    ))
    .bind(part.day.index())
    .bind(small(part.number)?)
    .bind(&part.token)
    .bind(stored(totals.hourly_rows)?)
    .bind(sums_json(totals))
    .bind(stored(totals.latency_rows)?)
    .bind(totals.latency.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
