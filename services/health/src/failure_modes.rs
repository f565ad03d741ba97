//! `loadline.health.v1.FailureModeService` over a [`Monitor`] and the desk of its remedies.
//!
//! A watcher has no queue: it is a position in the monitor's frame log, and asks for the next frame when the connection has
//! room for one. A slow watcher therefore costs a number; once its position has left the log, a fresh snapshot brings it back.

use crate::{AttentionError, Catalogue, Desk, Monitor};
use futures::stream::{self, BoxStream, StreamExt as _};
use loadline_proto::health::{
    AbortRemedyRequest, AcknowledgeRequest, Caller, ExecuteRemedyRequest, Frame, ListAuditRequest, ListAuditResponse,
    ListCatalogueRequest, ListCatalogueResponse, ModeStatus, MuteRequest, PlanRemedyRequest, RemedyPlan, RemedyRun,
    UndoRemedyRequest, WatchRequest,
    failure_mode_service_server::{FailureModeService, FailureModeServiceServer},
    frame::Body,
};
use loadline_runtime::{errors, identity::Identity};
use std::time::Duration;
use tokio::{sync::watch, time};
use tonic::{Code, Request, Response, Status};

/// Entries of the audit on a page.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;

/// The service, ready to be added to a server's routes.
pub fn server(monitor: Monitor) -> FailureModeServiceServer<FailureModes> {
    FailureModeServiceServer::new(service(monitor))
}

/// The service itself, for a server of another kind.
pub fn service(monitor: Monitor) -> FailureModes {
    FailureModes { monitor }
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
        let caller = Identity::of(&request).map(|who| Caller { name: who.name.clone(), role: who.role.name().to_owned() });
        let seq = self.monitor.resume(request.into_inner().resume);
        let watcher = Watcher { head: self.monitor.head(), monitor: self.monitor.clone(), seq, caller };
        Ok(Response::new(stream::unfold(Some(watcher), step).boxed()))
    }

    async fn acknowledge(&self, request: Request<AcknowledgeRequest>) -> Result<Response<ModeStatus>, Status> {
        let who = caller(&request)?;
        let AcknowledgeRequest { failure_mode, note } = request.into_inner();
        self.monitor.acknowledge(&failure_mode, &who.name, &note).map(Response::new).map_err(attention)
    }

    async fn mute(&self, request: Request<MuteRequest>) -> Result<Response<ModeStatus>, Status> {
        caller(&request)?;
        let MuteRequest { failure_mode, duration, note } = request.into_inner();
        let duration = duration.ok_or_else(|| errors::invalid("duration", "is required: nothing is muted for good"))?;
        let duration = Duration::try_from(duration).map_err(|_| errors::invalid("duration", "must not be negative"))?;
        self.monitor.mute(&failure_mode, duration, &note).map(Response::new).map_err(attention)
    }

    async fn plan_remedy(&self, request: Request<PlanRemedyRequest>) -> Result<Response<RemedyPlan>, Status> {
        let who = caller(&request)?;
        Ok(Response::new(self.desk()?.plan(&who, request.into_inner()).await?))
    }

    async fn execute_remedy(&self, request: Request<ExecuteRemedyRequest>) -> Result<Response<RemedyRun>, Status> {
        let who = caller(&request)?;
        Ok(Response::new(self.desk()?.execute(&who, request.into_inner()).await?))
    }

    async fn abort_remedy(&self, request: Request<AbortRemedyRequest>) -> Result<Response<RemedyRun>, Status> {
        let who = caller(&request)?;
        Ok(Response::new(self.desk()?.abort(&who, request.into_inner()).await?))
    }

    async fn undo_remedy(&self, request: Request<UndoRemedyRequest>) -> Result<Response<RemedyRun>, Status> {
        let who = caller(&request)?;
        Ok(Response::new(self.desk()?.undo(&who, request.into_inner()).await?))
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Result<Response<ListAuditResponse>, Status> {
        let who = caller(&request)?;
        let ListAuditRequest { page_size, page_token } = request.into_inner();
        let after = match page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| errors::invalid("page_token", "send one that an answer carried, or none"))?,
        };
        let size = if page_size == 0 { PAGE } else { page_size.min(MAX_PAGE) };
        let entries = self.desk()?.audit(&who, after, size).await?;
        let full = entries.len() == size as usize;
        let next_page_token = entries.last().filter(|_| full).map(|last| last.id.to_string()).unwrap_or_default();
        Ok(Response::new(ListAuditResponse { entries: entries.into_iter().map(Into::into).collect(), next_page_token }))
    }
}

impl FailureModes {
    fn desk(&self) -> Result<&Desk, Status> {
        let service = self.monitor.service();
        self.monitor.desk().ok_or_else(|| errors::not_found("desk", &service, "this service has no remedies: ask another"))
    }
}

/// Who asks. The port lets nobody in without an identity; whether it is an operator's, the desk looks again.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Identity, Status> {
    let nobody = [] as [(&str, &str); 0];
    let unknown = || errors::rich(Code::Unauthenticated, "UNKNOWN_CALLER", "this needs a known caller: send credentials", nobody);
    Identity::of(request).cloned().ok_or_else(unknown)
}

fn attention(error: AttentionError) -> Status {
    match error {
        AttentionError::NotDetected { ref id, .. } => {
            errors::not_found("failure mode", id, "this process does not detect it: ask the service that does")
        }
        AttentionError::NotOpen { ref id, .. } => errors::failed_precondition("NOT_OPEN", id, error.to_string()),
        AttentionError::TooLong => errors::invalid("duration", error.to_string()),
        AttentionError::LongNote => errors::invalid("note", error.to_string()),
    }
}

struct Watcher {
    monitor: Monitor,
    head: watch::Receiver<u64>,
    /// The last frame sent; `None` asks for a snapshot.
    seq: Option<u64>,
    /// Who watches, as its snapshots say.
    caller: Option<Caller>,
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
            self.monitor.desk().into_iter().for_each(Desk::refresh);
            match self.monitor.next_frame(self.seq) {
                Ok(mut frame) => {
                    self.seq = Some(frame.seq);
                    if let Some(Body::Snapshot(snapshot)) = &mut frame.body {
                        snapshot.caller.clone_from(&self.caller);
                    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reading;
    use loadline_proto::health::{ModeStatus, State};
    use std::time::Duration;
    use tokio::time::Instant;

    async fn watch(monitor: &Monitor) -> BoxStream<'static, Result<Frame, Status>> {
        let service = FailureModes { monitor: monitor.clone() };
        service.watch(Request::new(WatchRequest::default())).await.unwrap().into_inner()
    }

    fn modes(frame: &Frame) -> &[ModeStatus] {
        match frame.body.as_ref().unwrap() {
            Body::Snapshot(snapshot) => &snapshot.modes,
            Body::Delta(delta) => &delta.modes,
            Body::Heartbeat(_) => &[],
        }
    }

    /// When a frame first says that AN-08 is in this state, within a minute.
    async fn until(frames: &mut BoxStream<'static, Result<Frame, Status>>, state: State) -> Instant {
        let found = async {
            loop {
                let frame = frames.next().await.unwrap().unwrap();
                if modes(&frame).iter().any(|mode| mode.id == "AN-08" && mode.state() == state) {
                    break Instant::now();
                }
            }
        };
        time::timeout(Duration::from_secs(60), found).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_frame_comes_within_what_the_one_before_promised_and_at_least_every_second() {
        let monitor = Monitor::new("ingest", "test", &["AN-08"]).unwrap();
        let mut frames = watch(&monitor).await;
        let (mut last, mut at) = (frames.next().await.unwrap().unwrap(), Instant::now());
        for _ in 0..100 {
            let frame = frames.next().await.unwrap().unwrap();
            let promised = Duration::try_from(last.next_within.unwrap()).unwrap();
            assert!(at.elapsed() <= promised && promised <= Duration::from_secs(1));
            (last, at) = (frame, Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_watchers_do_not_double_the_beat() {
        let monitor = Monitor::new("ingest", "test", &["AN-08"]).unwrap();
        let (mut one, mut two) = (watch(&monitor).await, watch(&monitor).await);
        let (start, first) = (Instant::now(), one.next().await.unwrap().unwrap().seq);
        two.next().await.unwrap().unwrap();
        let mut seq = first;
        while start.elapsed() < Duration::from_secs(10) {
            let (a, b) = tokio::join!(one.next(), two.next());
            seq = a.unwrap().unwrap().seq;
            assert_eq!(b.unwrap().unwrap().seq, seq);
        }
        assert_eq!(seq - first, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_hears_within_a_second_of_what_time_alone_changes() {
        let monitor = Monitor::new("ingest", "test", &["AN-08"]).unwrap();
        let mut frames = watch(&monitor).await;
        monitor.observe("AN-08", Reading::bad(1.0, "one record apart"));
        let bad = Instant::now();
        let hold = Duration::from_secs(2);
        let opened = until(&mut frames, State::Open).await - bad;
        assert!((hold..=hold + Duration::from_secs(1)).contains(&opened), "{opened:?}");
        let silence = Duration::from_secs(15);
        let unknown = until(&mut frames, State::Unknown).await - bad;
        assert!((silence..=silence + Duration::from_secs(1)).contains(&unknown), "{unknown:?}");
    }
}
