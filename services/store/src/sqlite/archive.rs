//! Days let go to history. What a day has is found by its accounts, which its daily rows and its marks name together.

use super::{
    commit::mark_dirty,
    connect::{SqliteStore, failed, now},
    export,
    leadership::fence,
    rollups::with_accounts,
};
use crate::{
    Archivable, Archive, Archived, ArchivedPart, Export, Leadership, StoreError,
    rows::{account, loaded, stored},
    work_rows::{StoredPart, number, sums_json},
};
use async_trait::async_trait;
use loadline_domain::{
    Day,
    archive::{Part, Totals},
};
use sqlx::SqliteConnection;
use std::collections::BTreeSet;

/// Accounts with hot rows on the day `?1`.
macro_rules! accounts {
    () => {
        "(SELECT account FROM usage_daily WHERE day = ?1 UNION SELECT account FROM dirty_day WHERE day = ?1)"
    };
}
pub(super) use accounts;

#[async_trait]
impl Archive for SqliteStore {
    async fn identity(&self) -> Result<String, StoreError> {
        let mut snapshot = self.snapshot().await?;
        sqlx::query_scalar("SELECT id FROM store_identity").fetch_one(&mut *snapshot).await.map_err(failed)
    }

    async fn archivable(&self, before: Day) -> Result<Vec<Archivable>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        // From one day to the next by index, whatever number of rows a day has.
        let days: Vec<(i32, i32)> = sqlx::query_as(
            "WITH RECURSIVE rolled (day) AS (
                 SELECT min(day) FROM usage_daily WHERE day < ?1
                 UNION ALL
                 SELECT (SELECT min(day) FROM usage_daily WHERE day > rolled.day AND day < ?1) FROM rolled WHERE day IS NOT NULL
             )
             SELECT day, (SELECT coalesce(max(number) + 1, 0) FROM archived_part WHERE archived_part.day = hot.day)
             FROM (SELECT day FROM rolled WHERE day IS NOT NULL UNION SELECT day FROM dirty_day WHERE day < ?1) AS hot
             ORDER BY day",
        )
        .bind(before.index())
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        days.into_iter().map(|(day, next)| Ok(Archivable { day: Day::from_index(day), number: number(next)? })).collect()
    }

    async fn export_day(&self, day: Day) -> Result<Export, StoreError> {
        Ok(export::export(self.snapshot().await?, day))
    }

    async fn archive(&self, leadership: &Leadership, part: &Part, totals: &Totals) -> Result<Archived, StoreError> {
        let (leadership, part, totals) = (leadership.clone(), part.clone(), *totals);
        self.writer.transaction(move |connection| Box::pin(archive(connection, leadership, part, totals))).await
    }

    async fn drop_empty_days(&self, _before: Day) -> Result<u64, StoreError> {
        // All days are rows of one table.
        Ok(0)
    }

    async fn parts(&self, from: Day, to: Day) -> Result<Vec<ArchivedPart>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let rows: Vec<StoredPart> = sqlx::query_as(
            "SELECT day, number, token, hourly_rows, hourly, latency_rows, latency, archived_at
             FROM archived_part WHERE day BETWEEN ?1 AND ?2 ORDER BY day, number",
        )
        .bind(from.index())
        .bind(to.index())
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        rows.into_iter().map(ArchivedPart::try_from).collect()
    }

    async fn boundary(&self) -> Result<Option<Day>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let day: Option<i32> = sqlx::query_scalar(
            "SELECT coalesce((SELECT min(day) FROM (SELECT DISTINCT day FROM usage_daily WHERE day <= newest
                                                    UNION SELECT day FROM dirty_day WHERE day <= newest) AS hot
                              WHERE day NOT IN (SELECT day FROM archived_part)), newest + 1)
             FROM (SELECT max(day) AS newest FROM archived_part) AS archived",
        )
        .fetch_one(&mut *snapshot)
        .await
        .map_err(failed)?;
        Ok(day.map(Day::from_index))
    }
}

async fn archive(
    connection: &mut SqliteConnection,
    leadership: Leadership,
    part: Part,
    totals: Totals,
) -> Result<Archived, StoreError> {
    fence(&mut *connection, &leadership).await?;
    let (listed, next): (bool, i32) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM archived_part WHERE token = ?2),
                (SELECT coalesce(max(number) + 1, 0) FROM archived_part WHERE day = ?1)",
    )
    .bind(part.day.index())
    .bind(&part.token)
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    if listed {
        return Ok(Archived::Already);
    }
    if number(next)? != part.number {
        return Err(StoreError::Stale(format!("part {} of {} is not the next one, {next} is", part.number, part.day)));
    }
    // Nobody else writes meanwhile: what is added up now is what goes.
    let marked = mark_untold(&mut *connection, part.day).await?;
    let found = add_up(&mut *connection, part.day).await?;
    if marked || found != totals {
        return Ok(Archived::Moved { found });
    }
    delete(&mut *connection, part.day).await?;
    list(connection, &part, &totals).await?;
    Ok(Archived::Done)
}

/// Marks accounts whose hours neither a daily row nor a mark tells of, as after a loss of daily rows: they would be left behind. Whether
/// there were any.
async fn mark_untold(connection: &mut SqliteConnection, day: Day) -> Result<bool, StoreError> {
    let untold: Vec<String> = sqlx::query_scalar(with_accounts!(
        "SELECT account FROM accounts
         WHERE account NOT IN ",
        accounts!(),
        "  AND EXISTS (SELECT 1 FROM usage_hourly AS held
                       WHERE held.account = accounts.account AND hour >= ?1 * 24 AND hour < ?1 * 24 + 24)"
    ))
    .bind(day.index())
    .bind(None::<&str>)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let untold: BTreeSet<_> = untold.iter().map(|name| Ok((account(name)?, day))).collect::<Result<_, StoreError>>()?;
    mark_dirty(connection, &untold, now()).await?;
    Ok(!untold.is_empty())
}

/// What a day holds. Sums are taken of the upper and the lower halves: one of whole numbers might leave 64 bits.
async fn add_up(connection: &mut SqliteConnection, day: Day) -> Result<Totals, StoreError> {
    let mut totals = Totals::default();
    let (rows, halves): (i64, String) = sqlx::query_as(concat!(
        "SELECT count(*), json_array(sum(events >> 32), sum(events & 4294967295), sum(messages >> 32), sum(messages & 4294967295),
             sum(segments >> 32), sum(segments & 4294967295), sum(amount_micros >> 32), sum(amount_micros & 4294967295),
             sum(delivered >> 32), sum(delivered & 4294967295), sum(undelivered >> 32), sum(undelivered & 4294967295),
             sum(expired >> 32), sum(expired & 4294967295), sum(rejected >> 32), sum(rejected & 4294967295),
             sum(failed >> 32), sum(failed & 4294967295), sum(not_final >> 32), sum(not_final & 4294967295))
         FROM ",
        accounts!(),
        " AS accounts CROSS JOIN usage_hourly AS held
         ON held.account = accounts.account AND hour >= ?1 * 24 AND hour < ?1 * 24 + 24"
    ))
    .bind(day.index())
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    totals.hourly_rows = loaded(rows)?;
    if rows > 0 {
        let halves: Vec<i64> = serde_json::from_str(&halves).map_err(|error| StoreError::Broken(error.to_string()))?;
        for (sum, halves) in totals.hourly.iter_mut().zip(halves.chunks_exact(2)) {
            *sum = (i128::from(halves[0]) << 32) + i128::from(halves[1]);
        }
    }
    let (rows, count): (i64, i64) = sqlx::query_as(concat!(
        "SELECT count(*), coalesce(sum(count), 0) FROM ",
        accounts!(),
        " AS accounts CROSS JOIN latency_hourly AS held
         ON held.account = accounts.account AND hour >= ?1 * 24 AND hour < ?1 * 24 + 24"
    ))
    .bind(day.index())
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    (totals.latency_rows, totals.latency) = (loaded(rows)?, i128::from(count));
    Ok(totals)
}

/// Hours first: the daily rows and the marks tell where they are.
async fn delete(connection: &mut SqliteConnection, day: Day) -> Result<(), StoreError> {
    let statements = [
        concat!("DELETE FROM usage_hourly WHERE account IN ", accounts!(), " AND hour >= ?1 * 24 AND hour < ?1 * 24 + 24"),
        concat!("DELETE FROM latency_hourly WHERE account IN ", accounts!(), " AND hour >= ?1 * 24 AND hour < ?1 * 24 + 24"),
        "DELETE FROM usage_daily WHERE day = ?1",
        "DELETE FROM dirty_day WHERE day = ?1",
    ];
    for statement in statements {
        sqlx::query(statement).bind(day.index()).execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

async fn list(connection: &mut SqliteConnection, part: &Part, totals: &Totals) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO archived_part (day, number, token, hourly_rows, hourly, latency_rows, latency, archived_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(part.day.index())
    .bind(part.number)
    .bind(&part.token)
    .bind(stored(totals.hourly_rows)?)
    .bind(sums_json(totals))
    .bind(stored(totals.latency_rows)?)
    .bind(totals.latency.to_string())
    .bind(now().micros())
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed)
}
