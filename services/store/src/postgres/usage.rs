//! Hourly usage, asked for. Every answer is one snapshot.

use super::{
    connect::PostgresStore,
    days::{days_of_account, days_of_all, hot_days, no_days, parts},
    fault::Fault,
    progress,
    ranking::{ranked, totals},
    transact::Reach,
    wall::{in_sight_of, sight},
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
    event::Country,
    question::{Grain, GroupBy, LatencyRow, RankBy, TopAccounts, UsageFilter, UsageQuery, UsageRow},
};
use sqlx::PgConnection;
use std::sync::Arc;

#[async_trait]
impl UsageTable for PostgresStore {
    async fn usage(&self, scope: &AccountScope, query: &UsageQuery) -> Result<(Vec<UsageRow>, AsOf), StoreError> {
        let sight = sight(scope, &query.account)?;
        whole_if_by_days(query.grain, query.from, query.to)?;
        let (query, rules, settled) = (query.clone(), self.options.rules, Arc::clone(&self.settled));
        self.run(move |connection| {
            Box::pin(async move {
                let (rows, as_of) = hours(connection, &sight, &query, &rules, &settled).await?;
                Ok((grouped(rows, query.group_by, true)?, as_of))
            })
        })
        .await
    }

    async fn delivery(
        &self,
        scope: &AccountScope,
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>, AsOf), StoreError> {
        let sight = sight(scope, &query.account)?;
        whole_if_by_days(query.grain, query.from, query.to)?;
        let (mut query, rules, settled) = (query.clone(), self.options.rules, Arc::clone(&self.settled));
        query.group_by.currency = false;
        query.filter.currencies.clear();
        let answer = self.read(Reach::Account, move |connection| {
            Box::pin(async move {
                // First: it says whose data the transaction sees.
                let (rows, as_of) = hours(&mut *connection, &sight, &query, &rules, &settled).await?;
                let latency = latency_of(connection, &query).await?;
                Ok((grouped(rows, query.group_by, false)?, latency, as_of))
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
        let (filter, rules) = (filter.clone(), self.options.rules);
        let answer = self.read(Reach::Table, move |connection| {
            Box::pin(async move {
                let grain = if is_whole_days(from, to) { Grain::Day } else { Grain::Hour };
                let accounts = ranked(&mut *connection, from, to, grain, &filter, rank_by, limit).await?;
                Ok((accounts, as_of_all(connection, from, to, grain, &rules).await?))
            })
        });
        answer.await
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
        let (filter, rules) = (filter.clone(), self.options.rules);
        let answer = self.read(Reach::Table, move |connection| {
            Box::pin(async move {
                let sums = totals(&mut *connection, from, to, grain, &filter).await?;
                Ok((account_totals(sums)?, as_of_all(connection, from, to, grain, &rules).await?))
            })
        });
        answer.await
    }

    async fn overdelivered(&self, from: Hour) -> Result<u64, StoreError> {
        let accounts = sqlx::query_scalar(
            "SELECT count(*) FROM
             (SELECT FROM usage_hourly WHERE hour >= $1 - 1 GROUP BY account
              HAVING sum(delivered + undelivered + expired + rejected + failed) FILTER (WHERE hour >= $1) > sum(messages))
             AS overdelivered",
        );
        let accounts = accounts.bind(from.index());
        loaded(self.read(Reach::Table, |connection| Box::pin(async { Ok(accounts.fetch_one(connection).await?) })).await?)
    }
}

fn whole_if_by_days(grain: Grain, from: Hour, to: Hour) -> Result<(), StoreError> {
    if grain == Grain::Day { whole_days(from, to) } else { Ok(()) }
}

/// A filter as arrays; an empty one does not restrict.
pub(super) struct Restriction {
    pub channels: Vec<i16>,
    pub countries: Vec<String>,
    pub currencies: Vec<String>,
}

impl Restriction {
    pub fn of(filter: &UsageFilter) -> Self {
        Self {
            channels: filter.channels.iter().map(|channel| channel.number() as i16).collect(),
            countries: filter.countries.iter().map(|country| country.as_str().to_owned()).collect(),
            currencies: filter.currencies.iter().map(|currency| currency.as_str().to_owned()).collect(),
        }
    }
}

/// What an answer about the events of `$1..$2` rests on. Letters of an account `$3` and of nobody known apart, because only
/// then is each found by index; records lost that were appended from `$4` to `$5`, as far as that is known.
macro_rules! as_of {
    ($letters:literal, $days:expr) => {
        concat!(
            "SELECT ",
            $letters,
            ", (SELECT coalesce(sum(last_sequence - first_sequence + 1), 0)::bigint FROM loss
                WHERE (before_at IS NULL OR before_at >= $4) AND (after_at IS NULL OR after_at <= $5)),
               (SELECT coalesce(json_agg(current), '[]')::text FROM (SELECT ",
            progress::columns!(),
            " FROM stream_progress WHERE is_current ORDER BY stream) AS current), ",
            $days,
            ", ",
            parts!()
        )
    };
}

/// The same of one account, its settled days, and its lines of usage from hour `$6` to `$7`; of what the account `$8` may see.
macro_rules! lines {
    ($days:expr, $settled:expr, $rows:expr) => {
        concat!(
            as_of!(
                "(SELECT count(*) FROM dead_letter WHERE state = 'open' AND account = $3
                     AND (event_time IS NULL OR (event_time >= $1 AND event_time < $2)))
               + (SELECT count(*) FROM dead_letter WHERE state = 'open' AND account IS NULL
                     AND (event_time IS NULL OR (event_time >= $1 AND event_time < $2)))",
                $days
            ),
            ", ",
            $settled,
            ", (SELECT coalesce(string_agg(",
            lines::line!(),
            ", chr(10)), '') FROM ",
            $rows,
            ")",
            in_sight_of!("$8")
        )
    };
}

macro_rules! of_account {
    ($rows:expr) => {
        concat!($rows, " WHERE account = $3 AND hour >= $6 AND hour < $7 ")
    };
}

macro_rules! that_match {
    ($rows:expr) => {
        concat!(
            of_account!($rows),
            "AND (cardinality($9::smallint[]) = 0 OR channel = ANY($9))
         AND (cardinality($10::text[]) = 0 OR country = ANY($10))
         AND (cardinality($11::text[]) = 0 OR currency = ANY($11))"
        )
    };
}

macro_rules! days {
    () => {
        hot_days!("$6", "$7", "rolled.account = $3 AND", "marked.account = $3 AND")
    };
}

/// Days that are settled, with their versions; those of them that are kept in this version, of the days `$9` in the versions `$10`;
/// and runs of days between those.
macro_rules! settled {
    () => {
        "WITH settled AS MATERIALIZED (
             SELECT DISTINCT day, version FROM usage_daily AS rolled
             WHERE account = $3 AND day BETWEEN $6 / 24 AND ($7 - 1) / 24 AND version > 0
               AND NOT EXISTS (SELECT FROM dirty_day AS marked WHERE marked.account = $3 AND marked.day = rolled.day)
         ), kept AS (
             SELECT day FROM settled JOIN unnest($9::int[], $10::bigint[]) AS known (day, version) USING (day, version)
         ), gaps AS (
             SELECT first, next FROM
                 (SELECT lag(day + 1, 1, $6 / 24) OVER (ORDER BY day) AS first, day AS next FROM kept
                  UNION ALL SELECT coalesce(max(day) + 1, $6 / 24), ($7 - 1) / 24 + 1 FROM kept) AS runs
             WHERE first < next
         ) "
    };
}

/// Hours of the days that are not kept, gap by gap: with OFFSET the server cannot turn the join round, which it would for want of
/// figures about gaps, and read all hours for each.
macro_rules! unsettled {
    () => {
        "gaps CROSS JOIN LATERAL
         (SELECT * FROM usage_hourly WHERE account = $3 AND hour >= $6 AND hour < $7 AND hour >= gaps.first * 24 AND hour < gaps.next * 24
          OFFSET 0) AS hours"
    };
}

/// Without a filter no row is tested for one.
const LINES: &str = concat!(
    settled!(),
    lines!(no_days!(), "(SELECT coalesce(string_agg(concat_ws(' ', day, version), chr(10)), '') FROM settled)", unsettled!())
);
const LINES_THAT_MATCH: &str = lines!(no_days!(), "''", that_match!("usage_hourly"));
const LINES_BY_DAYS: &str = lines!(days_of_account!(), "''", of_account!(days!()));
const LINES_BY_DAYS_THAT_MATCH: &str = lines!(days_of_account!(), "''", that_match!(days!()));

/// What answers for one account.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 4] = [LINES, LINES_THAT_MATCH, LINES_BY_DAYS, LINES_BY_DAYS_THAT_MATCH];

/// Has the server plan, for a connection, what answers for one account. Over the tables of all days that takes longer than to answer.
///
/// # Errors
/// Those of the statements.
pub(super) async fn plan(connection: &mut PgConnection) -> Result<(), Fault> {
    // Before the first migration there is nothing to plan for.
    let tables = sqlx::query_scalar("SELECT to_regclass('usage_hourly') IS NOT NULL");
    if !tables.fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let account = AccountId::new("nobody").map_err(|error| Fault::Store(StoreError::Broken(error.to_string())))?;
    let (from, to, nothing_kept) = (Hour::from_index(0), Hour::from_index(24), SettledDays::new(0));
    for grain in [Grain::Hour, Grain::Day] {
        for countries in [vec![], vec![Country::UNKNOWN]] {
            let filter = UsageFilter { countries, ..UsageFilter::default() };
            let query = UsageQuery { account: account.clone(), from, to, filter, group_by: GroupBy::default(), grain };
            hours(connection, &account, &query, &Rules::default(), &nothing_kept).await?;
        }
    }
    Ok(())
}

/// As [`lines!`] has it.
pub(super) type Answer = (i64, i64, String, i64, String, String, String, String);

/// What an answer about all accounts rests on.
macro_rules! as_of_all {
    ($days:expr) => {
        as_of!(
            "(SELECT count(*) FROM dead_letter
              WHERE state = 'open' AND (event_time IS NULL OR (event_time >= $1 AND event_time < $2)) AND $3::text IS NULL)",
            $days
        )
    };
}

const AS_OF_ALL: &str = as_of_all!(no_days!());
const AS_OF_ALL_BY_DAYS: &str = as_of_all!(days_of_all!());

/// Rows of hours, or of days, with all their dimensions. One statement, hence one snapshot; from it on, the transaction sees the data
/// of the account `sight` alone.
async fn hours(
    connection: &mut PgConnection,
    sight: &AccountId,
    query: &UsageQuery,
    rules: &Rules,
    settled: &SettledDays,
) -> Result<(Vec<UsageRow>, AsOf), Fault> {
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
        .bind(to.index())
        .bind(sight.as_str());
    if !any {
        let Restriction { channels, countries, currencies } = Restriction::of(filter);
        asked = asked.bind(channels).bind(countries).bind(currencies);
    }
    if let Some(known) = &known {
        let (days, versions): (Vec<i32>, Vec<i64>) = known.versions().map(|(day, version)| (day.index(), version)).unzip();
        asked = asked.bind(days).bind(versions);
    }
    let (dead_letters, lost, progress, daily, dirty, parts, settled, lines): Answer = asked.fetch_one(connection).await?;
    let as_of = as_of(dead_letters, lost, &progress, sources(daily, &dirty, &parts)?)?;
    let read = lines::rows(&lines)?;
    let rows = match known {
        Some(known) => known.completed(&settled, read)?,
        None => read,
    };
    Ok((rows, as_of))
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

/// What an answer about `from..to` of all accounts rests on.
pub(super) async fn as_of_all(
    connection: &mut PgConnection,
    from: Hour,
    to: Hour,
    grain: Grain,
    rules: &Rules,
) -> Result<AsOf, Fault> {
    let asked = sqlx::query_as(if grain == Grain::Day { AS_OF_ALL_BY_DAYS } else { AS_OF_ALL })
        .bind(from.start().micros())
        .bind(to.start().micros())
        .bind(None::<&str>)
        .bind(rules.earliest_append(from).micros())
        .bind(rules.latest_append(to).micros());
    let (dead_letters, lost, progress, daily, dirty, parts): (i64, i64, String, i64, String, String) =
        asked.fetch_one(connection).await?;
    Ok(as_of(dead_letters, lost, &progress, sources(daily, &dirty, &parts)?)?)
}
