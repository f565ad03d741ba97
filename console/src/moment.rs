//! A point in time as the console knows it: for how long it has run, and what the clock on the wall says.

use jiff::Timestamp;
use std::time::Duration;

/// Ages are counted in `elapsed`, which never jumps; `wall` is only shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since the console started.
    pub elapsed: Duration,
    /// UTC.
    pub wall: Timestamp,
}

impl Moment {
    /// The start, by this clock.
    pub const fn start(wall: Timestamp) -> Self {
        Self { elapsed: Duration::ZERO, wall }
    }

    /// So much later, by both clocks.
    pub fn after(self, by: Duration) -> Self {
        let wall = self.wall.checked_add(by).unwrap_or(Timestamp::MAX);
        Self { elapsed: self.elapsed.saturating_add(by), wall }
    }

    /// Since `earlier`; nothing if it lies ahead.
    pub fn since(self, earlier: Duration) -> Duration {
        self.elapsed.saturating_sub(earlier)
    }
}
