//! Names that registries, folders, URLs and terminals all take: nothing in them leads anywhere else.
//!
//! Both backends take the same names, so that models can move between them.

use super::RegistryError;
use std::collections::BTreeMap;

/// Longest name of a model, in characters.
pub const LONGEST_MODEL: usize = 128;
/// Longest alias, in characters.
pub const LONGEST_ALIAS: usize = 64;
/// Longest key of a property, in characters.
pub const LONGEST_KEY: usize = 100;
/// Longest value of a property, in bytes: what MLflow keeps in a column.
pub const LONGEST_VALUE: usize = 5_000;
/// Most properties of a version.
pub const MOST_PROPERTIES: usize = 64;
/// Longest all properties of a version together, in bytes.
pub const LONGEST_PROPERTIES: usize = 16 << 10;
/// Keys that registries keep for themselves.
pub const RESERVED_KEYS: [&str; 2] = ["sha256", "size"];

/// Whether a model can have this name.
///
/// # Errors
/// [`RegistryError::Refused`] says what names may be.
pub fn model(name: &str) -> Result<(), RegistryError> {
    if is_plain(name, LONGEST_MODEL) { Ok(()) } else { Err(refused("a model's name", name, LONGEST_MODEL)) }
}

/// Whether an alias can have this name. MLflow has its own meaning for `latest` and `v1`, and a number would be read as a
/// version.
///
/// # Errors
/// [`RegistryError::Refused`] says what names may be.
pub fn alias(name: &str) -> Result<(), RegistryError> {
    if !is_plain(name, LONGEST_ALIAS) || name.contains('.') {
        return Err(RegistryError::Refused(format!(
            "`{}` is no alias; use letters, digits, `-` and `_`, at most {LONGEST_ALIAS}, such as `champion`",
            super::error::shown(name.as_bytes())
        )));
    }
    let number = name.strip_prefix(['v', 'V']).unwrap_or(name);
    if name.eq_ignore_ascii_case("latest") || number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RegistryError::Refused(format!("`{name}` means a version; use a word for an alias, such as `champion`")));
    }
    Ok(())
}

/// Whether a version can have these properties: keys like names, values of any text without control characters but line
/// breaks and tabs.
///
/// # Errors
/// [`RegistryError::Refused`] names the first that cannot be taken, and why.
pub fn properties(properties: &BTreeMap<String, String>) -> Result<(), RegistryError> {
    if properties.len() > MOST_PROPERTIES {
        return Err(RegistryError::Refused(format!(
            "{} properties are too many; give at most {MOST_PROPERTIES}",
            properties.len()
        )));
    }
    for (key, value) in properties {
        if !is_plain(key, LONGEST_KEY) {
            return Err(refused("a property's key", key, LONGEST_KEY));
        }
        if RESERVED_KEYS.contains(&key.as_str()) {
            return Err(RegistryError::Refused(format!("property `{key}` is written by the registry itself; leave it out")));
        }
        if value.len() > LONGEST_VALUE || !is_text(value) {
            return Err(RegistryError::Refused(format!(
                "property `{key}` is longer than {LONGEST_VALUE} bytes or has control characters; give a shorter text"
            )));
        }
    }
    let together: usize = properties.iter().map(|(key, value)| key.len() + value.len()).sum();
    if together > LONGEST_PROPERTIES {
        return Err(RegistryError::Refused(format!(
            "properties have {together} bytes together; give at most {LONGEST_PROPERTIES}"
        )));
    }
    Ok(())
}

/// Whether a property that came back is one of those that can be given.
pub(super) fn is_property(key: &str, value: &str) -> bool {
    is_plain(key, LONGEST_KEY) && !RESERVED_KEYS.contains(&key) && value.len() <= LONGEST_VALUE && is_text(value)
}

/// Letters, digits, `.`, `-` and `_`, beginning with a letter or digit, without `..`: no path, no option, no hidden file.
fn is_plain(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !name.contains("..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn is_text(value: &str) -> bool {
    value.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

fn refused(what: &str, name: &str, longest: usize) -> RegistryError {
    RegistryError::Refused(format!(
        "`{}` cannot be {what}; use letters, digits, `.`, `-` and `_`, at most {longest}, beginning with a letter or digit",
        super::error::shown(name.as_bytes())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        let long = "x".repeat(LONGEST_MODEL + 1);
        let wrong = [
            "",
            ".",
            "..",
            "a..b",
            "../a",
            "a/b",
            "a\\b",
            "/a",
            "a\0",
            "a\n",
            ".new-1",
            "-rf",
            "a b",
            "a:b",
            "a%2fb",
            "é",
            "a'",
            "\u{202e}a",
            &long,
        ];
        for name in wrong {
            let refused = model(name).unwrap_err().to_string();
            assert!(refused.contains("use letters"), "{refused}");
            assert!(!refused.contains(['\0', '\n', '\u{202e}']), "{refused}");
            assert!(alias(name).is_err(), "{name}");
            assert!(!is_property(name, ""), "{name}");
        }
        for name in ["a", "match-1x2", "Elo_v2.1", &long[1..]] {
            model(name).unwrap();
        }
    }

    #[test]
    fn aliases_that_mean_a_version_are_none() {
        for name in ["latest", "Latest", "v1", "V23", "7", "a.b", "v"] {
            assert!(alias(name).is_err(), "{name}");
        }
        for name in ["champion", "v1-candidate", "2026-autumn", "_".repeat(2).replacen('_', "a", 1).as_str()] {
            alias(name).unwrap();
        }
    }

    #[test]
    fn properties_are_bounded_each_and_together() {
        let one = |key: &str, value: String| properties(&BTreeMap::from([(key.to_owned(), value)]));
        one("feature-set", "2026\t\n".to_owned()).unwrap();
        one("k", "x".repeat(LONGEST_VALUE)).unwrap();
        let refused = [
            one("sha256", String::new()),
            one("a b", String::new()),
            one("k", "\0".to_owned()),
            one("k", "x".repeat(LONGEST_VALUE + 1)),
            properties(&(0..65).map(|at| (format!("k{at}"), String::new())).collect()),
            properties(&(0..4).map(|at| (format!("k{at}"), "x".repeat(LONGEST_VALUE))).collect()),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(RegistryError::Refused(_))), "{refused:?}");
        }
    }
}
