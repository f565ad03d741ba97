//! Messages of the contracts as JSON: the protobuf JSON form, with the field names of the .proto files and numbers as numbers.
//!
//! It is what grpcurl prints for the same call, but for names and numbers, and `publish` reads it back.

use anyhow::Context as _;
use loadline_proto::DESCRIPTORS;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;
use std::sync::LazyLock;

static CONTRACTS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the descriptors were made by the build that made the messages"));
const OPTIONS: SerializeOptions =
    SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true).skip_default_fields(false);

/// A message of the contract type `name`, such as `loadline.query.v1.GetUsageResponse`.
///
/// # Errors
/// When the contracts have no such type, or it does not fit the message.
pub fn of(name: &str, message: &impl Message) -> anyhow::Result<Value> {
    let descriptor = CONTRACTS.get_message_by_name(name).with_context(|| format!("the contracts have no message {name}"))?;
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).with_context(|| format!("not a {name}"))?;
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &OPTIONS)?)
}

/// The message of the contract type `name` that a text is.
///
/// # Errors
/// When the contracts have no such type, or the text is none.
pub fn read<M: Message + Default>(name: &str, text: &str) -> anyhow::Result<M> {
    let descriptor = CONTRACTS.get_message_by_name(name).with_context(|| format!("the contracts have no message {name}"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor, &mut deserializer)?;
    deserializer.end()?;
    Ok(dynamic.transcode_to()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_proto::event::{BillingEvent, Event, event::Body};
    use serde_json::json;

    #[test]
    fn numbers_are_numbers_and_names_those_of_the_contract() {
        let billing = BillingEvent {
            event_id: "e".to_owned(),
            occurred_at: Some(prost_types::Timestamp { seconds: 1_795_255_200, nanos: 0 }),
            channel: 1,
            amount_micros: 1 << 40,
            ..BillingEvent::default()
        };
        let value = of("loadline.event.v1.Event", &Event { body: Some(Body::Billing(billing)) }).unwrap();
        assert_eq!(value["billing"]["amount_micros"], json!(1_i64 << 40));
        assert_eq!(value["billing"]["channel"], json!("CHANNEL_SMS"));
        assert_eq!(value["billing"]["occurred_at"], json!("2026-11-21T10:00:00Z"));
        assert_eq!(value["billing"]["country"], json!(""));
    }

    #[test]
    fn an_unknown_type_is_an_error() {
        assert!(of("loadline.event.v2.Event", &Event::default()).is_err());
    }
}
