//! The backend is chosen once, by URL.

use crate::{Store, StoreError, postgres::PostgresStore, sqlite::SqliteStore};
use loadline_domain::Rules;
use std::sync::Arc;

/// How a store is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most connections to keep open at once. Each costs the embedded store up to 4 MiB of page cache, PostgreSQL a process.
    pub max_connections: u32,
    /// What may be counted: says which lost records may have held events of a range.
    pub rules: Rules,
    /// Rows of hours of settled days to keep in memory for questions asked again; each costs some 100 bytes. 0 keeps none.
    pub kept_rows: u64,
    /// Questions about accounts are put to this store: what plans of answers cost is paid as a connection opens, not by the first that
    /// asks on it.
    pub answers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_connections: 5, rules: Rules::default(), kept_rows: 250_000, answers: false }
    }
}

/// Opens the store a URL names: `sqlite:PATH` (the file and its folder are made) or `postgres://…`.
///
/// A PostgreSQL that is down does not fail here: its first calls are [`StoreError::Unavailable`].
///
/// # Errors
/// [`StoreError::Misconfigured`] for a URL that names no store, with examples; its text never holds a password.
/// [`StoreError::Unavailable`] when the SQLite file cannot be opened.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Store>, StoreError> {
    if options.max_connections == 0 {
        return Err(StoreError::Misconfigured("max_connections is 0; allow at least 1".to_owned()));
    }
    match url.split_once(':') {
        Some(("sqlite", path)) => Ok(Arc::new(SqliteStore::open(path, options).await?)),
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(PostgresStore::connect(url, options)?)),
        // Only the scheme is repeated: what follows may hold a password.
        Some((scheme, _)) if is_scheme(scheme) => Err(wrong_url(&format!("a URL that starts with `{scheme}:`"))),
        _ => Err(wrong_url("a URL without a known scheme")),
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() <= 20
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn wrong_url(what: &str) -> StoreError {
    StoreError::Misconfigured(format!(
        "{what} names no store; use `sqlite:data/store.db` or `postgres://user@host:5432/loadline`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_url_shows_valid_ones_and_no_password() {
        for url in ["mysql://me:hunter2@host/db", "hunter2@host", "", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=hunter2"] {
            let error = open(url, Options::default()).await.err().expect("refused").to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("sqlite:data/store.db"), "{error}");
        }
    }

    #[tokio::test]
    async fn no_connections_at_all_are_refused() {
        let refused = open("sqlite:x.db", Options { max_connections: 0, ..Options::default() }).await;
        assert!(matches!(refused, Err(StoreError::Misconfigured(_))));
    }
}
