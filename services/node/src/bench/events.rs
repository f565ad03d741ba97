//! Events for benches: valid, distinct, skewed over accounts, made outside the time measured.

use loadline_domain::{Clock as _, Timestamp, time::SystemClock};
use loadline_event_log::NewRecord;
use loadline_proto::event::{BillingEvent, Channel, Event, event::Body};
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Zipf};
use std::time::Duration;
use uuid::Uuid;

/// How ids are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ids {
    /// In order of time: what producers are told to use.
    V7,
    /// Random: the worst case of an index.
    V4,
}

/// Makes billing events.
pub struct Events {
    random: SmallRng,
    accounts: Zipf<f64>,
    /// Number of the first account.
    first: u32,
    ids: Ids,
    markets: usize,
    /// Events occurred up to this long ago.
    spread: Duration,
    now: Timestamp,
}

const COUNTRIES: [(&str, &str, i64); 4] =
    [("DE", "EUR", 72_000), ("FR", "EUR", 65_000), ("US", "USD", 7_900), ("GB", "GBP", 40_000)];

impl Events {
    /// Of `accounts` accounts, spread over the last hour.
    pub fn new(ids: Ids, accounts: u32) -> Self {
        let accounts = Zipf::new(f64::from(accounts.max(1)), 1.1).expect("at least one account, a positive exponent");
        let spread = Duration::from_secs(3600);
        Self {
            random: SmallRng::seed_from_u64(7),
            accounts,
            first: 1,
            ids,
            markets: COUNTRIES.len(),
            spread,
            now: SystemClock.now(),
        }
    }

    /// Of the accounts from this number on.
    pub fn starting_at(self, first: u32) -> Self {
        Self { first, ..self }
    }

    /// To one country by one channel: an account as most are.
    pub fn in_one_market(self) -> Self {
        Self { markets: 1, ..self }
    }

    /// Spread over a longer time.
    pub fn over(self, spread: Duration) -> Self {
        Self { spread, ..self }
    }

    /// The next `count` as log records.
    pub fn records(&mut self, count: usize) -> Vec<NewRecord> {
        (0..count).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> NewRecord {
        let account = format!("bench-{:04}", self.first - 1 + self.accounts.sample(&mut self.random) as u32);
        let (country, currency, price) = COUNTRIES[self.random.random_range(0..self.markets)];
        let segments = self.random.random_range(1..4);
        let ago = Duration::from_micros(self.random.random_range(0..self.spread.as_micros() as u64));
        let (seconds, nanos) = self.now.minus(ago).parts();
        let id = match self.ids {
            Ids::V7 => Uuid::now_v7(),
            Ids::V4 => Uuid::from_u128(self.random.random()),
        };
        let billing = BillingEvent {
            event_id: id.to_string(),
            account: account.clone(),
            occurred_at: Some(prost_types::Timestamp { seconds, nanos }),
            channel: if self.markets == 1 || self.random.random_bool(0.8) { Channel::Sms } else { Channel::Whatsapp }.into(),
            country: country.to_owned(),
            currency: currency.to_owned(),
            messages: 1,
            segments,
            amount_micros: price * i64::from(segments),
        };
        let payload = Event { body: Some(Body::Billing(billing)) }.encode_to_vec().into();
        NewRecord { key: account, payload, traceparent: None }
    }
}
