//! Overload: when requests wait for a thread longer than they may, all of them for a while, those that would wait longest are refused.
//!
//! ```text
//!  connection reads a request ─▶ counted: how many wait, times what one took lately ─▶ a task ─▶ a thread ─▶ begun, or told that
//!                                └── too long, and the queue stands: refused                              it was refused
//! ```
//!
//! A limit of requests at once does not see them: a request holds no slot before a thread has begun it, so that past saturation all
//! answers are late and none is refused. So they are counted where they are read, before they wait; how long they will is their number
//! times the time from one beginning to the next (Little, "A Proof for the Queuing Formula L = λW", Operations Research 9(3), 1961).
//! The wait of one alone says nothing: a thread may take what came last first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::around::{Around, Call, Inner, Reply};
use super::shed::{RETRY_AFTER, is_watched_through};
use crate::errors;
use crate::standing::{INTERVAL, StandingQueue};

/// So many wait for nothing but their turn, however rarely one comes.
const A_FEW: u32 = 8;

/// What waits for a thread in one server. Clones are one.
#[derive(Clone)]
pub(super) struct Overload(Option<Arc<Mutex<Line>>>);

struct Line {
    queue: StandingQueue,
    waiting: u32,
    /// Since `since`, and how long one took in the interval before.
    begun: u32,
    since: Instant,
    each: Duration,
}

/// Of a request that was read, in its extensions.
#[derive(Clone)]
enum Arrived {
    Waits(#[allow(dead_code, reason = "it is there until it is dropped")] Arc<Place>),
    /// How long it would have waited.
    Refused(Duration),
}

/// A place among those that wait, until it is dropped.
struct Place(Arc<Mutex<Line>>);

impl Overload {
    /// Nobody should wait much longer than `target`; zero: as long as it takes.
    pub(super) fn new(target: Duration) -> Self {
        Self((!target.is_zero()).then(|| Arc::new(Mutex::new(Line::new(target, Instant::now())))))
    }

    /// Counts a request, where it is read.
    pub(super) fn arrives(&self, call: &mut Call) {
        let Some(line) = &self.0 else { return };
        if is_watched_through(call.uri().path()) {
            return;
        }
        let refused = locked(line).refuses(Instant::now());
        call.extensions_mut().insert(match refused {
            Some(wait) => Arrived::Refused(wait),
            None => Arrived::Waits(Arc::new(Place(line.clone()))),
        });
    }
}

fn locked(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    const fn new(target: Duration, now: Instant) -> Self {
        Self { queue: StandingQueue::new(target, now), waiting: 0, begun: 0, since: now, each: Duration::ZERO }
    }

    /// Takes one more, or says how long it would have waited.
    fn refuses(&mut self, now: Instant) -> Option<Duration> {
        let wait = self.wait();
        self.queue.is_now(wait, now);
        if self.queue.refuses(wait) {
            return Some(wait);
        }
        self.waiting += 1;
        None
    }

    /// Of whoever comes now.
    fn wait(&self) -> Duration {
        self.each * self.waiting.saturating_sub(A_FEW)
    }

    /// One waits no longer.
    fn begins(&mut self, now: Instant) {
        self.waiting = self.waiting.saturating_sub(1);
        self.begun += 1;
        self.queue.is_now(self.wait(), now);
        let lasted = now.saturating_duration_since(self.since);
        if lasted >= INTERVAL {
            // After a silence it says only how long that was.
            if lasted < INTERVAL * 2 {
                self.each = lasted / self.begun;
            }
            (self.begun, self.since) = (0, now);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.0).begins(Instant::now());
    }
}

impl Around for Overload {
    async fn around(self, mut call: Call, inner: impl Inner) -> Reply {
        if let Some(Arrived::Refused(wait)) = call.extensions_mut().remove() {
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

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_request_waits_for_all_before_it_as_long_as_they_took_lately() {
        let began = Instant::now();
        let mut line = Line::new(5 * MS, began);
        // One a millisecond is begun, and two a millisecond come.
        let mut refused = Vec::new();
        for at in 0..1_000 {
            let now = began + MS * at;
            refused.extend([line.refuses(now), line.refuses(now)]);
            line.begins(now);
        }
        let waited = |refused: &[Option<Duration>]| refused.iter().filter(|refused| refused.is_none()).count();
        assert_eq!(waited(&refused[..400]), 400, "an interval tells how long one takes, and another that too many wait");
        // What has gathered is worked off, and then as many are let in as are begun.
        assert_eq!(waited(&refused[410..720]), 0);
        let lately = waited(&refused[1_400..]);
        assert!((290..=310).contains(&lately), "{lately} of 600");
        assert!(line.waiting <= 11 + A_FEW, "{} wait", line.waiting);
    }

    #[test]
    fn a_silence_is_not_taken_for_the_time_that_a_request_takes() {
        let began = Instant::now();
        let mut line = Line::new(5 * MS, began);
        for at in (0..200).chain([60_000]) {
            assert_eq!(line.refuses(began + MS * at), None);
            line.begins(began + MS * at);
        }
        for _ in 0..=A_FEW {
            assert_eq!(line.refuses(began + MS * 60_001), None);
        }
        assert!(line.wait() <= 2 * MS, "{:?}", line.wait());
    }

    #[test]
    fn who_gives_up_waiting_waits_no_longer() {
        let overload = Overload::new(5 * MS);
        let mut call = http::Request::new(tonic::body::Body::empty());
        overload.arrives(&mut call);
        let waiting = || overload.0.as_ref().map(|line| locked(line).waiting);
        assert_eq!(waiting(), Some(1));
        drop(call);
        assert_eq!(waiting(), Some(0));
    }
}
