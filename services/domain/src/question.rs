//! Questions about usage, and the rows that answer them: the same for what is hot and what is history.

use crate::{
    account::AccountId,
    event::{Channel, Country, Currency},
    latency::Bucket,
    time::Hour,
    usage::Usage,
};

/// Restricts rows; an empty list does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Of these channels.
    pub channels: Vec<Channel>,
    /// To these countries.
    pub countries: Vec<Country>,
    /// In these currencies.
    pub currencies: Vec<Currency>,
}

/// Which dimensions to keep beside the hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupBy {
    /// Keep the channel.
    pub channel: bool,
    /// Keep the country.
    pub country: bool,
    /// Keep the currency.
    pub currency: bool,
}

/// How finely an answer is told apart in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Grain {
    /// A row an hour.
    #[default]
    Hour,
    /// A row a UTC day; the range must begin and end with one.
    Day,
}

/// Hours of one account, `from` inclusive, `to` exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// Whose.
    pub account: AccountId,
    /// First hour.
    pub from: Hour,
    /// Hour after the last.
    pub to: Hour,
    /// Which rows.
    pub filter: UsageFilter,
    /// Kept apart by.
    pub group_by: GroupBy,
    /// Kept apart in time by.
    pub grain: Grain,
}

/// Usage of one hour, or of the whole range when `hour` is `None`. A dimension is `None` when not grouped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The hour; a day's first when asked by days.
    pub hour: Option<Hour>,
    /// The channel.
    pub channel: Option<Channel>,
    /// The country.
    pub country: Option<Country>,
    /// The currency.
    pub currency: Option<Currency>,
    /// The sums.
    pub usage: Usage,
}

/// Latency counts of one group of deliveries, sorted by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyRow {
    /// The channel, when grouped by.
    pub channel: Option<Channel>,
    /// The country, when grouped by.
    pub country: Option<Country>,
    /// Deliveries by bucket.
    pub counts: Vec<(Bucket, u64)>,
}

/// What the top accounts are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankBy {
    /// Messages.
    Messages,
    /// Segments.
    Segments,
    /// Amount, of one currency.
    Amount(Currency),
}

/// Accounts in rank order, each with its sums per currency, by currency; receipts are under the unknown one.
pub type TopAccounts = Vec<(AccountId, Vec<(Currency, Usage)>)>;

/// Rows of one hour and one set of dimensions added up, in the order of both; `None` when a sum does not fit 64 bits.
pub fn added_up(mut rows: Vec<UsageRow>) -> Option<Vec<UsageRow>> {
    let key = |row: &UsageRow| (row.hour, row.channel, row.country, row.currency);
    if rows.is_sorted_by(|one, next| key(one) < key(next)) {
        return Some(rows);
    }
    rows.sort_by_key(key);
    let mut sums: Vec<UsageRow> = Vec::with_capacity(rows.len());
    for row in rows {
        match sums.last_mut() {
            Some(sum) if key(sum) == key(&row) => sum.usage = sum.usage.checked_add(row.usage)?,
            _ => sums.push(row),
        }
    }
    Some(sums)
}
