//! What is counted: hourly usage, and the latency of deliveries, both additive.

use crate::{
    account::AccountId,
    event::{Channel, Country, Currency, DeliveryStatus, Event},
    latency::{self, Bucket},
    time::Hour,
};
use std::ops::{AddAssign, SubAssign};

/// Row of hourly usage. Receipts have no currency.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    /// Whose usage.
    pub account: AccountId,
    /// Hour of the event's own time.
    pub hour: Hour,
    /// How it travelled.
    pub channel: Channel,
    /// Where to.
    pub country: Country,
    /// Of the amount.
    pub currency: Currency,
}

/// What a row holds, or what is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Events folded in: what conservation is checked against.
    pub events: i64,
    /// Messages charged for.
    pub messages: i64,
    /// Segments charged for.
    pub segments: i64,
    /// Millionths of the currency's unit.
    pub amount_micros: i64,
    /// Final receipts: delivered.
    pub delivered: i64,
    /// Final receipts: undelivered.
    pub undelivered: i64,
    /// Final receipts: expired.
    pub expired: i64,
    /// Final receipts: rejected.
    pub rejected: i64,
    /// Final receipts: failed.
    pub failed: i64,
    /// Receipts on the way to a final status.
    pub not_final: i64,
}

/// Row of hourly latency counts of delivered messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LatencyKey {
    /// Whose messages.
    pub account: AccountId,
    /// Hour of submission.
    pub hour: Hour,
    /// How they travelled.
    pub channel: Channel,
    /// Where to.
    pub country: Country,
    /// Sketch bucket.
    pub bucket: Bucket,
}

/// What one event adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The row.
    pub key: UsageKey,
    /// Added to it.
    pub usage: Usage,
    /// Bucket that counts one more, for a delivery.
    pub latency: Option<Bucket>,
}

impl Effect {
    /// The effect of counting an event.
    pub fn of(event: &Event) -> Self {
        match event {
            Event::Billing(billing) => Self {
                key: UsageKey {
                    account: billing.account.clone(),
                    hour: billing.occurred_at.hour(),
                    channel: billing.channel,
                    country: billing.country,
                    currency: billing.currency,
                },
                usage: Usage {
                    events: 1,
                    messages: i64::from(billing.messages),
                    segments: i64::from(billing.segments),
                    amount_micros: billing.amount_micros,
                    ..Usage::default()
                },
                latency: None,
            },
            Event::Receipt(receipt) => Self {
                key: UsageKey {
                    account: receipt.account.clone(),
                    hour: receipt.submitted_at.hour(),
                    channel: receipt.channel,
                    country: receipt.country,
                    currency: Currency::UNKNOWN,
                },
                usage: Usage::of_receipt(receipt.status),
                latency: (receipt.status == DeliveryStatus::Delivered)
                    .then(|| latency::bucket(receipt.reported_at.since(receipt.submitted_at))),
            },
        }
    }

    /// The latency row it adds one to.
    pub fn latency_key(&self) -> Option<LatencyKey> {
        self.latency.map(|bucket| LatencyKey {
            account: self.key.account.clone(),
            hour: self.key.hour,
            channel: self.key.channel,
            country: self.key.country,
            bucket,
        })
    }
}

impl Usage {
    fn of_receipt(status: DeliveryStatus) -> Self {
        let mut usage = Self { events: 1, ..Self::default() };
        *match status {
            DeliveryStatus::Delivered => &mut usage.delivered,
            DeliveryStatus::Undelivered => &mut usage.undelivered,
            DeliveryStatus::Expired => &mut usage.expired,
            DeliveryStatus::Rejected => &mut usage.rejected,
            DeliveryStatus::Failed => &mut usage.failed,
            DeliveryStatus::Accepted | DeliveryStatus::Enroute => &mut usage.not_final,
        } = 1;
        usage
    }

    /// The numbers in column order, for set-based statements.
    pub fn columns(&self) -> [i64; 10] {
        [
            self.events,
            self.messages,
            self.segments,
            self.amount_micros,
            self.delivered,
            self.undelivered,
            self.expired,
            self.rejected,
            self.failed,
            self.not_final,
        ]
    }

    /// From the numbers in column order.
    pub fn from_columns(columns: [i64; 10]) -> Self {
        let [events, messages, segments, amount_micros, delivered, undelivered, expired, rejected, failed, not_final] = columns;
        Self { events, messages, segments, amount_micros, delivered, undelivered, expired, rejected, failed, not_final }
    }

    /// The sum; `None` when a number does not fit 64 bits.
    pub fn checked_add(&self, other: Self) -> Option<Self> {
        let (mut sum, add) = (self.columns(), other.columns());
        for (sum, add) in sum.iter_mut().zip(add) {
            *sum = sum.checked_add(add)?;
        }
        Some(Self::from_columns(sum))
    }

    /// Receipts with a final status.
    pub fn final_receipts(&self) -> i64 {
        self.delivered + self.undelivered + self.expired + self.rejected + self.failed
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let (mut sum, add) = (self.columns(), other.columns());
        sum.iter_mut().zip(add).for_each(|(sum, add)| *sum += add);
        *self = Self::from_columns(sum);
    }
}

impl SubAssign for Usage {
    fn sub_assign(&mut self, other: Self) {
        let (mut rest, take) = (self.columns(), other.columns());
        rest.iter_mut().zip(take).for_each(|(rest, take)| *rest -= take);
        *self = Self::from_columns(rest);
    }
}
