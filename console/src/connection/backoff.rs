//! How long to wait before the next try: doubled each time, up to a cap.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(500);
/// Never longer than this, or a service that comes back stays unseen.
const LONGEST: Duration = Duration::from_secs(10);
/// Parts of a wait that are left to chance, so that many consoles do not come at once.
const JITTER: f64 = 0.2;

/// Tries that failed, one after another.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait.
    pub fn next(&mut self) -> Duration {
        let chance = RandomState::new().hash_one(self.failures) as f64 / u64::MAX as f64;
        let wait = self.wait(chance);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// By a chance of 0 to 1.
    fn wait(&self, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures));
        doubled.min(LONGEST).mul_f64(1.0 - JITTER * chance)
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_never_pass_it() {
        let waits: Vec<u64> = (0..70).map(|failures| Backoff { failures }.wait(0.0).as_millis() as u64).collect();
        assert_eq!(waits[..6], [500, 1_000, 2_000, 4_000, 8_000, 10_000]);
        assert!(waits[6..].iter().all(|wait| *wait == 10_000));
        assert_eq!(Backoff { failures: 9 }.wait(1.0), Duration::from_secs(8));
    }

    #[test]
    fn success_starts_anew() {
        let mut backoff = Backoff { failures: 9 };
        backoff.reset();
        assert!(backoff.next() <= FIRST);
        assert_eq!(backoff.failures, 1);
    }
}
