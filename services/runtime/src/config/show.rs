//! The effective configuration as a file one could start from.

use serde::Serialize;

/// The configuration as TOML, secrets hidden. Keys that are not set are left out.
///
/// # Errors
/// When a value of `T` has no TOML form (a map with non-text keys, a number beyond 64 bits).
pub fn show<T: Serialize>(config: &T) -> Result<String, toml::ser::Error> {
    toml::Table::try_from(config).and_then(|table| toml::to_string_pretty(&table))
}
