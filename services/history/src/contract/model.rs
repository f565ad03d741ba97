//! The book that answers are compared with: rows in memory, summed plainly.

use super::{account, first_day};
use loadline_domain::{
    AccountId, Day, Hour,
    archive::{Part, Totals},
    event::{Channel, Code, Currency},
    question::{Grain, GroupBy, LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::{LatencyKey, Usage, UsageKey},
};
use std::collections::{BTreeMap, HashMap};

/// Names that a careless query would stumble over.
pub const ACCOUNTS: [&str; 7] = ["acme", "o'hara\\", "50%_off", "a/b?c=d", "\"quoted\";--", "{x:String}\u{60}", "Zeta"];

/// Rows of a part.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pub usage: BTreeMap<UsageKey, Usage>,
    pub deliveries: BTreeMap<LatencyKey, i64>,
}

impl Content {
    /// A day with usage of every account but one, which differs by day; `salt` makes other numbers.
    pub fn of_day(day: Day, salt: i64) -> Self {
        let mut content = Self::default();
        for (at, name) in ACCOUNTS.iter().enumerate().filter(|(at, _)| *at as i32 != day.index() % 7) {
            for hour in [0, 5 + at as i32, 23] {
                content.add(name, Hour::from_index(day.first_hour().index() + hour), salt + at as i64 + i64::from(hour));
            }
        }
        content
    }

    /// Adds rows of an hour.
    pub fn add(&mut self, name: &str, hour: Hour, n: i64) {
        let n = n + i64::from(hour.index() % 24);
        for (channel, country, currency) in [(1, "DE", "EUR"), (1, "FR", "EUR"), (4, "", "USD"), (4, "US", "")] {
            let key = UsageKey {
                account: account(name),
                hour,
                channel: Channel::from_number(channel).unwrap(),
                country: Code::parse(country).unwrap(),
                currency: Code::parse(currency).unwrap(),
            };
            let usage = Usage {
                events: n + 3,
                messages: n + 2,
                segments: 2 * n + 1,
                amount_micros: 75_000 * n + 1,
                delivered: n,
                undelivered: 1,
                expired: 2,
                rejected: 3,
                failed: n % 2,
                not_final: n % 3,
            };
            for bucket in [0, 40 + (n % 5) as i16] {
                let UsageKey { account, hour, channel, country, .. } = key.clone();
                *self.deliveries.entry(LatencyKey { account, hour, channel, country, bucket }).or_default() += n + 1;
            }
            *self.usage.entry(key).or_default() += usage;
        }
    }

    pub fn hourly(&self) -> Vec<(UsageKey, Usage)> {
        self.usage.iter().map(|(key, usage)| (key.clone(), *usage)).collect()
    }

    pub fn daily(&self) -> Vec<(UsageKey, Usage)> {
        let mut days: BTreeMap<UsageKey, Usage> = BTreeMap::new();
        for (key, usage) in &self.usage {
            *days.entry(UsageKey { hour: key.hour.day().first_hour(), ..key.clone() }).or_default() += *usage;
        }
        days.into_iter().collect()
    }

    pub fn latency(&self) -> Vec<(LatencyKey, i64)> {
        self.deliveries.iter().map(|(key, count)| (key.clone(), *count)).collect()
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.usage.values().for_each(|usage| totals.add_hourly(usage));
        self.deliveries.values().for_each(|count| totals.add_latency(*count));
        totals
    }
}

/// What the store would list, with what is in it.
#[derive(Debug, Default)]
pub struct Book {
    pub entries: Vec<(Part, Content)>,
}

impl Book {
    pub fn enter(&mut self, part: &Part, content: Content) {
        self.entries.push((part.clone(), content));
    }

    pub fn parts(&self) -> Vec<Part> {
        self.entries.iter().map(|(part, _)| part.clone()).collect()
    }

    /// Questions of every shape.
    pub fn questions(&self) -> Vec<UsageQuery> {
        let from = first_day().first_hour().index();
        let mut questions = Vec::new();
        for (at, name) in ACCOUNTS.iter().chain(&["nobody"]).enumerate() {
            let ranges = [
                (0, 24 * 9, Grain::Day),
                (0, 24 * 9, Grain::Hour),
                (7, 53, Grain::Hour),
                (24, 24, Grain::Day),
                (48, 72, Grain::Day),
            ];
            // Two ranges an account: every one is met by several.
            for (start, end, grain) in [ranges[at % 5], ranges[(at + 2) % 5]] {
                // Every combination of dimensions is met by some account.
                let bits = at + start as usize + usize::from(grain == Grain::Day);
                let group_by = GroupBy { channel: bits & 1 != 0, country: bits & 2 != 0, currency: bits & 4 != 0 };
                questions.push(UsageQuery {
                    account: account(name),
                    from: Hour::from_index(from + start),
                    to: Hour::from_index(from + end),
                    filter: filters()[at % 4].clone(),
                    group_by,
                    grain,
                });
            }
        }
        questions
    }

    pub fn ranges(&self) -> Vec<(Hour, Hour, UsageFilter)> {
        let from = first_day().first_hour().index();
        let ranges = [(0, 24 * 9), (7, 53), (24, 48), (5, 5)].into_iter().zip(filters());
        ranges.map(|((start, end), filter)| (Hour::from_index(from + start), Hour::from_index(from + end), filter)).collect()
    }

    pub fn usage(&self, query: &UsageQuery) -> Vec<UsageRow> {
        let mut rows: BTreeMap<_, Usage> = BTreeMap::new();
        for (key, usage) in self.rows(query.from, query.to, &query.filter).filter(|(key, _)| key.account == query.account) {
            let hour = match query.grain {
                Grain::Hour => key.hour,
                Grain::Day => key.hour.day().first_hour(),
            };
            *rows.entry((Some(hour), dimensions(&query.group_by, key))).or_default() += *usage;
        }
        rows.into_iter()
            .map(|((hour, (channel, country, currency)), usage)| UsageRow { hour, channel, country, currency, usage })
            .collect()
    }

    pub fn delivery(&self, query: &UsageQuery) -> (Vec<UsageRow>, Vec<LatencyRow>) {
        let filter = UsageFilter { currencies: vec![], ..query.filter.clone() };
        let group_by = GroupBy { currency: false, ..query.group_by };
        let mut rows: BTreeMap<_, Usage> = BTreeMap::new();
        for (key, usage) in self.rows(query.from, query.to, &filter).filter(|(key, _)| key.account == query.account) {
            *rows.entry(dimensions(&group_by, key)).or_default() += *usage;
        }
        let mut buckets: BTreeMap<_, BTreeMap<_, u64>> = BTreeMap::new();
        for (key, count) in self.entries.iter().flat_map(|(_, content)| &content.deliveries) {
            let wanted = filter.channels.is_empty() || filter.channels.contains(&key.channel);
            let wanted = wanted && (filter.countries.is_empty() || filter.countries.contains(&key.country));
            if wanted && key.account == query.account && key.hour >= query.from && key.hour < query.to {
                let group = (group_by.channel.then_some(key.channel), group_by.country.then_some(key.country));
                *buckets.entry(group).or_default().entry(key.bucket).or_default() += *count as u64;
            }
        }
        let row = |((channel, country, currency), usage)| UsageRow { hour: None, channel, country, currency, usage };
        let latency = |((channel, country), counts): (_, BTreeMap<_, _>)| LatencyRow {
            channel,
            country,
            counts: counts.into_iter().collect(),
        };
        (rows.into_iter().map(row).collect(), buckets.into_iter().map(latency).collect())
    }

    pub fn account_totals(&self, from: Hour, to: Hour, filter: &UsageFilter) -> HashMap<(AccountId, Currency), Usage> {
        let mut totals: HashMap<_, Usage> = HashMap::new();
        for (key, usage) in self.rows(from, to, filter) {
            *totals.entry((key.account.clone(), key.currency)).or_default() += *usage;
        }
        totals
    }

    fn rows<'a>(&'a self, from: Hour, to: Hour, filter: &'a UsageFilter) -> impl Iterator<Item = (&'a UsageKey, &'a Usage)> {
        let rows = self.entries.iter().flat_map(|(_, content)| &content.usage);
        rows.filter(move |(key, _)| {
            (filter.channels.is_empty() || filter.channels.contains(&key.channel))
                && (filter.countries.is_empty() || filter.countries.contains(&key.country))
                && (filter.currencies.is_empty() || filter.currencies.contains(&key.currency))
                && key.hour >= from
                && key.hour < to
        })
    }
}

type Dimensions = (Option<Channel>, Option<Code<2>>, Option<Currency>);

fn dimensions(keep: &GroupBy, key: &UsageKey) -> Dimensions {
    (keep.channel.then_some(key.channel), keep.country.then_some(key.country), keep.currency.then_some(key.currency))
}

fn filters() -> [UsageFilter; 4] {
    let none = UsageFilter::default();
    let channels = vec![Channel::SMS];
    let countries = vec![Code::parse("DE").unwrap(), Code::UNKNOWN];
    let currencies = vec![Code::parse("EUR").unwrap(), Code::UNKNOWN];
    [
        none.clone(),
        UsageFilter { channels, ..none.clone() },
        UsageFilter { countries, ..none.clone() },
        UsageFilter { currencies, ..none },
    ]
}
