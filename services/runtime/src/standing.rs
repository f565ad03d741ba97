//! A queue that stands, told from a burst.
//!
//! A burst is worked off, and then nothing waits; where more comes than is worked off, something always does. So it is the share of the
//! time in which whoever came would have waited too long that is judged, an interval at a time. (After CoDel, which judges the shortest
//! wait of an interval: Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012; for servers, where what comes is refused
//! rather than dropped: Maurer, "Fail at Scale", ACM Queue 13(8), 2015. The shortest wait says nothing where many come at one moment: the
//! first of them finds nobody.)

use std::time::{Duration, Instant};

/// How long a queue is looked at before it is judged: longer than a burst.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// A queue stands that was too long for this part of an interval.
const PART: u32 = 3;

/// What is known of a queue since the last interval.
#[derive(Debug)]
pub struct StandingQueue {
    target: Duration,
    since: Instant,
    /// When it was looked at last, and whether it was too long from then on.
    last: Instant,
    is_long: bool,
    long_for: Duration,
    stands: bool,
    /// Somebody was, in this interval.
    refused: bool,
}

impl StandingQueue {
    /// Of a queue in which nobody should wait much longer than `target`, and nobody waits `now`.
    #[must_use]
    pub const fn new(target: Duration, now: Instant) -> Self {
        Self { target, since: now, last: now, is_long: false, long_for: Duration::ZERO, stands: false, refused: false }
    }

    /// How long whoever came now would wait; to be told with each change of the queue.
    pub fn is_now(&mut self, wait: Duration, now: Instant) {
        if self.is_long {
            self.long_for += now.saturating_duration_since(self.last);
        }
        (self.last, self.is_long) = (now, wait > self.target);
        let lasted = now.saturating_duration_since(self.since);
        if lasted >= INTERVAL {
            // A queue that is kept down is not long, and stood all the same without that; but not after nobody came for a while.
            let kept_down = self.refused && lasted < INTERVAL * 2;
            self.stands = self.long_for * PART >= lasted || kept_down;
            (self.since, self.long_for, self.refused) = (now, Duration::ZERO, false);
        }
    }

    /// Whether who would wait so long is to be refused: the queue stands, and it is twice the target.
    #[must_use]
    pub fn refuses(&mut self, wait: Duration) -> bool {
        let refused = self.stands && wait > self.target * 2;
        self.refused |= refused;
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Waits in milliseconds, one a millisecond from `from` on; which of them are refused.
    fn refused(queue: &mut StandingQueue, began: Instant, from: u32, waits: impl IntoIterator<Item = u32>) -> Vec<bool> {
        let came = |(at, wait): (u32, u32)| {
            queue.is_now(MS * wait, began + MS * (from + at));
            queue.refuses(MS * wait)
        };
        (0..).zip(waits).map(came).collect()
    }

    #[test]
    fn a_burst_waits_and_is_answered() {
        let began = Instant::now();
        let mut queue = StandingQueue::new(5 * MS, began);
        let bursts = (0..1_000).map(|at: u32| 25_u32.saturating_sub(at % 100));
        assert!(refused(&mut queue, began, 0, bursts).iter().all(|refused| !refused));
    }

    #[test]
    fn a_queue_that_stands_refuses_who_would_wait_longest_until_it_is_gone() {
        let began = Instant::now();
        let mut queue = StandingQueue::new(5 * MS, began);
        let standing = refused(&mut queue, began, 0, std::iter::repeat_n(50, 200));
        assert!(standing[..100].iter().all(|refused| !refused), "nobody is judged by one wait");
        assert!(standing[101..].iter().all(|refused| *refused), "then all who would wait as long are refused");
        let mixed = refused(&mut queue, began, 200, [11, 10, 6, 12]);
        assert_eq!(mixed, [true, false, false, true], "who would wait twice the target is, and others are not");
        refused(&mut queue, began, 204, std::iter::repeat_n(1, 200));
        assert_eq!(refused(&mut queue, began, 404, [50]), [false], "and when it is gone, nobody is");
    }

    #[test]
    fn a_queue_that_is_kept_down_still_stands() {
        let began = Instant::now();
        let mut queue = StandingQueue::new(5 * MS, began);
        refused(&mut queue, began, 0, std::iter::repeat_n(50, 101));
        // Many come at one moment, more than are let in, and those are worked off before the next do.
        let kept_down = (0..1_000).map(|at: u32| if at.is_multiple_of(20) { 11 } else { 0 });
        let kept_down = refused(&mut queue, began, 101, kept_down);
        assert_eq!(kept_down.iter().filter(|refused| **refused).count(), 50);
        refused(&mut queue, began, 1_101, std::iter::repeat_n(0, 250));
        assert_eq!(refused(&mut queue, began, 1_351, [11]), [false], "until nobody was refused for a while");
    }

    #[test]
    fn after_a_silence_nothing_is_known() {
        let began = Instant::now();
        let mut queue = StandingQueue::new(5 * MS, began);
        let standing = refused(&mut queue, began, 0, std::iter::repeat_n(50, 150));
        assert!(standing[149]);
        queue.is_now(Duration::ZERO, began + 151 * MS);
        assert!(refused(&mut queue, began, 1_000, [50; 50]).iter().all(|refused| !refused));
    }
}
