//! Whether it helped: the mode's own signal says so, and everything still adds up. The remedy is not asked.

use super::{Desk, PATIENCE, book::Held, work::LOOK};
use loadline_proto::health::remedy_run::Outcome;
use std::sync::{Mutex, PoisonError};
use tokio::time::{Instant, sleep, timeout};

impl Desk {
    /// Waits for the mode to be good by readings taken at `since` or later, for as long as the remedy allows.
    pub(super) async fn verify(&self, held: &Held, since: Instant) -> (Outcome, String) {
        let doubt = Mutex::new(String::new());
        let why = tokio::select! {
            biased;
            () = self.be_good(held, since, &doubt) => return (Outcome::Verified, String::new()),
            why = self.interruption(held, held.draft.remedy.verify_within()) => why,
        };
        let doubt = doubt.into_inner().unwrap_or_else(PoisonError::into_inner);
        (Outcome::ExecutedUnverified, format!("verification ended ({why}): {doubt}"))
    }

    async fn be_good(&self, held: &Held, since: Instant, doubt: &Mutex<String>) {
        loop {
            match self.doubt(held, since).await {
                None => return,
                Some(now) => *doubt.lock().unwrap_or_else(PoisonError::into_inner) = now,
            }
            sleep(LOOK).await;
        }
    }

    /// What speaks against it; `None`: nothing.
    async fn doubt(&self, held: &Held, since: Instant) -> Option<String> {
        let mode = &held.draft.plan.failure_mode;
        let good = || self.0.monitor.upgrade().is_some_and(|monitor| monitor.is_good_since(mode, since));
        match held.draft.remedy.signal(&held.draft.plan.target) {
            Some(Err(why)) => return Some(format!("{mode} is not good again: {why}")),
            None if !good() => return Some(format!("{mode} is not good again by its own signal")),
            Some(Ok(())) | None => {}
        }
        match timeout(PATIENCE, self.0.parts.conservation.check()).await {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(format!("conservation does not hold: {why}")),
            Err(_) => Some(format!("conservation could not be checked within {PATIENCE:?}")),
        }
    }
}
