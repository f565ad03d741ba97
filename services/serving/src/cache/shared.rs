//! The tier that processes share: a port, what it is without one, and behind faults.

use super::{Entry, Key, redis::Redis};
use async_trait::async_trait;
use loadline_fault::{Fails, Faults, Faulty, faulty};
use loadline_models::{Sha256, Tensor};
use loadline_runtime::config::SecretUrl;
use std::{sync::Arc, time::Duration};

/// Why the shared tier gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// It is down, or slow.
    #[error("the shared cache is unavailable: {0}")]
    Unavailable(String),
    /// What it gave is no entry.
    #[error("{0}")]
    Damaged(#[from] super::entry::Damaged),
    /// It can never be used as it is configured.
    #[error("the shared cache cannot be used: {0}")]
    Misconfigured(String),
}

/// Answers that processes share. A call takes tens of milliseconds at most, but for [`Shared::probe`], [`Shared::reconnect`] and
/// [`Shared::flush`].
#[async_trait]
pub trait Shared: Send + Sync {
    /// The entry under a key, if there is one. It may be any entry: whoever asks looks whether it is the one.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, SharedError>;

    /// Keeps an entry for a while.
    async fn put(&self, entry: &Entry) -> Result<(), SharedError>;

    /// Takes out all entries of an artifact, or all there are; how many.
    async fn flush(&self, artifact: Option<&Sha256>) -> Result<u64, SharedError>;

    /// Whether it answers now; connects where there is no connection.
    async fn probe(&self) -> Result<(), SharedError>;

    /// Drops the connection, looks its address up again, and probes.
    async fn reconnect(&self) -> Result<(), SharedError>;

    /// Whether there is one.
    fn is_there(&self) -> bool;
}

/// The tier of a URL: `none:`, or `redis://…`. Nothing is asked of it yet.
///
/// # Errors
/// A URL that names none.
pub fn open(url: &SecretUrl, ttl: Duration, faults: Option<&Faults>) -> Result<Arc<dyn Shared>, SharedError> {
    let tier: Arc<dyn Shared> = match url.scheme() {
        "none" => Arc::new(Nothing),
        _ => Arc::new(Redis::new(url.reveal(), ttl)?),
    };
    Ok(match faults {
        Some(faults) => Arc::new(Faulty::new(tier, faults.clone())),
        None => tier,
    })
}

/// No tier: it has nothing, keeps nothing, and is never down.
struct Nothing;

#[async_trait]
impl Shared for Nothing {
    async fn get(&self, _: &Key) -> Result<Option<Entry>, SharedError> {
        Ok(None)
    }

    async fn put(&self, _: &Entry) -> Result<(), SharedError> {
        Ok(())
    }

    async fn flush(&self, _: Option<&Sha256>) -> Result<u64, SharedError> {
        Ok(0)
    }

    async fn probe(&self) -> Result<(), SharedError> {
        Ok(())
    }

    async fn reconnect(&self) -> Result<(), SharedError> {
        Ok(())
    }

    fn is_there(&self) -> bool {
        false
    }
}

faulty! { Shared, SharedError;
    get(key: &Key) -> Option<Entry>, corrupted |_| Some(of_another());
    put(entry: &Entry) -> ();
    flush(artifact: Option<&Sha256>) -> u64;
    probe() -> ();
    reconnect() -> ();
    .. {
        fn is_there(&self) -> bool {
            self.inner().is_there()
        }
    }
}

/// What a cache would give that mixes up its models.
fn of_another() -> Entry {
    Entry { key: Key::of(Sha256::of(b"another artifact"), &[]), outputs: Vec::<Tensor>::new().into() }
}

impl Fails for SharedError {
    fn unavailable(why: String) -> Self {
        Self::Unavailable(why)
    }

    fn broken(why: String) -> Self {
        Self::Misconfigured(why)
    }

    /// An entry that may be kept or not is one that may be found or not.
    fn unknown(why: String) -> Self {
        Self::Unavailable(why)
    }
}
