//! Billing events and delivery receipts after validation: every value here keeps its contract.

use crate::{account::AccountId, time::Timestamp};
use std::fmt;

/// How a message travelled. The numbers are those of `loadline.event.v1.Channel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(u8);

/// Names by number, from 1.
const CHANNELS: [&str; 7] = ["sms", "mms", "rcs", "whatsapp", "email", "voice", "push"];

impl Channel {
    /// SMS.
    pub const SMS: Self = Self(1);

    /// From the contract's number; `None` when this build does not know it.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=CHANNELS.len() as i32).contains(&number).then_some(Self(number as u8))
    }

    /// The contract's number.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }

    /// Lower-case name.
    pub fn as_str(self) -> &'static str {
        CHANNELS[usize::from(self.0) - 1]
    }

    /// From its name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        CHANNELS.iter().position(|known| known.eq_ignore_ascii_case(name)).map(|at| Self(at as u8 + 1))
    }

    /// All channels.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=CHANNELS.len() as u8).map(Self)
    }
}

/// A code of `N` upper-case letters, or unknown (all zero, shown as empty).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code<const N: usize>([u8; N]);

/// ISO 3166-1 alpha-2.
pub type Country = Code<2>;
/// ISO 4217.
pub type Currency = Code<3>;

impl<const N: usize> Code<N> {
    /// Not known.
    pub const UNKNOWN: Self = Self([0; N]);

    /// From text: empty or exactly `N` upper-case letters.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::UNKNOWN);
        }
        let code: [u8; N] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// The letters, or an empty text.
    pub fn as_str(&self) -> &str {
        if self.is_known() { std::str::from_utf8(&self.0).unwrap_or_default() } else { "" }
    }

    /// Whether it is a code at all.
    pub fn is_known(&self) -> bool {
        *self != Self::UNKNOWN
    }
}

impl<const N: usize> fmt::Debug for Code<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Where a message stands. The numbers are those of `loadline.event.v1.DeliveryStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeliveryStatus {
    /// Taken by the carrier.
    Accepted = 1,
    /// On its way.
    Enroute = 2,
    /// Reached the handset.
    Delivered = 10,
    /// Did not reach it.
    Undelivered = 11,
    /// Validity passed.
    Expired = 12,
    /// Refused by the carrier.
    Rejected = 13,
    /// Failed on the way.
    Failed = 14,
}

impl DeliveryStatus {
    /// From the contract's number.
    pub fn from_number(number: i32) -> Option<Self> {
        use DeliveryStatus::*;
        [Accepted, Enroute, Delivered, Undelivered, Expired, Rejected, Failed].into_iter().find(|status| *status as i32 == number)
    }

    /// Whether nothing follows it.
    pub fn is_final(self) -> bool {
        self as i32 >= 10
    }
}

/// Something an account is charged for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingEvent {
    /// Producer's id, 1 to 128 bytes.
    pub event_id: String,
    /// Who pays.
    pub account: AccountId,
    /// Decides the hour.
    pub occurred_at: Timestamp,
    /// How it travelled.
    pub channel: Channel,
    /// Where to, if known.
    pub country: Country,
    /// Of the amount; unknown only when the amount is 0.
    pub currency: Currency,
    /// At least 1.
    pub messages: u32,
    /// At least `messages`.
    pub segments: u32,
    /// Millionths of the currency's unit, 0 to 10^12.
    pub amount_micros: i64,
}

/// What became of a message, says a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryReceipt {
    /// Identity of the message, 1 to 128 bytes.
    pub message_id: String,
    /// Whose message.
    pub account: AccountId,
    /// Decides the hour.
    pub submitted_at: Timestamp,
    /// Not before `submitted_at`.
    pub reported_at: Timestamp,
    /// How it travelled.
    pub channel: Channel,
    /// Where to, if known.
    pub country: Country,
    /// Where it stands.
    pub status: DeliveryStatus,
}

/// One published event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A charge.
    Billing(BillingEvent),
    /// A receipt.
    Receipt(DeliveryReceipt),
}

impl Event {
    /// Whose it is.
    pub fn account(&self) -> &AccountId {
        match self {
            Self::Billing(event) => &event.account,
            Self::Receipt(receipt) => &receipt.account,
        }
    }

    /// The time that decides where it counts, and how late it is.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Billing(event) => event.occurred_at,
            Self::Receipt(receipt) => receipt.submitted_at,
        }
    }
}
