//! A day's hot rows as the server copies them out, in its binary format: half the work of rows of a query, on both sides.

use super::{
    connect::Pool,
    copied::{Copied, Tuple},
    fault::Fault,
    wall::every_account,
};
use crate::{
    Export, Exported, StoreError,
    rows::{channel, code, damaged},
    work_rows::same_account,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use loadline_domain::{
    AccountId, Day, Hour,
    usage::{LatencyKey, Usage, UsageKey},
};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc::{self, Sender};

/// Rows handed on at once.
const CHUNK: usize = 8_192;

/// One snapshot, read by one process, in the order of the primary key: to sort would take twice as long. The last settings let whoever
/// writes the rows down take its time.
const BEGIN: &str = every_account!(
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL max_parallel_workers_per_gather = 0;
     SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
     SET LOCAL statement_timeout = '1h'; SET LOCAL tcp_user_timeout = '1h'; SET LOCAL idle_in_transaction_session_timeout = '1h'"
);

/// Rows of a day. COPY takes no parameters, so its hours are in the text: the planner finds the day's table by them, and locks no other.
const HOURLY: &str =
    "COPY (SELECT account, hour, channel, country, currency, events, messages, segments, amount_micros, delivered,
    undelivered, expired, rejected, failed, not_final
    FROM usage_hourly WHERE hour >= {from} AND hour < {to}
    ORDER BY account, hour, channel, country, currency) TO STDOUT (FORMAT binary)";
const LATENCY: &str = "COPY (SELECT account, hour, channel, country, bucket, count
    FROM latency_hourly WHERE hour >= {from} AND hour < {to}
    ORDER BY account, hour, channel, country, bucket) TO STDOUT (FORMAT binary)";

/// Reads a day in a task of its own, a few chunks ahead of whoever takes them.
pub(super) fn export(pool: Pool, day: Day) -> Export {
    let (chunks, taken) = mpsc::channel(2);
    tokio::spawn(async move {
        if let Err(fault) = copy_day(&pool, day, &chunks).await {
            let _ = chunks.send(Err(fault.told())).await;
        }
    });
    stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) }).boxed()
}

async fn copy_day(pool: &Pool, day: Day, chunks: &Sender<Result<Exported, StoreError>>) -> Result<(), Fault> {
    // Out of the pool for good: a copy that is not read to its end leaves the connection of no use.
    let mut connection = pool.acquire().await?.detach();
    let copied = async {
        let mut snapshot = connection.begin_with(BEGIN).await?;
        copy(&mut snapshot, HOURLY, day, chunks, hourly, Exported::Hourly).await?;
        copy(&mut snapshot, LATENCY, day, chunks, latency, Exported::Latency).await?;
        Ok(snapshot.commit().await?)
    };
    let copied = copied.await;
    if copied.is_ok() {
        let _ = connection.close().await;
    }
    copied
}

/// Runs a COPY and hands its rows on, in chunks; they must come in the order of their keys. Ends early when nobody listens.
async fn copy<K: Ord + Clone, V>(
    connection: &mut PgConnection,
    statement: &'static str,
    day: Day,
    chunks: &Sender<Result<Exported, StoreError>>,
    read: fn(&mut Tuple<'_>, Option<&K>) -> Result<(K, V), StoreError>,
    wrap: fn(Vec<(K, V)>) -> Exported,
) -> Result<(), Fault> {
    let (from, to) = (day.first_hour().index(), day.first_hour().index() + 24);
    let statement = statement.replace("{from}", &from.to_string()).replace("{to}", &to.to_string());
    let mut data = connection.copy_out_raw(&statement).await?;
    let (mut copied, mut chunk, mut edge) = (Copied::default(), Vec::with_capacity(CHUNK), None);
    while let Some(bytes) = data.try_next().await? {
        copied.push(&bytes);
        while let Some(mut tuple) = copied.next()? {
            let last = chunk.last().map(|(key, _)| key).or(edge.as_ref());
            let row = read(&mut tuple, last)?;
            if last.is_some_and(|last| *last >= row.0) {
                return Err(StoreError::Broken("a day's rows did not come in the order of their keys".to_owned()).into());
            }
            chunk.push(row);
        }
        if chunk.len() >= CHUNK {
            edge = chunk.last().map(|(key, _)| key.clone());
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            if chunks.send(Ok(wrap(full))).await.is_err() {
                return Err(StoreError::Unavailable("nobody reads the export any more".to_owned()).into());
            }
        }
    }
    copied.end()?;
    if !chunk.is_empty() {
        let _ = chunks.send(Ok(wrap(chunk))).await;
    }
    Ok(())
}

fn hourly(tuple: &mut Tuple<'_>, last: Option<&UsageKey>) -> Result<(UsageKey, Usage), StoreError> {
    let key = UsageKey {
        account: named(tuple, last.map(|key| &key.account))?,
        hour: Hour::from_index(tuple.int4()?),
        channel: channel(tuple.int2()?)?,
        country: code(tuple.text()?)?,
        currency: code(tuple.text()?)?,
    };
    let mut sums = [0; 10];
    for sum in &mut sums {
        *sum = tuple.int8()?;
    }
    Ok((key, Usage::from_columns(sums)))
}

fn latency(tuple: &mut Tuple<'_>, last: Option<&LatencyKey>) -> Result<(LatencyKey, i64), StoreError> {
    let key = LatencyKey {
        account: named(tuple, last.map(|key| &key.account))?,
        hour: Hour::from_index(tuple.int4()?),
        channel: channel(tuple.int2()?)?,
        country: code(tuple.text()?)?,
        bucket: tuple.int2()?,
    };
    Ok((key, tuple.int8()?))
}

fn named(tuple: &mut Tuple<'_>, last: Option<&AccountId>) -> Result<AccountId, StoreError> {
    let name = tuple.text()?;
    same_account(name, last).map_err(|_| damaged("account", name))
}
