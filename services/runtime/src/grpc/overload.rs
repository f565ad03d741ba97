//! Overload: when requests wait for a thread longer than they may, all of them for a while, those that waited longest are refused.
//!
//! A limit of requests at once does not see them: a request holds no slot before a thread has begun it, so that past saturation all
//! answers are late and none is refused. What tells is how long requests waited for their first moment on a thread. A burst makes
//! the last of it wait, a queue that stands makes the luckiest wait too: so it is the shortest wait of an interval that is judged.
//! (CoDel: Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012; for servers, where what comes is refused by its
//! own wait: Maurer, "Fail at Scale", ACM Queue 13(8), 2015.)

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::around::{Around, Call, Inner, Reply};
use super::shed::{RETRY_AFTER, is_watched_through};
use crate::errors;

/// How long requests are looked at before they are judged: longer than a burst.
const INTERVAL: Duration = Duration::from_millis(100);
/// Fewer in an interval are no queue, only a machine that was busy with something else.
const LEAST: u32 = 8;

/// When a request was read; in its extensions, from the connection.
#[derive(Clone, Copy)]
pub(super) struct Arrived(pub(super) Instant);

#[derive(Clone)]
pub(super) struct Overload {
    /// How long requests may wait; zero: as long as it takes.
    pub(super) target: Duration,
    pub(super) queue: Arc<Mutex<Queue>>,
}

/// What the waits of this interval and of the last one say.
#[derive(Default)]
pub(super) struct Queue {
    until: Option<Instant>,
    shortest: Duration,
    requests: u32,
    stands: bool,
}

impl Queue {
    /// Takes a wait into account. Whether who waited so long is to be refused.
    fn is_late(&mut self, wait: Duration, now: Instant, target: Duration) -> bool {
        if self.until.is_none_or(|until| now >= until) {
            self.stands = self.requests >= LEAST && self.shortest > target;
            (self.until, self.shortest, self.requests) = (Some(now + INTERVAL), wait, 0);
        }
        self.requests += 1;
        self.shortest = self.shortest.min(wait);
        // Half of what comes at the target is let in while the queue stands: enough work to find out when it is gone.
        self.stands && wait > target * 2
    }
}

impl Around for Overload {
    async fn around(self, call: Call, inner: impl Inner) -> Reply {
        if self.target.is_zero() || is_watched_through(call.uri().path()) {
            return inner.pass(call).await;
        }
        let wait = call.extensions().get::<Arrived>().map(|arrived| arrived.0.elapsed()).unwrap_or_default();
        let late = self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_late(wait, Instant::now(), self.target);
        if late {
            let message = format!(
                "requests wait {} ms for this server before it begins them, longer than target_wait allows: try again, with \
                 back-off",
                wait.as_millis()
            );
            return errors::exhausted("OVERLOADED", message, RETRY_AFTER).into_http();
        }
        inner.pass(call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(5);

    /// Waits in milliseconds, one a millisecond from `from` on; which of them are refused.
    fn refused(queue: &mut Queue, began: Instant, from: u64, waits: impl IntoIterator<Item = u64>) -> Vec<bool> {
        let at = |index: usize| began + Duration::from_millis(from + index as u64);
        let late = |(index, wait): (usize, u64)| queue.is_late(Duration::from_millis(wait), at(index), TARGET);
        waits.into_iter().enumerate().map(late).collect()
    }

    #[test]
    fn a_burst_waits_and_is_answered() {
        let (mut queue, began) = (Queue::default(), Instant::now());
        let bursts = (0..1_000).map(|at| if at % 50 == 0 { 0 } else { at % 50 * 2 });
        assert!(refused(&mut queue, began, 0, bursts).iter().all(|late| !late));
    }

    #[test]
    fn a_queue_that_stands_refuses_who_waited_longest_until_it_is_gone() {
        let (mut queue, began) = (Queue::default(), Instant::now());
        let standing = refused(&mut queue, began, 0, std::iter::repeat_n(50, 200));
        assert!(standing[..100].iter().all(|late| !late), "nobody is judged by one wait");
        assert!(standing[101..].iter().all(|late| *late), "then all who waited as long are refused");
        let mixed = refused(&mut queue, began, 200, [11, 10, 6, 12]);
        assert_eq!(mixed, [true, false, false, true], "who waited twice the target is, and others are not");
        refused(&mut queue, began, 204, std::iter::repeat_n(1, 200));
        assert_eq!(refused(&mut queue, began, 404, [50]), [false], "and when it is gone, nobody is");
    }

    #[test]
    fn a_few_that_found_the_machine_busy_are_no_queue() {
        let (mut queue, began) = (Queue::default(), Instant::now());
        for interval in 0..10 {
            let few = refused(&mut queue, began, interval * 100, std::iter::repeat_n(80, LEAST as usize - 1));
            assert!(few.iter().all(|late| !late), "interval {interval}");
        }
    }
}
