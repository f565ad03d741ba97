//! Longest time that anything is waited for before a mode opens or closes: unlimited, but in tests of the product.

use super::Monitor;
use std::time::Duration;

/// A hold, clear or look-back time is no longer than this. Nothing that is shorter changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Longest(pub(crate) Duration);

impl Longest {
    pub(crate) const UNLIMITED: Self = Self(Duration::MAX);

    pub(crate) fn of(self, time: Duration) -> Duration {
        time.min(self.0)
    }
}

impl Monitor {
    /// From now on modes open and close on less evidence than the catalogue asks for: no hold or clear time is longer. Each
    /// frame and the result of each drill say so. For tests of the product.
    pub fn wait_at_most(&self, longest: Duration) {
        tracing::warn!(
            ?longest,
            "hold, clear and look-back times of failure modes are shortened: this proves less than it could"
        );
        let mut modes = self.modes();
        modes.longest = Longest(longest);
        modes.log.wait_at_most(longest);
        modes.watched.iter_mut().for_each(|watched| watched.signal.wait_at_most(Longest(longest)));
    }

    /// A time that a detector looks back on, or waits for, as it is here.
    pub fn at_most(&self, time: Duration) -> Duration {
        self.modes().longest.of(time)
    }

    /// What times are shortened to; `None` as they are in the catalogue.
    pub(crate) fn shortened(&self) -> Option<Duration> {
        let Longest(longest) = self.modes().longest;
        (longest != Duration::MAX).then_some(longest)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Monitor, Reading};
    use loadline_proto::health::State;
    use std::time::Duration;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    fn state(monitor: &Monitor, id: &str) -> State {
        monitor.status(id).unwrap().state()
    }

    async fn after(monitor: &Monitor, time: Duration, id: &str, reading: Reading) -> State {
        advance(time).await;
        monitor.observe(id, reading);
        state(monitor, id)
    }

    #[tokio::test(start_paused = true)]
    async fn long_times_become_so_long_and_shorter_ones_stay() {
        let monitor = Monitor::new("query", "test", &["AN-06", "AN-01"]).unwrap();
        assert_eq!((monitor.shortened(), monitor.at_most(SECOND * 60)), (None, SECOND * 60));
        monitor.wait_at_most(SECOND * 3);
        assert_eq!(
            (monitor.shortened(), monitor.at_most(SECOND * 60), monitor.at_most(SECOND)),
            (Some(SECOND * 3), SECOND * 3, SECOND)
        );
        // AN-06 is held for a minute and cleared after half a one.
        let (bad, good) = (|| Reading::bad(900.0, ""), || Reading::good(1.0, ""));
        assert_eq!(after(&monitor, SECOND, "AN-06", bad()).await, State::Suspect);
        assert_eq!(after(&monitor, SECOND * 2, "AN-06", bad()).await, State::Suspect);
        assert_eq!(after(&monitor, SECOND, "AN-06", bad()).await, State::Open);
        assert_eq!(after(&monitor, SECOND, "AN-06", good()).await, State::Open);
        assert_eq!(after(&monitor, SECOND * 3, "AN-06", good()).await, State::Ok);
        // AN-01 is held for two seconds.
        assert_eq!(after(&monitor, SECOND, "AN-01", bad()).await, State::Suspect);
        advance(SECOND * 2).await;
        assert_eq!(state(&monitor, "AN-01"), State::Open);
    }
}
