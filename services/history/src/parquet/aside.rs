//! Threads of their own for calls on a file system: one that hangs (a network mount whose server is gone) keeps every thread that
//! asked it, and must not keep those that the rest of the process needs.

use object_store::{Error, Result};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio_util::context::TokioContext;

/// Calls under way at once. Further ones wait for a thread, and their callers for no longer than they wish.
const THREADS: usize = 64;

/// Some threads. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Aside(Arc<Threads>);

#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Aside {
    pub fn new() -> std::io::Result<Self> {
        // Nothing is ever run on it but blocking calls: it has no other threads.
        let runtime = Builder::new_current_thread().max_blocking_threads(THREADS).thread_name("history-files").build()?;
        Ok(Self(Arc::new(Threads(Some(runtime)))))
    }

    /// The future, whose blocking calls are made here.
    pub async fn within<F: Future>(&self, future: F) -> F::Output {
        let handle = self.runtime().handle().clone();
        TokioContext::new(future, handle).await
    }

    /// What a blocking call gives.
    pub async fn call<T: Send + 'static>(&self, call: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
        let given = self.runtime().spawn_blocking(call).await?;
        given.map_err(|source| Error::Generic { store: "disk", source: source.into() })
    }

    /// The same for a future that blocks by itself.
    pub async fn drive<T: Send + 'static>(&self, future: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.runtime().spawn_blocking(move || futures::executor::block_on(future)).await?
    }

    fn runtime(&self) -> &Runtime {
        self.0.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Threads {
    /// Without waiting: what hangs may hang for ever.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
