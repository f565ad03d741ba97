//! Rows as columns. All tables are in order of account and hour; every row carries the token of its part.

use crate::{
    HistoryError, Rows,
    answer::{Group, Sums},
    piece::Table,
};
use arrow::{
    array::{Array, ArrayRef, AsArray as _, Decimal128Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Decimal128Type, Field, Int16Type, Int32Type, Int64Type, Schema, SchemaRef},
};
use loadline_domain::{
    AccountId, Hour,
    event::{Channel, Code},
    usage::{Usage, UsageKey},
};
use std::sync::Arc;

/// Names of [`Usage::columns`].
pub(super) const SUMS: [&str; 10] =
    ["events", "messages", "segments", "amount_micros", "delivered", "undelivered", "expired", "rejected", "failed", "not_final"];

/// Columns of a table.
pub(super) fn schema(table: Table) -> SchemaRef {
    let field = |name: &str, kind| Field::new(name, kind, false);
    let mut fields = vec![
        field("account", DataType::Utf8),
        field("hour", DataType::Int32),
        field("channel", DataType::Int16),
        field("country", DataType::Utf8),
    ];
    match table {
        Table::Daily | Table::Hourly => {
            fields.push(field("currency", DataType::Utf8));
            fields.push(field("token", DataType::Utf8));
            fields.extend(SUMS.map(|name| field(name, DataType::Int64)));
        }
        Table::Latency => {
            fields.push(field("bucket", DataType::Int16));
            fields.push(field("token", DataType::Utf8));
            fields.push(field("count", DataType::Int64));
        }
    }
    Arc::new(Schema::new(fields))
}

/// The table of some rows.
pub(super) fn table(rows: &Rows) -> Table {
    match rows {
        Rows::Daily(_) => Table::Daily,
        Rows::Hourly(_) => Table::Hourly,
        Rows::Latency(_) => Table::Latency,
    }
}

/// Rows of one part as columns.
pub(super) fn encode(rows: &Rows, token: &str) -> RecordBatch {
    let columns = match rows {
        Rows::Daily(rows) | Rows::Hourly(rows) => usage_columns(rows, token),
        Rows::Latency(rows) => {
            let keys = || rows.iter().map(|(key, _)| key);
            vec![
                texts(keys().map(|key| key.account.as_str())),
                Arc::new(Int32Array::from_iter_values(keys().map(|key| key.hour.index()))),
                Arc::new(Int16Array::from_iter_values(keys().map(|key| key.channel.number() as i16))),
                texts(keys().map(|key| key.country.as_str())),
                Arc::new(Int16Array::from_iter_values(keys().map(|key| key.bucket))),
                texts(keys().map(|_| token)),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, count)| *count))),
            ]
        }
    };
    RecordBatch::try_new(schema(table(rows)), columns).expect("columns are made by the schema")
}

fn usage_columns(rows: &[(UsageKey, Usage)], token: &str) -> Vec<ArrayRef> {
    let keys = || rows.iter().map(|(key, _)| key);
    let mut columns: Vec<ArrayRef> = vec![
        texts(keys().map(|key| key.account.as_str())),
        Arc::new(Int32Array::from_iter_values(keys().map(|key| key.hour.index()))),
        Arc::new(Int16Array::from_iter_values(keys().map(|key| key.channel.number() as i16))),
        texts(keys().map(|key| key.country.as_str())),
        texts(keys().map(|key| key.currency.as_str())),
        texts(keys().map(|_| token)),
    ];
    let mut sums = SUMS.map(|_| Vec::with_capacity(rows.len()));
    for (_, usage) in rows {
        sums.iter_mut().zip(usage.columns()).for_each(|(sum, value)| sum.push(value));
    }
    columns.extend(sums.map(|sum| Arc::new(Int64Array::from(sum)) as ArrayRef));
    columns
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// A batch of an answer, read by name.
pub(super) struct Answer<'a>(pub &'a RecordBatch);

impl<'a> Answer<'a> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.0.num_rows()
    }

    /// What a row is kept apart by: the columns there are.
    pub fn group(&self, row: usize) -> Result<Group, HistoryError> {
        let hour = self.0.column_by_name("hour").map(|column| Hour::from_index(column.as_primitive::<Int32Type>().value(row)));
        let channel = self.0.column_by_name("channel").map(|_| self.channel(row)).transpose()?;
        let country = self.0.column_by_name("country").map(|_| self.code("country", row)).transpose()?;
        let currency = self.0.column_by_name("currency").map(|_| self.code("currency", row)).transpose()?;
        Ok((hour, channel, country, currency))
    }

    /// The account.
    pub fn account(&self, row: usize) -> Result<AccountId, HistoryError> {
        let text = self.text("account", row)?;
        AccountId::new(text).map_err(|_| meaningless("account", text))
    }

    /// A country or currency.
    pub fn code<const N: usize>(&self, name: &str, row: usize) -> Result<Code<N>, HistoryError> {
        let text = self.text(name, row)?;
        Code::parse(text).ok_or_else(|| meaningless(name, text))
    }

    /// The ten sums.
    pub fn sums(&self, row: usize) -> Result<Sums, HistoryError> {
        let mut sums = [0; 10];
        for (sum, name) in sums.iter_mut().zip(SUMS) {
            *sum = self.sum(name, row)?;
        }
        Ok(sums)
    }

    /// One sum; nothing summed is 0.
    pub fn sum(&self, name: &str, row: usize) -> Result<i128, HistoryError> {
        let column: &Decimal128Array = self.column(name)?.as_primitive_opt::<Decimal128Type>().ok_or_else(|| absent(name))?;
        Ok(if column.is_null(row) { 0 } else { column.value(row) })
    }

    /// A number of rows.
    pub fn count(&self, name: &str, row: usize) -> Result<u64, HistoryError> {
        Ok(self.column(name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| absent(name))?.value(row).unsigned_abs())
    }

    /// A small number.
    pub fn number(&self, name: &str, row: usize) -> Result<i16, HistoryError> {
        Ok(self.column(name)?.as_primitive_opt::<Int16Type>().ok_or_else(|| absent(name))?.value(row))
    }

    fn channel(&self, row: usize) -> Result<Channel, HistoryError> {
        let number = self.number("channel", row)?;
        Channel::from_number(i32::from(number)).ok_or_else(|| meaningless("channel", number))
    }

    fn text(&self, name: &str, row: usize) -> Result<&'a str, HistoryError> {
        Ok(self.column(name)?.as_string_opt::<i32>().ok_or_else(|| absent(name))?.value(row))
    }

    fn column(&self, name: &str) -> Result<&'a ArrayRef, HistoryError> {
        self.0.column_by_name(name).ok_or_else(|| absent(name))
    }
}

fn absent(column: &str) -> HistoryError {
    HistoryError::Broken(format!("the engine answered without a column `{column}` of the asked kind"))
}

fn meaningless(what: &str, value: impl std::fmt::Display) -> HistoryError {
    HistoryError::Broken(format!("`{value}` is no {what}; the file was written by another build"))
}
