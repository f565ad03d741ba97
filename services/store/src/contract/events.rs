//! Events as producers publish them.

use bytes::Bytes;
use loadline_domain::Timestamp;
use loadline_proto::event::{BillingEvent, Channel, DeliveryReceipt, DeliveryStatus, Event, event::Body};
use prost::Message as _;
use std::time::Duration;

/// The time most events happen at: 2026-03-10T12:00:00Z.
pub fn noon() -> Timestamp {
    Timestamp::from_micros(1_773_144_000_000_000)
}

/// One SMS of two segments to Germany for 75,000 micro-euros.
pub fn billing(id: &str, account: &str, at: Timestamp) -> BillingEvent {
    BillingEvent {
        event_id: id.to_owned(),
        account: account.to_owned(),
        occurred_at: Some(wire(at)),
        channel: Channel::Sms.into(),
        country: "DE".to_owned(),
        currency: "EUR".to_owned(),
        messages: 1,
        segments: 2,
        amount_micros: 75_000,
    }
}

/// A receipt of an SMS to Germany, reported 3 seconds after it was submitted.
pub fn receipt(message: &str, account: &str, submitted_at: Timestamp, status: DeliveryStatus) -> DeliveryReceipt {
    DeliveryReceipt {
        message_id: message.to_owned(),
        account: account.to_owned(),
        submitted_at: Some(wire(submitted_at)),
        reported_at: Some(wire(submitted_at.plus(Duration::from_secs(3)))),
        channel: Channel::Sms.into(),
        country: "DE".to_owned(),
        status: status.into(),
    }
}

/// A time as it travels.
pub fn wire(at: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = at.parts();
    prost_types::Timestamp { seconds, nanos }
}

/// Bytes of a record.
pub trait Payload {
    /// Encoded.
    fn payload(&self) -> Bytes;
}

impl Payload for BillingEvent {
    fn payload(&self) -> Bytes {
        Event { body: Some(Body::Billing(self.clone())) }.encode_to_vec().into()
    }
}

impl Payload for DeliveryReceipt {
    fn payload(&self) -> Bytes {
        Event { body: Some(Body::Receipt(self.clone())) }.encode_to_vec().into()
    }
}

impl Payload for &str {
    /// Bytes that are no event.
    fn payload(&self) -> Bytes {
        self.as_bytes().to_vec().into()
    }
}

impl<P: Payload + ?Sized> Payload for Box<P> {
    fn payload(&self) -> Bytes {
        (**self).payload()
    }
}
