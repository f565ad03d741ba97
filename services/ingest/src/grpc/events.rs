//! `EventService`: publish.

use super::{convert, status};
use crate::{
    publish::{Published, Publisher},
    watch::StreamStatus,
};
use futures::{Stream, StreamExt as _};
use loadline_domain::{AccountId, StreamName};
use loadline_proto::{
    common::StreamRange,
    event::{Event, event::Body},
    ingest::{PublishRequest, PublishResponse, event_service_server::EventService},
};
use loadline_runtime::identity::{Identity, Role};
use std::{pin::Pin, sync::Arc};
use tonic::{Request, Response, Status, Streaming};

/// Requests of one stream worked on at a time; answers keep their order.
const PIPELINED: usize = 4;

#[derive(Clone)]
pub struct Events {
    pub publisher: Publisher,
    pub statuses: Vec<Arc<StreamStatus>>,
}

#[tonic::async_trait]
impl EventService for Events {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let (caller, traceparent) = (caller(&request)?, traceparent(&request));
        self.answer(request.into_inner(), &caller, traceparent).await.map(Response::new)
    }

    type PublishStreamStream = Pin<Box<dyn Stream<Item = Result<PublishResponse, Status>> + Send>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let (caller, traceparent) = (Arc::new(caller(&request)?), traceparent(&request));
        let events = self.clone();
        let answers = request.into_inner().map(move |request| {
            let (events, caller, traceparent) = (events.clone(), caller.clone(), traceparent.clone());
            async move { events.answer(request?, &caller, traceparent).await }
        });
        Ok(Response::new(Box::pin(answers.buffered(PIPELINED))))
    }
}

impl Events {
    async fn answer(
        &self,
        request: PublishRequest,
        caller: &Identity,
        traceparent: Option<String>,
    ) -> Result<PublishResponse, Status> {
        request.events.iter().try_for_each(|event| permitted(caller, event))?;
        let published = self.publisher.publish(request.events, request.skip_duplicates, traceparent).await;
        Ok(self.response(published.map_err(status::publish)?))
    }

    fn response(&self, published: Published) -> PublishResponse {
        let ranges = published.appended.iter().flat_map(|(stream, sequences)| {
            let incarnation = self.incarnation(stream);
            runs(sequences).into_iter().map(move |(first_sequence, last_sequence)| StreamRange {
                stream: stream.to_string(),
                incarnation: incarnation.clone(),
                first_sequence,
                last_sequence,
            })
        });
        PublishResponse {
            ranges: ranges.collect(),
            accepted: published.accepted() as u32,
            duplicates: published.duplicates,
            rejections: published.refusals.into_iter().map(|(index, refusal)| convert::rejection(index, refusal)).collect(),
        }
    }

    /// Empty until the stream was looked at once.
    fn incarnation(&self, stream: &StreamName) -> String {
        let status = self.statuses.iter().find(|status| status.spec.name == *stream);
        let backlog = status.and_then(|status| status.seen().backlog);
        backlog.map(|backlog| backlog.bounds.incarnation.to_string()).unwrap_or_default()
    }
}

/// A service publishes for its own accounts; an operator for any. An id that is no account is left to validation.
fn permitted(caller: &Identity, event: &Event) -> Result<(), Status> {
    let account = match &event.body {
        Some(Body::Billing(billing)) => &billing.account,
        Some(Body::Receipt(receipt)) => &receipt.account,
        None => return Ok(()),
    };
    let own = caller.role == Role::Operator || caller.accounts.contains(account) || AccountId::new(account).is_err();
    if own { Ok(()) } else { Err(status::foreign_account(&caller.name)) }
}

fn caller<T>(request: &Request<T>) -> Result<Identity, Status> {
    request
        .extensions()
        .get::<Identity>()
        .cloned()
        .ok_or_else(|| Status::unauthenticated("no identity; connect through the server's own port"))
}

fn traceparent<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get("traceparent")?.to_str().ok().map(str::to_owned)
}

/// Rising sequences as runs without holes.
fn runs(sequences: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for sequence in sequences {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *sequence => *last = *sequence,
            _ => runs.push((*sequence, *sequence)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn sequences_are_told_as_runs() {
        assert_eq!(runs(&[3, 4, 5, 9, 11, 12]), [(3, 5), (9, 9), (11, 12)]);
        assert_eq!(runs(&[]), []);
    }
}
