//! `StreamService`: how far streams are read, and what was lost.

use super::{Backends, convert, status};
use crate::watch::{StreamStatus, backlog};
use loadline_domain::progress::{Lease, Progress};
use loadline_proto::ingest::{
    ListLossesRequest, ListLossesResponse, ListStreamsRequest, ListStreamsResponse, ResumeStreamRequest, ResumeStreamResponse,
    Stream, stream::State, stream_service_server::StreamService,
};
use loadline_runtime::errors;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Longest the answer waits for the log; what it cannot say then is left out.
const LOG_WAIT: Duration = Duration::from_secs(2);

pub struct Streams {
    pub backends: Backends,
}

#[tonic::async_trait]
impl StreamService for Streams {
    async fn list(&self, _: Request<ListStreamsRequest>) -> Result<Response<ListStreamsResponse>, Status> {
        let store = &self.backends.store;
        let (progress, leases) = futures::try_join!(store.all_progress(), store.leases()).map_err(status::store)?;
        let streams = self.backends.statuses.iter().map(|status| {
            let progress = progress.iter().find(|progress| progress.stream == status.spec.name);
            let lease = leases.iter().find(|lease| lease.stream == status.spec.name);
            self.stream(status, progress, lease)
        });
        Ok(Response::new(ListStreamsResponse { streams: futures::future::join_all(streams).await }))
    }

    async fn list_losses(&self, request: Request<ListLossesRequest>) -> Result<Response<ListLossesResponse>, Status> {
        let request = request.into_inner();
        let stream = convert::stream(&request.stream, "stream")?;
        let after = super::dead_letters::page_token(&request.page_token)?;
        let size = super::dead_letters::page_size(request.page_size);
        let losses = self.backends.store.losses(stream.as_ref(), after, size).await.map_err(status::store)?;
        let next_page_token = match losses.last() {
            Some(last) if losses.len() == size as usize => last.id.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(ListLossesResponse { losses: losses.into_iter().map(convert::loss).collect(), next_page_token }))
    }

    async fn resume(&self, request: Request<ResumeStreamRequest>) -> Result<Response<ResumeStreamResponse>, Status> {
        let request = request.into_inner();
        let stream =
            convert::stream(&request.stream, "stream")?.ok_or_else(|| errors::invalid("stream", "is empty; name a stream"))?;
        if !self.backends.statuses.iter().any(|status| status.spec.name == stream) {
            return Err(errors::not_found("stream", stream.as_str(), "list the streams to see their names"));
        }
        let resumed = self.backends.store.resume(&stream, request.through_sequence).await.map_err(status::store)?;
        Ok(Response::new(ResumeStreamResponse { resumed }))
    }
}

impl Streams {
    async fn stream(&self, status: &StreamStatus, progress: Option<&Progress>, lease: Option<&Lease>) -> Stream {
        let looking = backlog(&*self.backends.log, &status.spec, progress, self.backends.clock.now());
        let backlog = tokio::time::timeout(LOG_WAIT, looking).await.ok().and_then(Result::ok);
        let stopped = progress.and_then(|progress| progress.stopped.clone());
        let state = match (&stopped, lease) {
            (Some(_), _) => State::Stopped,
            (None, Some(_)) => State::Running,
            (None, None) => State::Unowned,
        };
        let named = loadline_proto::common::StreamProgress { stream: status.spec.name.to_string(), ..Default::default() };
        Stream {
            progress: Some(progress.map_or(named, convert::progress)),
            state: state.into(),
            state_detail: stopped.unwrap_or_default(),
            log: backlog.as_ref().map(|backlog| convert::bounds(&backlog.bounds)),
            backlog: backlog.as_ref().map_or(0, |backlog| backlog.records),
            lag: backlog.as_ref().map(|backlog| convert::duration(backlog.lag)),
            time_headroom: backlog.as_ref().and_then(|backlog| backlog.headroom.time).map(convert::duration),
            headroom_ratio: backlog.as_ref().map_or(1.0, |backlog| backlog.headroom.ratio),
            owner: lease.map(|lease| lease.holder.clone()).unwrap_or_default(),
            epoch: progress.map_or(0, |progress| progress.epoch),
            unaccounted: progress.map_or(0, Progress::unaccounted),
        }
    }
}
