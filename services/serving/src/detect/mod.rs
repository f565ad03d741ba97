//! The failure modes this service sees, one a file: its id, how often it is looked at, and what tells the monitor.

pub mod cache;
pub mod queue;
pub mod registry;
pub mod regression;
pub mod stale;

use crate::Serving;
use loadline_health::{Monitor, MonitorError};
use loadline_runtime::Shutdown;

/// The modes, for [`Monitor::new`].
pub const DETECTS: &[&str] = &[registry::MODE, queue::MODE, regression::MODE, cache::MODE, stale::MODE];

impl Serving {
    /// Reports to `monitor` until shutdown.
    ///
    /// # Errors
    /// At once, when the monitor was not made for [`DETECTS`].
    pub async fn detect(&self, monitor: &Monitor, shutdown: &Shutdown) -> Result<(), MonitorError> {
        monitor.expect_every(registry::MODE, registry::EXPECTED_EVERY)?;
        monitor.expect_every(queue::MODE, queue::EXPECTED_EVERY)?;
        monitor.expect_every(regression::MODE, regression::EXPECTED_EVERY)?;
        monitor.expect_every(cache::MODE, cache::EXPECTED_EVERY)?;
        monitor.expect_every(stale::MODE, stale::EXPECTED_EVERY)?;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = registry::watch(&self.library, monitor) => {}
            () = queue::watch(&self.jobs, monitor) => {}
            () = regression::watch(self, monitor) => {}
            () = cache::watch(&self.cache, monitor) => {}
            () = stale::watch(&self.cache, monitor) => {}
        }
        Ok(())
    }
}
