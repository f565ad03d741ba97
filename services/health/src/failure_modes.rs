//! `loadline.health.v1.FailureModeService` over a [`Monitor`].
//!
//! A watcher has no queue: it is a position in the monitor's frame log, and asks for the next frame when the connection has
//! room for one. A slow watcher therefore costs a number; once its position has left the log, a fresh snapshot brings it back.

use crate::{Catalogue, Monitor};
use futures::stream::{self, BoxStream, StreamExt as _};
use loadline_proto::health::{
    Frame, ListCatalogueRequest, ListCatalogueResponse, WatchRequest,
    failure_mode_service_server::{FailureModeService, FailureModeServiceServer},
};
use tokio::{sync::watch, time};
use tonic::{Request, Response, Status};

/// The service, ready to be added to a server's routes.
pub fn server(monitor: Monitor) -> FailureModeServiceServer<FailureModes> {
    FailureModeServiceServer::new(FailureModes { monitor })
}

/// Answers for one monitor.
#[derive(Debug, Clone)]
pub struct FailureModes {
    monitor: Monitor,
}

#[tonic::async_trait]
impl FailureModeService for FailureModes {
    async fn list_catalogue(&self, _: Request<ListCatalogueRequest>) -> Result<Response<ListCatalogueResponse>, Status> {
        let failure_modes = Catalogue::embedded().modes().iter().map(Into::into).collect();
        Ok(Response::new(ListCatalogueResponse { failure_modes }))
    }

    type WatchStream = BoxStream<'static, Result<Frame, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let seq = self.monitor.resume(request.into_inner().resume);
        let watcher = Watcher { head: self.monitor.head(), monitor: self.monitor.clone(), seq };
        Ok(Response::new(stream::unfold(Some(watcher), step).boxed()))
    }
}

struct Watcher {
    monitor: Monitor,
    head: watch::Receiver<u64>,
    /// The last frame sent; `None` asks for a snapshot.
    seq: Option<u64>,
}

async fn step(watcher: Option<Watcher>) -> Option<(Result<Frame, Status>, Option<Watcher>)> {
    let mut watcher = watcher?;
    match watcher.next().await {
        Ok(frame) => Some((Ok(frame), Some(watcher))),
        Err(status) => Some((Err(status), None)),
    }
}

impl Watcher {
    async fn next(&mut self) -> Result<Frame, Status> {
        let closed = self.monitor.closed().clone();
        while !closed.is_cancelled() {
            // Marked before the look, so that a frame made after it is not slept through.
            self.head.mark_unchanged();
            match self.monitor.next_frame(self.seq) {
                Ok(frame) => {
                    self.seq = Some(frame.seq);
                    return Ok(frame);
                }
                Err(due) => {
                    tokio::select! {
                        () = closed.cancelled() => {}
                        _ = self.head.changed() => {}
                        () = time::sleep_until(due) => {}
                    }
                }
            }
        }
        Err(Status::unavailable(format!("{} is shutting down: watch again to see its successor", self.monitor.service())))
    }
}
