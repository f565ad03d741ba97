//! Hourly usage, asked for. Every answer is one snapshot.

use super::{
    commit::json,
    connect::{SqliteStore, failed},
    progress,
};
use crate::{
    AsOf, StoreError, UsageTable,
    rows::{AccountCurrency, LatencyBucket, UsageGroup, latency, loaded, top_accounts},
};
use async_trait::async_trait;
use loadline_domain::question::{GroupBy, LatencyRow, RankBy, TopAccounts, UsageFilter, UsageQuery, UsageRow};
use loadline_domain::{
    AccountId, AccountScope, Hour,
    event::{Channel, Country, Currency},
};
use sqlx::SqliteConnection;
use std::time::Duration;

/// Records appended so long before a range may hold events of it: as far as events may be ahead of the log.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// Records appended so long after a range may hold events of it: as late as receipts may be.
const BEHIND: Duration = Duration::from_secs(96 * 3600);

#[async_trait]
impl UsageTable for SqliteStore {
    async fn usage(&self, scope: &AccountScope, query: &UsageQuery) -> Result<(Vec<UsageRow>, AsOf), StoreError> {
        within(scope, &query.account)?;
        let mut snapshot = self.snapshot().await?;
        let rows = usage(&mut snapshot, query, true).await?;
        Ok((rows, as_of(&mut snapshot, Some(&query.account), query.from, query.to).await?))
    }

    async fn delivery(
        &self,
        scope: &AccountScope,
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>, AsOf), StoreError> {
        within(scope, &query.account)?;
        let mut query = query.clone();
        query.group_by.currency = false;
        query.filter.currencies.clear();
        let mut snapshot = self.snapshot().await?;
        let rows = usage(&mut snapshot, &query, false).await?;
        let latency = latency_of(&mut snapshot, &query).await?;
        Ok((rows, latency, as_of(&mut snapshot, Some(&query.account), query.from, query.to).await?))
    }

    async fn top_accounts(
        &self,
        scope: &AccountScope,
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
        rank_by: RankBy,
        limit: u32,
    ) -> Result<(TopAccounts, AsOf), StoreError> {
        if *scope != AccountScope::All {
            return Err(StoreError::NeedsAllAccounts);
        }
        let mut snapshot = self.snapshot().await?;
        let accounts = ranked(&mut snapshot, from, to, filter, rank_by, limit).await?;
        Ok((accounts, as_of(&mut snapshot, None, from, to).await?))
    }

    async fn overdelivered(&self, from: Hour) -> Result<u64, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let hours: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM
             (SELECT 1 FROM usage_hourly WHERE hour >= ?1 GROUP BY account, hour
              HAVING sum(delivered + undelivered + expired + rejected + failed) > sum(messages))",
        )
        .bind(from.index())
        .fetch_one(&mut *snapshot)
        .await
        .map_err(failed)?;
        loaded(hours)
    }
}

fn within(scope: &AccountScope, account: &AccountId) -> Result<(), StoreError> {
    if scope.contains(account) { Ok(()) } else { Err(StoreError::OutOfScope(account.clone())) }
}

/// A filter as JSON arrays; NULL does not restrict.
struct Restriction {
    channels: Option<String>,
    countries: Option<String>,
    currencies: Option<String>,
}

impl Restriction {
    fn of(filter: &UsageFilter) -> Result<Self, StoreError> {
        let list = |empty: bool, values: Result<String, StoreError>| if empty { Ok(None) } else { values.map(Some) };
        Ok(Self {
            channels: list(filter.channels.is_empty(), json(filter.channels.iter().map(|channel| Channel::number(*channel))))?,
            countries: list(filter.countries.is_empty(), json(filter.countries.iter().map(Country::as_str)))?,
            currencies: list(filter.currencies.is_empty(), json(filter.currencies.iter().map(Currency::as_str)))?,
        })
    }
}

async fn usage(connection: &mut SqliteConnection, query: &UsageQuery, hourly: bool) -> Result<Vec<UsageRow>, StoreError> {
    let Restriction { channels, countries, currencies } = Restriction::of(&query.filter)?;
    let GroupBy { channel, country, currency } = query.group_by;
    let rows: Vec<UsageGroup> = sqlx::query_as(
        "SELECT CASE WHEN ?7 THEN hour END AS hour, CASE WHEN ?8 THEN channel END AS channel,
                CASE WHEN ?9 THEN country END AS country, CASE WHEN ?10 THEN currency END AS currency,
                sum(events) AS events, sum(messages) AS messages, sum(segments) AS segments,
                sum(amount_micros) AS amount_micros, sum(delivered) AS delivered, sum(undelivered) AS undelivered,
                sum(expired) AS expired, sum(rejected) AS rejected, sum(failed) AS failed, sum(not_final) AS not_final
         FROM usage_hourly
         WHERE account = ?1 AND usage_hourly.hour >= ?2 AND usage_hourly.hour < ?3
           AND (?4 IS NULL OR usage_hourly.channel IN (SELECT value FROM json_each(?4)))
           AND (?5 IS NULL OR usage_hourly.country IN (SELECT value FROM json_each(?5)))
           AND (?6 IS NULL OR usage_hourly.currency IN (SELECT value FROM json_each(?6)))
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
    )
    .bind(query.account.as_str())
    .bind(query.from.index())
    .bind(query.to.index())
    .bind(channels)
    .bind(countries)
    .bind(currencies)
    .bind(hourly)
    .bind(channel)
    .bind(country)
    .bind(currency)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.into_iter().map(UsageRow::try_from).collect()
}

async fn latency_of(connection: &mut SqliteConnection, query: &UsageQuery) -> Result<Vec<LatencyRow>, StoreError> {
    let Restriction { channels, countries, .. } = Restriction::of(&query.filter)?;
    let buckets: Vec<LatencyBucket> = sqlx::query_as(
        "SELECT CASE WHEN ?6 THEN channel END AS channel, CASE WHEN ?7 THEN country END AS country, bucket, sum(count) AS count
         FROM latency_hourly
         WHERE account = ?1 AND hour >= ?2 AND hour < ?3
           AND (?4 IS NULL OR latency_hourly.channel IN (SELECT value FROM json_each(?4)))
           AND (?5 IS NULL OR latency_hourly.country IN (SELECT value FROM json_each(?5)))
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    )
    .bind(query.account.as_str())
    .bind(query.from.index())
    .bind(query.to.index())
    .bind(channels)
    .bind(countries)
    .bind(query.group_by.channel)
    .bind(query.group_by.country)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    latency(buckets)
}

/// Ranks accounts, then sums each per currency.
async fn ranked(
    connection: &mut SqliteConnection,
    from: Hour,
    to: Hour,
    filter: &UsageFilter,
    rank_by: RankBy,
    limit: u32,
) -> Result<TopAccounts, StoreError> {
    let Restriction { channels, countries, currencies } = Restriction::of(filter)?;
    let (measure, ranking_currency) = match &rank_by {
        RankBy::Messages => ("messages", None),
        RankBy::Segments => ("segments", None),
        RankBy::Amount(currency) => ("amount", Some(currency.as_str())),
    };
    let rows: Vec<AccountCurrency> = sqlx::query_as(
        "WITH asked AS MATERIALIZED (
             SELECT account, currency, sum(events) AS events, sum(messages) AS messages, sum(segments) AS segments,
                    sum(amount_micros) AS amount_micros, sum(delivered) AS delivered, sum(undelivered) AS undelivered,
                    sum(expired) AS expired, sum(rejected) AS rejected, sum(failed) AS failed, sum(not_final) AS not_final
             FROM usage_hourly
             WHERE hour >= ?1 AND hour < ?2
               AND (?3 IS NULL OR channel IN (SELECT value FROM json_each(?3)))
               AND (?4 IS NULL OR country IN (SELECT value FROM json_each(?4)))
               AND (?5 IS NULL OR currency IN (SELECT value FROM json_each(?5)))
             GROUP BY account, currency
         ), top AS (
             SELECT account, sum(CASE ?6 WHEN 'messages' THEN messages WHEN 'segments' THEN segments ELSE amount_micros END) AS rank
             FROM asked WHERE ?7 IS NULL OR currency = ?7
             GROUP BY account ORDER BY rank DESC, account LIMIT ?8
         )
         SELECT asked.* FROM top JOIN asked USING (account) ORDER BY top.rank DESC, account, currency",
    )
    .bind(from.index())
    .bind(to.index())
    .bind(channels)
    .bind(countries)
    .bind(currencies)
    .bind(measure)
    .bind(ranking_currency)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    top_accounts(rows)
}

/// What an answer about `from..to` rests on; of all accounts when none is named.
async fn as_of(connection: &mut SqliteConnection, account: Option<&AccountId>, from: Hour, to: Hour) -> Result<AsOf, StoreError> {
    let dead_letters: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM dead_letter
         WHERE state = 'open' AND (?1 IS NULL OR account = ?1 OR account IS NULL)
           AND (event_time IS NULL OR (event_time >= ?2 AND event_time < ?3))",
    )
    .bind(account.map(AccountId::as_str))
    .bind(from.start().micros())
    .bind(to.start().micros())
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    let lost: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(last_sequence - first_sequence + 1), 0) FROM loss
         WHERE (before_at IS NULL OR before_at >= ?1) AND (after_at IS NULL OR after_at <= ?2)",
    )
    .bind(from.start().minus(AHEAD).micros())
    .bind(to.start().plus(BEHIND).micros())
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    Ok(AsOf { progress: progress::all(connection).await?, dead_letters: loaded(dead_letters)?, lost: loaded(lost)? })
}
