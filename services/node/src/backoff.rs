//! Waiting between attempts: longer each time, never in step with others, not for ever.

use rand::RngExt as _;
use std::time::Duration;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Waits of one run of failures.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    failing_since: Option<Instant>,
    patience: Duration,
}

impl Backoff {
    /// Gives up after `patience` without success; [`Duration::MAX`] never does.
    pub fn new(patience: Duration) -> Self {
        Self { next: FIRST, failing_since: None, patience }
    }

    /// Something worked.
    pub fn reset(&mut self) {
        *self = Self::new(self.patience);
    }

    /// How long to wait after this failure; `None` when patience is at its end.
    pub fn failed(&mut self) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.patience {
            return None;
        }
        let wait = self.next.mul_f64(rand::rng().random_range(0.5..1.0));
        self.next = (self.next * 2).min(LONGEST);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_a_limit_and_end_with_patience() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let mut waits = Vec::new();
        while let Some(wait) = backoff.failed() {
            waits.push(wait);
            tokio::time::advance(wait).await;
        }
        assert!(waits[0] <= FIRST && waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits.iter().any(|wait| *wait > LONGEST / 3));
        assert!(waits.iter().sum::<Duration>() >= Duration::from_secs(60));
        backoff.reset();
        assert!(backoff.failed().is_some_and(|wait| wait <= FIRST));
    }
}
