//! How long commits take now, against the best that commits of their size took.
//!
//! A commit has a part that does not depend on its records, so commits are compared within a class of sizes, each twice as
//! large as the one before. The best of a class is its lowest mean over a minute since the process began.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What "now" is.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Fewer commits say nothing of how long they take now.
const FEW: usize = 5;
/// Commits of a class that make a measure.
const ENOUGH: usize = 20;
/// Commits remembered; beyond it the window is shorter.
const MOST: usize = 10_000;

/// Times of commits.
#[derive(Debug, Default)]
pub struct CommitPace(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    /// When, its class, and how long; the oldest first.
    recent: VecDeque<(Instant, u32, Duration)>,
    /// Seconds of a commit, by class.
    best: HashMap<u32, f64>,
}

impl CommitPace {
    /// Remembers a commit of so many records.
    pub fn took(&self, at: Instant, records: u64, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.recent.len() == MOST {
            times.recent.pop_front();
        }
        times.recent.push_back((at, records.max(1).ilog2(), time));
    }

    /// What the commits of the time before `now` took.
    pub fn within(&self, time: Duration, now: Instant) -> Vec<Duration> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = times.recent.iter().rev().take_while(|(at, ..)| now.saturating_duration_since(*at) <= time);
        recent.map(|(.., took)| *took).collect()
    }

    /// How many times as long as at their best commits took in the `window` before `now`: about 1 when nothing is wrong. `None`
    /// while there are too few to tell.
    pub fn slowdown(&self, window: Duration, now: Instant) -> Option<f64> {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while times.recent.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) > window) {
            times.recent.pop_front();
        }
        let mut sums: HashMap<u32, (usize, f64)> = HashMap::new();
        for (_, class, time) in &times.recent {
            let (commits, seconds) = sums.entry(*class).or_default();
            *commits += 1;
            *seconds += time.as_secs_f64();
        }
        let (mut took, mut expected) = (0.0, 0.0);
        for (class, (commits, seconds)) in sums {
            let mean = seconds / commits as f64;
            if commits >= ENOUGH {
                times.best.entry(class).and_modify(|best| *best = best.min(mean)).or_insert(mean);
            }
            if let Some(best) = times.best.get(&class) {
                took += seconds;
                expected += best * commits as f64;
            }
        }
        (expected > 0.0 && times.recent.len() >= FEW).then(|| took / expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn commits(pace: &CommitPace, at: Instant, count: u32, records: u64, time: Duration) {
        (0..count).for_each(|_| pace.took(at, records, time));
    }

    #[test]
    fn a_few_commits_say_nothing() {
        let (pace, now) = (CommitPace::default(), Instant::now());
        assert_eq!(pace.slowdown(WINDOW, now), None);
        commits(&pace, now, 19, 1, MS);
        assert_eq!(pace.slowdown(WINDOW, now), None);
        commits(&pace, now, 1, 1, MS);
        assert!((pace.slowdown(WINDOW, now).unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn commits_are_held_against_the_best_minute_of_their_size() {
        let (pace, start) = (CommitPace::default(), Instant::now());
        commits(&pace, start, 50, 1, MS * 2);
        commits(&pace, start, 50, 4_000, MS * 40);
        assert!((pace.slowdown(WINDOW, start).unwrap() - 1.0).abs() < 1e-9);
        let later = start + WINDOW * 2;
        // Larger batches take longer, which is no slowdown.
        commits(&pace, later, 50, 4_095, MS * 40);
        assert!((pace.slowdown(WINDOW, later).unwrap() - 1.0).abs() < 1e-9);
        let much_later = later + WINDOW * 2;
        commits(&pace, much_later, 4, 1, MS * 10);
        assert_eq!(pace.slowdown(WINDOW, much_later), None, "one slow commit in a quiet minute is no slowdown");
        commits(&pace, much_later, 1, 1, MS * 10);
        assert!((pace.slowdown(WINDOW, much_later).unwrap() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn only_commits_of_the_time_asked_for_are_told() {
        let (pace, start) = (CommitPace::default(), Instant::now());
        commits(&pace, start, 3, 1, MS);
        commits(&pace, start + MS * 900, 2, 1, MS * 7);
        assert_eq!(pace.within(MS * 500, start + MS * 1_000), [MS * 7; 2]);
        assert_eq!(pace.within(MS * 1_000, start + MS * 1_000).len(), 5);
    }

    #[test]
    fn what_is_slow_for_long_does_not_become_the_measure() {
        let (pace, start) = (CommitPace::default(), Instant::now());
        commits(&pace, start, 50, 1, MS);
        pace.slowdown(WINDOW, start);
        for minute in 2..20 {
            let now = start + WINDOW * minute;
            commits(&pace, now, 50, 1, MS * 4);
            let slowdown = pace.slowdown(WINDOW, now).unwrap();
            assert!((slowdown - 4.0).abs() < 1e-6, "{slowdown} after {minute} minutes");
        }
    }
}
