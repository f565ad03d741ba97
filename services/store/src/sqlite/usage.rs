//! Hourly usage, asked for. Every answer is one snapshot.

use super::{
    commit::json,
    connect::{SqliteStore, failed},
    progress,
};
use crate::{
    AsOf, StoreError, UsageTable,
    lines::{self, grouped},
    rows::{AccountCurrency, LatencyBucket, as_of, latency, loaded, top_accounts},
};
use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour, Rules,
    event::{Channel, Country, Currency},
    question::{LatencyRow, RankBy, TopAccounts, UsageFilter, UsageQuery, UsageRow},
};
use sqlx::SqliteConnection;

#[async_trait]
impl UsageTable for SqliteStore {
    async fn usage(&self, scope: &AccountScope, query: &UsageQuery) -> Result<(Vec<UsageRow>, AsOf), StoreError> {
        within(scope, &query.account)?;
        let (lines, as_of) = lines(&mut *self.reader().await?, query, &self.rules).await?;
        Ok((grouped(&lines, query.group_by, true)?, as_of))
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
        let latency = latency_of(&mut snapshot, &query).await?;
        let (lines, as_of) = lines(&mut snapshot, &query, &self.rules).await?;
        Ok((grouped(&lines, query.group_by, false)?, latency, as_of))
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
        Ok((accounts, as_of_all(&mut snapshot, from, to, &self.rules).await?))
    }

    async fn overdelivered(&self, from: Hour) -> Result<u64, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let accounts: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM
             (SELECT 1 FROM usage_hourly WHERE hour >= ?1 - 1 GROUP BY account
              HAVING sum(delivered + undelivered + expired + rejected + failed) FILTER (WHERE hour >= ?1) > sum(messages))",
        )
        .bind(from.index())
        .fetch_one(&mut *snapshot)
        .await
        .map_err(failed)?;
        loaded(accounts)
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

/// What an answer about the events of `?1..?2` rests on: letters of an account `?3` and of nobody known, or of all when it is
/// NULL; records lost that were appended from `?4` to `?5`, as far as that is known.
macro_rules! as_of {
    () => {
        concat!(
            "SELECT (SELECT count(*) FROM dead_letter
                     WHERE state = 'open' AND (?3 IS NULL OR account = ?3 OR account IS NULL)
                       AND (event_time IS NULL OR (event_time >= ?1 AND event_time < ?2))),
                    (SELECT coalesce(sum(last_sequence - first_sequence + 1), 0) FROM loss
                     WHERE (before_at IS NULL OR before_at >= ?4) AND (after_at IS NULL OR after_at <= ?5)),
                    (SELECT json_group_array(json(row)) FROM (SELECT ",
            progress::row!(),
            " AS row FROM stream_progress WHERE is_current ORDER BY stream))"
        )
    };
}

/// The same of one account, and its lines of usage from hour `?6` to `?7`.
macro_rules! lines {
    ($filter:literal) => {
        concat!(
            as_of!(),
            ", (SELECT coalesce(string_agg(concat_ws(' ', ",
            lines::columns!(),
            "), char(10)), '') FROM usage_hourly WHERE account = ?3 AND hour >= ?6 AND hour < ?7 ",
            $filter,
            ")"
        )
    };
}

/// Without a filter no row is tested for one.
const LINES: &str = lines!("");
const LINES_THAT_MATCH: &str = lines!(
    "AND (?8 IS NULL OR channel IN (SELECT value FROM json_each(?8)))
     AND (?9 IS NULL OR country IN (SELECT value FROM json_each(?9)))
     AND (?10 IS NULL OR currency IN (SELECT value FROM json_each(?10)))"
);

/// One statement, hence one snapshot.
async fn lines(connection: &mut SqliteConnection, query: &UsageQuery, rules: &Rules) -> Result<(String, AsOf), StoreError> {
    let UsageQuery { account, from, to, filter, .. } = query;
    let any = *filter == UsageFilter::default();
    let mut asked = sqlx::query_as(if any { LINES } else { LINES_THAT_MATCH })
        .bind(from.start().micros())
        .bind(to.start().micros())
        .bind(account.as_str())
        .bind(rules.earliest_append(*from).micros())
        .bind(rules.latest_append(*to).micros())
        .bind(from.index())
        .bind(to.index());
    if !any {
        let Restriction { channels, countries, currencies } = Restriction::of(filter)?;
        asked = asked.bind(channels).bind(countries).bind(currencies);
    }
    let (dead_letters, lost, progress, lines): (i64, i64, String, String) = asked.fetch_one(connection).await.map_err(failed)?;
    Ok((lines, as_of(dead_letters, lost, &progress)?))
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

/// What an answer about `from..to` of all accounts rests on.
async fn as_of_all(connection: &mut SqliteConnection, from: Hour, to: Hour, rules: &Rules) -> Result<AsOf, StoreError> {
    let asked = sqlx::query_as(as_of!())
        .bind(from.start().micros())
        .bind(to.start().micros())
        .bind(None::<&str>)
        .bind(rules.earliest_append(from).micros())
        .bind(rules.latest_append(to).micros());
    let (dead_letters, lost, progress): (i64, i64, String) = asked.fetch_one(connection).await.map_err(failed)?;
    as_of(dead_letters, lost, &progress)
}
