//! All accounts, added up and ranked.

use super::{days::hot_days, fault::Fault, usage::Restriction};
use crate::rows::{AccountCurrency, top_accounts};
use loadline_domain::{
    Hour,
    question::{Grain, RankBy, TopAccounts, UsageFilter},
};
use sqlx::PgConnection;

/// The ten sums. Each is far inside 64 bits: an event adds at most 10^12 to any.
macro_rules! sums {
    () => {
        "sum(events)::bigint AS events, sum(messages)::bigint AS messages, sum(segments)::bigint AS segments,
         sum(amount_micros)::bigint AS amount_micros, sum(delivered)::bigint AS delivered,
         sum(undelivered)::bigint AS undelivered, sum(expired)::bigint AS expired, sum(rejected)::bigint AS rejected,
         sum(failed)::bigint AS failed, sum(not_final)::bigint AS not_final"
    };
}

/// Sums of each account and currency, of rows from `$1` to `$2` that match `$3` to `$5`.
macro_rules! totals {
    ($rows:expr) => {
        concat!(
            "SELECT account, currency, ",
            sums!(),
            " FROM ",
            $rows,
            " WHERE hour >= $1 AND hour < $2
                AND (cardinality($3::smallint[]) = 0 OR channel = ANY($3))
                AND (cardinality($4::text[]) = 0 OR country = ANY($4))
                AND (cardinality($5::text[]) = 0 OR currency = ANY($5))
              GROUP BY account, currency"
        )
    };
}

const TOTALS: &str = totals!("usage_hourly");
const TOTALS_BY_DAYS: &str = totals!(hot_days!("$1", "$2", "", ""));

/// Sums of each account and currency.
pub(super) async fn totals(
    connection: &mut PgConnection,
    from: Hour,
    to: Hour,
    grain: Grain,
    filter: &UsageFilter,
) -> Result<Vec<AccountCurrency>, Fault> {
    let Restriction { channels, countries, currencies } = Restriction::of(filter);
    let sums = sqlx::query_as(if grain == Grain::Day { TOTALS_BY_DAYS } else { TOTALS });
    let sums = sums.bind(from.index()).bind(to.index()).bind(channels).bind(countries).bind(currencies);
    Ok(sums.fetch_all(connection).await?)
}

/// The same of the accounts that rank first, by rank.
macro_rules! ranked {
    ($rows:expr) => {
        concat!(
            "WITH asked AS MATERIALIZED (",
            totals!($rows),
            "), top AS (
                 SELECT account, sum(CASE $6 WHEN 'messages' THEN messages WHEN 'segments' THEN segments ELSE amount_micros END)
                     AS rank
                 FROM asked WHERE $7::text IS NULL OR currency = $7
                 GROUP BY account ORDER BY rank DESC, account LIMIT $8
             )
             SELECT asked.* FROM top JOIN asked USING (account) ORDER BY top.rank DESC, account, currency"
        )
    };
}

const RANKED: &str = ranked!("usage_hourly");
const RANKED_BY_DAYS: &str = ranked!(hot_days!("$1", "$2", "", ""));

/// Ranks accounts, then sums each per currency.
pub(super) async fn ranked(
    connection: &mut PgConnection,
    from: Hour,
    to: Hour,
    grain: Grain,
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
    let rows: Vec<AccountCurrency> = sqlx::query_as(if grain == Grain::Day { RANKED_BY_DAYS } else { RANKED })
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
