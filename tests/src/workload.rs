//! Seeded streams of events with every kind of trouble, that know what must be counted of them.

use crate::{
    events,
    model::{self, Numbers, RowKey, Verdict},
};
use bytes::Bytes;
use loadline_domain::Timestamp;
use loadline_proto::event::{BillingEvent, Channel, DeliveryReceipt, DeliveryStatus, event::Body};
use prost::Message as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// How many of the last sound events can be repeated, contradicted or followed by receipts.
const MEMORY: usize = 2_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Shares of a hundred events; what is left of the hundred are sound new ones.
#[derive(Debug, Clone)]
pub struct Mix {
    /// Accounts; the first ones have most events.
    pub accounts: u32,
    /// Receipts that follow a message.
    pub receipts: u32,
    /// The same again.
    pub duplicates: u32,
    /// The same id, other content.
    pub conflicts: u32,
    /// Past the dedup horizon.
    pub late: u32,
    /// Ahead of the clock.
    pub future: u32,
    /// Bytes that are no event.
    pub undecodable: u32,
    /// Events that break their contract.
    pub invalid: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { accounts: 50, receipts: 30, duplicates: 10, conflicts: 1, late: 1, future: 1, undecodable: 1, invalid: 1 }
    }
}

impl Mix {
    /// Sound events, receipts and duplicates only: nothing that the API would reject.
    pub fn sound() -> Self {
        Self { conflicts: 0, late: 0, future: 0, undecodable: 0, invalid: 0, ..Self::default() }
    }
}

/// What an event was made to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Nature {
    /// New and sound.
    New,
    /// Published before.
    Duplicate,
    /// Its id was published with other content.
    Conflict,
    /// Past its horizon.
    Late,
    /// Ahead of the clock.
    Future,
    /// No event.
    Undecodable,
    /// An event that breaks its contract.
    Invalid,
}

/// Which stream an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// `BILLING`, `billing.>`.
    Billing,
    /// `DLR`, `dlr.>`.
    Receipts,
}

/// One event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where to.
    pub topic: Topic,
    /// Whose: the last token of the subject.
    pub account: String,
    /// What.
    pub payload: Bytes,
    /// Made to be.
    pub nature: Nature,
}

/// What is counted when each item is appended once and in order, at about the time it was made for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Items by what they were made to be.
    pub items: BTreeMap<Nature, u64>,
    /// Hourly usage.
    pub usage: BTreeMap<RowKey, Numbers>,
}

impl Totals {
    /// Items of one nature.
    pub fn of(&self, nature: Nature) -> u64 {
        self.items.get(&nature).copied().unwrap_or_default()
    }

    /// Where stored usage differs from this, row by row: stored and published.
    pub fn differences(&self, usage: &BTreeMap<RowKey, Numbers>) -> Vec<(RowKey, Numbers, Numbers)> {
        let rows: BTreeSet<&RowKey> = self.usage.keys().chain(usage.keys()).collect();
        let of = |usage: &BTreeMap<RowKey, Numbers>, row: &RowKey| usage.get(row).copied().unwrap_or_default();
        let both = rows.into_iter().map(|row| (row.clone(), of(usage, row), of(&self.usage, row)));
        both.filter(|(_, stored, published)| stored != published).collect()
    }

    /// Usage of one account, over hours and dimensions.
    pub fn account(&self, account: &str) -> Numbers {
        let mut sum = Numbers::default();
        self.usage.iter().filter(|(row, _)| row.account == account).for_each(|(_, numbers)| model::add(&mut sum, numbers));
        sum
    }
}

/// The generator. The same seed, mix and times give the same items.
#[derive(Debug)]
pub struct Workload {
    rng: StdRng,
    mix: Mix,
    sent: VecDeque<Item>,
    /// Messages that no final receipt was made for yet, and whether one on the way was.
    unheard: VecDeque<(BillingEvent, bool)>,
    totals: Totals,
}

impl Workload {
    /// From a seed.
    pub fn new(seed: u64, mix: Mix) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, mix, sent: VecDeque::new(), unheard: VecDeque::new(), totals: Totals::default() }
    }

    /// What must be counted of all items so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The next items, to be appended about `now`.
    pub fn batch(&mut self, now: Timestamp, count: usize) -> Vec<Item> {
        (0..count).map(|_| self.item(now)).collect()
    }

    /// The next item, to be appended about `now`.
    pub fn item(&mut self, now: Timestamp) -> Item {
        let item = self.make(now);
        *self.totals.items.entry(item.nature).or_default() += 1;
        if item.nature == Nature::New {
            if let Verdict::Countable(worth) = model::judge(&item.payload, None) {
                model::add(self.totals.usage.entry(worth.row).or_default(), &worth.numbers);
            }
            remember(&mut self.sent, item.clone());
        }
        item
    }

    fn make(&mut self, now: Timestamp) -> Item {
        let mut dice = self.rng.random_range(0..100);
        let mut falls = |share: u32| {
            let hit = dice < share;
            dice = dice.saturating_sub(share).max(if hit { 100 } else { 0 });
            hit
        };
        let mix = self.mix.clone();
        if falls(mix.receipts) {
            return self.receipt(now).unwrap_or_else(|| self.message(now));
        }
        if falls(mix.duplicates) {
            return self.again(now, Nature::Duplicate);
        }
        if falls(mix.conflicts) {
            return self.again(now, Nature::Conflict);
        }
        if falls(mix.late) {
            let at = now.minus(HOUR * self.rng.random_range(49..97));
            return self.broken(at, Nature::Late, |_| {});
        }
        if falls(mix.future) {
            let at = now.plus(HOUR * self.rng.random_range(1..48));
            return self.broken(at, Nature::Future, |_| {});
        }
        if falls(mix.undecodable) {
            return self.noise();
        }
        if falls(mix.invalid) {
            return self.broken(now, Nature::Invalid, |event| event.messages = 0);
        }
        self.message(now)
    }

    /// Within the last day, mostly the last minute: some cross an hour or a day.
    fn recent(&mut self, now: Timestamp) -> Timestamp {
        let seconds = if self.rng.random_ratio(1, 10) { 86_400 } else { 60 };
        now.minus(Duration::from_micros(self.rng.random_range(0..seconds * 1_000_000)))
    }

    fn event(&mut self, at: Timestamp) -> BillingEvent {
        // The square of a uniform number favours the low ones.
        let skewed = self.rng.random::<f64>().powi(2) * f64::from(self.mix.accounts);
        let account = format!("acct-{:03}", skewed as u32);
        let id = if self.rng.random_ratio(1, 5) { format!("evt-{:016x}", self.rng.next_u64()) } else { self.uuid(at) };
        let (country, currency) = [("DE", "EUR"), ("US", "USD"), ("IN", "INR"), ("", "EUR")][self.rng.random_range(0..4)];
        let messages = if self.rng.random_ratio(1, 20) { self.rng.random_range(2..200) } else { 1 };
        let segments = messages * self.rng.random_range(1..4);
        BillingEvent {
            channel: self.rng.random_range(Channel::Sms as i32..=Channel::Push as i32),
            country: country.to_owned(),
            currency: currency.to_owned(),
            messages,
            segments,
            amount_micros: i64::from(segments) * self.rng.random_range(0..100_000),
            ..events::billing(&account, &id, at)
        }
    }

    /// Version 7, from the event's time and the seed.
    fn uuid(&mut self, at: Timestamp) -> String {
        let random = self.rng.random::<[u8; 10]>();
        uuid::Builder::from_unix_timestamp_millis((at.micros() / 1_000) as u64, &random).into_uuid().to_string()
    }

    fn message(&mut self, now: Timestamp) -> Item {
        let at = self.recent(now);
        let event = self.event(at);
        remember(&mut self.unheard, (event.clone(), false));
        billing_item(event, Nature::New)
    }

    fn receipt(&mut self, now: Timestamp) -> Option<Item> {
        let nth = self.rng.random_range(0..self.unheard.len().max(1));
        let (message, under_way) = self.unheard.swap_remove_back(nth)?;
        let status = match self.rng.random_range(0..100) {
            // Once a message: the same status again would be a duplicate.
            0..20 if !under_way => DeliveryStatus::Enroute,
            0..90 => DeliveryStatus::Delivered,
            90..94 => DeliveryStatus::Undelivered,
            94..96 => DeliveryStatus::Expired,
            96..98 => DeliveryStatus::Rejected,
            _ => DeliveryStatus::Failed,
        };
        let submitted = message.occurred_at?;
        let submitted = Timestamp::from_parts(submitted.seconds, submitted.nanos)?;
        let latest = now.since(submitted).as_micros() as u64;
        let reported = submitted.plus(Duration::from_micros(self.rng.random_range(0..=latest)));
        let receipt = DeliveryReceipt {
            channel: message.channel,
            country: message.country.clone(),
            reported_at: Some(events::proto_time(reported)),
            ..events::receipt(&message.account, &message.event_id, submitted, status)
        };
        if status == DeliveryStatus::Enroute {
            remember(&mut self.unheard, (message, true));
        }
        Some(receipt_item(receipt, Nature::New))
    }

    /// The same again, or the same id with other content.
    fn again(&mut self, now: Timestamp, nature: Nature) -> Item {
        if self.sent.is_empty() {
            return self.message(now);
        }
        let nth = self.rng.random_range(0..self.sent.len());
        let first = self.sent[nth].clone();
        if nature == Nature::Duplicate {
            return Item { nature, ..first };
        }
        let event = loadline_proto::event::Event::decode(first.payload.clone()).ok().and_then(|event| event.body);
        match event.expect("an item made here can be read") {
            Body::Billing(event) => {
                billing_item(BillingEvent { amount_micros: event.amount_micros + 1, currency: "EUR".into(), ..event }, nature)
            }
            Body::Receipt(event) => {
                // Another final status is the realistic contradiction; a receipt on the way would become another identity by it.
                let other = match event.status() {
                    DeliveryStatus::Enroute => DeliveryReceipt { country: "ZZ".to_owned(), ..event },
                    DeliveryStatus::Failed => DeliveryReceipt { status: DeliveryStatus::Expired.into(), ..event },
                    _ => DeliveryReceipt { status: DeliveryStatus::Failed.into(), ..event },
                };
                receipt_item(other, nature)
            }
        }
    }

    fn broken(&mut self, at: Timestamp, nature: Nature, damage: impl FnOnce(&mut BillingEvent)) -> Item {
        let mut event = self.event(at);
        damage(&mut event);
        billing_item(event, nature)
    }

    /// Starts with a field of wire type 7, which does not exist: no reader takes it for an event.
    fn noise(&mut self) -> Item {
        let mut bytes = vec![0x0f];
        bytes.extend((0..self.rng.random_range(1..200)).map(|_| self.rng.random::<u8>()));
        Item { topic: Topic::Billing, account: "acct-000".to_owned(), payload: bytes.into(), nature: Nature::Undecodable }
    }
}

fn billing_item(event: BillingEvent, nature: Nature) -> Item {
    Item { topic: Topic::Billing, account: event.account.clone(), payload: events::payload(event), nature }
}

fn receipt_item(event: DeliveryReceipt, nature: Nature) -> Item {
    Item { topic: Topic::Receipts, account: event.account.clone(), payload: events::payload(event), nature }
}

fn remember<T>(memory: &mut VecDeque<T>, item: T) {
    memory.push_back(item);
    if memory.len() > MEMORY {
        memory.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);

    #[test]
    fn the_same_seed_gives_the_same_items_and_another_gives_others() {
        let items = |seed| Workload::new(seed, Mix::default()).batch(NOW, 500);
        assert_eq!(items(1), items(1));
        assert_ne!(items(1), items(2));
    }

    #[test]
    fn every_item_is_what_it_was_made_to_be() {
        let mut workload = Workload::new(7, Mix::default());
        for item in workload.batch(NOW, 5_000) {
            let dead = match item.nature {
                Nature::New | Nature::Duplicate | Nature::Conflict => None,
                Nature::Late => Some("LATE"),
                Nature::Future => Some("FUTURE"),
                Nature::Undecodable => Some("UNDECODABLE"),
                Nature::Invalid => Some("INVALID"),
            };
            match model::judge(&item.payload, Some(NOW)) {
                Verdict::Dead(reason) => assert_eq!(Some(reason), dead, "{item:?}"),
                Verdict::Countable(_) => assert_eq!(None, dead, "{item:?}"),
            }
        }
        for nature in
            [Nature::New, Nature::Duplicate, Nature::Conflict, Nature::Late, Nature::Future, Nature::Undecodable, Nature::Invalid]
        {
            assert!(workload.totals().of(nature) > 10, "{nature:?}");
        }
        assert_eq!(workload.totals().items.values().sum::<u64>(), 5_000);
    }

    #[test]
    fn totals_are_those_of_each_identity_once() {
        let mut workload = Workload::new(3, Mix::default());
        let mut seen = std::collections::HashMap::new();
        let mut usage: BTreeMap<RowKey, Numbers> = BTreeMap::new();
        for item in workload.batch(NOW, 5_000) {
            let Verdict::Countable(worth) = model::judge(&item.payload, Some(NOW)) else { continue };
            let first = seen.insert(worth.identity.clone(), worth.content.clone());
            assert_eq!(first.is_none(), item.nature == Nature::New, "{item:?}");
            if let Some(first) = first {
                assert_eq!(first == worth.content, item.nature == Nature::Duplicate, "{item:?}");
                seen.insert(worth.identity, first);
            } else {
                model::add(usage.entry(worth.row).or_default(), &worth.numbers);
            }
        }
        assert_eq!(usage, workload.totals().usage);
    }
}
