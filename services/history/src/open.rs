//! The backend is chosen once, by URL.

use crate::{History, HistoryError, clickhouse::ClickHouseHistory, parquet::ParquetHistory};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How a history is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Longest a question, or a step of writing, may take.
    pub timeout: Duration,
    /// Most memory questions over files may use together; beyond it they spill.
    pub memory_bytes: usize,
    /// Most memory for checksums, footers and page indexes of files, some percent of the files' size; what is forgotten is
    /// read again when it is asked for.
    pub cache_bytes: usize,
    /// Where questions over files spill; the system's folder for temporary files when absent.
    pub spill_folder: Option<PathBuf>,
    /// Most they may spill together.
    pub spill_bytes: u64,
    /// Questions over files answered at once, and threads of each; the number of cores when absent.
    pub threads: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            memory_bytes: 512 << 20,
            cache_bytes: 256 << 20,
            spill_folder: None,
            spill_bytes: 4 << 30,
            threads: None,
        }
    }
}

/// Opens the history a URL names. Nothing is touched before [`History::prepare`].
///
/// - `file:FOLDER`: Parquet files on disk.
/// - `s3://BUCKET/PREFIX?endpoint=http://host:9000&region=us-east-1`: Parquet files in a bucket, which must exist. Credentials
///   are `access_key` and `secret_key` in the URL, else those of the environment (`AWS_ACCESS_KEY_ID` and so on).
/// - `clickhouse://USER:PASSWORD@HOST:8123/DATABASE?compression=none&tls=true`: a database that must exist. LZ4 is on unless
///   said otherwise.
///
/// # Errors
/// [`HistoryError::Misconfigured`] for a URL that names no history, with examples; its text never holds a password.
pub fn open(url: &str, options: Options) -> Result<Arc<dyn History>, HistoryError> {
    if options.threads == Some(0) {
        return Err(HistoryError::Misconfigured("threads is 0; allow at least 1".to_owned()));
    }
    match url.split_once(':') {
        Some(("file", folder)) => Ok(Arc::new(ParquetHistory::on_disk(folder, options)?)),
        Some(("s3", rest)) => Ok(Arc::new(ParquetHistory::in_bucket(rest, options)?)),
        Some(("clickhouse", rest)) => Ok(Arc::new(ClickHouseHistory::new(rest, options)?)),

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

/// A refusal that shows what would do.
pub(crate) fn wrong_url(what: &str) -> HistoryError {
    HistoryError::Misconfigured(format!(
        "{what} names no history; use `file:data/history`, `s3://bucket/prefix?endpoint=http://host:9000` or \
         `clickhouse://user@host:8123/loadline`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_shows_valid_ones_and_no_password() {
        let wrong = [
            "postgres://me:hunter2@host/db",
            "hunter2@host",
            "",
            "file:",
            "s3:bucket/hunter2",
            "s3://",
            "s3:///hunter2",
            "s3://bucket/p?secret=hunter2",
            "s3://bucket/p?endpoint=hunter2",
            "s3://me:hunter2@bucket/p",
            "clickhouse://me:hunter2@",
            "clickhouse:hunter2",
            "clickhouse://me:hunter2@host:port/db",
            "clickhouse://me:hunter2@host/db?lz4=off",
            "clickhouse://me:hunter2@host/d`b",
            "clickhouse://me:hunter2@host/db?compression=gzip",
        ];
        for url in wrong {
            let error = open(url, Options::default()).err().unwrap_or_else(|| panic!("{url} was taken")).to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("file:data/history"), "{error}");
        }
    }

    #[test]
    fn valid_urls_open_without_touching_anything() {
        let valid = [
            "s3://bucket",
            "s3://bucket/a/prefix?endpoint=http://127.0.0.1:1&region=eu-1&access_key=a&secret_key=b",
            "clickhouse://host",
            "clickhouse://me:p%40ss@[::1]:8123/db_1?compression=none&tls=false",
        ];
        for url in valid {
            assert!(open(url, Options::default()).is_ok(), "{url}");
        }
    }

    #[test]
    fn no_threads_at_all_are_refused() {
        let refused = open("file:x", Options { threads: Some(0), ..Options::default() });
        assert!(matches!(refused, Err(HistoryError::Misconfigured(_))));
    }
}
