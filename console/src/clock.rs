//! The console's clock: the one place that reads time.

use crate::moment::Moment;
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// The runtime keeps timers in slots of so long, counted from when it was built. A timer that is due at the end of one wakes the
/// thread once; any other wakes it at the slot's beginning too, to be put into a finer one.
const SLOT: Duration = Duration::from_millis(64);

/// A clock that started with the console: just before its runtime was built, so that [`Clock::cheapest`] is right about slots.
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

    /// The first instant from this one on at which a timer costs no more than it has to.
    pub fn cheapest(&self, instant: Instant) -> Instant {
        let (slot, since) = (SLOT.as_nanos(), instant.saturating_duration_since(self.start).as_nanos());
        let left = (slot - since % slot) % slot;
        instant + Duration::from_nanos(u64::try_from(left).unwrap_or_default())
    }

    /// When the clock on the wall next shows another second than now, or a moment later.
    pub fn next_second(&self) -> Instant {
        let now = self.now();
        let left = 1_000_000_000 - now.wall.subsec_nanosecond().rem_euclid(1_000_000_000);
        self.cheapest(self.instant(now.elapsed) + Duration::from_nanos(left.unsigned_abs().into()))
    }

    /// The instant of this time since the start.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.start + elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    proptest! {
        #[test]
        fn the_cheapest_instant_ends_a_slot_and_is_not_a_slot_away(nanos in 0_u64..10_000_000_000_000) {
            let clock = Clock::starting_at(START);
            let asked = clock.instant(Duration::from_nanos(nanos));
            let due = clock.cheapest(asked);
            prop_assert_eq!((due - clock.start).as_nanos() % SLOT.as_nanos(), 0);
            prop_assert!(asked <= due && due - asked < SLOT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_second_of_the_wall_is_met_once_and_within_a_slot() {
        // What the wall showed when the console started is no whole second.
        for offset in [0, 1, 400_000_000, 999_999_999] {
            let clock = Clock::starting_at(START + Duration::from_nanos(offset));
            for second in 1..200 {
                tokio::time::sleep_until(clock.next_second()).await;
                let wall = clock.now().wall;
                // Timers are due in whole milliseconds.
                assert_eq!(wall.as_second(), second, "{offset}: {wall}");
                assert!(wall.subsec_nanosecond() <= 65_000_000, "{offset}: {wall}");
            }
        }
    }
}
