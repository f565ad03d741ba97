//! Usage by days: daily rows of the days that are not dirty, and the hours of those that are; and what tells which.

/// Hot usage from an hour to an hour, as rows of hours, each at a day's first: `account, hour, channel, …`. The conditions
/// restrict the daily rows and the marks.
macro_rules! hot_days {
    ($from:literal, $to:literal, $rolled:literal, $marked:literal) => {
        concat!(
            "(SELECT account, day * 24 AS hour, channel, country, currency, events, messages, segments, amount_micros,
                     delivered, undelivered, expired, rejected, failed, not_final
              FROM usage_daily AS rolled
              WHERE ",
            $rolled,
            " rolled.day >= ",
            $from,
            " / 24 AND rolled.day < ",
            $to,
            " / 24
                AND NOT EXISTS (SELECT FROM dirty_day AS marked WHERE marked.account = rolled.account AND marked.day = rolled.day)
              UNION ALL
              SELECT hours.account, marked.day * 24, channel, country, currency, events, messages, segments, amount_micros,
                     delivered, undelivered, expired, rejected, failed, not_final
              FROM dirty_day AS marked JOIN usage_hourly AS hours
              ON hours.account = marked.account AND hours.hour >= marked.day * 24 AND hours.hour < marked.day * 24 + 24
              WHERE ",
            $marked,
            " marked.day >= ",
            $from,
            " / 24 AND marked.day < ",
            $to,
            " / 24) AS hot"
        )
    };
}
pub(super) use hot_days;

/// Archived parts of the days that the time `$1..$2` touches, as a JSON array.
macro_rules! parts {
    () => {
        "(SELECT coalesce(json_agg(json_build_array(day, number, token) ORDER BY day, number), '[]')::text FROM archived_part
                WHERE $1 < $2 AND day BETWEEN $1 / 86400000000 AND ($2 - 1) / 86400000000)"
    };
}
pub(super) use parts;

/// No days at all: an answer by hours.
macro_rules! no_days {
    () => {
        "0::bigint, '[]'"
    };
}
pub(super) use no_days;

/// Number of days of the time `$1..$2` that are answered by daily rows, and a JSON array of those that are answered by hours; of an
/// account `$3`.
macro_rules! days_of_account {
    () => {
        "(SELECT count(DISTINCT day) FROM usage_daily AS rolled
          WHERE account = $3 AND day >= $1 / 86400000000 AND day < $2 / 86400000000
            AND NOT EXISTS (SELECT FROM dirty_day AS marked WHERE marked.account = $3 AND marked.day = rolled.day)),
         (SELECT coalesce(json_agg(day), '[]')::text FROM dirty_day
          WHERE account = $3 AND day >= $1 / 86400000000 AND day < $2 / 86400000000)"
    };
}
pub(super) use days_of_account;

/// The same of all accounts: from one day to the next by index.
macro_rules! days_of_all {
    () => {
        "(WITH RECURSIVE rolled (day) AS (
              SELECT min(day) FROM usage_daily WHERE day >= $1 / 86400000000 AND day < $2 / 86400000000
              UNION ALL
              SELECT (SELECT min(day) FROM usage_daily WHERE day > rolled.day AND day < $2 / 86400000000)
              FROM rolled WHERE day IS NOT NULL
          )
          SELECT count(day) FROM rolled),
         (SELECT coalesce(json_agg(DISTINCT day), '[]')::text FROM dirty_day
          WHERE day >= $1 / 86400000000 AND day < $2 / 86400000000)"
    };
}
pub(super) use days_of_all;
