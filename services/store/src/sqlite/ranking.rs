//! All accounts, added up and ranked.

use super::{connect::failed, days::hot_days, usage::Restriction};
use crate::{
    StoreError,
    rows::{AccountCurrency, top_accounts},
};
use loadline_domain::{
    Hour,
    question::{Grain, RankBy, TopAccounts, UsageFilter},
};
use sqlx::SqliteConnection;

/// Sums of each account and currency, of rows from `?1` to `?2` that match `?3` to `?5`.
macro_rules! totals {
    ($rows:expr) => {
        concat!(
            "SELECT account, currency, sum(events) AS events, sum(messages) AS messages, sum(segments) AS segments,
                    sum(amount_micros) AS amount_micros, sum(delivered) AS delivered, sum(undelivered) AS undelivered,
                    sum(expired) AS expired, sum(rejected) AS rejected, sum(failed) AS failed, sum(not_final) AS not_final
             FROM ",
            $rows,
            " WHERE hour >= ?1 AND hour < ?2
                AND (?3 IS NULL OR channel IN (SELECT value FROM json_each(?3)))
                AND (?4 IS NULL OR country IN (SELECT value FROM json_each(?4)))
                AND (?5 IS NULL OR currency IN (SELECT value FROM json_each(?5)))
              GROUP BY account, currency"
        )
    };
}

const TOTALS: &str = totals!("usage_hourly");
const TOTALS_BY_DAYS: &str = totals!(hot_days!("?1", "?2", "", ""));

/// Sums of each account and currency.
pub(super) async fn totals(
    connection: &mut SqliteConnection,
    from: Hour,
    to: Hour,
    grain: Grain,
    filter: &UsageFilter,
) -> Result<Vec<AccountCurrency>, StoreError> {
    let Restriction { channels, countries, currencies } = Restriction::of(filter)?;
    let sums = sqlx::query_as(if grain == Grain::Day { TOTALS_BY_DAYS } else { TOTALS });
    let sums = sums.bind(from.index()).bind(to.index()).bind(channels).bind(countries).bind(currencies);
    sums.fetch_all(connection).await.map_err(failed)
}

/// The same of the accounts that rank first, by rank.
macro_rules! ranked {
    ($rows:expr) => {
        concat!(
            "WITH asked AS MATERIALIZED (",
            totals!($rows),
            "), top AS (
                 SELECT account, sum(CASE ?6 WHEN 'messages' THEN messages WHEN 'segments' THEN segments ELSE amount_micros END)
                     AS rank
                 FROM asked WHERE ?7 IS NULL OR currency = ?7
                 GROUP BY account ORDER BY rank DESC, account LIMIT ?8
             )
             SELECT asked.* FROM top JOIN asked USING (account) ORDER BY top.rank DESC, account, currency"
        )
    };
}

const RANKED: &str = ranked!("usage_hourly");
const RANKED_BY_DAYS: &str = ranked!(hot_days!("?1", "?2", "", ""));

/// Ranks accounts, then sums each per currency.
pub(super) async fn ranked(
    connection: &mut SqliteConnection,
    from: Hour,
    to: Hour,
    grain: Grain,
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
    let rows: Vec<AccountCurrency> = sqlx::query_as(if grain == Grain::Day { RANKED_BY_DAYS } else { RANKED })
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
