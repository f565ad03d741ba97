//! Load shed: beyond so many requests at once the next one is refused at once. A queue would only make every answer late.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::around::{Around, Call, Inner, Reply};
use super::ending::at_end;
use crate::errors;

/// When a refused caller should try again: long enough for many requests to end, short enough not to be noticed by a person.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Health checks pass: a server restarted for being busy is of no use to anybody. So does what operators watch and mend it through.
const NEVER_SHED: [&str; 2] = ["/grpc.health.v1.Health/", "/loadline.health.v1.FailureModeService/"];

/// Whether a method is how others see what is wrong here.
pub(super) fn is_watched_through(method: &str) -> bool {
    NEVER_SHED.iter().any(|service| method.starts_with(service))
}

#[derive(Clone)]
pub(super) struct Shed {
    slots: Arc<Semaphore>,
    limit: usize,
}

impl Shed {
    pub(super) fn new(max_in_flight: u32) -> Self {
        let limit = max_in_flight as usize;
        Self { slots: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))), limit }
    }
}

impl Around for Shed {
    async fn around(self, call: Call, inner: impl Inner) -> Reply {
        if is_watched_through(call.uri().path()) {
            return inner.pass(call).await;
        }
        let Ok(slot) = self.slots.try_acquire_owned() else {
            let message =
                format!("{} requests are in flight, which is this server's limit: try again, with back-off", self.limit);
            return errors::exhausted("TOO_MANY_REQUESTS", message, RETRY_AFTER).into_http();
        };
        let reply = inner.pass(call).await;
        at_end(reply, move |_| drop(slot))
    }
}
