//! Events of simulated customers, one tick after the other. Pure: the same seed at the same times makes the same events.

use super::{
    Settings,
    accounts::{Account, Route, account},
    receipts::{receipt, reports},
};
use crate::when::to_proto;
use loadline_domain::Timestamp;
use loadline_proto::event::{BillingEvent, DeliveryStatus, Event, event::Body};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rand_distr::Zipf;
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};
use uuid::Builder;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;
/// The most unequal customers that can be asked for.
const MOST_SKEW: f64 = 10.0;

/// What becomes of one in so many charges, from the rarest on; the rest is in order.
const OUT_OF_THE_ORDINARY: [(f64, Oddity); 7] = [
    (0.0002, Oddity::Conflict),
    (0.0005, Oddity::Late),
    (0.0005, Oddity::Future),
    (0.001, Oddity::Broken),
    (0.003, Oddity::Twice),
    (0.01, Oddity::Retried),
    (0.05, Oddity::OutOfOrder),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oddity {
    /// The same id comes again with another price.
    Conflict,
    /// 50 to 100 hours old.
    Late,
    /// Ahead of the clock.
    Future,
    /// Breaks its contract.
    Broken,
    /// Twice in a row.
    Twice,
    /// Again, seconds later, because the producer saw no answer.
    Retried,
    /// Minutes behind the others.
    OutOfOrder,
}

/// Makes events.
#[derive(Debug)]
pub struct Traffic {
    rng: StdRng,
    accounts: Vec<Account>,
    popularity: Zipf<f64>,
    due: BinaryHeap<Reverse<Due>>,
    made: u64,
}

/// Something to send later. Events of one time go in the order they were made.
#[derive(Debug, PartialEq)]
struct Due {
    at: (Timestamp, u64),
    event: Event,
}

impl Eq for Due {}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Traffic {
    /// Customers of these settings; nothing is due yet.
    pub fn new(settings: Settings) -> Self {
        let mut rng = StdRng::seed_from_u64(settings.seed.unwrap_or_else(rand::random));
        let count = settings.accounts.max(1);
        let accounts = (0..count).map(|index| account(index, &mut rng)).collect();
        let skew = if settings.skew.is_finite() { settings.skew.clamp(0.0, MOST_SKEW) } else { MOST_SKEW };
        let popularity = Zipf::new(f64::from(count), skew).expect("at least one account and a finite skew");
        Self { rng, accounts, popularity, due: BinaryHeap::new(), made: 0 }
    }

    /// `most` events to send at `now`: first what is due, then new charges, whose receipts become due later.
    pub fn next(&mut self, now: Timestamp, most: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(most);
        while events.len() < most {
            if self.due.peek().is_some_and(|Reverse(due)| due.at.0 <= now) {
                events.extend(self.due.pop().map(|Reverse(due)| due.event));
            } else {
                events.push(self.charge(now));
            }
        }
        events
    }

    /// A new charge. What follows from it becomes due, at once at the earliest.
    fn charge(&mut self, now: Timestamp) -> Event {
        let account = self.accounts[self.rng.sample(self.popularity) as usize - 1].clone();
        let route = account.route(&mut self.rng);
        let oddity = self.oddity();
        let occurred_at = self.occurred_at(oddity, now);
        if oddity == Some(Oddity::Late) && self.rng.random_bool(0.3) {
            return self.late_receipt(&account, route, now);
        }
        let billing = self.billing(&account, route, occurred_at, now);
        let event = Event { body: Some(Body::Billing(billing.clone())) };
        match oddity {
            Some(Oddity::Broken) => return self.broken(billing),
            Some(Oddity::Late | Oddity::Future) => return event,
            Some(Oddity::Conflict) => {
                let dearer = BillingEvent { segments: billing.segments + 1, ..billing.clone() };
                self.later(now, 1.0..MINUTE, Event { body: Some(Body::Billing(dearer)) });
            }
            Some(Oddity::Twice) => self.at(now, event.clone()),
            Some(Oddity::Retried) => self.later(now, 1.0..20.0, event.clone()),
            Some(Oddity::OutOfOrder) | None => {}
        }
        for _ in 0..billing.messages {
            let id = self.id("msg", &account, now);
            for (at, report) in reports(&account, route, &id, occurred_at, now, &mut self.rng) {
                self.at(at, report);
            }
        }
        event
    }

    fn oddity(&mut self) -> Option<Oddity> {
        let mut chance: f64 = self.rng.random();
        OUT_OF_THE_ORDINARY.into_iter().find_map(|(share, oddity)| {
            chance -= share;
            (chance < 0.0).then_some(oddity)
        })
    }

    fn occurred_at(&mut self, oddity: Option<Oddity>, now: Timestamp) -> Timestamp {
        match oddity {
            Some(Oddity::Late) => now.minus(self.seconds(50.0 * HOUR..100.0 * HOUR)),
            Some(Oddity::Future) => now.plus(self.seconds(10.0 * MINUTE..3.0 * HOUR)),
            Some(Oddity::OutOfOrder) => now.minus(self.seconds(MINUTE..30.0 * MINUTE)),
            _ => now.minus(self.seconds(0.0..2.0)),
        }
    }

    fn billing(&mut self, account: &Account, route: Route, occurred_at: Timestamp, now: Timestamp) -> BillingEvent {
        // Most charges are for one message, some for a small campaign; long texts take more segments.
        let messages = if self.rng.random_bool(0.02) { self.rng.random_range(2..=20) } else { 1 };
        let parts = [1, 1, 1, 1, 1, 1, 2, 2, 3][self.rng.random_range(0..9)];
        let segments = messages * parts;
        let amount_micros = route.price_micros * i64::from(segments);
        BillingEvent {
            event_id: self.id("inv", account, now),
            account: account.name.clone(),
            occurred_at: Some(to_proto(occurred_at)),
            channel: route.channel.into(),
            country: route.country.to_owned(),
            currency: if amount_micros == 0 { String::new() } else { account.currency.to_owned() },
            messages,
            segments,
            amount_micros,
        }
    }

    /// A receipt of a message that everybody has forgotten: past even the horizon of receipts.
    fn late_receipt(&mut self, account: &Account, route: Route, now: Timestamp) -> Event {
        let submitted_at = now.minus(self.seconds(97.0 * HOUR..120.0 * HOUR));
        let id = self.id("msg", account, now);
        receipt(account, route, &id, submitted_at, now, DeliveryStatus::Delivered)
    }

    /// A mistake as producers make them.
    fn broken(&mut self, mut billing: BillingEvent) -> Event {
        match self.rng.random_range(0..8) {
            0 => billing.account.clear(),
            1 => billing.amount_micros = -billing.amount_micros - 1,
            2 => billing.messages = 0,
            3 => billing.channel = 99,
            4 => billing.country = "Germany".to_owned(),
            5 => billing.occurred_at = None,
            6 => billing.event_id.clear(),
            _ => return Event { body: None },
        }
        Event { body: Some(Body::Billing(billing)) }
    }

    /// An id that never comes again, also when the same seed is used at another time.
    fn id(&mut self, kind: &str, account: &Account, now: Timestamp) -> String {
        let millis = now.micros().max(0).unsigned_abs() / 1_000;
        if account.text_ids {
            return format!("{kind}-{millis:x}-{:x}", self.rng.random::<u64>());
        }
        Builder::from_unix_timestamp_millis(millis, &self.rng.random()).into_uuid().to_string()
    }

    fn later(&mut self, now: Timestamp, seconds: std::ops::Range<f64>, event: Event) {
        let at = now.plus(self.seconds(seconds));
        self.at(at, event);
    }

    fn at(&mut self, time: Timestamp, event: Event) {
        self.made += 1;
        self.due.push(Reverse(Due { at: (time, self.made), event }));
    }

    fn seconds(&mut self, range: std::ops::Range<f64>) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(range))
    }
}
