//! The Open Inference Protocol.

use crate::{
    Serving,
    football::baseline,
    resident::{Held, Served},
    routes::Routed,
    status::ServingError,
    tensors::{Invalid, ports, request, response},
};
use loadline_proto::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse,
    ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse, grpc_inference_service_server::GrpcInferenceService, infer_parameter::ParameterChoice,
    repository_index_response::ModelIndex,
};
use loadline_runtime::grpc::Deadline;
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};
use tonic::{Request, Response, Status};

/// Extensions that work.
const EXTENSIONS: [&str; 2] = ["model_repository", "statistics"];
const PLATFORM: &str = "onnx_onnxv1";

#[tonic::async_trait]
impl GrpcInferenceService for Serving {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.library.is_ready() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        Ok(Response::new(ModelReadyResponse { ready: self.library.residents().hold(&name, &version).is_ok() }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: "loadline".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let held = self.library.residents().hold(&name, &version)?;
        let served = self.library.residents().model(&name).ok_or(ServingError::UnknownModel(name))?;
        Ok(Response::new(self.metadata(&held, &served)))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let deadline = Deadline::of(&request).map(|deadline| deadline.0);
        let request = request.into_inner();
        let held = self.route(&request)?;
        Ok(Response::new(self.ask(&held, request, deadline).await?))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let residents = self.library.residents();
        let model_stats = if name.is_empty() {
            let table: BTreeMap<_, _> = residents.table().iter().map(|(name, served)| (name.clone(), served.clone())).collect();
            table.values().flat_map(|served| statistics(served)).collect()
        } else if version.is_empty() {
            statistics(&*residents.model(&name).ok_or(ServingError::UnknownModel(name))?)
        } else {
            let held = residents.hold(&name, &version)?;
            vec![held.lane.statistics().told(&held.model, held.number)]
        };
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let request = request.into_inner();
        the_only_repository(&request.repository_name)?;
        let mut models = self.index();
        models.retain(|model| !request.ready || model.state == READY);
        Ok(Response::new(RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Result<Response<RepositoryModelLoadResponse>, Status> {
        let request = request.into_inner();
        the_only_repository(&request.repository_name)?;
        no_parameters(request.parameters.keys())?;
        self.to_the_end(move |serving| async move { serving.library.load(&request.model_name).await }).await?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
        let request = request.into_inner();
        the_only_repository(&request.repository_name)?;
        no_parameters(request.parameters.keys())?;
        self.to_the_end(move |serving| async move { serving.library.unload(&request.model_name).await }).await?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }
}

const READY: &str = "READY";
/// Of a version that an alias names.
const NOT_IN_MEMORY: &str = "it was unloaded, or is on its way into memory: RepositoryModelLoad brings it there";

fn text(value: &str) -> InferParameter {
    InferParameter { parameter_choice: Some(ParameterChoice::StringParam(value.to_owned())) }
}

impl Serving {
    /// Asks the version that a request was routed to, counts it, remembers it for its outcome, and shows it to the shadow.
    pub(crate) async fn ask(
        &self,
        held: &Routed,
        request: ModelInferRequest,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<ModelInferResponse, ServingError> {
        let began = Instant::now();
        let (seen, remembered) = (self.seen(held, &request), self.remember(held, &request));
        let answer = self.infer(held, request, deadline).await;
        let statistics = held.lane.statistics();
        match answer {
            Ok(mut answer) => {
                statistics.succeeded(began.elapsed(), self.now_ms());
                if held.is_canary() {
                    answer.parameters.insert("route".to_owned(), text("canary"));
                }
                if let Some(remembered) = remembered {
                    self.skill.answered(remembered, &answer);
                }
                if let Some(seen) = seen {
                    seen.answered(&answer, self.library.engine().clone());
                }
                Ok(answer)
            }
            Err(error) => {
                statistics.failed(began.elapsed());
                Err(error)
            }
        }
    }

    /// Asks a version for the rows of a request.
    async fn infer(
        &self,
        held: &Held,
        mut request: ModelInferRequest,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<ModelInferResponse, ServingError> {
        let mut answer = ModelInferResponse {
            model_name: std::mem::take(&mut request.model_name),
            model_version: held.number.to_string(),
            id: std::mem::take(&mut request.id),
            parameters: self.provenance(held),
            ..ModelInferResponse::default()
        };
        let asked = request::read(request, &held.inputs, &held.outputs, self.limits.request_rows)?;
        let outputs = self.cache.answer(held, asked.inputs, asked.rows, deadline).await?;
        if let Some(at) = response::first_gap(&outputs) {
            return Err(asked.gap.map_or(ServingError::NoNumber(at), ServingError::Invalid));
        }
        response::fill(&mut answer, outputs, asked.outputs.as_deref(), asked.raw);
        Ok(answer)
    }

    /// Which artifact answers, and how old what is known of the registry is, where that matters.
    fn provenance(&self, held: &Held) -> HashMap<String, InferParameter> {
        let parameter = |choice| InferParameter { parameter_choice: Some(choice) };
        let mut told = HashMap::with_capacity(2);
        told.insert("sha256".to_owned(), parameter(ParameterChoice::StringParam(held.sha256.to_string())));
        if baseline::is(held.sha256) {
            told.insert("baseline".to_owned(), parameter(ParameterChoice::BoolParam(true)));
        }
        let freshness = self.library.freshness();
        if freshness.is_stale()
            && let Some(age) = freshness.age(self.clock.now())
        {
            let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            told.insert("registry_age_seconds".to_owned(), parameter(ParameterChoice::Int64Param(seconds)));
        }
        told
    }

    fn metadata(&self, held: &Held, served: &Served) -> ModelMetadataResponse {
        let (now, freshness) = (self.clock.now(), self.library.freshness());
        let mut properties = HashMap::from([
            ("version".to_owned(), held.number.to_string()),
            ("aliases".to_owned(), served.aliases_of(held.number).join(",")),
            ("sha256".to_owned(), held.sha256.to_string()),
            ("state".to_owned(), freshness.state(now)),
        ]);
        if baseline::is(held.sha256) {
            properties.insert("baseline".to_owned(), "true".to_owned());
        }
        if let Some(age) = freshness.age(now) {
            properties.insert("registry_age_seconds".to_owned(), age.as_secs().to_string());
        }
        ModelMetadataResponse {
            name: held.model.clone(),
            versions: served.versions.keys().rev().map(ToString::to_string).collect(),
            platform: PLATFORM.to_owned(),
            inputs: held.inputs.iter().map(ports::metadata).collect(),
            outputs: held.outputs.iter().map(ports::metadata).collect(),
            properties,
        }
    }

    /// Every version that is registered or in memory.
    fn index(&self) -> Vec<ModelIndex> {
        let (table, listing) = (self.library.residents().table(), self.library.listing());
        let mut versions: BTreeMap<(&str, u64), ModelIndex> = BTreeMap::new();
        let entry = |name: &str, number: u64, state: &str, reason: String| {
            let (name, version, state) = (name.to_owned(), number.to_string(), state.to_owned());
            ModelIndex { name, version, state, reason }
        };
        for model in listing.iter() {
            for version in &model.versions {
                let why = self.library.failures().why(&model.name, version.number);
                let why = why.unwrap_or_else(|| {
                    let is_named = model.aliases.values().any(|named| *named == version.number);
                    if is_named { NOT_IN_MEMORY } else { "no alias names it" }.to_owned()
                });
                versions.insert((&model.name, version.number), entry(&model.name, version.number, "UNAVAILABLE", why));
            }
        }
        for (name, served) in table.iter() {
            for number in served.versions.keys() {
                versions.insert((name, *number), entry(name, *number, READY, String::new()));
            }
        }
        versions.into_values().collect()
    }
}

fn statistics(served: &Served) -> Vec<loadline_proto::inference::ModelStatistics> {
    served.versions.values().map(|version| version.lane.statistics().told(&version.model, version.number)).collect()
}

fn the_only_repository(name: &str) -> Result<(), ServingError> {
    if name.is_empty() {
        return Ok(());
    }
    Err(Invalid::new("repository_name", "there is one repository, without a name: leave it out").into())
}

/// A parameter that is not understood is not passed over: whoever sent it expects something of it.
fn no_parameters<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<(), ServingError> {
    match names.next() {
        // tritonclient sends it with every unload; here nothing depends on a model.
        None => Ok(()),
        Some(name) if name == "unload_dependents" => no_parameters(names),
        Some(name) => Err(Invalid::new(format!("parameters[{name:?}]"), "is not supported: leave it out").into()),
    }
}
