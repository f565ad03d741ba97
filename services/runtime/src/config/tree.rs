//! Dotted keys in a tree of values: the common form of defaults, file, environment and flags.

use serde_json::{Map, Value};

/// Lays `over` on `base`: tables are merged key by key, everything else (lists too) is replaced whole.
pub(super) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// Sets the value of a dotted key, making tables on the way. A list element must exist or be the next one; otherwise `false`.
pub(super) fn set(tree: &mut Value, path: &[String], value: Value) -> bool {
    let Some((first, rest)) = path.split_first() else {
        *tree = value;
        return true;
    };
    if tree.is_null() {
        *tree = Value::Object(Map::new());
    }
    match tree {
        Value::Object(table) => set(table.entry(first.clone()).or_insert(Value::Null), rest, value),
        Value::Array(list) => match first.parse::<usize>() {
            Ok(index) if index <= list.len() => {
                if index == list.len() {
                    list.push(Value::Null);
                }
                set(&mut list[index], rest, value)
            }
            _ => false,
        },
        _ => false,
    }
}

/// The value of a dotted key.
pub(super) fn get<'a>(tree: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |at, key| match at {
        Value::Object(table) => table.get(key),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Removes the value of a dotted key and returns it. List elements move up.
pub(super) fn remove(tree: &mut Value, path: &[String]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let parent = parents.iter().try_fold(tree, |at, key| match at {
        Value::Object(table) => table.get_mut(key),
        Value::Array(list) => list.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })?;
    match parent {
        Value::Object(table) => table.remove(last),
        Value::Array(list) => last.parse::<usize>().ok().filter(|i| *i < list.len()).map(|i| list.remove(i)),
        _ => None,
    }
}

/// Drops every string for which `drop` holds from the tables of a tree.
pub(super) fn prune(tree: &mut Value, drop: &impl Fn(&str) -> bool) {
    match tree {
        Value::Object(table) => {
            table.retain(|_, value| !value.as_str().is_some_and(drop));
            table.values_mut().for_each(|value| prune(value, drop));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| prune(value, drop)),
        _ => {}
    }
}

/// `a.b.0.c` as its parts; none for the whole tree.
pub(super) fn parts(key: &str) -> Vec<String> {
    if key.is_empty() { Vec::new() } else { key.split('.').map(str::to_owned).collect() }
}
