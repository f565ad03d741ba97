//! Rows of hourly usage as one array a column, added up by what is asked for.

use crate::{
    StoreError,
    rows::{channel, code},
};
use loadline_domain::question::{GroupBy, UsageRow};
use loadline_domain::{Hour, usage::Usage};
use sqlx::FromRow;
use std::collections::BTreeMap;

/// The columns; NULL when there is no row.
#[derive(FromRow)]
pub(super) struct Columns {
    hour: Option<Vec<i32>>,
    channel: Option<Vec<i16>>,
    country: Option<Vec<String>>,
    currency: Option<Vec<String>>,
    events: Option<Vec<i64>>,
    messages: Option<Vec<i64>>,
    segments: Option<Vec<i64>>,
    amount_micros: Option<Vec<i64>>,
    delivered: Option<Vec<i64>>,
    undelivered: Option<Vec<i64>>,
    expired: Option<Vec<i64>>,
    rejected: Option<Vec<i64>>,
    failed: Option<Vec<i64>>,
    not_final: Option<Vec<i64>>,
}

impl Columns {
    /// Sums of each group, in the order of the dimensions kept.
    pub(super) fn grouped(self, by: GroupBy, hourly: bool) -> Result<Vec<UsageRow>, StoreError> {
        let (Some(hours), Some(channels), Some(countries), Some(currencies)) =
            (self.hour, self.channel, self.country, self.currency)
        else {
            return Ok(Vec::new());
        };
        let sums = [
            self.events,
            self.messages,
            self.segments,
            self.amount_micros,
            self.delivered,
            self.undelivered,
            self.expired,
            self.rejected,
            self.failed,
            self.not_final,
        ];
        let sums = sums.map(Option::unwrap_or_default);
        let mut groups: BTreeMap<_, Usage> = BTreeMap::new();
        for (row, hour) in hours.into_iter().enumerate() {
            let key = (
                hourly.then_some(Hour::from_index(hour)),
                by.channel.then(|| channel(channels[row])).transpose()?,
                by.country.then(|| code(&countries[row])).transpose()?,
                by.currency.then(|| code(&currencies[row])).transpose()?,
            );
            let usage = Usage::from_columns(std::array::from_fn(|column| sums[column][row]));
            let sum = groups.entry(key).or_default();
            *sum = sum
                .checked_add(usage)
                .ok_or_else(|| StoreError::Broken(format!("a sum with hour {hour} does not fit 64 bits")))?;
        }
        let rows = groups.into_iter();
        Ok(rows.map(|((hour, channel, country, currency), usage)| UsageRow { hour, channel, country, currency, usage }).collect())
    }
}
