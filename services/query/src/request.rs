//! What may be asked: every field of a request is checked here, before the store is touched.

use loadline_domain::question::{GroupBy, RankBy, UsageFilter};
use loadline_domain::{
    Hour, Timestamp,
    event::{Channel, Code},
};
use loadline_proto::query::{Dimension, UsageFilter as WireFilter, list_top_accounts_request::OrderBy};
use std::time::Duration;

/// Longest range of one question by hours, in days.
pub const MAX_DAYS_BY_HOURS: i32 = 100;
/// The same where hours are read, but not answered.
pub const MAX_DAYS_OF_HOURS: i32 = 400;
/// The same where days are read.
pub const MAX_DAYS: i32 = 3_660;
/// How far ahead of the clock a range may begin: more is a mistake of units.
pub const MAX_AHEAD: Duration = Duration::from_secs(24 * 3600);
/// Most accounts of one ranking.
pub const MAX_ACCOUNTS: u32 = 1_000;
/// Most values of one filter list: all countries fit.
pub const MAX_FILTER_VALUES: usize = 512;

/// A field that cannot be answered, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {detail}")]
pub struct Invalid {
    /// Path of the field in the request.
    pub field: String,
    /// What is wrong and what to do.
    pub detail: String,
}

impl Invalid {
    /// The same mistake, in a request that holds this one under `outer`.
    pub fn under(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

fn invalid(field: &str, detail: impl Into<String>) -> Invalid {
    Invalid { field: field.to_owned(), detail: detail.into() }
}

/// Hours asked for, `from` inclusive, `to` exclusive; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First hour.
    pub from: Hour,
    /// Hour after the last.
    pub to: Hour,
}

/// A range of at most `max_days`: `from` is rounded down to its hour, `to` up.
///
/// # Errors
/// When either is absent or absurd, the range is empty, upside down or too long, or it begins in the future.
pub fn range(
    from: Option<prost_types::Timestamp>,
    to: Option<prost_types::Timestamp>,
    max_days: i32,
    now: Timestamp,
) -> Result<Range, Invalid> {
    let start = instant("from", from)?;
    let end = instant("to", to)?;
    if end <= start {
        return Err(invalid("to", format!("({end}) is not after from ({start}); swap them, or ask for at least one hour")));
    }
    if start > now.plus(MAX_AHEAD) {
        return Err(invalid("from", format!("({start}) is more than a day ahead of the clock ({now}); is the unit right?")));
    }
    let range = Range { from: start.hour(), to: round_up(end) };
    let hours = range.to.index() - range.from.index();
    if hours > max_days * 24 {
        let detail =
            format!("is {} days after from; at most {max_days} are answered at once like this, ask in pieces", hours / 24);
        return Err(invalid("to", detail));
    }
    Ok(range)
}

/// One hour, rounded down.
///
/// # Errors
/// When it is absent, absurd or in the future.
pub fn hour(time: Option<prost_types::Timestamp>, now: Timestamp) -> Result<Hour, Invalid> {
    let time = instant("hour", time)?;
    if time > now.plus(MAX_AHEAD) {
        return Err(invalid("hour", format!("({time}) is more than a day ahead of the clock ({now}); is the unit right?")));
    }
    Ok(time.hour())
}

/// The first hour that does not begin before a time.
pub(crate) fn round_up(time: Timestamp) -> Hour {
    let hour = time.hour();
    if hour.start() == time { hour } else { hour.next() }
}

fn instant(field: &str, time: Option<prost_types::Timestamp>) -> Result<Timestamp, Invalid> {
    let time = time.ok_or_else(|| invalid(field, "is absent; give a time"))?;
    Timestamp::from_parts(time.seconds, time.nanos)
        .filter(|time| *time >= Timestamp::EARLIEST)
        .ok_or_else(|| invalid(field, "is not between the years 2000 and 9999; is the unit right?"))
}

/// Dimensions to keep apart.
///
/// # Errors
/// For an unset or unknown dimension.
pub fn group_by(dimensions: &[i32]) -> Result<GroupBy, Invalid> {
    let mut group_by = GroupBy::default();
    for number in dimensions {
        match Dimension::try_from(*number) {
            Ok(Dimension::Channel) => group_by.channel = true,
            Ok(Dimension::Country) => group_by.country = true,
            Ok(Dimension::Currency) => group_by.currency = true,
            Ok(Dimension::Unspecified) | Err(_) => {
                let detail = format!("has {number}, which is no dimension; use CHANNEL (1), COUNTRY (2) or CURRENCY (3)");
                return Err(invalid("group_by", detail));
            }
        }
    }
    Ok(group_by)
}

/// Dimensions of deliveries, which have no currency.
///
/// # Errors
/// As [`group_by`], and for the currency.
pub fn delivery_group_by(dimensions: &[i32]) -> Result<GroupBy, Invalid> {
    let kept = group_by(dimensions)?;
    if kept.currency {
        return Err(invalid("group_by", "has CURRENCY, which receipts do not have; leave it out"));
    }
    Ok(kept)
}

/// Which rows.
///
/// # Errors
/// For an unknown channel, a broken country or currency, or a list that is too long.
pub fn filter(filter: Option<WireFilter>) -> Result<UsageFilter, Invalid> {
    let WireFilter { channels, countries, currencies } = filter.unwrap_or_default();
    for (field, length) in
        [("filter.channels", channels.len()), ("filter.countries", countries.len()), ("filter.currencies", currencies.len())]
    {
        if length > MAX_FILTER_VALUES {
            return Err(invalid(field, format!("has {length} values; at most {MAX_FILTER_VALUES} are allowed")));
        }
    }
    Ok(UsageFilter {
        channels: channels.into_iter().map(channel).collect::<Result<_, _>>()?,
        countries: countries.iter().map(|text| code("filter.countries", text)).collect::<Result<_, _>>()?,
        currencies: currencies.iter().map(|text| code("filter.currencies", text)).collect::<Result<_, _>>()?,
    })
}

/// Which deliveries.
///
/// # Errors
/// As [`filter`], and for currencies.
pub fn delivery_filter(wire: Option<WireFilter>) -> Result<UsageFilter, Invalid> {
    let filter = filter(wire)?;
    if !filter.currencies.is_empty() {
        return Err(invalid("filter.currencies", "is set, but receipts have no currency; leave it out"));
    }
    Ok(filter)
}

fn channel(number: i32) -> Result<Channel, Invalid> {
    Channel::from_number(number).ok_or_else(|| {
        let known: Vec<_> = Channel::all().map(|channel| format!("{} ({})", channel.as_str(), channel.number())).collect();
        invalid("filter.channels", format!("has {number}, which is no channel; use {}", known.join(", ")))
    })
}

fn code<const N: usize>(field: &str, text: &str) -> Result<Code<N>, Invalid> {
    Code::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(16).collect();
        invalid(field, format!("has {shown:?}; use {N} upper-case letters, or an empty text for rows without one"))
    })
}

/// What to rank by; messages when it is not said.
///
/// # Errors
/// For an unknown order, or amounts without exactly one currency: amounts of several cannot be compared.
pub fn rank_by(order_by: i32, filter: &UsageFilter) -> Result<RankBy, Invalid> {
    match OrderBy::try_from(order_by) {
        Ok(OrderBy::Unspecified | OrderBy::Messages) => Ok(RankBy::Messages),
        Ok(OrderBy::Segments) => Ok(RankBy::Segments),
        Ok(OrderBy::Amount) => match filter.currencies.as_slice() {
            [currency] if currency.is_known() => Ok(RankBy::Amount(*currency)),
            currencies => {
                let detail = format!("has {} currencies; ORDER_BY_AMOUNT needs exactly one", currencies.len());
                Err(invalid("filter.currencies", detail))
            }
        },
        Err(_) => Err(invalid("order_by", format!("is {order_by}; use MESSAGES (1), SEGMENTS (2) or AMOUNT (3)"))),
    }
}

/// How many accounts; 10 when it is not said.
///
/// # Errors
/// For more than [`MAX_ACCOUNTS`].
pub fn limit(limit: u32) -> Result<u32, Invalid> {
    match limit {
        0 => Ok(10),
        1..=MAX_ACCOUNTS => Ok(limit),
        _ => Err(invalid("limit", format!("is {limit}; at most {MAX_ACCOUNTS} are allowed"))),
    }
}

/// How often to look, at most; a second when it is not said.
///
/// # Errors
/// Outside 100 ms to 60 s.
pub fn min_interval(interval: Option<prost_types::Duration>) -> Result<Duration, Invalid> {
    let Some(interval) = interval else { return Ok(Duration::from_secs(1)) };
    Duration::try_from(interval)
        .ok()
        .filter(|interval| (Duration::from_millis(100)..=Duration::from_secs(60)).contains(interval))
        .ok_or_else(|| invalid("min_interval", "is not between 100 ms and 60 s; leave it out for one second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<prost_types::Timestamp> {
        let (seconds, nanos) = text.parse::<Timestamp>().unwrap().parts();
        Some(prost_types::Timestamp { seconds, nanos })
    }

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn field<T: std::fmt::Debug>(result: Result<T, Invalid>) -> String {
        result.unwrap_err().field
    }

    #[test]
    fn a_range_is_widened_to_whole_hours() {
        let range = range(at("2026-11-21T10:59:59Z"), at("2026-11-21T11:00:00.000001Z"), 62, now()).unwrap();
        assert_eq!(range.from.start(), "2026-11-21T10:00:00Z".parse().unwrap());
        assert_eq!(range.to.start(), "2026-11-21T12:00:00Z".parse().unwrap());
        let exact = super::range(at("2026-11-21T10:00:00Z"), at("2026-11-21T11:00:00Z"), 62, now()).unwrap();
        assert_eq!(exact.to.index() - exact.from.index(), 1);
    }

    #[test]
    fn a_range_that_cannot_be_answered_names_its_field() {
        let ten = at("2026-11-21T10:00:00Z");
        assert_eq!(field(range(None, ten, 62, now())), "from");
        assert_eq!(field(range(ten, None, 62, now())), "to");
        assert_eq!(field(range(ten, ten, 62, now())), "to");
        assert_eq!(field(range(ten, at("2026-11-21T09:00:00Z"), 62, now())), "to");
        assert_eq!(field(range(at("1999-12-31T23:59:59Z"), ten, 62, now())), "from");
        assert_eq!(field(range(at("2026-11-22T12:00:01Z"), at("2026-11-23T12:00:00Z"), 62, now())), "from");
        let in_milliseconds = Some(prost_types::Timestamp { seconds: 1_795_262_400_000, nanos: 0 });
        assert_eq!(field(range(ten, in_milliseconds, 62, now())), "to");
        let broken = Some(prost_types::Timestamp { seconds: 1_795_262_400, nanos: -1 });
        assert_eq!(field(range(broken, ten, 62, now())), "from");
    }

    #[test]
    fn sixty_two_days_are_answered_and_an_hour_more_is_not() {
        assert!(range(at("2026-09-01T00:00:00Z"), at("2026-11-02T00:00:00Z"), 62, now()).is_ok());
        assert_eq!(field(range(at("2026-09-01T00:00:00Z"), at("2026-11-02T00:00:01Z"), 62, now())), "to");
    }

    #[test]
    fn a_nested_field_is_named_by_its_path() {
        assert_eq!(invalid("from", "is absent").under("usage").field, "usage.from");
    }

    #[test]
    fn dimensions_are_known_ones() {
        assert_eq!(group_by(&[1, 2, 2]).unwrap(), GroupBy { channel: true, country: true, currency: false });
        assert_eq!(field(group_by(&[0])), "group_by");
        assert_eq!(field(group_by(&[9])), "group_by");
        assert_eq!(field(delivery_group_by(&[3])), "group_by");
    }

    #[test]
    fn filters_are_checked_value_by_value() {
        let good = WireFilter { channels: vec![1], countries: vec!["DE".to_owned()], currencies: vec![String::new()] };
        assert_eq!(filter(Some(good)).unwrap().countries, [Code::parse("DE").unwrap()]);
        assert_eq!(filter(None).unwrap(), UsageFilter::default());
        let wrong = |channels: Vec<i32>, countries: &[&str], currencies: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            field(filter(Some(WireFilter { channels, countries: texts(countries), currencies: texts(currencies) })))
        };
        assert_eq!(wrong(vec![0], &[], &[]), "filter.channels");
        assert_eq!(wrong(vec![99], &[], &[]), "filter.channels");
        assert_eq!(wrong(vec![], &["de"], &[]), "filter.countries");
        assert_eq!(wrong(vec![], &[], &["EURO"]), "filter.currencies");
        assert_eq!(wrong(vec![1; MAX_FILTER_VALUES + 1], &[], &[]), "filter.channels");
        let currency = WireFilter { currencies: vec!["EUR".to_owned()], ..WireFilter::default() };
        assert_eq!(field(delivery_filter(Some(currency))), "filter.currencies");
    }

    #[test]
    fn amounts_are_ranked_in_one_currency_only() {
        let eur = Code::parse("EUR").unwrap();
        let one = UsageFilter { currencies: vec![eur], ..UsageFilter::default() };
        assert_eq!(rank_by(3, &one).unwrap(), RankBy::Amount(eur));
        assert_eq!(field(rank_by(3, &UsageFilter::default())), "filter.currencies");
        let two = UsageFilter { currencies: vec![eur, Code::parse("USD").unwrap()], ..UsageFilter::default() };
        assert_eq!(field(rank_by(3, &two)), "filter.currencies");
        assert_eq!(rank_by(0, &two).unwrap(), RankBy::Messages);
        assert_eq!(field(rank_by(7, &two)), "order_by");
    }

    #[test]
    fn limits_and_intervals_are_bounded() {
        assert_eq!((limit(0).unwrap(), limit(1_000).unwrap()), (10, 1_000));
        assert_eq!(field(limit(1_001)), "limit");
        let interval = |seconds, nanos| min_interval(Some(prost_types::Duration { seconds, nanos }));
        assert_eq!(min_interval(None).unwrap(), Duration::from_secs(1));
        assert_eq!(interval(0, 100_000_000).unwrap(), Duration::from_millis(100));
        for (seconds, nanos) in [(0, 99_999_999), (60, 1), (-1, 0), (i64::MAX, 0)] {
            assert_eq!(field(interval(seconds, nanos)), "min_interval");
        }
    }
}
