//! Days let go to history: counted again while nobody adds to them, and emptied as tables, whatever their number of rows.

use super::{
    connect::PostgresStore,
    export,
    fault::Fault,
    hot_days::{self, KnownDays},
    leadership::fence,
    leases::clock,
    rollups::alone_with_days,
    transact::{End, Reach, unless_in_use, while_in_use},
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
use sqlx::PgConnection;
use std::sync::Arc;

#[async_trait]
impl Archive for PostgresStore {
    async fn identity(&self) -> Result<String, StoreError> {
        let id = sqlx::query_scalar("SELECT id FROM store_identity");
        self.run(|connection| Box::pin(async { Ok(id.fetch_one(connection).await?) })).await
    }

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
        Ok(export::export(self.copies.clone(), day, export::SORTED_HERE))
    }

    async fn archive(&self, leadership: &Leadership, part: &Part, totals: &Totals) -> Result<Archived, StoreError> {
        let given = Arc::new((leadership.clone(), part.clone(), *totals));
        let archiving = || async {
            let _turn = self.letting_go.lock().await;
            let given = Arc::clone(&given);
            let letting_go = self.write_at_length(End::Commit, move |connection| {
                let given = Arc::clone(&given);
                Box::pin(async move { archive(connection, &given.0, &given.1, &given.2).await })
            });
            letting_go.await
        };
        while_in_use(archiving).await
    }

    async fn drop_empty_days(&self, before: Day) -> Result<u64, StoreError> {
        self.drop_empty(before).await
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

/// `None` while somebody reads the day's tables at length.
async fn archive(
    connection: &mut PgConnection,
    leadership: &Leadership,
    part: &Part,
    totals: &Totals,
) -> Result<Option<Archived>, Fault> {
    fence(&mut *connection, leadership).await?;
    let (listed, next): (bool, i32) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM archived_part WHERE token = $2),
                (SELECT coalesce(max(number) + 1, 0) FROM archived_part WHERE day = $1)",
    )
    .bind(part.day.index())
    .bind(&part.token)
    .fetch_one(&mut *connection)
    .await?;
    if listed {
        return Ok(Some(Archived::Already));
    }
    if number(next)? != part.number {
        let stale = format!("part {} of {} is not the next one, {next} is", part.number, part.day);
        return Err(StoreError::Stale(stale).into());
    }
    let found = held(&mut *connection, part.day).await?;
    if found != *totals {
        return Ok(Some(Archived::Moved { found }));
    }
    // Only now: to add up a large day takes longer than a roll-up waits.
    alone_with_days(&mut *connection).await?;
    let day = part.day;
    if unless_in_use(&mut *connection, |connection| Box::pin(empty(connection, day))).await?.is_none() {
        return Ok(None);
    }
    list(connection, part, totals).await?;
    Ok(Some(Archived::Done))
}

/// What a day holds. From here on nobody adds to it until the transaction ends; everybody may still read.
async fn held(connection: &mut PgConnection, day: Day) -> Result<Totals, Fault> {
    hot_days::make(&mut *connection, [day], &KnownDays::default()).await?;
    let lock = hot_days::on(day, "LOCK TABLE {usage}, {latency} IN SHARE MODE");
    sqlx::raw_sql(lock).execute(&mut *connection).await?;
    let tally = hot_days::on(
        day,
        "SELECT * FROM
             (SELECT count(*) AS hourly_rows,
                     to_json(ARRAY[coalesce(sum(events), 0), coalesce(sum(messages), 0), coalesce(sum(segments), 0),
                         coalesce(sum(amount_micros), 0), coalesce(sum(delivered), 0), coalesce(sum(undelivered), 0),
                         coalesce(sum(expired), 0), coalesce(sum(rejected), 0), coalesce(sum(failed), 0),
                         coalesce(sum(not_final), 0)]::text[])::text AS hourly FROM {usage}) AS usage,
             (SELECT count(*) AS latency_rows, coalesce(sum(count), 0)::text AS latency FROM {latency}) AS latency",
    );
    let tally: Tally = sqlx::query_as(tally).fetch_one(connection).await?;
    Ok(Totals::try_from(tally)?)
}

/// Nobody adds to the day, so all its marks are those of the rows that go. Answers wait for the tables as long as this waits for them,
/// so it does not wait long.
async fn empty(connection: &mut PgConnection, day: Day) -> Result<(), Fault> {
    for statement in ["DELETE FROM usage_daily WHERE day = $1", "DELETE FROM dirty_day WHERE day = $1"] {
        sqlx::query(statement).bind(day.index()).execute(&mut *connection).await?;
    }
    sqlx::raw_sql(hot_days::on(day, "TRUNCATE {usage}, {latency}")).execute(connection).await?;
    Ok(())
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
