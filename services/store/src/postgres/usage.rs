//! Hourly usage, asked for. Every answer is one snapshot.

use super::{columns::Columns, connect::PostgresStore, fault::Fault, progress, transact::Reach};
use crate::{
    AsOf, StoreError, UsageTable,
    rows::{AccountCurrency, LatencyBucket, latency, loaded, top_accounts},
};
use async_trait::async_trait;
use loadline_domain::question::{LatencyRow, RankBy, TopAccounts, UsageFilter, UsageQuery, UsageRow};
use loadline_domain::{AccountId, AccountScope, Hour};
use sqlx::PgConnection;
use std::time::Duration;

/// Records appended so long before a range may hold events of it: as far as events may be ahead of the log.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// Records appended so long after a range may hold events of it: as late as receipts may be.
const BEHIND: Duration = Duration::from_secs(96 * 3600);

#[async_trait]
impl UsageTable for PostgresStore {
    async fn usage(&self, scope: &AccountScope, query: &UsageQuery) -> Result<(Vec<UsageRow>, AsOf), StoreError> {
        within(scope, &query.account)?;
        let query = query.clone();
        let answer = self.read(Reach::Rows, move |connection| {
            Box::pin(async move {
                let rows = usage(&mut *connection, &query, true).await?;
                Ok((rows, as_of(connection, Some(&query.account), query.from, query.to).await?))
            })
        });
        answer.await
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
        let answer = self.read(Reach::Rows, move |connection| {
            Box::pin(async move {
                let rows = usage(&mut *connection, &query, false).await?;
                let latency = latency_of(&mut *connection, &query).await?;
                Ok((rows, latency, as_of(connection, Some(&query.account), query.from, query.to).await?))
            })
        });
        answer.await
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
        let filter = filter.clone();
        let answer = self.read(Reach::Table, move |connection| {
            Box::pin(async move {
                let accounts = ranked(&mut *connection, from, to, &filter, rank_by, limit).await?;
                Ok((accounts, as_of(connection, None, from, to).await?))
            })
        });
        answer.await
    }

    async fn overdelivered(&self, from: Hour) -> Result<u64, StoreError> {
        let hours = sqlx::query_scalar(
            "SELECT count(*) FROM
             (SELECT FROM usage_hourly WHERE hour >= $1 GROUP BY account, hour
              HAVING sum(delivered + undelivered + expired + rejected + failed) > sum(messages)) AS overdelivered",
        );
        let hours = hours.bind(from.index());
        loaded(self.read(Reach::Table, |connection| Box::pin(async { Ok(hours.fetch_one(connection).await?) })).await?)
    }
}

fn within(scope: &AccountScope, account: &AccountId) -> Result<(), StoreError> {
    if scope.contains(account) { Ok(()) } else { Err(StoreError::OutOfScope(account.clone())) }
}

/// A filter as arrays; an empty one does not restrict.
struct Restriction {
    channels: Vec<i16>,
    countries: Vec<String>,
    currencies: Vec<String>,
}

impl Restriction {
    fn of(filter: &UsageFilter) -> Self {
        Self {
            channels: filter.channels.iter().map(|channel| channel.number() as i16).collect(),
            countries: filter.countries.iter().map(|country| country.as_str().to_owned()).collect(),
            currencies: filter.currencies.iter().map(|currency| currency.as_str().to_owned()).collect(),
        }
    }
}

/// Records lost that were appended from `$4` to `$5`, as far as that is known.
macro_rules! lost {
    () => {
        "(SELECT coalesce(sum(last_sequence - first_sequence + 1), 0)::bigint FROM loss
          WHERE (before_at IS NULL OR before_at >= $4) AND (after_at IS NULL OR after_at <= $5))"
    };
}

/// The ten sums. Each is far inside 64 bits: an event adds at most 10^12 to any.
macro_rules! sums {
    () => {
        "sum(events)::bigint AS events, sum(messages)::bigint AS messages, sum(segments)::bigint AS segments,
         sum(amount_micros)::bigint AS amount_micros, sum(delivered)::bigint AS delivered,
         sum(undelivered)::bigint AS undelivered, sum(expired)::bigint AS expired, sum(rejected)::bigint AS rejected,
         sum(failed)::bigint AS failed, sum(not_final)::bigint AS not_final"
    };
}

/// One array a column, in any order: for a month of hours this costs a tenth of a row each, and adding up here a
/// fraction of the server's sums, which are numeric.
async fn usage(connection: &mut PgConnection, query: &UsageQuery, hourly: bool) -> Result<Vec<UsageRow>, Fault> {
    let Restriction { channels, countries, currencies } = Restriction::of(&query.filter);
    let columns: Columns = sqlx::query_as(
        "SELECT array_agg(hour) AS hour, array_agg(channel) AS channel, array_agg(country) AS country,
                array_agg(currency) AS currency, array_agg(events) AS events, array_agg(messages) AS messages,
                array_agg(segments) AS segments, array_agg(amount_micros) AS amount_micros,
                array_agg(delivered) AS delivered, array_agg(undelivered) AS undelivered, array_agg(expired) AS expired,
                array_agg(rejected) AS rejected, array_agg(failed) AS failed, array_agg(not_final) AS not_final
         FROM (SELECT * FROM usage_hourly
               WHERE account = $1 AND hour >= $2 AND hour < $3
                 AND (cardinality($4::smallint[]) = 0 OR channel = ANY($4))
                 AND (cardinality($5::text[]) = 0 OR country = ANY($5))
                 AND (cardinality($6::text[]) = 0 OR currency = ANY($6))) AS asked",
    )
    .bind(query.account.as_str())
    .bind(query.from.index())
    .bind(query.to.index())
    .bind(channels)
    .bind(countries)
    .bind(currencies)
    .fetch_one(connection)
    .await?;
    Ok(columns.grouped(query.group_by, hourly)?)
}

async fn latency_of(connection: &mut PgConnection, query: &UsageQuery) -> Result<Vec<LatencyRow>, Fault> {
    let Restriction { channels, countries, .. } = Restriction::of(&query.filter);
    let buckets: Vec<LatencyBucket> = sqlx::query_as(
        "SELECT CASE WHEN $6 THEN channel END AS channel, CASE WHEN $7 THEN country END AS country, bucket,
                sum(count)::bigint AS count
         FROM latency_hourly
         WHERE account = $1 AND hour >= $2 AND hour < $3
           AND (cardinality($4::smallint[]) = 0 OR latency_hourly.channel = ANY($4))
           AND (cardinality($5::text[]) = 0 OR latency_hourly.country = ANY($5))
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
    .await?;
    Ok(latency(buckets)?)
}

/// Ranks accounts, then sums each per currency.
async fn ranked(
    connection: &mut PgConnection,
    from: Hour,
    to: Hour,
    filter: &UsageFilter,
    rank_by: RankBy,
    limit: u32,
) -> Result<TopAccounts, Fault> {
    let Restriction { channels, countries, currencies } = Restriction::of(filter);
    let (measure, ranking_currency) = match &rank_by {
        RankBy::Messages => ("messages", None),
        RankBy::Segments => ("segments", None),
        RankBy::Amount(currency) => ("amount", Some(currency.as_str())),
    };
    let rows: Vec<AccountCurrency> = sqlx::query_as(concat!(
        "WITH asked AS MATERIALIZED (
             SELECT account, currency, ",
        sums!(),
        " FROM usage_hourly
             WHERE hour >= $1 AND hour < $2
               AND (cardinality($3::smallint[]) = 0 OR channel = ANY($3))
               AND (cardinality($4::text[]) = 0 OR country = ANY($4))
               AND (cardinality($5::text[]) = 0 OR currency = ANY($5))
             GROUP BY account, currency
         ), top AS (
             SELECT account, sum(CASE $6 WHEN 'messages' THEN messages WHEN 'segments' THEN segments ELSE amount_micros END) AS rank
             FROM asked WHERE $7::text IS NULL OR currency = $7
             GROUP BY account ORDER BY rank DESC, account LIMIT $8
         )
         SELECT asked.* FROM top JOIN asked USING (account) ORDER BY top.rank DESC, account, currency"
    ))
    .bind(from.index())
    .bind(to.index())
    .bind(channels)
    .bind(countries)
    .bind(currencies)
    .bind(measure)
    .bind(ranking_currency)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    Ok(top_accounts(rows)?)
}

/// Open letters of `from..to`, of an account and of nobody known. Apart, because only then is each found by index.
const DOUBTS_OF_ACCOUNT: &str = concat!(
    "SELECT (SELECT count(*) FROM dead_letter WHERE state = 'open' AND account = $3
                AND (event_time IS NULL OR (event_time >= $1 AND event_time < $2)))
          + (SELECT count(*) FROM dead_letter WHERE state = 'open' AND account IS NULL
                AND (event_time IS NULL OR (event_time >= $1 AND event_time < $2))), ",
    lost!()
);

/// Open letters of `from..to`, whosever, and what was lost.
const DOUBTS_OF_ALL: &str = concat!(
    "SELECT (SELECT count(*) FROM dead_letter
             WHERE state = 'open' AND $3::text IS NULL AND (event_time IS NULL OR (event_time >= $1 AND event_time < $2))), ",
    lost!()
);

/// What an answer about `from..to` rests on; of all accounts when none is named.
async fn as_of(connection: &mut PgConnection, account: Option<&AccountId>, from: Hour, to: Hour) -> Result<AsOf, Fault> {
    let (dead_letters, lost): (i64, i64) = sqlx::query_as(if account.is_some() { DOUBTS_OF_ACCOUNT } else { DOUBTS_OF_ALL })
        .bind(from.start().micros())
        .bind(to.start().micros())
        .bind(account.map(AccountId::as_str))
        .bind(from.start().minus(AHEAD).micros())
        .bind(to.start().plus(BEHIND).micros())
        .fetch_one(&mut *connection)
        .await?;
    Ok(AsOf { progress: progress::all(connection).await?, dead_letters: loaded(dead_letters)?, lost: loaded(lost)? })
}
