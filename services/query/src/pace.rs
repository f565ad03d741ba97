//! How long answers about accounts' usage took within the last minute: those of GetUsage, GetDelivery and ListTopAccounts.
//!
//! Explanations and watches take as long as they take, and a refusal is no answer: one that is quick must not hide slow answers,
//! and one that waited for a store that is down is AN-01's.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What is looked back on.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Answers remembered; beyond it the window is shorter.
const MOST: usize = 100_000;

/// Times of answers, the oldest first.
#[derive(Debug, Default)]
pub struct Pace(Mutex<VecDeque<(Instant, Duration)>>);

/// What the window says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paced {
    /// Answers in it.
    pub answers: usize,
    /// 95th percentile of their times; zero without answers.
    pub p95: Duration,
}

impl Pace {
    /// Waits for an answer, and remembers how long it took; of an error nothing.
    pub async fn of<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let started = Instant::now();
        let answer = answer.await;
        if answer.is_ok() {
            self.took(started, started.elapsed());
        }
        answer
    }

    fn took(&self, at: Instant, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() == MOST {
            times.pop_front();
        }
        times.push_back((at, time));
    }

    /// What the answers of the time before now took.
    pub fn within(&self, time: Duration) -> Vec<Duration> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // They are in the order of their ends: one that took long may stand among younger ones.
        times.iter().rev().filter(|(at, took)| at.elapsed() <= time + *took).map(|(_, took)| *took).collect()
    }

    /// The `window` that ends now.
    pub fn now(&self, window: Duration) -> Paced {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while times.front().is_some_and(|(at, _)| at.elapsed() > window) {
            times.pop_front();
        }
        let mut sorted: Vec<_> = times.iter().map(|(_, time)| *time).collect();
        drop(times);
        let at = sorted.len().saturating_sub(1) * 95 / 100;
        let p95 = if sorted.is_empty() { Duration::ZERO } else { *sorted.select_nth_unstable(at).1 };
        Paced { answers: sorted.len(), p95 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_95th_percentile_leaves_out_the_slowest_twentieth() {
        let (pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.now(WINDOW), Paced { answers: 0, p95: Duration::ZERO });
        (1..=100).for_each(|millis| pace.took(now, Duration::from_millis(millis)));
        assert_eq!(pace.now(WINDOW), Paced { answers: 100, p95: Duration::from_millis(95) });
    }

    #[tokio::test]
    async fn only_answers_count() {
        let pace = Pace::default();
        let refused: Result<(), &str> = pace.of(async { Err("no such account") }).await;
        assert_eq!((refused, pace.now(WINDOW).answers), (Err("no such account"), 0));
        let answered: Result<u8, ()> = pace.of(async { Ok(7) }).await;
        assert_eq!((answered, pace.now(WINDOW).answers), (Ok(7), 1));
    }

    #[test]
    fn answers_of_the_last_time_are_those_that_ended_in_it() {
        let (pace, second) = (Pace::default(), Duration::from_secs(1));
        let Some(before) = Instant::now().checked_sub(second * 8) else { return };
        pace.took(before, second);
        pace.took(before, second * 7);
        pace.took(Instant::now(), second / 2);
        assert_eq!(pace.within(second * 3), [second / 2, second * 7]);
    }

    #[test]
    fn what_is_older_than_the_window_no_longer_counts() {
        let pace = Pace::default();
        let Some(before) = Instant::now().checked_sub(WINDOW + Duration::from_secs(1)) else { return };
        pace.took(before, Duration::from_secs(9));
        pace.took(Instant::now(), Duration::from_millis(1));
        assert_eq!(pace.now(WINDOW), Paced { answers: 1, p95: Duration::from_millis(1) });
    }
}
