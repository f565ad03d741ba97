//! The console's clock: the one place that reads time.

use crate::moment::Moment;
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// A clock that started with the console.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// The wall clock at the start, where it is not the system's.
    wall: Option<Timestamp>,
}

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self { start: Instant::now(), wall: None }
    }

    /// One whose wall clock starts at a given time and follows the runtime's, for tests.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { start: Instant::now(), wall: Some(wall) }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    /// When that was.
    pub fn at(&self, instant: Instant) -> Moment {
        let elapsed = instant.saturating_duration_since(self.start);
        let wall = match self.wall {
            Some(start) => Moment::start(start).after(elapsed).wall,
            None => Timestamp::now(),
        };
        Moment { elapsed, wall }
    }

    /// The instant of this time since the start.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.start + elapsed
    }
}
