//! Sums over tables.

use super::{ClickHouseHistory, sql};
use crate::{
    HistoryError,
    answer::{Group, Keep, Sums, Tables},
    piece::{Piece, Table},
};
use async_trait::async_trait;
use clickhouse::{Row, RowOwned, RowRead};
use loadline_domain::{
    AccountId, Hour,
    archive::{Part, Totals},
    event::{Channel, Code, Country, Currency},
    latency::Bucket,
    question::{GroupBy, UsageFilter},
};
use serde::Deserialize;

#[derive(Row, Deserialize)]
struct GroupLine {
    hour: i32,
    channel: i16,
    country: String,
    currency: String,
    rows: u64,
    sums: Vec<i64>,
}

#[derive(Row, Deserialize)]
struct AccountLine {
    account: String,
    currency: String,
    sums: Vec<i64>,
}

#[derive(Row, Deserialize)]
struct LatencyLine {
    channel: i16,
    country: String,
    bucket: i16,
    sums: Vec<i64>,
}

#[derive(Row, Deserialize)]
struct TotalLine {
    rows: u64,
    sums: Vec<i64>,
}

impl ClickHouseHistory {
    /// Rows, when all of the parts is there: afterwards, so that what goes before the question is missed.
    async fn ask<T: RowOwned + RowRead>(&self, parts: &[Part], piece: Piece, question: String) -> Result<Vec<T>, HistoryError> {
        let rows = self.connection.rows(question).await?;
        self.ensure_whole(parts, piece).await?;
        Ok(rows)
    }

    /// Totals of a part as they are in the tables.
    pub(super) async fn count(&self, part: &Part) -> Result<Totals, HistoryError> {
        let parts = std::slice::from_ref(part);
        let piece = |table| Piece { table, from: part.day.first_hour(), to: part.day.end().hour() };
        let question = |table: Table, columns: &[&str]| {
            let wanted = sql::wanted(parts, None, piece(table), &UsageFilter::default());
            format!("SELECT count(), {} FROM {} WHERE {wanted}", sql::halves(columns), table.name())
        };
        let mut totals = Totals::default();
        let hourly = question(Table::Hourly, &sql::SUMS);
        for line in self.ask::<TotalLine>(parts, piece(Table::Hourly), hourly).await? {
            totals.hourly_rows += line.rows;
            totals.hourly.iter_mut().zip(sql::sums(&line.sums)).for_each(|(total, sum)| *total += sum);
        }
        let latency = question(Table::Latency, &["count"]);
        for line in self.ask::<TotalLine>(parts, piece(Table::Latency), latency).await? {
            totals.latency_rows += line.rows;
            totals.latency += sql::whole::<1>(&line.sums)[0];
        }
        self.ensure_whole(parts, piece(Table::Daily)).await?;
        Ok(totals)
    }
}

/// Columns to tell apart, as an expression of the same type each, and what to group by.
struct Kept {
    columns: Vec<String>,
    groups: Vec<&'static str>,
}

impl Kept {
    fn of(columns: &[(&'static str, &'static str, bool)]) -> Self {
        let groups = columns.iter().filter(|(.., keep)| *keep).map(|(name, ..)| *name).collect();
        let columns = columns.iter().map(|(name, none, keep)| if *keep { (*name).to_owned() } else { (*none).to_owned() });
        Self { columns: columns.collect(), groups }
    }

    fn group_by(&self) -> String {
        if self.groups.is_empty() { String::new() } else { format!(" GROUP BY {}", self.groups.join(", ")) }
    }
}

fn dimensions(keep: GroupBy) -> [(&'static str, &'static str, bool); 3] {
    [("channel", "toInt16(0)", keep.channel), ("country", "''", keep.country), ("currency", "''", keep.currency)]
}

#[async_trait]
impl Tables for ClickHouseHistory {
    async fn sums(
        &self,
        parts: &[Part],
        account: &AccountId,
        piece: Piece,
        filter: &UsageFilter,
        keep: Keep,
    ) -> Result<Vec<(Group, Sums)>, HistoryError> {
        let [channel, country, currency] = dimensions(keep.dimensions);
        let kept = Kept::of(&[("hour", "toInt32(0)", keep.hour), channel, country, currency]);
        let question = format!(
            "SELECT {}, count(), {} FROM {} WHERE {}{}",
            kept.columns.join(", "),
            sql::halves(&sql::SUMS),
            piece.table.name(),
            sql::wanted(parts, Some(account), piece, filter),
            kept.group_by(),
        );
        // A sum over no rows and no groups is a row all the same.
        let lines = self.ask::<GroupLine>(parts, piece, question).await?.into_iter().filter(|line| line.rows > 0);
        lines
            .map(|line| {
                let GroupBy { channel, country, currency } = keep.dimensions;
                let group = (
                    keep.hour.then(|| Hour::from_index(line.hour)),
                    channel.then(|| self::channel(line.channel)).transpose()?,
                    country.then(|| code("country", &line.country)).transpose()?,
                    currency.then(|| code("currency", &line.currency)).transpose()?,
                );
                Ok((group, sql::sums(&line.sums)))
            })
            .collect()
    }

    async fn account_sums(
        &self,
        parts: &[Part],
        piece: Piece,
        filter: &UsageFilter,
    ) -> Result<Vec<(AccountId, Currency, Sums)>, HistoryError> {
        let question = format!(
            "SELECT account, currency, {} FROM {} WHERE {} GROUP BY account, currency",
            sql::halves(&sql::SUMS),
            piece.table.name(),
            sql::wanted(parts, None, piece, filter),
        );
        let line = |line: AccountLine| {
            let account = AccountId::new(&line.account).map_err(|_| meaningless("account", &line.account))?;
            Ok((account, code("currency", &line.currency)?, sql::sums(&line.sums)))
        };
        self.ask(parts, piece, question).await?.into_iter().map(line).collect()
    }

    async fn latency(
        &self,
        parts: &[Part],
        account: &AccountId,
        piece: Piece,
        filter: &UsageFilter,
        keep: GroupBy,
    ) -> Result<Vec<(Option<Channel>, Option<Country>, Bucket, i128)>, HistoryError> {
        let [channel, country, _] = dimensions(keep);
        let kept = Kept::of(&[channel, country, ("bucket", "", true)]);
        let question = format!(
            "SELECT {}, {} FROM {} WHERE {}{}",
            kept.columns.join(", "),
            sql::halves(&["count"]),
            piece.table.name(),
            sql::wanted(parts, Some(account), piece, filter),
            kept.group_by(),
        );
        let line = |line: LatencyLine| {
            let channel = keep.channel.then(|| self::channel(line.channel)).transpose()?;
            let country = keep.country.then(|| code("country", &line.country)).transpose()?;
            Ok((channel, country, line.bucket, sql::whole::<1>(&line.sums)[0]))
        };
        self.ask(parts, piece, question).await?.into_iter().map(line).collect()
    }
}

fn channel(number: i16) -> Result<Channel, HistoryError> {
    Channel::from_number(i32::from(number)).ok_or_else(|| meaningless("channel", &number.to_string()))
}

fn code<const N: usize>(what: &str, text: &str) -> Result<Code<N>, HistoryError> {
    Code::parse(text).ok_or_else(|| meaningless(what, text))
}

fn meaningless(what: &str, value: &str) -> HistoryError {
    HistoryError::Broken(format!("`{value}` in ClickHouse is no {what}; the table was written by another build"))
}
