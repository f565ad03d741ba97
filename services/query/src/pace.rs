//! How long answers about accounts' usage took of late: those of GetUsage, GetDelivery and ListTopAccounts.
//!
//! Explanations and watches take as long as they take, and a refusal is no answer: one that is quick must not hide slow answers,
//! and one that waited for a store that is down is AN-01's.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What "now" is, where enough is answered.
pub const RECENT: Duration = Duration::from_secs(10);
/// How far is looked back for enough answers.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Fewer answers say nothing of a percentile.
pub const ENOUGH: usize = 20;
/// Answers remembered; beyond it the window is shorter.
const MOST: usize = 100_000;

/// When answers ended and how long they took, in the order of their ends.
#[derive(Debug, Default)]
pub struct Pace(Mutex<VecDeque<(Instant, Duration)>>);

/// What the newest answers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paced {
    /// How many they are.
    pub answers: usize,
    /// The time that they are of.
    pub within: Duration,
    /// 95th percentile of their times; zero without answers.
    pub p95: Duration,
}

impl Pace {
    /// Waits for an answer, and remembers how long it took; of an error nothing.
    pub async fn of<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let started = Instant::now();
        let answer = answer.await;
        if answer.is_ok() {
            self.took(Instant::now(), started.elapsed());
        }
        answer
    }

    fn took(&self, ended: Instant, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() == MOST {
            times.pop_front();
        }
        times.push_back((ended, time));
    }

    /// What the answers of the time before now took.
    pub fn within(&self, time: Duration) -> Vec<Duration> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.iter().rev().take_while(|(ended, _)| ended.elapsed() <= time).map(|(_, took)| *took).collect()
    }

    /// The answers of the `recent` time before now, or the last [`ENOUGH`] where those are fewer, of the `longest` time at most.
    pub fn now(&self, recent: Duration, longest: Duration) -> Paced {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while times.front().is_some_and(|(ended, _)| ended.elapsed() > longest) {
            times.pop_front();
        }
        let fresh = times.iter().rev().take_while(|(ended, _)| ended.elapsed() <= recent).count();
        let newest: Vec<_> = times.iter().rev().take(fresh.max(ENOUGH)).copied().collect();
        drop(times);
        let within = newest.last().map_or(recent, |(ended, _)| ended.elapsed().max(recent));
        let mut sorted: Vec<_> = newest.into_iter().map(|(_, time)| time).collect();
        let at = sorted.len().saturating_sub(1) * 95 / 100;
        let p95 = if sorted.is_empty() { Duration::ZERO } else { *sorted.select_nth_unstable(at).1 };
        Paced { answers: sorted.len(), within, p95 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now(pace: &Pace) -> (usize, Duration) {
        let paced = pace.now(RECENT, WINDOW);
        (paced.answers, paced.p95)
    }

    #[test]
    fn the_95th_percentile_leaves_out_the_slowest_twentieth() {
        let pace = Pace::default();
        assert_eq!(pace.now(RECENT, WINDOW), Paced { answers: 0, within: RECENT, p95: Duration::ZERO });
        (1..=100).for_each(|millis| pace.took(Instant::now(), Duration::from_millis(millis)));
        assert_eq!(now(&pace), (100, Duration::from_millis(95)));
    }

    #[tokio::test]
    async fn only_answers_count() {
        let pace = Pace::default();
        let refused: Result<(), &str> = pace.of(async { Err("no such account") }).await;
        assert_eq!((refused, now(&pace).0), (Err("no such account"), 0));
        let answered: Result<u8, ()> = pace.of(async { Ok(7) }).await;
        assert_eq!((answered, now(&pace).0), (Ok(7), 1));
    }

    #[test]
    fn answers_of_the_last_time_are_those_that_ended_in_it() {
        let pace = Pace::default();
        let Some(before) = Instant::now().checked_sub(SECOND * 8) else { return };
        pace.took(before, SECOND);
        pace.took(before + SECOND * 7, SECOND * 7);
        pace.took(Instant::now(), SECOND / 2);
        assert_eq!(pace.within(SECOND * 3), [SECOND / 2, SECOND * 7]);
    }

    #[test]
    fn a_thousand_fast_answers_of_the_minute_do_not_hide_slow_ones_of_now() {
        let pace = Pace::default();
        let Some(before) = Instant::now().checked_sub(RECENT + SECOND) else { return };
        (0..1_000).for_each(|_| pace.took(before, SECOND / 100));
        (0..30).for_each(|_| pace.took(Instant::now(), SECOND));
        assert_eq!(now(&pace), (30, SECOND));
    }

    #[test]
    fn where_little_is_answered_the_last_twenty_of_a_minute_say_it() {
        let pace = Pace::default();
        let Some(start) = Instant::now().checked_sub(WINDOW + SECOND) else { return };
        (0..30).for_each(|second| pace.took(start + SECOND * second * 2, SECOND * (second + 1)));
        let paced = pace.now(RECENT, WINDOW);
        assert_eq!((paced.answers, paced.p95), (ENOUGH, SECOND * 29), "the slowest twentieth of 20 is one");
        assert!(paced.within > SECOND * 40 && paced.within <= WINDOW, "{paced:?}");
        let alone = Pace::default();
        alone.took(start, SECOND * 9);
        alone.took(Instant::now(), SECOND);
        assert_eq!(now(&alone), (1, SECOND), "what is older than a minute no longer counts");
    }
}
