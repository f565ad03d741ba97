//! The backend is chosen once, by URL.

use super::{Registry, RegistryError, files::FilesRegistry};
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
    /// When a version was registered, where the registry is a folder.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            transfer_timeout: Duration::from_secs(60),
            largest: 256 << 20,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Options");
        shown.field("timeout", &self.timeout).field("transfer_timeout", &self.transfer_timeout);
        shown.field("largest", &self.largest).finish_non_exhaustive()
    }
}

/// Opens the registry a URL names. Nothing is touched before [`Registry::prepare`].
///
/// - `file:FOLDER`: files on disk.
///
/// # Errors
/// [`RegistryError::Misconfigured`] for a URL that names no registry, with examples; its text never holds a password.
pub fn open(url: &str, options: Options) -> Result<Arc<dyn Registry>, RegistryError> {
    match url.split_once(':') {
        Some(("file", "")) => Err(wrong_url("a URL without a folder")),
        Some(("file", folder)) => Ok(Arc::new(FilesRegistry::new(folder.into(), options))),

        // Nothing is repeated: what there is may be a password.
        _ => Err(wrong_url("a URL without a known scheme")),
    }
}

/// A refusal that shows what would do.
fn wrong_url(what: &str) -> RegistryError {
    RegistryError::Misconfigured(format!("{what} names no registry; use `file:data/models`"))
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
        ];
        for url in wrong {
            let error = open(url, Options::default()).err().unwrap_or_else(|| panic!("{url} was taken")).to_string();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("file:data/models"), "{error}");
        }
    }

    #[test]
    fn a_folder_opens_without_touching_anything() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        assert!(open(&format!("file:{}", absent.display()), Options::default()).is_ok());
        assert!(!absent.exists());
    }
}
