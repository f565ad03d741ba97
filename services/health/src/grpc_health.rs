//! `grpc.health.v1` as its specification has it: what load balancers, Kubernetes and clients ask.
//!
//! `Check` of an unknown name is NOT_FOUND; `Watch` of one says SERVICE_UNKNOWN, stays open, and says more once the name is
//! known; a watch sends changes only, in order, and always ends up at the status of now. `""` stands for the whole server
//! and is NOT_SERVING until it is set.

use futures::stream::{self, BoxStream, StreamExt as _};
use loadline_proto::grpc_health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus as Wire,
    health_server::{Health, HealthServer},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// The name that stands for the whole server.
const OVERALL: &str = "";
/// Changes of one name kept for watchers that are behind; of older ones they see only the outcome.
const KEPT: usize = 32;

/// Whether a service takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServingStatus {
    /// It does.
    Serving,
    /// It is starting, cannot work, or is stopping.
    NotServing,
}

impl From<ServingStatus> for Wire {
    fn from(status: ServingStatus) -> Self {
        match status {
            ServingStatus::Serving => Self::Serving,
            ServingStatus::NotServing => Self::NotServing,
        }
    }
}

/// Sets what the health service answers. Clones share one table.
#[derive(Debug, Clone)]
pub struct HealthReporter(Arc<Table>);

#[derive(Debug)]
struct Table {
    names: Mutex<Names>,
    /// Rises with each change of any name.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Names {
    known: BTreeMap<String, Changes>,
    stopped: bool,
}

/// The statuses of one name in the order they were set; neighbours differ.
#[derive(Debug)]
struct Changes {
    /// How many there were before the first kept.
    dropped: u64,
    kept: VecDeque<ServingStatus>,
}

/// A reporter for these services (full gRPC names), all NOT_SERVING as is `""`, and the server that answers by it.
pub fn health(services: &[&str]) -> (HealthReporter, HealthServer<HealthAnswers>) {
    let names = services.iter().chain([&OVERALL]);
    let known = names.map(|name| ((*name).to_owned(), Changes::new(ServingStatus::NotServing))).collect();
    let table = Table { names: Mutex::new(Names { known, stopped: false }), changes: watch::channel(0).0 };
    let reporter = HealthReporter(Arc::new(table));
    (reporter.clone(), HealthServer::new(HealthAnswers(reporter)))
}

impl HealthReporter {
    /// Sets the status of a service by its full gRPC name, such as `loadline.ingest.v1.EventService`. Without effect after
    /// [`Self::shut_down`].
    pub fn set(&self, service: &str, status: ServingStatus) {
        let mut names = self.names();
        if names.stopped {
            return;
        }
        match names.known.get_mut(service) {
            Some(changes) => changes.push(status),
            None => drop(names.known.insert(service.to_owned(), Changes::new(status))),
        }
        self.announce();
    }

    /// Sets the status of the whole server, `""`.
    pub fn set_overall(&self, status: ServingStatus) {
        self.set(OVERALL, status);
    }

    /// Everything is NOT_SERVING from now on. Watches are told so and then end, so that they do not hold up the server.
    pub fn shut_down(&self) {
        let mut names = self.names();
        names.known.values_mut().for_each(|changes| changes.push(ServingStatus::NotServing));
        names.stopped = true;
        self.announce();
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }
}

impl Changes {
    fn new(status: ServingStatus) -> Self {
        Self { dropped: 0, kept: VecDeque::from([status]) }
    }

    fn push(&mut self, status: ServingStatus) {
        if self.kept.back() == Some(&status) {
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.kept.push_back(status);
    }

    fn current(&self) -> ServingStatus {
        *self.kept.back().expect("made with one status and never emptied")
    }

    /// How many there have been.
    fn count(&self) -> u64 {
        self.dropped + self.kept.len() as u64
    }

    /// The first status after the first `seen`, among those kept, with how many have then been seen.
    fn after(&self, seen: u64) -> Option<(ServingStatus, u64)> {
        let index = seen.max(self.dropped);
        self.kept.get((index - self.dropped) as usize).map(|status| (*status, index + 1))
    }
}

/// The server of `grpc.health.v1`.
#[derive(Debug, Clone)]
pub struct HealthAnswers(HealthReporter);

#[tonic::async_trait]
impl Health for HealthAnswers {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        let status = self.0.names().known.get(&name).map(Changes::current);
        let status = status.ok_or_else(|| Status::not_found(format!("no service `{name}` here: List shows those there are")))?;
        Ok(Response::new(response(status.into())))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let watcher = Watcher {
            name: request.into_inner().service,
            changes: self.0.0.changes.subscribe(),
            reporter: self.0.clone(),
            position: None,
            said: None,
        };
        Ok(Response::new(stream::unfold(watcher, Watcher::step).boxed()))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let names = self.0.names();
        let statuses = names.known.iter().map(|(name, changes)| (name.clone(), response(changes.current().into()))).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }
}

struct Watcher {
    reporter: HealthReporter,
    name: String,
    changes: watch::Receiver<u64>,
    /// Changes of the name seen; `None` while it is not known.
    position: Option<u64>,
    said: Option<Wire>,
}

enum Look {
    Changed(Wire),
    Nothing,
    /// Nothing, and nothing will ever come.
    Over,
}

impl Watcher {
    async fn step(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            // Marked before the look, so that a change made after it is not slept through.
            self.changes.mark_unchanged();
            match self.look() {
                Look::Changed(status) => {
                    self.said = Some(status);
                    return Some((Ok(response(status)), self));
                }
                Look::Nothing => self.changes.changed().await.ok()?,
                Look::Over => return None,
            }
        }
    }

    fn look(&mut self) -> Look {
        let names = self.reporter.names();
        let nothing = if names.stopped { Look::Over } else { Look::Nothing };
        let Some(changes) = names.known.get(&self.name) else {
            return if self.said.is_none() { Look::Changed(Wire::ServiceUnknown) } else { nothing };
        };
        // A new watcher starts with the status of now, not with the past.
        let start = if self.said.is_none() { changes.count() - 1 } else { 0 };
        while let Some((status, position)) = changes.after(self.position.unwrap_or(start)) {
            self.position = Some(position);
            // After a jump over changes no longer kept, the next one may be what was said last.
            if self.said != Some(status.into()) {
                return Look::Changed(status.into());
            }
        }
        nothing
    }
}

fn response(status: Wire) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServingStatus::{NotServing, Serving};

    #[test]
    fn the_same_status_again_is_no_change() {
        let mut changes = Changes::new(NotServing);
        changes.push(NotServing);
        changes.push(Serving);
        changes.push(Serving);
        assert_eq!(changes.kept, [NotServing, Serving]);
    }

    #[test]
    fn a_watcher_far_behind_goes_on_with_the_oldest_kept_and_ends_at_the_status_of_now() {
        let mut changes = Changes::new(NotServing);
        for n in 0..1001 {
            changes.push(if n % 2 == 0 { Serving } else { NotServing });
        }
        assert_eq!(changes.kept.len(), KEPT);
        let (mut seen, mut last, mut steps) = (1, NotServing, 0);
        while let Some((status, position)) = changes.after(seen) {
            (seen, last, steps) = (position, status, steps + 1);
        }
        assert_eq!((steps, last, seen), (KEPT, Serving, changes.count()));
    }
}
