//! From sums of tables to answers, the same for every backend.

use crate::{
    HistoryError,
    piece::{Piece, Table},
};
use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour,
    archive::Part,
    event::{Channel, Country, Currency},
    latency::Bucket,
    question::{GroupBy, LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use std::collections::{BTreeMap, HashMap};

/// Sums in the order of [`Usage::columns`], wide enough for any number of rows.
pub(crate) type Sums = [i128; 10];
/// What sums are kept apart by; `None` where they are not.
pub(crate) type Group = (Option<Hour>, Option<Channel>, Option<Country>, Option<Currency>);

/// Which of the time and the dimensions to keep apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    pub hour: bool,
    pub dimensions: GroupBy,
}

/// What a backend reads for the answers below. A group may come in several rows.
#[async_trait]
pub(crate) trait Tables: Send + Sync {
    async fn sums(
        &self,
        parts: &[Part],
        account: &AccountId,
        piece: Piece,
        filter: &UsageFilter,
        keep: Keep,
    ) -> Result<Vec<(Group, Sums)>, HistoryError>;

    async fn account_sums(
        &self,
        parts: &[Part],
        piece: Piece,
        filter: &UsageFilter,
    ) -> Result<Vec<(AccountId, Currency, Sums)>, HistoryError>;

    async fn latency(
        &self,
        parts: &[Part],
        account: &AccountId,
        piece: Piece,
        filter: &UsageFilter,
        keep: GroupBy,
    ) -> Result<Vec<(Option<Channel>, Option<Country>, Bucket, i128)>, HistoryError>;
}

pub(crate) async fn usage(
    tables: &impl Tables,
    scope: &AccountScope,
    parts: &[Part],
    query: &UsageQuery,
) -> Result<Vec<UsageRow>, HistoryError> {
    within(scope, &query.account)?;
    let piece = Piece::by(query.grain, query.from, query.to)?;
    let parts = of_range(parts, query.from, query.to);
    let keep = Keep { hour: true, dimensions: query.group_by };
    rows(if parts.is_empty() { vec![] } else { tables.sums(&parts, &query.account, piece, &query.filter, keep).await? })
}

pub(crate) async fn delivery(
    tables: &impl Tables,
    scope: &AccountScope,
    parts: &[Part],
    query: &UsageQuery,
) -> Result<(Vec<UsageRow>, Vec<LatencyRow>), HistoryError> {
    within(scope, &query.account)?;
    let parts = of_range(parts, query.from, query.to);
    if parts.is_empty() {
        return Ok((vec![], vec![]));
    }
    let filter = UsageFilter { currencies: vec![], ..query.filter.clone() };
    let keep = Keep { hour: false, dimensions: GroupBy { currency: false, ..query.group_by } };
    let mut sums = Vec::new();
    for piece in Piece::summed(query.from, query.to) {
        sums.extend(tables.sums(&parts, &query.account, piece, &filter, keep).await?);
    }
    let piece = Piece { table: Table::Latency, from: query.from, to: query.to };
    let counts = tables.latency(&parts, &query.account, piece, &filter, keep.dimensions).await?;
    Ok((rows(sums)?, latency_rows(counts)?))
}

pub(crate) async fn account_totals(
    tables: &impl Tables,
    scope: &AccountScope,
    parts: &[Part],
    (from, to): (Hour, Hour),
    filter: &UsageFilter,
) -> Result<HashMap<(AccountId, Currency), Usage>, HistoryError> {
    if *scope != AccountScope::All {
        return Err(HistoryError::NeedsAllAccounts);
    }
    let parts = of_range(parts, from, to);
    let mut totals: HashMap<_, Sums> = HashMap::new();
    if !parts.is_empty() {
        for piece in Piece::summed(from, to) {
            for (account, currency, sums) in tables.account_sums(&parts, piece, filter).await? {
                add(totals.entry((account, currency)).or_default(), &sums);
            }
        }
    }
    totals.into_iter().map(|(key, sums)| Ok((key, narrow(sums)?))).collect()
}

/// Parts with a day in the range.
fn of_range(parts: &[Part], from: Hour, to: Hour) -> Vec<Part> {
    let touches = |part: &&Part| part.day.first_hour() < to && part.day.end().hour() > from;
    parts.iter().filter(touches).filter(|_| from < to).cloned().collect()
}

fn within(scope: &AccountScope, account: &AccountId) -> Result<(), HistoryError> {
    if scope.contains(account) { Ok(()) } else { Err(HistoryError::OutOfScope(account.clone())) }
}

fn rows(sums: Vec<(Group, Sums)>) -> Result<Vec<UsageRow>, HistoryError> {
    let mut groups: BTreeMap<Group, Sums> = BTreeMap::new();
    for (group, sums) in sums {
        add(groups.entry(group).or_default(), &sums);
    }
    let row =
        |((hour, channel, country, currency), sums)| Ok(UsageRow { hour, channel, country, currency, usage: narrow(sums)? });
    groups.into_iter().map(row).collect()
}

fn latency_rows(counts: Vec<(Option<Channel>, Option<Country>, Bucket, i128)>) -> Result<Vec<LatencyRow>, HistoryError> {
    let mut groups: BTreeMap<_, BTreeMap<Bucket, i128>> = BTreeMap::new();
    for (channel, country, bucket, count) in counts {
        *groups.entry((channel, country)).or_default().entry(bucket).or_default() += count;
    }
    let count = |(bucket, count)| Ok((bucket, u64::try_from(count).map_err(|_| too_large(count))?));
    let row = |((channel, country), counts): (_, BTreeMap<Bucket, i128>)| {
        let counts = counts.into_iter().map(count).collect::<Result<_, HistoryError>>()?;
        Ok(LatencyRow { channel, country, counts })
    };
    groups.into_iter().map(row).collect()
}

fn add(to: &mut Sums, from: &Sums) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// Never rounded: a sum past 64 bits is refused.
fn narrow(sums: Sums) -> Result<Usage, HistoryError> {
    let mut columns = [0; 10];
    for (column, sum) in columns.iter_mut().zip(sums) {
        *column = i64::try_from(sum).map_err(|_| too_large(sum))?;
    }
    Ok(Usage::from_columns(columns))
}

fn too_large(sum: i128) -> HistoryError {
    HistoryError::Broken(format!("a sum of {sum} does not fit an answer; ask for a shorter range"))
}
