//! The simulated customers: what each sends, where to, at what price, and how well it arrives.

use loadline_proto::event::Channel;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

const NAMES: [&str; 12] =
    ["aurora", "beacon", "cobalt", "delta", "ember", "fjord", "granite", "harbor", "indigo", "juniper", "kestrel", "lumen"];
/// Channel, how common, price of a segment in millionths.
const CHANNELS: [(Channel, u32, i64); 7] = [
    (Channel::Sms, 60, 42_000),
    (Channel::Whatsapp, 14, 31_500),
    (Channel::Rcs, 8, 28_000),
    (Channel::Push, 8, 0),
    (Channel::Email, 6, 900),
    (Channel::Voice, 2, 11_250),
    (Channel::Mms, 2, 95_000),
];
/// Country, how common, price in per cent of the channel's.
const COUNTRIES: [(&str, u32, i64); 12] = [
    ("DE", 18, 175),
    ("US", 18, 20),
    ("GB", 14, 90),
    ("FR", 10, 130),
    ("IN", 10, 10),
    ("BR", 8, 65),
    ("ES", 6, 100),
    ("NL", 5, 180),
    ("PL", 4, 75),
    ("NG", 3, 240),
    ("JP", 2, 160),
    ("", 2, 100),
];
const CURRENCIES: [(&str, u32); 4] = [("EUR", 5), ("USD", 4), ("GBP", 2), ("BRL", 1)];

/// One customer.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub name: String,
    /// What it pays in.
    pub currency: &'static str,
    /// Whether its producers name events by numbers of their own rather than by UUIDs.
    pub text_ids: bool,
    /// Share of its messages that arrive.
    pub quality: f64,
    routes: Vec<Route>,
}

/// A channel to a country.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// How.
    pub channel: Channel,
    /// Where to; empty when unknown.
    pub country: &'static str,
    /// Price of a segment, in millionths.
    pub price_micros: i64,
    weight: u32,
}

/// The `index`-th customer.
pub fn account(index: u32, rng: &mut StdRng) -> Account {
    let currency = CURRENCIES.choose_weighted(rng, |(_, weight)| *weight).map_or("EUR", |(currency, _)| currency);
    // Large customers pay less for each segment: between 80 and 120 per cent of the list.
    let terms = rng.random_range(80..=120);
    let routes = (0..rng.random_range(2..=6)).map(|_| route(rng, terms)).collect();
    Account {
        name: format!("{}-{:03}", NAMES[index as usize % NAMES.len()], index + 1),
        currency,
        text_ids: rng.random_bool(0.12),
        quality: rng.random_range(0.92..0.98),
        routes,
    }
}

fn route(rng: &mut StdRng, terms: i64) -> Route {
    let (channel, channel_weight, price) = *CHANNELS.choose_weighted(rng, |(_, weight, _)| *weight).unwrap_or(&CHANNELS[0]);
    let (country, country_weight, per_cent) = *COUNTRIES.choose_weighted(rng, |(_, weight, _)| *weight).unwrap_or(&COUNTRIES[0]);
    Route { channel, country, price_micros: price * per_cent / 100 * terms / 100, weight: channel_weight * country_weight }
}

impl Account {
    /// The way of the next message.
    pub fn route(&self, rng: &mut StdRng) -> Route {
        *self.routes.choose_weighted(rng, |route| route.weight).unwrap_or(&self.routes[0])
    }
}
