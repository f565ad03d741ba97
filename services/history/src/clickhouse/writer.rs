//! Writing a part: inserts of many rows under a new token, and last the part itself.

use super::{connect::Connection, fault::failed, schema::PARTS, sql};
use crate::{HistoryError, PartWriter, Rows, intake::Intake, piece::Table};
use async_trait::async_trait;
use clickhouse::{Row, RowWrite};
use loadline_domain::{
    Clock as _,
    archive::{Part, Totals},
    time::SystemClock,
    usage::{LatencyKey, Usage, UsageKey},
};
use serde::Serialize;

/// Rows of an insert: each makes a piece of every month it touches, which the server has to merge.
const INSERT_ROWS: usize = 100_000;

#[derive(Row, Serialize)]
struct UsageLine {
    day: i32,
    token: String,
    at: i64,
    account: String,
    hour: i32,
    channel: i16,
    country: String,
    currency: String,
    events: i64,
    messages: i64,
    segments: i64,
    amount_micros: i64,
    delivered: i64,
    undelivered: i64,
    expired: i64,
    rejected: i64,
    failed: i64,
    not_final: i64,
}

#[derive(Row, Serialize)]
struct LatencyLine {
    day: i32,
    token: String,
    at: i64,
    account: String,
    hour: i32,
    channel: i16,
    country: String,
    bucket: i16,
    count: i64,
}

#[derive(Row, Serialize)]
struct PartLine {
    day: i32,
    number: u32,
    token: String,
    at: i64,
    daily_rows: u64,
    hourly_rows: u64,
    latency_rows: u64,
}

/// One attempt at a part.
pub(super) struct TableWriter {
    connection: Connection,
    part: Part,
    /// When it began, microseconds since the epoch.
    at: i64,
    intake: Intake,
    daily_rows: u64,
    daily: Vec<(UsageKey, Usage)>,
    hourly: Vec<(UsageKey, Usage)>,
    latency: Vec<(LatencyKey, i64)>,
}

impl TableWriter {
    /// Refuses a token that a finished part has.
    pub async fn begin(connection: &Connection, part: &Part) -> Result<Self, HistoryError> {
        let there = format!("SELECT count() FROM {PARTS} WHERE token = {}", sql::quoted(&part.token));
        if connection.rows::<u64>(there).await? != [0] {
            let token = &part.token;
            return Err(HistoryError::Refused(format!("attempt {token} was finished before; begin again with a new token")));
        }
        let (daily, hourly, latency) = Default::default();
        let (connection, at) = (connection.clone(), SystemClock.now().micros());
        Ok(Self { connection, part: part.clone(), at, intake: Intake::new(part), daily_rows: 0, daily, hourly, latency })
    }

    async fn send_usage(&mut self, table: Table) -> Result<(), HistoryError> {
        let rows = std::mem::take(if table == Table::Daily { &mut self.daily } else { &mut self.hourly });
        let lines: Vec<_> = rows.into_iter().map(|(key, usage)| self.usage_line(key, usage)).collect();
        self.insert(table.name(), &lines).await
    }

    async fn send_latency(&mut self) -> Result<(), HistoryError> {
        let rows = std::mem::take(&mut self.latency);
        let lines: Vec<_> = rows.into_iter().map(|(key, count)| self.latency_line(key, count)).collect();
        self.insert(Table::Latency.name(), &lines).await
    }

    fn usage_line(&self, key: UsageKey, usage: Usage) -> UsageLine {
        let Usage { events, messages, segments, amount_micros, delivered, undelivered, expired, rejected, failed, not_final } =
            usage;
        UsageLine {
            day: self.part.day.index(),
            token: self.part.token.clone(),
            at: self.at,
            account: key.account.to_string(),
            hour: key.hour.index(),
            channel: key.channel.number() as i16,
            country: key.country.as_str().to_owned(),
            currency: key.currency.as_str().to_owned(),
            events,
            messages,
            segments,
            amount_micros,
            delivered,
            undelivered,
            expired,
            rejected,
            failed,
            not_final,
        }
    }

    fn latency_line(&self, key: LatencyKey, count: i64) -> LatencyLine {
        LatencyLine {
            day: self.part.day.index(),
            token: self.part.token.clone(),
            at: self.at,
            account: key.account.to_string(),
            hour: key.hour.index(),
            channel: key.channel.number() as i16,
            country: key.country.as_str().to_owned(),
            bucket: key.bucket,
            count,
        }
    }

    async fn insert<T>(&self, table: &str, lines: &[T]) -> Result<(), HistoryError>
    where
        T: for<'a> Row<Value<'a> = T> + RowWrite + Serialize + Sync,
    {
        if lines.is_empty() {
            return Ok(());
        }
        let client = self.connection.inserting().await?;
        let send = async {
            let mut insert = client.insert::<T>(table).await.map_err(failed)?;
            for line in lines {
                insert.write(line).await.map_err(failed)?;
            }
            insert.end().await.map_err(failed)
        };
        self.connection.bounded(send).await
    }
}

#[async_trait]
impl PartWriter for TableWriter {
    async fn write(&mut self, rows: Rows) -> Result<(), HistoryError> {
        self.intake.take(&rows)?;
        match rows {
            Rows::Daily(rows) => {
                self.daily_rows += rows.len() as u64;
                self.daily.extend(rows);
            }
            Rows::Hourly(rows) => self.hourly.extend(rows),
            Rows::Latency(rows) => self.latency.extend(rows),
        }
        if self.daily.len() >= INSERT_ROWS {
            self.send_usage(Table::Daily).await?;
        }
        if self.hourly.len() >= INSERT_ROWS {
            self.send_usage(Table::Hourly).await?;
        }
        if self.latency.len() >= INSERT_ROWS {
            self.send_latency().await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Totals, HistoryError> {
        let totals = self.intake.totals()?;
        self.send_usage(Table::Daily).await?;
        self.send_usage(Table::Hourly).await?;
        self.send_latency().await?;
        // Last: a part is there when all of it is.
        let Part { day, number, token } = self.part.clone();
        let (daily_rows, Totals { hourly_rows, latency_rows, .. }) = (self.daily_rows, totals);
        let line = PartLine { day: day.index(), number, token, at: self.at, daily_rows, hourly_rows, latency_rows };
        self.insert(PARTS, &[line]).await?;
        Ok(totals)
    }
}
