//! Chooses the backend by URL.

use crate::{EventLog, LogError, embedded::Embedded, jetstream::JetStream};
use std::sync::Arc;

/// Opens the log at `url`: `sqlite:PATH` for the embedded one (file and folder are made), `nats://…` or `tls://…` for
/// JetStream; several servers are separated by commas. `nats://user:password@host` and `nats://token@host` authenticate.
///
/// # Errors
/// [`LogError::Misconfigured`] for a URL that names no log or is refused by it, [`LogError::Unavailable`] when the log cannot
/// be reached now. Neither prints credentials.
pub async fn open(url: &str) -> Result<Arc<dyn EventLog>, LogError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path_of(path).is_empty() => Ok(Arc::new(Embedded::open(path_of(path)).await?)),
        Some(("nats" | "tls", rest)) if rest.len() > 2 && rest.starts_with("//") => Ok(Arc::new(JetStream::connect(url).await?)),
        scheme => Err(LogError::Misconfigured(format!(
            "`{}` is no event log; use sqlite:data/log.db, nats://127.0.0.1:4222 or tls://nats.example.net:4222",
            scheme.map_or_else(|| "a URL without a scheme".into(), |(scheme, _)| format!("{scheme}:…"))
        ))),
    }
}

/// `sqlite:PATH` and `sqlite://PATH` are the same.
fn path_of(rest: &str) -> &str {
    rest.strip_prefix("//").unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_url_is_answered_with_examples_and_without_credentials() {
        for url in ["kafka://user:secret@host", "user-secret", "", "sqlite:", "sqlite://", "nats:", "nats://"] {
            let Err(LogError::Misconfigured(text)) = open(url).await else { panic!("{url} was accepted") };
            assert!(text.contains("sqlite:data/log.db") && text.contains("nats://127.0.0.1:4222"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_server_that_cannot_be_reached_is_named_without_credentials() {
        let Err(error) = open("nats://user:secret@127.0.0.1:1").await else { panic!("nobody listens there") };
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1") && !error.to_string().contains("secret"), "{error}");
    }
}
