//! The backend is chosen once, by URL.

use super::{Registry, RegistryError, files::FilesRegistry, mlflow::MlflowRegistry};
use loadline_domain::{Clock, time::SystemClock};
use std::{fmt, sync::Arc, time::Duration};

/// How a registry is used.
#[derive(Clone)]
pub struct Options {
    /// Longest a call may take that moves no file.
    pub timeout: Duration,
    /// Longest a file may take, up or down.
    pub transfer_timeout: Duration,
    /// Most bytes of a file that is registered. A server holds it in memory as long as it takes.
    pub largest: u64,
    /// Rows asked of a server at once: fewer calls, or smaller answers.
    pub page: u32,
    /// When a version was registered, where the registry is a folder.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            transfer_timeout: Duration::from_secs(60),
            largest: 256 << 20,
            page: 200,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Options");
        shown.field("timeout", &self.timeout).field("transfer_timeout", &self.transfer_timeout);
        shown.field("largest", &self.largest).field("page", &self.page).finish_non_exhaustive()
    }
}

/// Opens the registry a URL names. Nothing is touched before [`Registry::prepare`].
///
/// - `file:FOLDER`: files on disk.
/// - `mlflow+http://HOST:PORT/PREFIX`, `mlflow+https://USER:PASSWORD@HOST`, `mlflow+https://:TOKEN@HOST`: an MLflow server that
///   serves artifacts itself.
///
/// # Errors
/// [`RegistryError::Misconfigured`] for a URL that names no registry, with examples; its text never holds a password.
pub fn open(url: &str, options: Options) -> Result<Arc<dyn Registry>, RegistryError> {
    if options.page == 0 || options.page > 1_000 {
        return Err(RegistryError::Misconfigured(format!("a page of {} rows; use 1 to 1000", options.page)));
    }
    match url.split_once(':') {
        Some(("file", "")) => Err(wrong_url("a URL without a folder")),
        Some(("file", folder)) => Ok(Arc::new(FilesRegistry::new(folder.into(), options))),
        Some((scheme @ ("mlflow+http" | "mlflow+https"), rest)) => Ok(Arc::new(MlflowRegistry::new(scheme, rest, options)?)),

        // Nothing is repeated: what there is may be a password.
        _ => Err(wrong_url("a URL without a known scheme")),
    }
}

/// A refusal that shows what would do.
pub(super) fn wrong_url(what: &str) -> RegistryError {
    RegistryError::Misconfigured(format!(
        "{what} names no registry; use `file:data/models`, `mlflow+http://host:5000` or `mlflow+https://user:password@host/prefix`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_shows_valid_ones_and_no_password() {
        let wrong = [
            "postgres://me:hunter2@host/db",
            "http://me:hunter2@host",
            "hunter2@host",
            "",
            "file:",
            "mlflow://me:hunter2@host",
            "mlflow+http:",
            "mlflow+http:hunter2",
            "mlflow+http://",
            "mlflow+http:///hunter2",
            "mlflow+https://me:hunter2@host:port",
            "mlflow+https://me:hunter2@host/a?secret=hunter2",
            "mlflow+https://me:hunter2@host/a#hunter2",
            "mlflow+https://hunter2@host",
            "mlflow+https://:hunter2%0a@host",
        ];
        for url in wrong {
            let error = open(url, Options::default()).err().unwrap_or_else(|| panic!("{url} was taken")).to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("file:data/models"), "{error}");
        }
    }

    #[test]
    fn valid_urls_open_without_touching_anything() {
        let valid = [
            "mlflow+http://127.0.0.1:1",
            "mlflow+http://[::1]:5000/",
            "mlflow+https://me:p%40ss@host/a/prefix",
            "mlflow+https://:token@host",
        ];
        for url in valid {
            assert!(open(url, Options::default()).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_page_of_no_rows_is_refused() {
        for page in [0, 1_001] {
            let refused = open("file:x", Options { page, ..Options::default() });
            assert!(matches!(refused, Err(RegistryError::Misconfigured(_))));
        }
    }
}
