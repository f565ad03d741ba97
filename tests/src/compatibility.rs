//! Whether new contracts still read what old ones wrote, and still answer whom old ones taught to call.
//!
//! Adding is free. Removing, renumbering, renaming or retyping is not, reserved or not: JSON, reflection and generated code use
//! the names, the wire uses the numbers.

use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};
use std::collections::BTreeMap;

/// What of `old` is gone or changed in `new`, each as a sentence; empty when all old programs go on working.
pub fn breaks(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (Contracts::of(old), Contracts::of(new));
    let mut breaks = Vec::new();
    for (name, message) in &old.messages {
        match new.messages.get(name) {
            Some(now) => fields(name, message, now, &mut breaks),
            None => breaks.push(format!("message {name} is gone")),
        }
    }
    for (name, values) in &old.enums {
        match new.enums.get(name) {
            Some(now) => enum_values(name, values, now, &mut breaks),
            None => breaks.push(format!("enum {name} is gone")),
        }
    }
    for (name, service) in &old.services {
        match new.services.get(name) {
            Some(now) => methods(name, service, now, &mut breaks),
            None => breaks.push(format!("service {name} is gone")),
        }
    }
    breaks
}

/// Everything by its full name, nested or not.
#[derive(Default)]
struct Contracts<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
    services: BTreeMap<String, &'a ServiceDescriptorProto>,
}

impl<'a> Contracts<'a> {
    fn of(files: &'a FileDescriptorSet) -> Self {
        let mut contracts = Self::default();
        for file in &files.file {
            let package = file.package();
            file.message_type.iter().for_each(|message| contracts.message(package, message));
            contracts.enums.extend(file.enum_type.iter().map(|item| (full(package, item.name()), item)));
            contracts.services.extend(file.service.iter().map(|item| (full(package, item.name()), item)));
        }
        contracts
    }

    fn message(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = full(scope, message.name());
        message.nested_type.iter().for_each(|nested| self.message(&name, nested));
        self.enums.extend(message.enum_type.iter().map(|item| (full(&name, item.name()), item)));
        self.messages.insert(name, message);
    }
}

fn full(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn fields(message: &str, old: &DescriptorProto, new: &DescriptorProto, breaks: &mut Vec<String>) {
    for field in &old.field {
        let name = format!("field {} = {} of {message}", field.name(), field.number());
        match new.field.iter().find(|now| now.number() == field.number()) {
            None => breaks.push(format!("{name} is gone")),
            Some(now) => {
                let (was, is) = (shape(old, field), shape(new, now));
                let changed = was.iter().zip(&is).filter(|(was, is)| was != is);
                breaks.extend(changed.map(|((what, was), (_, is))| format!("{name}: {what} was {was}, is {is}")));
            }
        }
    }
}

/// All of a field that the wire, JSON or generated code depends on.
fn shape(message: &DescriptorProto, field: &FieldDescriptorProto) -> [(&'static str, String); 6] {
    // A proto3 optional field is in a oneof of its own making.
    let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
    let oneof = oneof.and_then(|index| message.oneof_decl.get(index as usize)).map_or("", |oneof| oneof.name());
    [
        ("name", field.name().to_owned()),
        ("JSON name", field.json_name().to_owned()),
        ("type", format!("{:?} {}", field.r#type(), field.type_name())),
        ("cardinality", format!("{:?}", field.label())),
        ("presence", if field.proto3_optional() { "optional" } else { "implicit" }.to_owned()),
        ("oneof", format!("{oneof:?}")),
    ]
}

fn enum_values(name: &str, old: &EnumDescriptorProto, new: &EnumDescriptorProto, breaks: &mut Vec<String>) {
    for value in &old.value {
        match new.value.iter().find(|now| now.number() == value.number()) {
            Some(now) if now.name() == value.name() => {}
            Some(now) => breaks.push(format!("value {} of enum {name} was {}, is {}", value.number(), value.name(), now.name())),
            None => breaks.push(format!("value {} = {} of enum {name} is gone", value.name(), value.number())),
        }
    }
}

fn methods(service: &str, old: &ServiceDescriptorProto, new: &ServiceDescriptorProto, breaks: &mut Vec<String>) {
    for method in &old.method {
        let name = format!("method {} of {service}", method.name());
        let signature = |method: &prost_types::MethodDescriptorProto| {
            let side = |streaming: bool, kind: &str| format!("{}{kind}", if streaming { "stream " } else { "" });
            let (request, answer) = (method.input_type(), method.output_type());
            format!("({}) → {}", side(method.client_streaming(), request), side(method.server_streaming(), answer))
        };
        match new.method.iter().find(|now| now.name() == method.name()) {
            None => breaks.push(format!("{name} is gone")),
            Some(now) if signature(now) != signature(method) => {
                breaks.push(format!("{name}: was {}, is {}", signature(method), signature(now)));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    fn now() -> FileDescriptorSet {
        FileDescriptorSet::decode(loadline_proto::DESCRIPTORS).unwrap()
    }

    fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
        set.file.iter_mut().flat_map(|file| &mut file.message_type).find(|message| message.name() == name).unwrap()
    }

    fn breaks_after(change: impl FnOnce(&mut FileDescriptorSet)) -> Vec<String> {
        let mut changed = now();
        change(&mut changed);
        breaks(&now(), &changed)
    }

    #[test]
    fn the_same_contracts_break_nothing_and_additions_neither() {
        assert!(breaks_after(|_| {}).is_empty());
        assert!(!now().file.is_empty());
        let mut less = now();
        message(&mut less, "BillingEvent").field.pop();
        assert!(breaks(&less, &now()).is_empty());
    }

    #[test]
    fn a_field_that_goes_moves_or_changes_is_a_break() {
        let field = |set: &mut FileDescriptorSet, change: fn(&mut FieldDescriptorProto)| {
            change(&mut message(set, "BillingEvent").field[1])
        };
        let gone = breaks_after(|set| drop(message(set, "BillingEvent").field.remove(1)));
        assert_eq!(gone, ["field account = 2 of loadline.event.v1.BillingEvent is gone"]);
        assert_eq!(breaks_after(|set| field(set, |field| field.number = Some(77))).len(), 1);
        assert_eq!(breaks_after(|set| field(set, |field| field.name = Some("customer".into()))).len(), 1);
        assert_eq!(
            breaks_after(|set| field(set, |field| field.set_type(prost_types::field_descriptor_proto::Type::Bytes))).len(),
            1
        );
        assert_eq!(
            breaks_after(|set| field(set, |field| field.set_label(prost_types::field_descriptor_proto::Label::Repeated))).len(),
            1
        );
        assert_eq!(breaks_after(|set| message(set, "Event").oneof_decl[0].name = Some("kind".into())).len(), 2);
    }

    #[test]
    fn nested_messages_and_enums_are_seen() {
        let gone = breaks_after(|set| message(set, "Stream").enum_type.clear());
        assert_eq!(gone, ["enum loadline.ingest.v1.Stream.State is gone"]);
        let value = breaks_after(|set| drop(message(set, "Period").enum_type[0].value.remove(3)));
        assert_eq!(value, ["value STATE_FINAL = 3 of enum loadline.query.v1.Period.State is gone"]);
        let renamed = breaks_after(|set| message(set, "Period").enum_type[0].value[3].name = Some("STATE_DONE".into()));
        assert_eq!(renamed.len(), 1);
    }

    #[test]
    fn a_method_that_goes_or_streams_otherwise_is_a_break() {
        let service = |set: &mut FileDescriptorSet| set.file.iter().position(|file| !file.service.is_empty()).unwrap();
        let gone = breaks_after(|set| {
            let at = service(set);
            set.file[at].service[0].method.remove(0);
        });
        assert!(gone.len() == 1 && gone[0].starts_with("method "), "{gone:?}");
        let streams = breaks_after(|set| {
            let at = service(set);
            let method = &mut set.file[at].service[0].method[0];
            method.server_streaming = Some(!method.server_streaming());
        });
        assert_eq!(streams.len(), 1);
        let whole = breaks_after(|set| {
            let at = service(set);
            set.file[at].service.clear();
        });
        assert!(whole.iter().all(|text| text.starts_with("service ")) && !whole.is_empty());
    }
}
