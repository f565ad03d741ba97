//! The query service as a process of its own has it, and those who ask it as another: a runtime each, beside the bench's.

use anyhow::Context as _;
use loadline_event_log::EventLog;
use loadline_platform::{Kept, Platform};
use loadline_query::serve::{Backends, serve};
use loadline_runtime::{Shutdown, admin::Readiness, telemetry};
use loadline_settings::Settings;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::{net::TcpListener, runtime::Builder, task::spawn_blocking};

/// Threads of the service: the machine's others are left to the database and to who asks.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// The service on a free port, until the shutdown that is returned begins.
///
/// # Errors
/// When no port is free.
pub fn start(log: Arc<dyn EventLog>, store: &str) -> anyhow::Result<(SocketAddr, Shutdown)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let (address, shutdown) = (listener.local_addr()?, Shutdown::new());
    let runtime = Builder::new_multi_thread().worker_threads(workers()).enable_all().build()?;
    let (store, ending) = (store.to_owned(), shutdown.clone());
    std::thread::spawn(move || {
        if let Err(error) = runtime.block_on(served(log, &store, listener, ending)) {
            eprintln!("query ended: {error:#}");
        }
    });
    Ok((address, shutdown))
}

async fn served(log: Arc<dyn EventLog>, store: &str, listener: std::net::TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    let settings = Settings::default();
    let telemetry = telemetry::init(&settings.telemetry, "loadline-bench", crate::build())?;
    let options = settings.store.options_to_answer(settings.rules.rules());
    let store = loadline_store::open(store, options).await?;
    let history = loadline_history::open(settings.history.url.reveal(), loadline_history::Options::default())?;
    let platform = Platform::new(Kept::new(settings, None, vec![]), telemetry);
    let (backends, readiness) = (Backends { store, history, log }, Readiness::new(&["store"]));
    serve(&platform, backends, TcpListener::from_std(listener)?, &readiness, &shutdown).await
}

/// What a caller does, on one thread.
///
/// # Errors
/// Its own.
pub async fn caller<T: Send + 'static>(asks: impl Future<Output = anyhow::Result<T>> + Send + 'static) -> anyhow::Result<T> {
    let asks = spawn_blocking(|| Builder::new_current_thread().enable_all().build()?.block_on(asks));
    asks.await.context("a caller")?
}
