//! Who is a duplicate of whom.
//!
//! - A billing event is its `event_id` within its account. A UUID is kept as it is, so that version 7 ids stay in order and
//!   the same UUID under two accounts meets itself; any other text is hashed together with the account.
//! - A final receipt is its message: a message ends once, however often carriers report it.
//! - A receipt that is not final is its message with its status.
//!
//! Keys live in one dedup partition per kind and **day of the event**, never of its arrival, so the same event always meets
//! the same partition.

use crate::{
    event::{BillingEvent, DeliveryReceipt, Event},
    time::Day,
};
use uuid::Uuid;

/// Dedup tables are kept apart by kind, because their horizons differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Billing events.
    Billing,
    /// Delivery receipts.
    Receipt,
}

impl Kind {
    /// Both kinds, in table order.
    pub const ALL: [Self; 2] = [Self::Billing, Self::Receipt];

    /// Stable name, as used in table names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Billing => "billing",
            Self::Receipt => "receipt",
        }
    }
}

/// One day of one kind: the partition a key lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// Billing or receipt.
    pub kind: Kind,
    /// Day of the event's own time.
    pub day: Day,
}

/// 128 bits that name an event.
pub type Key = [u8; 16];

/// 64 bits that stand for an event's content: the same identity with another fingerprint is a conflict.
pub type Fingerprint = i64;

/// An event's name, place and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Where its key lives.
    pub partition: Partition,
    /// Its name.
    pub key: Key,
}

impl Identity {
    /// The name alone. An id used again with a time of another day is still the same id, and a conflict.
    pub fn name(&self) -> (Kind, Key) {
        (self.partition.kind, self.key)
    }
}

/// Identity and fingerprint of an event.
pub fn identify(event: &Event) -> (Identity, Fingerprint) {
    let (kind, key, fingerprint) = match event {
        Event::Billing(billing) => (Kind::Billing, billing_key(billing), billing_fingerprint(billing)),
        Event::Receipt(receipt) => (Kind::Receipt, receipt_key(receipt), receipt_fingerprint(receipt)),
    };
    (Identity { partition: Partition { kind, day: event.time().day() }, key }, fingerprint)
}

fn billing_key(event: &BillingEvent) -> Key {
    match uuid(&event.event_id) {
        Some(id) => id,
        None => hash("billing", &[event.account.as_str(), &event.event_id]),
    }
}

fn receipt_key(receipt: &DeliveryReceipt) -> Key {
    if !receipt.status.is_final() {
        let status = (receipt.status as i32).to_string();
        return hash("receipt.status", &[receipt.account.as_str(), &receipt.message_id, &status]);
    }
    match uuid(&receipt.message_id) {
        Some(id) => id,
        None => hash("receipt", &[receipt.account.as_str(), &receipt.message_id]),
    }
}

/// Only the 36-character form: other spellings of a UUID are other texts to a producer.
fn uuid(text: &str) -> Option<Key> {
    (text.len() == 36).then(|| Uuid::try_parse_ascii(text.as_bytes()).ok()).flatten().map(Uuid::into_bytes)
}

fn billing_fingerprint(event: &BillingEvent) -> Fingerprint {
    let mut content = Content::new(event.account.as_str());
    content.number(event.occurred_at.micros());
    content.number(i64::from(event.channel.number()));
    content.text(event.country.as_str());
    content.text(event.currency.as_str());
    content.number(i64::from(event.messages));
    content.number(i64::from(event.segments));
    content.number(event.amount_micros);
    content.fingerprint()
}

/// Without `reported_at`: a carrier that repeats itself says the same thing at another time.
fn receipt_fingerprint(receipt: &DeliveryReceipt) -> Fingerprint {
    let mut content = Content::new(receipt.account.as_str());
    content.number(receipt.submitted_at.micros());
    content.number(i64::from(receipt.channel.number()));
    content.text(receipt.country.as_str());
    content.number(receipt.status as i64);
    content.fingerprint()
}

/// A canonical form of an event's content, hashed whole. Every text carries its length, so no two contents read alike.
struct Content(Vec<u8>);

impl Content {
    fn new(account: &str) -> Self {
        let mut content = Self(Vec::with_capacity(192));
        content.text(account);
        content
    }

    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.0).as_bytes()
    }

    fn fingerprint(&self) -> Fingerprint {
        let [a, b, c, d, e, f, g, h, ..] = self.digest();
        i64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

fn hash(kind: &str, parts: &[&str]) -> Key {
    let mut content = Content::new(kind);
    for part in parts {
        content.text(part);
    }
    let mut key = [0; 16];
    key.copy_from_slice(&content.digest()[..16]);
    key
}
