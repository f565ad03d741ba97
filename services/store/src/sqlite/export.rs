//! A day's hot rows from one snapshot, held until the last of them is taken: the file's log grows meanwhile.

use super::{archive::accounts, connect::failed};
use crate::{
    Export, Exported, StoreError,
    rows::{channel, code},
    work_rows::{HourlyRow, same_account},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use loadline_domain::{
    AccountId, Day, Hour,
    latency::Bucket,
    usage::{LatencyKey, Usage, UsageKey},
};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tokio::sync::mpsc::{self, Sender};

/// Rows handed on at once.
const CHUNK: usize = 8_192;

/// What an export is sent through.
type Chunks = Sender<Result<Exported, StoreError>>;

/// Reads a day in a task of its own, a few chunks ahead of whoever takes them.
pub(super) fn export(mut snapshot: Transaction<'static, Sqlite>, day: Day) -> Export {
    let (chunks, taken) = mpsc::channel(2);
    tokio::spawn(async move {
        let read = async {
            hourly(&mut snapshot, day, &chunks).await?;
            latency(&mut snapshot, day, &chunks).await
        };
        if let Err(error) = read.await {
            let _ = chunks.send(Err(error)).await;
        }
    });
    stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) }).boxed()
}

async fn hourly(connection: &mut SqliteConnection, day: Day, chunks: &Chunks) -> Result<(), StoreError> {
    let mut rows = sqlx::query_as(concat!(
        "SELECT held.* FROM ",
        accounts!(),
        " AS accounts CROSS JOIN usage_hourly AS held
         ON held.account = accounts.account AND hour >= ?1 * 24 AND hour < ?1 * 24 + 24
         ORDER BY held.account, hour, channel, country, currency"
    ))
    .bind(day.index())
    .fetch(connection);
    let mut chunk: Vec<(UsageKey, Usage)> = Vec::with_capacity(CHUNK);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let row = HourlyRow::read(row, chunk.last().map(|(key, _)| &key.account))?;
        chunk.push(row);
        if chunk.len() == CHUNK {
            hand_on(chunks, Exported::Hourly(std::mem::take(&mut chunk))).await?;
        }
    }
    hand_on(chunks, Exported::Hourly(chunk)).await
}

async fn latency(connection: &mut SqliteConnection, day: Day, chunks: &Chunks) -> Result<(), StoreError> {
    let mut rows = sqlx::query_as(concat!(
        "SELECT held.account, hour, channel, country, bucket, count FROM ",
        accounts!(),
        " AS accounts CROSS JOIN latency_hourly AS held
         ON held.account = accounts.account AND hour >= ?1 * 24 AND hour < ?1 * 24 + 24
         ORDER BY held.account, hour, channel, country, bucket"
    ))
    .bind(day.index())
    .fetch(connection);
    let mut chunk: Vec<(LatencyKey, i64)> = Vec::with_capacity(CHUNK);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let row = counted(row, chunk.last().map(|(key, _)| &key.account))?;
        chunk.push(row);
        if chunk.len() == CHUNK {
            hand_on(chunks, Exported::Latency(std::mem::take(&mut chunk))).await?;
        }
    }
    hand_on(chunks, Exported::Latency(chunk)).await
}

/// Account, hour, channel, country, bucket and count.
type LatencyColumns = (String, i32, i16, String, Bucket, i64);

fn counted(row: LatencyColumns, last: Option<&AccountId>) -> Result<(LatencyKey, i64), StoreError> {
    let (name, hour, number, country, bucket, count) = row;
    let (account, hour) = (same_account(&name, last)?, Hour::from_index(hour));
    Ok((LatencyKey { account, hour, channel: channel(number)?, country: code(&country)?, bucket }, count))
}

async fn hand_on(chunks: &Chunks, rows: Exported) -> Result<(), StoreError> {
    let empty =
        matches!(&rows, Exported::Hourly(rows) if rows.is_empty()) || matches!(&rows, Exported::Latency(rows) if rows.is_empty());
    if !empty && chunks.send(Ok(rows)).await.is_err() {
        return Err(StoreError::Unavailable("nobody reads the export any more".to_owned()));
    }
    Ok(())
}
