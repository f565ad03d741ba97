//! Bytes to events: the contract of `loadline.event.v1`, field by field.

use crate::{
    account::AccountId,
    dead_letter::{DeadLetterReason, Refusal},
    event::{BillingEvent, Channel, Code, DeliveryReceipt, DeliveryStatus, Event},
    time::Timestamp,
};
use loadline_proto::event as wire;
use prost::Message as _;

/// Longest event or message id, in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// Largest amount of one event: a million units. Sums of an hour then stay far inside 64 bits.
pub const MAX_AMOUNT_MICROS: i64 = 1_000_000_000_000;
/// Most messages or segments of one event.
pub const MAX_COUNT: u32 = 1_000_000;
/// Largest payload of one event, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// Reads a record's payload.
///
/// # Errors
/// `UNDECODABLE` when the bytes are no `Event` or hold none, `INVALID` when a field breaks its contract.
pub fn decode(payload: &[u8]) -> Result<Event, Refusal> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        let detail = format!("payload has {} bytes; an event has at most {MAX_PAYLOAD_BYTES}", payload.len());
        return Err(undecodable(detail));
    }
    let event = wire::Event::decode(payload).map_err(|error| undecodable(format!("not a loadline.event.v1.Event: {error}")))?;
    validate(event)
}

/// Checks a decoded message.
///
/// # Errors
/// As [`decode`].
pub fn validate(event: wire::Event) -> Result<Event, Refusal> {
    match event.body {
        Some(wire::event::Body::Billing(billing)) => {
            let account = AccountId::new(&billing.account);
            let time = billing.occurred_at.and_then(instant);
            let known = (account.as_ref().ok().cloned(), time);
            billing_event(billing, account, time).map(Event::Billing).map_err(|fault| fault.refusal(known))
        }
        Some(wire::event::Body::Receipt(receipt)) => {
            let account = AccountId::new(&receipt.account);
            let time = receipt.submitted_at.and_then(instant);
            let known = (account.as_ref().ok().cloned(), time);
            delivery_receipt(receipt, account, time).map(Event::Receipt).map_err(|fault| fault.refusal(known))
        }
        None => Err(undecodable("holds neither a billing event nor a receipt; is the producer's schema newer?".to_owned())),
    }
}

/// A field that breaks its contract.
struct Fault {
    field: &'static str,
    detail: String,
}

impl Fault {
    fn refusal(self, (account, event_time): (Option<AccountId>, Option<Timestamp>)) -> Refusal {
        Refusal { reason: DeadLetterReason::Invalid, field: self.field, detail: self.detail, account, event_time }
    }
}

fn undecodable(detail: String) -> Refusal {
    Refusal { reason: DeadLetterReason::Undecodable, field: "", detail, account: None, event_time: None }
}

type Account = Result<AccountId, crate::account::AccountError>;

fn billing_event(event: wire::BillingEvent, account: Account, time: Option<Timestamp>) -> Result<BillingEvent, Fault> {
    let account = account.map_err(|error| fault("billing.account", error))?;
    let event_id = id("billing.event_id", event.event_id)?;
    let occurred_at = time.ok_or_else(|| absent_time("billing.occurred_at"))?;
    let channel = channel("billing.channel", event.channel)?;
    let country = code("billing.country", &event.country)?;
    let currency = code("billing.currency", &event.currency)?;
    if !(1..=MAX_COUNT).contains(&event.messages) {
        return Err(fault("billing.messages", format!("is {}; must be from 1 to {MAX_COUNT}", event.messages)));
    }
    if !(event.messages..=MAX_COUNT).contains(&event.segments) {
        let detail = format!("is {}; must be from messages ({}) to {MAX_COUNT}", event.segments, event.messages);
        return Err(fault("billing.segments", detail));
    }
    if !(0..=MAX_AMOUNT_MICROS).contains(&event.amount_micros) {
        let detail = format!("is {}; must be from 0 to {MAX_AMOUNT_MICROS}", event.amount_micros);
        return Err(fault("billing.amount_micros", detail));
    }
    if event.amount_micros != 0 && !currency.is_known() {
        return Err(fault("billing.currency", "is empty; an amount needs its ISO 4217 currency"));
    }
    Ok(BillingEvent {
        event_id,
        account,
        occurred_at,
        channel,
        country,
        currency,
        messages: event.messages,
        segments: event.segments,
        amount_micros: event.amount_micros,
    })
}

fn delivery_receipt(receipt: wire::DeliveryReceipt, account: Account, time: Option<Timestamp>) -> Result<DeliveryReceipt, Fault> {
    let account = account.map_err(|error| fault("receipt.account", error))?;
    let message_id = id("receipt.message_id", receipt.message_id)?;
    let submitted_at = time.ok_or_else(|| absent_time("receipt.submitted_at"))?;
    let reported_at = receipt.reported_at.and_then(instant).ok_or_else(|| absent_time("receipt.reported_at"))?;
    if reported_at < submitted_at {
        let detail = format!("({reported_at}) is before submitted_at ({submitted_at})");
        return Err(fault("receipt.reported_at", detail));
    }
    let status = DeliveryStatus::from_number(receipt.status).ok_or_else(|| unknown_value("receipt.status", receipt.status))?;
    let channel = channel("receipt.channel", receipt.channel)?;
    let country = code("receipt.country", &receipt.country)?;
    Ok(DeliveryReceipt { message_id, account, submitted_at, reported_at, channel, country, status })
}

fn instant(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::from_parts(time.seconds, time.nanos).filter(|time| *time >= Timestamp::EARLIEST)
}

fn absent_time(field: &'static str) -> Fault {
    fault(field, "is absent or not between the years 2000 and 9999; is the unit right?")
}

fn id(field: &'static str, id: String) -> Result<String, Fault> {
    match id.len() {
        1..=MAX_ID_BYTES => Ok(id),
        0 => Err(fault(field, "is empty; without an id a retry would count twice")),
        bytes => Err(fault(field, format!("has {bytes} bytes; at most {MAX_ID_BYTES} are allowed"))),
    }
}

fn channel(field: &'static str, number: i32) -> Result<Channel, Fault> {
    Channel::from_number(number).ok_or_else(|| unknown_value(field, number))
}

fn unknown_value(field: &'static str, number: i32) -> Fault {
    let detail = match number {
        0 => "is not set".to_owned(),
        _ => format!("is {number}, which this build does not know; upgrade ingest, then redrive"),
    };
    fault(field, detail)
}

fn code<const N: usize>(field: &'static str, text: &str) -> Result<Code<N>, Fault> {
    Code::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(16).collect();
        fault(field, format!("is {shown:?}; must be empty or {N} upper-case letters"))
    })
}

fn fault(field: &'static str, detail: impl ToString) -> Fault {
    Fault { field, detail: detail.to_string() }
}
