//! Serving: models answer.
//!
//! ```text
//!            tensors ─▶ the version that an alias names, or a number ─▶ engine: batches ─▶ model ─┐
//!  caller ──▶ ModelInfer                    ▲                                                     ├─▶ answer, and which artifact gave it
//!                                           │ swap, then wait for the last request                ┘
//!  operator ──▶ Promote, Rollback ─▶ journal ─▶ registry ─▶ library ◀─looks── registry
//!                                                             └─▶ artifacts on disk: a start without the registry
//! ```
//!
//! - [`grpc`]: the services, the Open Inference Protocol and `ModelService`; [`status`]: the one map from errors to statuses
//! - [`tensors`]: what a request must be, and how an answer looks
//! - [`engine`]: requests that wait together are one batch; [`statistics`]: how many, and how long
//! - [`cache`]: answers that were given before, by artifact and question
//! - [`resident`]: versions in memory, and how requests find them while they change
//! - [`library`]: what has to be in memory, from the registry or from what answered last
//! - [`aliases`]: who let which alias name which version, and why
//! - [`gate`]: whether a challenger may take its place
//! - [`routes`]: a canary answers a part of the requests, a shadow none
//! - [`jobs`]: predictions that nobody waits for on a connection
//! - [`skill`]: whether the champion is worse than the version before it, by what then happened
//! - [`football`]: matches, from results to a forecast with a receipt
//! - [`detect`]: the failure modes this service watches; `remedies`: what an operator can have done about them; `drills`: causes them
//!   on purpose, to prove it
//! - [`serve`]: the service on its ports
//!
//! The nasty invariant: **when a promotion is acknowledged, this process has answered its last request by that alias with the version
//! before**. And nothing that fails takes a model out of memory: registry, disk and store may be down, and callers get answers, each
//! with the artifact that gave it.

pub mod aliases;
pub mod cache;
pub mod detect;
mod drills;
pub mod engine;
pub mod football;
pub mod gate;
mod grpc;
pub mod jobs;
pub mod library;
mod remedies;
pub mod resident;
pub mod routes;
pub mod serve;
pub mod settings;
pub mod skill;
pub mod statistics;
pub mod status;
pub mod tensors;

pub use loadline_models::golden::as_child;
pub use settings::Limits;

use cache::Cache;
use football::Football;
use gate::Gate;
use jobs::Jobs;
use library::Library;
use loadline_domain::Clock;
use loadline_proto::{
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    serving::{
        model_service_server::ModelServiceServer, prediction_job_service_server::PredictionJobServiceServer,
        prediction_service_server::PredictionServiceServer,
    },
};
use loadline_runtime::{
    Shutdown,
    access::{Access, AccessTable},
};
use loadline_store::Store;
use routes::Routes;
use skill::Skill;
use status::ServingError;
use std::sync::Arc;
use tonic::service::RoutesBuilder;

/// Largest piece of a file that is registered, with what is around it.
const CHUNK_BYTES: usize = (1 << 20) + (64 << 10);

/// Who may call which method.
pub const ACCESS: AccessTable = AccessTable(&[
    ("/inference.GRPCInferenceService/ServerLive", Access::Anyone),
    ("/inference.GRPCInferenceService/ServerReady", Access::Anyone),
    ("/inference.GRPCInferenceService/ModelReady", Access::Authenticated),
    ("/inference.GRPCInferenceService/ServerMetadata", Access::Authenticated),
    ("/inference.GRPCInferenceService/ModelMetadata", Access::Authenticated),
    ("/inference.GRPCInferenceService/ModelInfer", Access::Authenticated),
    ("/inference.GRPCInferenceService/ModelStatistics", Access::Authenticated),
    ("/inference.GRPCInferenceService/RepositoryIndex", Access::Authenticated),
    ("/inference.GRPCInferenceService/RepositoryModelLoad", Access::Operator),
    ("/inference.GRPCInferenceService/RepositoryModelUnload", Access::Operator),
    ("/loadline.serving.v1.ModelService/List", Access::Operator),
    ("/loadline.serving.v1.ModelService/Register", Access::Operator),
    ("/loadline.serving.v1.ModelService/Promote", Access::Operator),
    ("/loadline.serving.v1.ModelService/Rollback", Access::Operator),
    ("/loadline.serving.v1.ModelService/ListAliasHistory", Access::Operator),
    ("/loadline.serving.v1.ModelService/EvaluateGate", Access::Operator),
    ("/loadline.serving.v1.ModelService/SetRoute", Access::Operator),
    ("/loadline.serving.v1.ModelService/GetRoute", Access::Operator),
    ("/loadline.serving.v1.ModelService/GetShadowReport", Access::Operator),
    ("/loadline.serving.v1.ModelService/ReportOutcomes", Access::Operator),
    ("/loadline.serving.v1.PredictionJobService/Submit", Access::Authenticated),
    ("/loadline.serving.v1.PredictionJobService/Get", Access::Authenticated),
    ("/loadline.serving.v1.PredictionJobService/Watch", Access::Authenticated),
    ("/loadline.serving.v1.PredictionJobService/Cancel", Access::Authenticated),
    ("/loadline.serving.v1.PredictionJobService/List", Access::Authenticated),
    ("/loadline.serving.v1.PredictionService/PredictMatch", Access::Authenticated),
    ("/loadline.serving.v1.PredictionService/Replay", Access::Authenticated),
    ("/loadline.serving.v1.PredictionService/GetResults", Access::Authenticated),
]);

/// Methods whose streams last until their subject ends.
pub const LONG_LIVED: &[&str] = &["/loadline.serving.v1.PredictionJobService/Watch"];

/// The service. Clones are one.
#[derive(Clone)]
pub struct Serving {
    library: Arc<Library>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    gate: Gate,
    routes: Routes,
    skill: Skill,
    cache: Cache,
    jobs: Jobs,
    football: Football,
    shutdown: Shutdown,
}

/// What a service is made of.
pub struct Parts {
    /// What answers.
    pub library: Arc<Library>,
    /// Where the journal of aliases and jobs are.
    pub store: Arc<dyn Store>,
    /// What "now" is.
    pub clock: Arc<dyn Clock>,
    /// What a request may be.
    pub limits: Limits,
    /// Answers that were given before.
    pub cache: Cache,
    /// Predictions that nobody waits for.
    pub jobs: Jobs,
    /// What predictions of matches are made from.
    pub football: Football,
    /// When streams have to end.
    pub shutdown: Shutdown,
}

impl Serving {
    /// A service that answers from what the library has in memory.
    pub fn new(parts: Parts) -> Self {
        let Parts { library, store, clock, limits, cache, jobs, football, shutdown } = parts;
        let (gate, routes, skill) = (Gate::default(), Routes::default(), Skill::default());
        Self { library, store, clock, limits, gate, routes, skill, cache, jobs, football, shutdown }
    }

    /// Adds the gRPC services.
    pub fn routes(&self, builder: &mut RoutesBuilder) {
        let (asked, answered) = (self.limits.message_bytes, usize::MAX);
        let inference = GrpcInferenceServiceServer::new(self.clone());
        builder.add_service(inference.max_decoding_message_size(asked).max_encoding_message_size(answered));
        builder.add_service(ModelServiceServer::new(self.clone()).max_decoding_message_size(CHUNK_BYTES));
        let jobs = PredictionJobServiceServer::new(self.clone());
        builder.add_service(jobs.max_decoding_message_size(asked).max_encoding_message_size(answered));
        builder.add_service(PredictionServiceServer::new(self.clone()).max_decoding_message_size(asked));
    }

    /// Does what changes something to its end, whether or not the caller waits for it.
    async fn to_the_end<T, F>(&self, change: impl FnOnce(Self) -> F) -> Result<T, ServingError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ServingError>> + Send + 'static,
    {
        tokio::spawn(change(self.clone())).await.unwrap_or(Err(ServingError::ShuttingDown))
    }

    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().micros() / 1_000).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn every_method_of_the_contracts_has_its_access() {
        let files = prost_types::FileDescriptorSet::decode(loadline_proto::DESCRIPTORS).unwrap().file;
        let ours = files.iter().filter(|file| ["loadline.serving.v1", "inference"].contains(&file.package()));
        let services = ours.flat_map(|file| file.service.iter().map(|service| (file.package(), service)));
        let named = services.flat_map(|(package, service)| {
            service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
        });
        let (mut methods, mut listed): (Vec<_>, Vec<_>) = (named.collect(), ACCESS.0.iter().map(|(method, _)| *method).collect());
        methods.sort();
        listed.sort_unstable();
        assert_eq!(methods, listed);
    }
}
