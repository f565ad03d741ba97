//! One line of a file to one event, with the field and the reason when it is none.
//!
//! NDJSON, the protobuf JSON form of `loadline.event.v1.Event` with names in snake or camel case:
//!
//! ```json
//! {"billing": {"event_id": "0193…", "account": "acme", "occurred_at": "2026-11-21T10:00:00Z", "channel": "sms",
//!              "country": "DE", "currency": "EUR", "messages": 1, "segments": 2, "amount": "0.0075"}}
//! {"receipt": {"message_id": "0193…", "account": "acme", "submitted_at": "2026-11-21T10:00:00Z",
//!              "reported_at": "2026-11-21T10:00:04Z", "channel": "sms", "country": "DE", "status": "delivered"}}
//! ```
//!
//! CSV has the same names as columns, in any order, and a column `type` that is `billing` or `receipt`; an empty cell is an
//! absent field. The price is `amount`, a decimal text, or `amount_micros`, a whole number of millionths.

use super::fault::{Fault, Reason};
use crate::money;
use loadline_domain::{
    Timestamp,
    decode::validate,
    event::{Channel, DeliveryStatus},
};
use loadline_proto::event as wire;
use serde_json::Value;

/// Which of the two an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A charge.
    Billing,
    /// A receipt.
    Receipt,
}

const SHARED: [&str; 3] = ["account", "channel", "country"];
const BILLING: [&str; 7] = ["event_id", "occurred_at", "currency", "messages", "segments", "amount_micros", "amount"];
const RECEIPT: [&str; 4] = ["message_id", "submitted_at", "reported_at", "status"];

/// Names of all fields, of either kind.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHARED.into_iter().chain(BILLING).chain(RECEIPT)
}

/// An event's fields as texts; taken out one by one, so that what is left over was misspelt.
#[derive(Debug)]
pub struct Fields {
    kind: Kind,
    values: Vec<(String, String)>,
}

/// Reads a line of NDJSON.
///
/// # Errors
/// The first fault found.
pub fn from_json(line: &str) -> Result<wire::Event, Fault> {
    let unreadable = |detail: String| Fault::new(Reason::Unreadable, "", detail);
    let value: Value = serde_json::from_str(line).map_err(|error| unreadable(no_json(&error)))?;
    let shape = || unreadable("must be an object {\"billing\": {…}} or {\"receipt\": {…}}".to_owned());
    let Value::Object(object) = value else { return Err(shape()) };
    let mut entries = object.into_iter();
    let (Some((name, Value::Object(body))), None) = (entries.next(), entries.next()) else { return Err(shape()) };
    let kind = Kind::parse(&name).ok_or_else(shape)?;
    let mut values = Vec::with_capacity(body.len());
    for (name, value) in body {
        let name = snake_case(&name);
        match value {
            Value::Null => {}
            Value::String(text) => values.push((name, text)),
            Value::Number(number) if !number.is_f64() => values.push((name, number.to_string())),
            Value::Number(_) if name == "amount" => {
                return Err(kind.fault(&name, "must be a text such as \"0.0075\": a JSON number may lose digits"));
            }
            _ => return Err(kind.fault(&name, "must be a text or a whole number")),
        }
    }
    Fields { kind, values }.event()
}

/// Without the parser's line, which is always the first of one.
fn no_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("is no JSON: {what}, at column {}", error.column())
}

impl Kind {
    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "billing" => Some(Self::Billing),
            "receipt" => Some(Self::Receipt),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Billing => "billing",
            Self::Receipt => "receipt",
        }
    }

    fn fault(self, field: &str, detail: impl Into<String>) -> Fault {
        Fault::new(Reason::Invalid, format!("{}.{field}", self.as_str()), detail.into())
    }
}

impl Fields {
    /// Fields of an event of this kind, by name.
    pub fn new(kind: Kind, values: Vec<(String, String)>) -> Self {
        Self { kind, values }
    }

    /// The event they make, by its contract.
    ///
    /// # Errors
    /// The first fault found.
    pub fn event(mut self) -> Result<wire::Event, Fault> {
        let body = match self.kind {
            Kind::Billing => wire::event::Body::Billing(self.billing()?),
            Kind::Receipt => wire::event::Body::Receipt(self.receipt()?),
        };
        if let Some((name, _)) = self.values.first() {
            let detail = format!("is no field of a {}", self.kind.as_str());
            return Err(self.kind.fault(name, detail));
        }
        let event = wire::Event { body: Some(body) };
        validate(event.clone()).map_err(|refusal| Fault::new(Reason::Invalid, refusal.field, refusal.detail))?;
        Ok(event)
    }

    fn billing(&mut self) -> Result<wire::BillingEvent, Fault> {
        Ok(wire::BillingEvent {
            event_id: self.text("event_id"),
            account: self.text("account"),
            occurred_at: self.time("occurred_at")?,
            channel: self.channel()?,
            country: self.text("country"),
            currency: self.text("currency"),
            messages: self.number("messages")?,
            segments: self.number("segments")?,
            amount_micros: self.amount()?,
        })
    }

    fn receipt(&mut self) -> Result<wire::DeliveryReceipt, Fault> {
        Ok(wire::DeliveryReceipt {
            message_id: self.text("message_id"),
            account: self.text("account"),
            submitted_at: self.time("submitted_at")?,
            reported_at: self.time("reported_at")?,
            channel: self.channel()?,
            country: self.text("country"),
            status: self.status()?,
        })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.values.iter().position(|(known, _)| known == name)?;
        Some(self.values.swap_remove(at).1)
    }

    fn text(&mut self, name: &str) -> String {
        self.take(name).unwrap_or_default()
    }

    /// What is absent stays absent, for the contract to judge.
    fn number<T: std::str::FromStr + Default>(&mut self, name: &str) -> Result<T, Fault> {
        let Some(text) = self.take(name) else { return Ok(T::default()) };
        text.parse().map_err(|_| self.kind.fault(name, format!("is {text:?}; must be a whole number that is not too large")))
    }

    fn time(&mut self, name: &str) -> Result<Option<prost_types::Timestamp>, Fault> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let wrong = |_| self.kind.fault(name, format!("is {text:?}; must be an RFC 3339 time such as 2026-11-21T10:00:00Z"));
        let (seconds, nanos) = text.parse::<Timestamp>().map_err(wrong)?.parts();
        Ok(Some(prost_types::Timestamp { seconds, nanos }))
    }

    fn amount(&mut self) -> Result<i64, Fault> {
        let Some(amount) = self.take("amount") else { return self.number("amount_micros") };
        if self.take("amount_micros").is_some() {
            return Err(self.kind.fault("amount", "and amount_micros are both there; keep one"));
        }
        money::parse(&amount).map_err(|detail| self.kind.fault("amount", detail))
    }

    fn channel(&mut self) -> Result<i32, Fault> {
        let known = || Channel::all().map(Channel::as_str).collect::<Vec<_>>().join(", ");
        self.member("channel", "CHANNEL_", |name| Channel::parse(name).map(Channel::number), known)
    }

    fn status(&mut self) -> Result<i32, Fault> {
        let parse = |name: &str| {
            let status = wire::DeliveryStatus::from_str_name(&format!("DELIVERY_STATUS_{}", name.to_ascii_uppercase()))?;
            DeliveryStatus::from_number(status as i32).map(|status| status as i32)
        };
        let known = || "accepted, enroute, delivered, undelivered, expired, rejected, failed".to_owned();
        self.member("status", "DELIVERY_STATUS_", parse, known)
    }

    /// A value of an enumeration: its short name, its name in the contract, or its number, which the contract judges.
    fn member(
        &mut self,
        name: &str,
        prefix: &str,
        parse: impl Fn(&str) -> Option<i32>,
        known: impl Fn() -> String,
    ) -> Result<i32, Fault> {
        let Some(text) = self.take(name) else { return Ok(0) };
        let number = parse(text.strip_prefix(prefix).unwrap_or(&text)).or_else(|| text.parse().ok());
        number.ok_or_else(|| self.kind.fault(name, format!("is {text:?}; must be one of {}", known())))
    }
}

/// `eventId` is `event_id`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn billing() -> Value {
        json!({"billing": {"event_id": "e-1", "account": "acme", "occurred_at": "2026-11-21T10:00:00.5Z", "channel": "sms",
            "country": "DE", "currency": "EUR", "messages": 1, "segments": 2, "amount": "0.0075"}})
    }

    fn fault_with(field: &str, value: Value) -> Fault {
        let mut event = billing();
        event["billing"][field] = value;
        from_json(&event.to_string()).unwrap_err()
    }

    #[test]
    fn a_billing_line_becomes_its_event() {
        let Some(wire::event::Body::Billing(event)) = from_json(&billing().to_string()).unwrap().body else {
            panic!("no billing")
        };
        assert_eq!((event.amount_micros, event.segments, event.channel), (7_500, 2, 1));
        assert_eq!(event.occurred_at, Some(prost_types::Timestamp { seconds: 1_795_255_200, nanos: 500_000_000 }));
    }

    #[test]
    fn the_protobuf_json_form_reads_the_same() {
        let canonical = json!({"billing": {"eventId": "e-1", "account": "acme", "occurredAt": "2026-11-21T10:00:00.500Z",
            "channel": "CHANNEL_SMS", "country": "DE", "currency": "EUR", "messages": 1, "segments": 2, "amountMicros": "7500"}});
        assert_eq!(from_json(&canonical.to_string()), from_json(&billing().to_string()));
    }

    #[test]
    fn a_receipt_line_becomes_its_event() {
        let line = json!({"receipt": {"message_id": "m", "account": "a", "submitted_at": "2026-11-21T10:00:00Z",
            "reported_at": "2026-11-21T10:00:04Z", "channel": "RCS", "status": "delivered"}});
        let Some(wire::event::Body::Receipt(receipt)) = from_json(&line.to_string()).unwrap().body else { panic!("no receipt") };
        assert_eq!((receipt.status, receipt.channel, receipt.country.as_str()), (10, 3, ""));
    }

    #[test]
    fn a_fault_names_its_field_and_what_to_do() {
        for (field, value, says) in [
            ("amount", json!(0.0075), "may lose digits"),
            ("amount", json!("-1"), "decimal"),
            ("channel", json!("fax"), "sms, mms"),
            ("channel", json!(99), "does not know"),
            ("occurred_at", json!("yesterday"), "RFC 3339"),
            ("occurred_at", json!("1970-01-01T00:00:00Z"), "years 2000"),
            ("messages", json!(0), "from 1"),
            ("messages", json!(-1), "whole number"),
            ("segments", json!(null), "from messages"),
            ("account", json!("a b"), "visible ASCII"),
            ("currency", json!("eur"), "upper-case"),
            ("event_id", json!(["x"]), "text or a whole number"),
            ("amount_micros", json!(1), "both"),
        ] {
            let fault = fault_with(field, value);
            assert!(fault.field.starts_with("billing.") && fault.detail.contains(says), "{field}: {fault:?}");
            assert_eq!(fault.reason, Reason::Invalid);
        }
        assert_eq!(fault_with("ammount", json!("1")).field, "billing.ammount");
        assert_eq!(fault_with("status", json!("delivered")).detail, "is no field of a billing");
    }

    #[test]
    fn what_is_no_event_at_all_is_unreadable() {
        for line in ["{", "[]", "1", "{}", r#"{"billing": 1}"#, r#"{"other": {}}"#, r#"{"billing": {}, "receipt": {}}"#] {
            assert_eq!(from_json(line).unwrap_err().reason, Reason::Unreadable, "{line}");
        }
        assert_eq!(from_json("{nonsense").unwrap_err().detail, "is no JSON: key must be a string, at column 2");
    }
}
