//! What a run is told, as a caller writes it: a JSON object that says each thing once.

use loadline_runtime::errors;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use tonic::Status;

/// The object; an empty one for an empty text.
pub fn read(text: &str) -> Result<Value, Status> {
    let entries = if text.is_empty() { Vec::new() } else { entries(text)? };
    let mut told = Map::new();
    for (name, value) in entries {
        // Of two values nobody knows which was meant.
        if told.contains_key(&name) {
            return Err(errors::invalid("parameters", format!("name {name:?} twice; send it once")));
        }
        told.insert(name, value);
    }
    Ok(Value::Object(told))
}

fn entries(text: &str) -> Result<Vec<(String, Value)>, Status> {
    let read = serde_json::from_str(text).map(|Entries(entries)| entries);
    read.map_err(|_| errors::invalid("parameters", "is no JSON object; send one, or nothing"))
}

/// An object as it is written; a map would have forgotten what was there twice.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_read_and_nothing_is_an_empty_one() {
        assert_eq!(read("").unwrap(), json!({}));
        assert_eq!(read(r#"{"b": [1], "a": null}"#).unwrap(), json!({"a": null, "b": [1]}));
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let refused = read(r#"{"repair": false, "hours": 1, "repair": true}"#).unwrap_err();
        assert!(refused.message().contains(r#""repair" twice"#), "{refused}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["keep_days=3", "[]", "null", "3", "{", r#"{"a": 1} {}"#, " "] {
            assert!(read(text).unwrap_err().message().contains("no JSON object"), "{text}");
        }
    }
}
