//! `loadline.ingest.v1` over gRPC: requests checked, handed on, answered.

mod convert;
mod dead_letters;
mod events;
mod status;
mod streams;

use crate::{publish::Publisher, watch::StreamStatus};
use loadline_domain::{Clock, Rules};
use loadline_event_log::EventLog;
use loadline_proto::ingest::{
    dead_letter_service_server::DeadLetterServiceServer, event_service_server::EventServiceServer,
    stream_service_server::StreamServiceServer,
};
use loadline_runtime::access::{Access, AccessTable};
use loadline_store::Store;
use std::sync::Arc;
use tonic::service::RoutesBuilder;

/// Who may call what.
pub const ACCESS: AccessTable = AccessTable(&[
    ("/loadline.ingest.v1.EventService/Publish", Access::Authenticated),
    ("/loadline.ingest.v1.EventService/PublishStream", Access::Authenticated),
    ("/loadline.ingest.v1.StreamService/List", Access::Operator),
    ("/loadline.ingest.v1.StreamService/ListLosses", Access::Operator),
    ("/loadline.ingest.v1.StreamService/Resume", Access::Operator),
    ("/loadline.ingest.v1.DeadLetterService/List", Access::Operator),
    ("/loadline.ingest.v1.DeadLetterService/Get", Access::Operator),
    ("/loadline.ingest.v1.DeadLetterService/Redrive", Access::Operator),
    ("/loadline.ingest.v1.DeadLetterService/Discard", Access::Operator),
]);

/// What the services answer from.
#[derive(Clone)]
pub struct Backends {
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub rules: Rules,
    pub statuses: Vec<Arc<StreamStatus>>,
}

impl Backends {
    /// Streams that their breaker has stopped, as seen last.
    pub fn stopped(&self) -> impl Iterator<Item = &Arc<StreamStatus>> {
        let is_stopped = |status: &&Arc<StreamStatus>| status.seen().progress.is_some_and(|progress| progress.stopped.is_some());
        self.statuses.iter().filter(is_stopped)
    }
}

/// Adds the three services.
pub fn routes(builder: &mut RoutesBuilder, publisher: Publisher, backends: Backends) {
    builder.add_service(EventServiceServer::new(events::Events { publisher, statuses: backends.statuses.clone() }));
    builder.add_service(StreamServiceServer::new(streams::Streams { backends: backends.clone() }));
    builder.add_service(DeadLetterServiceServer::new(dead_letters::DeadLetters { backends }));
}
