//! Events one by one: sound ones to change a field of, and how they look as payloads.

use bytes::Bytes;
use loadline_domain::Timestamp;
use loadline_proto::event::{BillingEvent, Channel, DeliveryReceipt, DeliveryStatus, Event, event::Body};
use prost::Message as _;
use std::time::Duration;

/// One SMS to Germany for 0.075 EUR.
pub fn billing(account: &str, event_id: &str, occurred_at: Timestamp) -> BillingEvent {
    BillingEvent {
        event_id: event_id.to_owned(),
        account: account.to_owned(),
        occurred_at: Some(proto_time(occurred_at)),
        channel: Channel::Sms.into(),
        country: "DE".to_owned(),
        currency: "EUR".to_owned(),
        messages: 1,
        segments: 1,
        amount_micros: 75_000,
    }
}

/// A receipt for an SMS to Germany, reported two seconds after it was submitted.
pub fn receipt(account: &str, message_id: &str, submitted_at: Timestamp, status: DeliveryStatus) -> DeliveryReceipt {
    DeliveryReceipt {
        message_id: message_id.to_owned(),
        account: account.to_owned(),
        submitted_at: Some(proto_time(submitted_at)),
        reported_at: Some(proto_time(submitted_at.plus(Duration::from_secs(2)))),
        channel: Channel::Sms.into(),
        country: "DE".to_owned(),
        status: status.into(),
    }
}

/// What is published: the envelope.
pub fn envelope(body: impl Into<Envelope>) -> Event {
    Event { body: Some(body.into().0) }
}

/// The envelope's bytes, as a record of the log holds them.
pub fn payload(body: impl Into<Envelope>) -> Bytes {
    envelope(body).encode_to_vec().into()
}

/// Either kind of event.
#[derive(Debug, Clone)]
pub struct Envelope(Body);

impl From<BillingEvent> for Envelope {
    fn from(event: BillingEvent) -> Self {
        Self(Body::Billing(event))
    }
}

impl From<DeliveryReceipt> for Envelope {
    fn from(receipt: DeliveryReceipt) -> Self {
        Self(Body::Receipt(receipt))
    }
}

/// An instant as the contracts carry it.
pub fn proto_time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}
