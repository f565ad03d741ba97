//! Hourly usage, asked for. Every answer is one snapshot.

use super::{
    commit::json,
    connect::{SqliteStore, failed},
    days::{days_of_account, days_of_all, hot_days, no_days, parts},
    progress,
    ranking::{ranked, totals},
};
use crate::{
    AccountTotals, AsOf, StoreError, UsageTable,
    lines::{self, grouped},
    rows::{LatencyBucket, account_totals, as_of, latency, loaded},
    settled::SettledDays,
    sources::{is_whole_days, sources, whole_days},
};
use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour, Rules,
    event::{Channel, Country, Currency},
    question::{Grain, LatencyRow, RankBy, TopAccounts, UsageFilter, UsageQuery, UsageRow},
};
use sqlx::SqliteConnection;

#[async_trait]
impl UsageTable for SqliteStore {
    async fn usage(&self, scope: &AccountScope, query: &UsageQuery) -> Result<(Vec<UsageRow>, AsOf), StoreError> {
        within(scope, &query.account)?;
        whole_if_by_days(query.grain, query.from, query.to)?;
        let (rows, as_of) = hours(&mut *self.reader().await?, query, &self.rules, &self.settled).await?;
        Ok((grouped(rows, query.group_by, true)?, as_of))
    }

    async fn delivery(
        &self,
        scope: &AccountScope,
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>, AsOf), StoreError> {
        within(scope, &query.account)?;
        whole_if_by_days(query.grain, query.from, query.to)?;
        let mut query = query.clone();
        query.group_by.currency = false;
        query.filter.currencies.clear();
        let mut snapshot = self.snapshot().await?;
        let latency = latency_of(&mut snapshot, &query).await?;
        let (rows, as_of) = hours(&mut snapshot, &query, &self.rules, &self.settled).await?;
        Ok((grouped(rows, query.group_by, false)?, latency, as_of))
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
        let grain = if is_whole_days(from, to) { Grain::Day } else { Grain::Hour };
        let accounts = ranked(&mut snapshot, from, to, grain, filter, rank_by, limit).await?;
        Ok((accounts, as_of_all(&mut snapshot, from, to, grain, &self.rules).await?))
    }

    async fn account_totals(
        &self,
        scope: &AccountScope,
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
        grain: Grain,
    ) -> Result<(AccountTotals, AsOf), StoreError> {
        if *scope != AccountScope::All {
            return Err(StoreError::NeedsAllAccounts);
        }
        whole_if_by_days(grain, from, to)?;
        let mut snapshot = self.snapshot().await?;
        let sums = totals(&mut snapshot, from, to, grain, filter).await?;
        Ok((account_totals(sums)?, as_of_all(&mut snapshot, from, to, grain, &self.rules).await?))
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

fn whole_if_by_days(grain: Grain, from: Hour, to: Hour) -> Result<(), StoreError> {
    if grain == Grain::Day { whole_days(from, to) } else { Ok(()) }
}

/// A filter as JSON arrays; NULL does not restrict.
pub(super) struct Restriction {
    pub channels: Option<String>,
    pub countries: Option<String>,
    pub currencies: Option<String>,
}

impl Restriction {
    pub fn of(filter: &UsageFilter) -> Result<Self, StoreError> {
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
    ($days:expr) => {
        concat!(
            "SELECT (SELECT count(*) FROM dead_letter
                     WHERE state = 'open' AND (?3 IS NULL OR account = ?3 OR account IS NULL)
                       AND (event_time IS NULL OR (event_time >= ?1 AND event_time < ?2))),
                    (SELECT coalesce(sum(last_sequence - first_sequence + 1), 0) FROM loss
                     WHERE (before_at IS NULL OR before_at >= ?4) AND (after_at IS NULL OR after_at <= ?5)),
                    (SELECT json_group_array(json(row)) FROM (SELECT ",
            progress::row!(),
            " AS row FROM stream_progress WHERE is_current ORDER BY stream)), ",
            $days,
            ", ",
            parts!()
        )
    };
}

/// The same of one account, its settled days, and its lines of usage from hour `?6` to `?7`.
macro_rules! lines {
    ($days:expr, $settled:expr, $rows:expr) => {
        concat!(
            as_of!($days),
            ", ",
            $settled,
            ", (SELECT coalesce(string_agg(",
            lines::line!(),
            ", char(10)), '') FROM ",
            $rows,
            ")"
        )
    };
}

macro_rules! of_account {
    ($rows:expr) => {
        concat!($rows, " WHERE account = ?3 AND hour >= ?6 AND hour < ?7 ")
    };
}

macro_rules! that_match {
    ($rows:expr) => {
        concat!(
            of_account!($rows),
            "AND (?8 IS NULL OR channel IN (SELECT value FROM json_each(?8)))
         AND (?9 IS NULL OR country IN (SELECT value FROM json_each(?9)))
         AND (?10 IS NULL OR currency IN (SELECT value FROM json_each(?10)))"
        )
    };
}

macro_rules! days {
    () => {
        hot_days!("?6", "?7", "rolled.account = ?3 AND", "marked.account = ?3 AND")
    };
}

/// Days that are settled, with their versions; those of them that are kept in this version, of the pairs `?8`; and runs of days
/// between those.
macro_rules! settled {
    () => {
        "WITH settled AS MATERIALIZED (
             SELECT DISTINCT day, version FROM usage_daily AS rolled
             WHERE account = ?3 AND day BETWEEN ?6 / 24 AND (?7 - 1) / 24 AND version > 0
               AND NOT EXISTS (SELECT 1 FROM dirty_day AS marked WHERE marked.account = ?3 AND marked.day = rolled.day)
         ), kept AS MATERIALIZED (
             SELECT day FROM settled WHERE (day, version) IN (SELECT value->>0, value->>1 FROM json_each(?8))
         ), gaps AS (
             SELECT first, next FROM
                 (SELECT lag(day + 1, 1, ?6 / 24) OVER (ORDER BY day) AS first, day AS next FROM kept
                  UNION ALL SELECT coalesce(max(day) + 1, ?6 / 24), (?7 - 1) / 24 + 1 FROM kept) AS runs
             WHERE first < next
         ) "
    };
}

/// Hours of the days that are not kept.
macro_rules! unsettled {
    () => {
        "gaps CROSS JOIN usage_hourly
         WHERE account = ?3 AND hour >= max(gaps.first * 24, ?6) AND hour < min(gaps.next * 24, ?7)"
    };
}

/// Without a filter no row is tested for one.
const LINES: &str = concat!(
    settled!(),
    lines!(no_days!(), "(SELECT coalesce(string_agg(concat_ws(' ', day, version), char(10)), '') FROM settled)", unsettled!())
);
const LINES_THAT_MATCH: &str = lines!(no_days!(), "''", that_match!("usage_hourly"));
const LINES_BY_DAYS: &str = lines!(days_of_account!(), "''", of_account!(days!()));
const LINES_BY_DAYS_THAT_MATCH: &str = lines!(days_of_account!(), "''", that_match!(days!()));

/// As [`lines!`] has it.
type Answer = (i64, i64, String, i64, String, String, String, String);

/// Rows of hours, or of days, with all their dimensions. One statement, hence one snapshot.
async fn hours(
    connection: &mut SqliteConnection,
    query: &UsageQuery,
    rules: &Rules,
    settled: &SettledDays,
) -> Result<(Vec<UsageRow>, AsOf), StoreError> {
    let UsageQuery { account, from, to, filter, .. } = query;
    let any = *filter == UsageFilter::default();
    let known = (query.grain == Grain::Hour && any).then(|| settled.known(query));
    let statement = match (query.grain, any) {
        (Grain::Hour, true) => LINES,
        (Grain::Hour, false) => LINES_THAT_MATCH,
        (Grain::Day, true) => LINES_BY_DAYS,
        (Grain::Day, false) => LINES_BY_DAYS_THAT_MATCH,
    };
    let mut asked = sqlx::query_as(statement)
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
    if let Some(known) = &known {
        asked = asked.bind(json(known.versions().map(|(day, version)| (day.index(), version)))?);
    }
    let (dead_letters, lost, progress, daily, dirty, parts, settled, lines): Answer =
        asked.fetch_one(connection).await.map_err(failed)?;
    let as_of = as_of(dead_letters, lost, &progress, sources(daily, &dirty, &parts)?)?;
    let read = lines::rows(&lines)?;
    let rows = match known {
        Some(known) => known.completed(&settled, read)?,
        None => read,
    };
    Ok((rows, as_of))
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

/// What an answer about `from..to` of all accounts rests on.
pub(super) async fn as_of_all(
    connection: &mut SqliteConnection,
    from: Hour,
    to: Hour,
    grain: Grain,
    rules: &Rules,
) -> Result<AsOf, StoreError> {
    let asked = sqlx::query_as(if grain == Grain::Day { as_of!(days_of_all!()) } else { as_of!(no_days!()) })
        .bind(from.start().micros())
        .bind(to.start().micros())
        .bind(None::<&str>)
        .bind(rules.earliest_append(from).micros())
        .bind(rules.latest_append(to).micros());
    let (dead_letters, lost, progress, daily, dirty, parts): (i64, i64, String, i64, String, String) =
        asked.fetch_one(connection).await.map_err(failed)?;
    as_of(dead_letters, lost, &progress, sources(daily, &dirty, &parts)?)
}
