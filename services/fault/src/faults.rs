//! The faults active in one port, and what they do to a call.

use crate::{Active, Fails, Fault, Kind, LONGEST};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// A call on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Name of the method.
    pub name: &'static str,
    /// The stream or account it is about; empty where it is about none.
    pub about: &'a str,
}

/// What is wrong with a port now. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// False: nothing is injected. All that a call costs while nothing is.
    any: AtomicBool,
    active: Mutex<Vec<Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    fault: Fault,
    until: Instant,
    met: Arc<AtomicU64>,
    over: CancellationToken,
}

impl Entry {
    fn is_over(&self) -> bool {
        self.over.is_cancelled() || self.until <= Instant::now()
    }

    /// Completes after so long, or as soon as the fault is over.
    async fn hold(&self, at_most: Duration) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = sleep_until(self.until) => {}
            () = sleep(at_most) => {}
        }
    }
}

/// A fault under way. Dropping it takes the fault away.
#[derive(Debug)]
pub struct Injected {
    entry: Entry,
    faults: Faults,
}

impl Injected {
    /// Calls that it met until now.
    pub fn met(&self) -> u64 {
        self.entry.met.load(Ordering::Relaxed)
    }

    /// Whether it can still meet calls: it was not cured, and its time is not over.
    pub fn is_active(&self) -> bool {
        !self.entry.is_over()
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        self.entry.over.cancel();
        drop(self.faults.entries());
    }
}

impl Faults {
    /// Begins a fault. It ends when the answer is dropped, when it is cured, or when its time is over.
    pub fn inject(&self, fault: Fault) -> Injected {
        let until = Instant::now() + fault.ttl.min(LONGEST);
        tracing::warn!(name = fault.name, kind = %fault.kind, calls = %fault.calls, ttl = ?fault.ttl, "fault injected");
        let entry = Entry { fault, until, met: Arc::default(), over: CancellationToken::new() };
        let mut entries = self.entries();
        entries.push(entry.clone());
        self.0.any.store(true, Ordering::Release);
        drop(entries);
        Injected { entry, faults: self.clone() }
    }

    /// What is wrong now, the oldest first.
    pub fn active(&self) -> Vec<Active> {
        let now = Instant::now();
        let active = |entry: &Entry| Active {
            fault: entry.fault.clone(),
            left: entry.until.saturating_duration_since(now),
            met: entry.met.load(Ordering::Relaxed),
        };
        self.entries().iter().map(active).collect()
    }

    /// Makes a call, or what the first fault that meets it makes of it. `corrupt` is there for calls that have something to
    /// corrupt.
    ///
    /// # Errors
    /// Those of the call, and those of faults.
    pub async fn around<T, E: Fails>(
        &self,
        call: Call<'_>,
        work: impl Future<Output = Result<T, E>>,
        corrupt: Option<fn(T) -> T>,
    ) -> Result<T, E> {
        if !self.0.any.load(Ordering::Acquire) {
            return work.await;
        }
        let Some(entry) = self.meet(call, corrupt.is_some()) else { return work.await };
        let why = || format!("fault injected by {}: {} of {}", entry.fault.name, entry.fault.kind, call.name);
        match entry.fault.kind {
            Kind::Error => Err(E::unavailable(why())),
            Kind::Break => Err(E::broken(why())),
            Kind::Delay(by) => {
                entry.hold(by).await;
                work.await
            }
            Kind::Hang => {
                entry.hold(LONGEST).await;
                work.await
            }
            Kind::Corrupt => work.await.map(corrupt.unwrap_or(|answer| answer)),
            Kind::DropReply => work.await.and_then(|_| Err(E::unknown(why()))),
        }
    }

    /// A call that faults neither fail nor hold, but that may be what cures them.
    pub fn cure(&self, name: &str) {
        if self.0.any.load(Ordering::Acquire) {
            self.entries().iter().filter(|entry| entry.fault.cured_by == Some(name)).for_each(|entry| entry.over.cancel());
            drop(self.entries());
        }
    }

    fn meet(&self, call: Call<'_>, corruptible: bool) -> Option<Entry> {
        self.cure(call.name);
        let entries = self.entries();
        let mut met = entries.iter().filter(|entry| entry.fault.calls.meet(call.name, call.about));
        let entry = met.find(|entry| corruptible || entry.fault.kind != Kind::Corrupt)?;
        entry.met.fetch_add(1, Ordering::Relaxed);
        Some(entry.clone())
    }

    /// Those that are not over.
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        let mut entries = self.0.active.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| {
            let over = entry.is_over();
            if over {
                tracing::warn!(name = entry.fault.name, kind = %entry.fault.kind, "fault is over");
            }
            !over
        });
        if entries.is_empty() {
            self.0.any.store(false, Ordering::Release);
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Calls;

    #[derive(Debug, PartialEq)]
    enum Failed {
        Unavailable,
        Broken,
        Unknown,
    }

    impl Fails for Failed {
        fn unavailable(_: String) -> Self {
            Self::Unavailable
        }
        fn broken(_: String) -> Self {
            Self::Broken
        }
        fn unknown(_: String) -> Self {
            Self::Unknown
        }
    }

    const TTL: Duration = Duration::from_secs(30);

    fn fault(kind: Kind) -> Fault {
        Fault { name: "test".to_owned(), kind, calls: Calls::only(&["write"]), ttl: TTL, cured_by: Some("reconnect") }
    }

    /// Adds one to what was written, on a port with these faults.
    async fn write(faults: &Faults, about: &str, written: &AtomicU64) -> Result<u64, Failed> {
        let work = async { Ok(written.fetch_add(1, Ordering::SeqCst) + 1) };
        faults.around(Call { name: "write", about }, work, Some(|n| n + 1_000)).await
    }

    async fn once(kind: Kind) -> (Result<u64, Failed>, u64, Duration) {
        let (faults, written, start) = (Faults::default(), AtomicU64::new(0), Instant::now());
        let injected = faults.inject(fault(kind));
        let answer = write(&faults, "", &written).await;
        assert_eq!((injected.met(), faults.active().len()), (1, usize::from(injected.is_active())));
        (answer, written.into_inner(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_does_what_it_says_and_no_more() {
        assert_eq!(once(Kind::Error).await, (Err(Failed::Unavailable), 0, Duration::ZERO));
        assert_eq!(once(Kind::Break).await, (Err(Failed::Broken), 0, Duration::ZERO));
        assert_eq!(once(Kind::DropReply).await, (Err(Failed::Unknown), 1, Duration::ZERO), "it happened, the answer is lost");
        assert_eq!(once(Kind::Corrupt).await, (Ok(1_001), 1, Duration::ZERO));
        let late = Duration::from_secs(2);
        let (answer, written, took) = once(Kind::Delay(late)).await;
        assert_eq!((answer, written), (Ok(1), 1));
        assert!((late..late * 2).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_fault_outlives_its_time_not_even_for_a_call_that_it_holds() {
        let (faults, written) = (Faults::default(), AtomicU64::new(0));
        let forgotten = Box::leak(Box::new(faults.inject(fault(Kind::Hang))));
        let held = tokio::time::timeout(TTL * 2, write(&faults, "", &written));
        assert_eq!(held.await.expect("it hangs for ever"), Ok(1));
        assert!(!forgotten.is_active() && faults.active().is_empty());
        assert_eq!(write(&faults, "", &written).await, Ok(2));
        let too_long = faults.inject(Fault { ttl: Duration::MAX, ..fault(Kind::Error) });
        tokio::time::advance(LONGEST).await;
        assert!(!too_long.is_active());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_that_is_dropped_lets_go_of_what_it_holds_at_once() {
        let (faults, written) = (Faults::default(), Arc::new(AtomicU64::new(0)));
        let injected = faults.inject(fault(Kind::Hang));
        let (held, counted, start) = (faults.clone(), written.clone(), Instant::now());
        let held = tokio::spawn(async move { write(&held, "", &counted).await });
        sleep(Duration::from_secs(1)).await;
        assert_eq!((injected.met(), written.load(Ordering::SeqCst)), (1, 0));
        drop(injected);
        assert_eq!(held.await.unwrap(), Ok(1));
        assert!(start.elapsed() < TTL / 2);
        assert!(faults.active().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_calls_that_were_named_are_met() {
        let (faults, written) = (Faults::default(), AtomicU64::new(0));
        let begin = faults.inject(Fault { calls: Calls::only(&["write"]).about("DR*"), ..fault(Kind::Break) });
        assert_eq!(write(&faults, "DRILL", &written).await, Err(Failed::Broken));
        assert_eq!((write(&faults, "D", &written).await, begin.met()), (Ok(1), 1));
        drop(begin);
        let calls = Calls::all_but(&["read"]).about("DRILL");
        let injected = faults.inject(Fault { calls, ..fault(Kind::Error) });
        assert_eq!(write(&faults, "BILLING", &written).await, Ok(2));
        assert_eq!(write(&faults, "DRILL", &written).await, Err(Failed::Unavailable));
        let read = faults.around(Call { name: "read", about: "DRILL" }, async { Ok::<_, Failed>(()) }, None).await;
        assert_eq!((read, injected.met()), (Ok(()), 1));
        let text = faults.active()[0].to_string();
        assert!(text.starts_with("test: error of every call but read about DRILL, 1 met"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_corrupted_is_not_met() {
        let faults = Faults::default();
        let injected = faults.inject(fault(Kind::Corrupt));
        let answer = faults.around(Call { name: "write", about: "" }, async { Ok::<_, Failed>(7) }, None).await;
        assert_eq!((answer, injected.met()), (Ok(7), 0), "a drill must be able to tell that nothing was injected");
    }

    #[tokio::test(start_paused = true)]
    async fn what_mends_it_in_the_real_world_takes_it_away() {
        let (faults, written) = (Faults::default(), AtomicU64::new(0));
        let injected = faults.inject(fault(Kind::Error));
        assert_eq!(write(&faults, "", &written).await, Err(Failed::Unavailable));
        faults.cure("reconnect");
        assert!(!injected.is_active());
        assert_eq!(write(&faults, "", &written).await, Ok(1));
    }
}
