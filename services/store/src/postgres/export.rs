//! A day's hot rows as the server copies them out: half the work of rows of a query, on both sides.

use super::{connect::Pool, copied::Line, fault::Fault, hot_days, transact::give_back, wall::every_account};
use crate::{
    Export, Exported, StoreError,
    rows::{channel, code, damaged},
    work_rows::same_account,
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use loadline_domain::{
    AccountId, Day, Hour,
    usage::{LatencyKey, Usage, UsageKey},
};
use sqlx::{Connection as _, PgConnection, raw_sql};
use std::{cmp::Ordering, collections::HashMap};
use tokio::sync::mpsc::{self, Sender};

/// Rows handed on at once.
const CHUNK: usize = 8_192;

/// A table up to this size is read as it lies and sorted here, which takes the server two thirds of the time: half a million rows, in
/// some 70 MB of memory for each day under way.
pub(super) const SORTED_HERE: i64 = 64 << 20;

/// One snapshot, read by one process. The last settings let whoever writes the rows down take its time.
const BEGIN: &str = every_account!(
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL max_parallel_workers_per_gather = 0;
     SET LOCAL statement_timeout = '1h'; SET LOCAL tcp_user_timeout = '1h'; SET LOCAL idle_in_transaction_session_timeout = '1h'"
);

/// By the primary key: to sort would take twice as long.
const BY_KEY: &str = "SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";

/// A table of hours, and how its rows are read.
struct Table<K, V> {
    name: &'static str,
    columns: &'static str,
    key: &'static str,
    account: fn(&K) -> &AccountId,
    /// The order of keys of one account, whose name need not be compared row by row.
    within: fn(&K, &K) -> Ordering,
    read: fn(&mut Line<'_>, &mut Names) -> Result<(K, V), StoreError>,
    wrap: fn(Vec<(K, V)>) -> Exported,
}

const HOURLY: Table<UsageKey, Usage> = Table {
    name: "usage_hourly",
    columns: "account, hour, channel, country, currency, events, messages, segments, amount_micros, delivered, undelivered, expired, \
              rejected, failed, not_final",
    key: "account, hour, channel, country, currency",
    account: |key| &key.account,
    within: |a, b| (a.hour, a.channel, a.country, a.currency).cmp(&(b.hour, b.channel, b.country, b.currency)),
    read: hourly,
    wrap: Exported::Hourly,
};

const LATENCY: Table<LatencyKey, i64> = Table {
    name: "latency_hourly",
    columns: "account, hour, channel, country, bucket, count",
    key: "account, hour, channel, country, bucket",
    account: |key| &key.account,
    within: |a, b| (a.hour, a.channel, a.country, a.bucket).cmp(&(b.hour, b.channel, b.country, b.bucket)),
    read: latency,
    wrap: Exported::Latency,
};

/// Reads a day in a task of its own, a few chunks ahead of whoever takes them. Tables larger than `sorted_here` are sorted by the server.
pub(super) fn export(pool: Pool, day: Day, sorted_here: i64) -> Export {
    let (chunks, taken) = mpsc::channel(2);
    tokio::spawn(async move {
        if let Err(fault) = copy_day(&pool, day, sorted_here, &chunks).await {
            let _ = chunks.send(Err(fault.told())).await;
        }
    });
    stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) }).boxed()
}

async fn copy_day(pool: &Pool, day: Day, sorted_here: i64, chunks: &Sender<Result<Exported, StoreError>>) -> Result<(), Fault> {
    let mut connection = pool.acquire().await?;
    let copied = async {
        let mut snapshot = connection.begin_with(BEGIN).await?;
        copy(&mut snapshot, &HOURLY, day, sorted_here, chunks).await?;
        copy(&mut snapshot, &LATENCY, day, sorted_here, chunks).await?;
        Ok(snapshot.commit().await?)
    };
    let copied: Result<(), Fault> = copied.await;
    match copied {
        Ok(()) => give_back(connection, None),
        // A copy that is not read to its end leaves the connection of no use.
        Err(_) => drop(connection.detach()),
    }
    copied
}

/// Copies a day of a table and hands its rows on, in the order of their keys. Ends early when nobody listens.
async fn copy<K: Ord + Clone, V>(
    connection: &mut PgConnection,
    table: &Table<K, V>,
    day: Day,
    sorted_here: i64,
    chunks: &Sender<Result<Exported, StoreError>>,
) -> Result<(), Fault> {
    let size = "SELECT coalesce(pg_relation_size(to_regclass($1)), 0)";
    let size: i64 = sqlx::query_scalar(size).bind(hot_days::table(table.name, day)).fetch_one(&mut *connection).await?;
    if size > sorted_here {
        raw_sql(BY_KEY).execute(&mut *connection).await?;
        return copy_by_key(connection, table, day, chunks).await;
    }
    let mut accounts: HashMap<AccountId, Vec<(K, V)>> = HashMap::new();
    let mut rows = Copying::begin(connection, table, day, "").await?;
    while let Some(read) = rows.next().await? {
        for (key, value) in read {
            match accounts.get_mut((table.account)(&key)) {
                Some(rows) => rows.push((key, value)),
                None => drop(accounts.insert((table.account)(&key).clone(), vec![(key, value)])),
            }
        }
    }
    let mut accounts: Vec<_> = accounts.into_iter().collect();
    accounts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut chunk = Vec::with_capacity(CHUNK);
    for (_, mut rows) in accounts {
        rows.sort_unstable_by(|(a, _), (b, _)| (table.within)(a, b));
        chunk.append(&mut rows);
        if chunk.len() >= CHUNK {
            hand_on(table, std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK)), chunks).await?;
        }
    }
    hand_on(table, chunk, chunks).await
}

async fn copy_by_key<K: Ord + Clone, V>(
    connection: &mut PgConnection,
    table: &Table<K, V>,
    day: Day,
    chunks: &Sender<Result<Exported, StoreError>>,
) -> Result<(), Fault> {
    let mut last: Option<K> = None;
    let mut rows = Copying::begin(connection, table, day, " ORDER BY {key}").await?;
    while let Some(read) = rows.next().await? {
        let keys = last.iter().chain(read.iter().map(|(key, _)| key));
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err(StoreError::Broken("a day's rows did not come in the order of their keys".to_owned()).into());
        }
        last = read.last().map(|(key, _)| key.clone()).or(last);
        hand_on(table, read, chunks).await?;
    }
    Ok(())
}

async fn hand_on<K, V>(
    table: &Table<K, V>,
    rows: Vec<(K, V)>,
    chunks: &Sender<Result<Exported, StoreError>>,
) -> Result<(), Fault> {
    if !rows.is_empty() && chunks.send(Ok((table.wrap)(rows))).await.is_err() {
        return Err(StoreError::Unavailable("nobody reads the export any more".to_owned()).into());
    }
    Ok(())
}

/// A COPY under way.
struct Copying<'c, K, V> {
    data: BoxStream<'c, sqlx::Result<Bytes>>,
    names: Names,
    read: fn(&mut Line<'_>, &mut Names) -> Result<(K, V), StoreError>,
}

impl<'c, K, V> Copying<'c, K, V> {
    /// COPY takes no parameters, so the day's hours are in the text: the planner finds its table by them, and locks no other.
    async fn begin(connection: &'c mut PgConnection, table: &Table<K, V>, day: Day, order: &'static str) -> Result<Self, Fault> {
        let (Table { name, columns, key, .. }, from) = (table, day.first_hour().index());
        let (to, order) = (from + 24, order.replace("{key}", key));
        let statement = format!("COPY (SELECT {columns} FROM {name} WHERE hour >= {from} AND hour < {to}{order}) TO STDOUT");
        let data = connection.copy_out_raw(&statement).await?;
        Ok(Self { data, names: Names::default(), read: table.read })
    }

    /// Some rows; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<(K, V)>>, Fault> {
        let mut rows = Vec::with_capacity(CHUNK);
        while rows.len() < CHUNK {
            let Some(message) = self.data.try_next().await? else {
                return Ok(Some(rows).filter(|rows| !rows.is_empty()));
            };
            let mut line = Line::of(&message)?;
            rows.push((self.read)(&mut line, &mut self.names)?);
            line.end()?;
        }
        Ok(Some(rows))
    }
}

/// Accounts that were named lately: one in memory is shared by its rows.
#[derive(Default)]
struct Names {
    last: Option<AccountId>,
    known: HashMap<String, AccountId>,
}

impl Names {
    const MOST: usize = 64 << 10;

    fn read(&mut self, line: &mut Line<'_>) -> Result<AccountId, StoreError> {
        let name = &*line.text()?;
        if let Some(last) = self.last.as_ref().filter(|last| last.as_str() == name) {
            return Ok(last.clone());
        }
        let account = match self.known.get(name) {
            Some(known) => known.clone(),
            None => {
                let account: AccountId = same_account(name, None).map_err(|_| damaged("account", name))?;
                if self.known.len() == Self::MOST {
                    self.known.clear();
                }
                self.known.insert(name.to_owned(), account.clone());
                account
            }
        };
        self.last = Some(account.clone());
        Ok(account)
    }
}

fn hourly(line: &mut Line<'_>, names: &mut Names) -> Result<(UsageKey, Usage), StoreError> {
    let key = UsageKey {
        account: names.read(line)?,
        hour: Hour::from_index(line.number()?),
        channel: channel(line.number()?)?,
        country: code(&line.text()?)?,
        currency: code(&line.text()?)?,
    };
    let mut sums = [0; 10];
    for sum in &mut sums {
        *sum = line.number()?;
    }
    Ok((key, Usage::from_columns(sums)))
}

fn latency(line: &mut Line<'_>, names: &mut Names) -> Result<(LatencyKey, i64), StoreError> {
    let key = LatencyKey {
        account: names.read(line)?,
        hour: Hour::from_index(line.number()?),
        channel: channel(line.number()?)?,
        country: code(&line.text()?)?,
        bucket: line.number()?,
    };
    Ok((key, line.number()?))
}
