//! Query: what accounts used, and how sure that is.
//!
//! ```text
//!            request ─▶ who asks ─▶ one snapshot of the store ─▶ rows, sums ─────────────┐
//!  caller ──▶ request    scope       usage · delivery · top                              ├─▶ answer
//!                                       └─ positions ─▶ completeness ◀─ heads ◀─ log ────┘
//!            ExplainUsage:  stored rows ⇄ recount ◀─ log, up to the snapshot's positions
//! ```
//!
//! - [`grpc`]: the service; [`access`] says who may call what
//! - [`scope`]: whose data a caller may see
//! - [`request`]: what may be asked
//! - [`usage`], [`delivery`], [`top`], [`watch`]: the answers
//! - [`history`]: what archived days add; `unanswered`: what it could not answer; [`calendar`]: days, weeks and months of a time zone
//! - [`completeness`], [`heads`]: how far the streams are counted, and how far the log has gone on
//! - [`explain`]: one account-hour counted again from the log, by `loadline_recount`
//! - [`detect`]: the failure modes this service watches; [`pace`]: how long answers took
//! - [`isolation`]: canaries that ask for accounts of others, and what closes when one is answered
//! - [`remedies`]: what an operator can have done about failure modes; `drills`: causes them on purpose, to prove it
//! - [`serve`]: the service on its ports
//! - [`status`]: the one map from errors to statuses; [`convert`]: domain values to messages
//!
//! It only reads. The nasty invariant: **rows and stream positions of an answer come from one snapshot**; what the log says is
//! asked afterwards and can only make an answer look less complete, never more. And amounts are never added over currencies.

pub mod calendar;
pub mod completeness;
pub mod convert;
pub mod delivery;
pub mod detect;
mod drills;
pub mod explain;
pub mod grpc;
pub mod heads;
mod history;
pub mod isolation;
pub mod pace;
pub mod remedies;
pub mod request;
pub mod scope;
pub mod serve;
pub mod settings;
pub mod status;
pub mod top;
mod unanswered;
pub mod usage;
pub mod watch;

pub use settings::Settings;

use heads::Heads;
use isolation::{Closure, Others};
use loadline_domain::{Clock, Rules, StreamName, Timestamp};
use loadline_event_log::EventLog;
use loadline_history::History;
use loadline_proto::query::usage_service_server::UsageServiceServer;
use loadline_runtime::{
    Shutdown,
    access::{Access, AccessTable},
};
use loadline_store::Store;
use pace::Pace;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};
use tonic::service::RoutesBuilder;
use unanswered::Unanswered;

/// Largest request, in bytes: a question is small.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Who may call which method.
pub const ACCESS: AccessTable = AccessTable(&[
    ("/loadline.query.v1.UsageService/GetUsage", Access::Authenticated),
    ("/loadline.query.v1.UsageService/GetDelivery", Access::Authenticated),
    ("/loadline.query.v1.UsageService/ListTopAccounts", Access::Operator),
    ("/loadline.query.v1.UsageService/WatchUsage", Access::Authenticated),
    ("/loadline.query.v1.UsageService/ExplainUsage", Access::Authenticated),
]);

/// Methods whose answer goes on until the caller leaves.
pub const LONG_LIVED: &[&str] = &["/loadline.query.v1.UsageService/WatchUsage"];

/// What the service is made of.
pub struct Parts {
    /// Where usage is.
    pub store: Arc<dyn Store>,
    /// Where it came from.
    pub log: Arc<dyn EventLog>,
    /// Where old days are.
    pub history: Arc<dyn History>,
    /// Streams that must be counted for an answer to be complete.
    pub streams: Vec<StreamName>,
    /// The rules that ingest counts by.
    pub rules: Rules,
    /// What "now" is.
    pub clock: Arc<dyn Clock>,
    /// Its own limits.
    pub settings: Settings,
    /// Ends watches.
    pub shutdown: Shutdown,
}

/// The service. Clones are one.
#[derive(Clone)]
pub struct Query {
    parts: Arc<Parts>,
    heads: Arc<Heads>,
    pace: Arc<Pace>,
    closure: Closure,
    /// Canaries are wanted before it is their time.
    look: Arc<Notify>,
    /// Accounts that canaries ask for.
    others: Arc<Others>,
    /// Questions that history could not answer.
    unanswered: Arc<Unanswered>,
    /// Explanations read much: only so many at once.
    explaining: Arc<Semaphore>,
}

impl Query {
    /// A service over these parts; nothing is asked of them yet.
    pub fn new(parts: Parts) -> Self {
        let settings = &parts.settings;
        let heads = Heads::new(parts.log.clone(), parts.streams.clone(), settings.log_patience, settings.log_max_age);
        let explaining = Arc::new(Semaphore::new(settings.explain_at_once));
        let (pace, closure, look, others) = (Arc::default(), Closure::default(), Arc::default(), Arc::default());
        let (parts, heads, unanswered) = (Arc::new(parts), Arc::new(heads), Arc::default());
        Self { parts, heads, pace, closure, look, others, unanswered, explaining }
    }

    /// The gRPC service.
    pub fn server(&self) -> UsageServiceServer<Self> {
        UsageServiceServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES)
    }

    /// Adds the gRPC service.
    pub fn routes(&self, builder: &mut RoutesBuilder) {
        builder.add_service(self.server());
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn every_method_of_the_contract_has_its_access() {
        let files = prost_types::FileDescriptorSet::decode(loadline_proto::DESCRIPTORS).unwrap().file;
        let services = files.iter().filter(|file| file.package() == "loadline.query.v1").flat_map(|file| &file.service);
        let mut methods: Vec<_> = services
            .flat_map(|service| service.method.iter().map(|m| format!("/loadline.query.v1.{}/{}", service.name(), m.name())))
            .collect();
        let mut listed: Vec<_> = ACCESS.0.iter().map(|(method, _)| (*method).to_owned()).collect();
        methods.sort();
        listed.sort();
        assert_eq!(methods, listed);
        assert!(LONG_LIVED.iter().all(|method| listed.iter().any(|known| known == method)));
    }
}
